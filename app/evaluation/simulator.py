"""The evaluation of a neural simulator: what it predicts of what it has not seen, beside what ngspice found.

Everything is a function of the model, the rows and the seed, but for what takes time. No row that is judged has been
learnt from, has set intervals, or was adapted from.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app import __version__
from app.errors import InvalidRequest
from app.evaluation.notes import Notes, Report, Stages
from app.evaluation.simulator_baselines import BASELINES, FEW, LEAST_JUDGED, LEAST_LEARNT, Bout, Entry, judge_baselines
from app.evaluation.simulator_report import QUESTIONS, aims
from app.evaluation.simulator_sets import (
    LEVEL,
    Judge,
    Places,
    SetScores,
    Sorter,
    asked_of,
    spread_out,
)
from app.evaluation.simulator_speed import Machine, is_here, speed
from app.neural_simulator.adaptation import MOST_ROWS
from app.neural_simulator.artefact import NeuralSimulator
from app.neural_simulator.dataset import PreparedSimulations, SimulationGroup
from app.neural_simulator.features import TechnologyProfile
from app.neural_simulator.scores import Judged
from app.neural_simulator.splits import first_rows


@dataclass(frozen=True)
class SimulatorPlan:
    """How much is looked at.

    `adapt` are numbers of rows to adapt to a new circuit or technology from; `rows_per_group` are judged of each group
    at most, all of them where None. The `baselines` are trained on `baseline_groups` groups, and on half as many new
    circuits.
    """

    seed: int = 1
    adapt: tuple[int, ...] = (0, 20, 50, 200)
    rows_per_group: int | None = None
    baselines: tuple[str, ...] = tuple(BASELINES)
    baseline_groups: int = 24

    def __post_init__(self) -> None:
        """The numbers are some that can be done, and the baselines exist, else InvalidRequest."""
        wrong = [count for count in self.adapt if not 0 <= count <= MOST_ROWS]
        if wrong or not self.adapt or len(set(self.adapt)) < len(self.adapt):
            raise InvalidRequest(
                f"--adapt: {','.join(map(str, self.adapt)) or 'nothing'} has to be different numbers of rows from 0 to "
                f"{MOST_ROWS}, such as 0,20,50,200"
            )
        for name in self.baselines:
            if name not in BASELINES:
                raise InvalidRequest(f"--baselines: there is no {name[:80]!r}; there are {', '.join(BASELINES)}")

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def evaluate_simulator(
    simulator: NeuralSimulator, prepared: PreparedSimulations | None, own: Sequence[PreparedSimulations],
    plan: SimulatorPlan, machine: Machine, *, identity: Mapping[str, Any], work: Path | None = None,
    report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """``{kind, version, level, plan, simulations, sets, baselines, speed, aims, cpu_s}``.

    `sets` are by question, as `SetScores.as_json` gives them, `baselines` as `judge_baselines`, None without a file or
    where none was wanted.

    Args:
        simulator: What is evaluated.
        prepared: Rows some of which it has learnt from; None to judge it by `own` alone.
        own: Rows simulated to judge it by.
        plan: How much is looked at.
        machine: What it is compared with in time.
        identity: What tells this evaluation from others, such as checksums of the weights and of the file.
        work: A folder to go on from and to keep the notes in.
        report: Told how far it is.

    Raises:
        InvalidRequest: `work` has notes of another evaluation, or the model does not say what it has learnt from.
    """
    examination = Examination(simulator, plan)
    of_plan = {f"--{name.replace('_', '-')}": plan.as_json()[name] for name in ("seed", "adapt", "rows_per_group")}
    with Notes.open({"version of the program": __version__, **identity, **of_plan}, work, Entry.from_json) as notes:
        stages = Stages()
        total = sum(len(each.groups) for each in (prepared, *own) if each is not None)
        examination.judge(prepared, own, lambda done: report(done, total) if report else None)
        stages.end("predictions")
        sets = {
            question: examination.sets[question].as_json(simulator.scales, plan.adapt)
            for question in QUESTIONS
            if question in examination.sets
        }
        stages.end("scores")
        notes.add([], stages.take())
        baselines = None
        if plan.baselines and (bouts := examination.bouts()):
            baselines = judge_baselines(notes, bouts, plan.baselines, simulator.scales, plan.seed, report)
        if "speed" not in notes.facts:
            stages = Stages()
            timed = speed(simulator, examination.timed(), machine)
            stages.end("speed")
            notes.add_fact("speed", timed, stages.take())
        found = {
            "kind": "simulator", "version": __version__, "level": LEVEL, "plan": plan.as_json(),
            "simulations": _simulations(simulator, prepared, own), "sets": sets, "baselines": baselines,
            "speed": notes.facts["speed"],
        }  # fmt: skip
        return {**found, "aims": aims(found), "cpu_s": notes.costs()}


def _simulations(
    simulator: NeuralSimulator, prepared: PreparedSimulations | None, own: Sequence[PreparedSimulations]
) -> dict[str, Any]:  # fmt: skip
    """Where the rows are from, and what of their values is not judged since no circuit can have it."""
    file = None
    if prepared is not None:
        is_its_own = [dict(run) for run in prepared.runs] == list(simulator.training.get("simulations", []))
        file = {"rows": len(prepared), "groups": len(prepared.groups), "was_trained_on": is_its_own}
    technologies = sorted({group.technology for each in own for group in each.groups})
    learnt = [name for name in technologies if name in simulator.experience.supplies]
    files = [each for each in (prepared, *own) if each is not None]
    implausible: Counter[str] = Counter()
    for each in files:
        implausible.update(each.implausible())
    return {
        "file": file, "own": {"rows": sum(map(len, own)), "technologies": technologies, "learnt_from": learnt},
        "values": sum(each.values() for each in files), "implausible": dict(implausible.most_common()),
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Seen:
    """A group that was judged, with what it takes to look at it once more; places as in `Asked`."""

    question: str
    number: int
    group: SimulationGroup
    profile: TechnologyProfile
    learnable: Places
    judged: Places
    ours: Mapping[str, Judged]

    @property
    def place(self) -> tuple[str, str, str]:
        """For `spread_out`."""
        return self.group.testbench, self.group.technology, self.group.topology_id

    def bout(self, table: str, ways: Sequence[str], most: int, seed: int) -> Bout:
        """What baselines that learn from at most so many rows are compared on."""
        rows = self.group.rows(self.profile)
        learnt = rows.take(self.learnable)
        learnt = learnt.take(first_rows(learnt, most, seed))
        return Bout(table, self.number, learnt, rows.take(self.judged), {way: self.ours[way] for way in ways})


class Examination:
    """What was judged so far, question by question."""

    def __init__(self, simulator: NeuralSimulator, plan: SimulatorPlan) -> None:
        self._sorter = Sorter(simulator.experience, simulator.split)
        self._judge = Judge(simulator, plan.adapt, plan.seed)
        self._plan = plan
        self._seen: list[_Seen] = []
        self.sets: dict[str, SetScores] = {}

    def judge(
        self, prepared: PreparedSimulations | None, own: Sequence[PreparedSimulations], done: Callable[[int], object]
    ) -> None:
        """Every group is judged that answers a question; `done` is told how many were looked at."""
        count = 0
        for file in (prepared, *own):
            for number, group in enumerate(file.groups if file is not None else ()):
                question = self._sorter.question(group) if file is prepared else "simulated"
                if file is not None and question is not None:
                    self._judge_group(question, number, group, file.profiles[group.technology])
                count += 1
                done(count)

    def _judge_group(self, question: str, number: int, group: SimulationGroup, profile: TechnologyProfile) -> None:
        plan = self._plan
        asked = asked_of(
            question, group.rows(profile), self._sorter, plan.adapt, plan.rows_per_group, plan.seed
        )  # fmt: skip
        if not len(asked.judged):
            return
        ways = dict(self._judge.judged(asked))
        self.sets.setdefault(question, SetScores(question)).add(asked, ways)
        self._seen.append(_Seen(question, number, group, profile, asked.learnable, asked.judged, ways))

    def bouts(self) -> list[Bout]:
        """What the baselines are compared on, table by table.

        ``all``: groups that the model has learnt from, with all the rows that it has learnt from; ``few``: the same
        with `FEW` of them at most; ``new``: new circuits, with the rows that are kept to adapt to them.
        """
        bouts, seed = [], self._plan.seed
        learnt = {"all": sys.maxsize, "few": FEW}
        for each in self._chosen("sizings", self._plan.baseline_groups):
            bouts += [each.bout(table, ("estimated", "plain"), most, seed) for table, most in learnt.items()]
        most = max(self._plan.adapt)
        for each in self._chosen("topologies", self._plan.baseline_groups // 2) if most else ():
            bouts.append(each.bout("new", ("estimated", f"adapted_{most}"), most, seed))
        return bouts

    def timed(self) -> list[tuple[SimulationGroup, TechnologyProfile]]:
        """A group of every testbench, of a technology that is on this machine where there is one."""
        here = [each for each in self._seen if is_here(each.group.technology)]
        first: dict[str, _Seen] = {}
        for each in spread_out(here, lambda seen: seen.place, self._plan.seed) + self._seen:
            first.setdefault(each.group.testbench, each)
        return [(each.group, each.profile) for each in first.values()]

    def _chosen(self, question: str, count: int) -> list[_Seen]:
        """Groups with enough rows on both sides, spread out over testbenches and technologies."""
        fit = [
            each
            for each in self._seen
            if each.question == question and len(each.learnable) >= LEAST_LEARNT and len(each.judged) >= LEAST_JUDGED
        ]
        return spread_out(fit, lambda seen: seen.place, self._plan.seed)[:count]
