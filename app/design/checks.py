"""Whether a candidate is a circuit at all, and whether it conducts: the ladder of checks, cheap rungs first."""

from __future__ import annotations

from app.design.candidates import Candidate
from app.design.stages import FellOut
from app.errors import InvalidInput
from app.findings import Finding
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.sizing.setup import SizingSetup, sizing_setup
from app.specification import Specification
from app.technologies._base import Technology
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import Testbench
from app.validators._base import Rung, Subject, ValidationTools
from app.validators.ladder import Ladder


class CandidateChecks:
    """The checks of one design. Thread-safe."""

    def __init__(
        self,
        pool: WorkerPool,
        gmid: GmIdProvider,
        testbench: Testbench,
        technology: Technology,
        specification: Specification,
    ) -> None:
        self._ladder = Ladder(ValidationTools(simulator=OperatingPointSimulator(pool, technology)))
        self._gmid = gmid
        self._testbench = testbench
        self._technology = technology
        self._specification = specification

    def legal(self, candidate: Candidate) -> SizingSetup | FellOut:
        """The candidate on the testbench, where its wiring is sound and the testbench can drive it."""
        findings, _ = self._climb(candidate, "structure")
        if findings:
            return FellOut("not_legal", findings[0].message)
        try:
            return sizing_setup(candidate.netlist, self._testbench, self._technology, self._specification, self._gmid)
        except InvalidInput as error:
            return FellOut("not_legal", str(error))

    def conducting(self, candidate: Candidate) -> tuple[FellOut | None, int]:
        """Why the candidate does not conduct, None where it does; and how many operating points were tried.

        Raises:
            SimulatorFailure: That could not be found out.
        """
        findings, points = self._climb(candidate, "conduction")
        return (FellOut("not_conducting", findings[0].message) if findings else None), points

    def _climb(self, candidate: Candidate, rung: Rung) -> tuple[list[Finding], int]:
        """The errors up to the rung, and the operating points of the bias search."""
        verdict = self._ladder.climb(Subject(candidate.text, netlist=candidate.netlist), rung)
        searched = verdict.facts.get("conduction")
        points = searched.get("points_tried", 0) if isinstance(searched, dict) else 0
        return [finding for finding in verdict.findings if finding.severity == "error"], points
