"""Cards for tests: where those lie that the repository does not ship, and small ones written on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.technologies._base import Technology, technologies
from app.technologies._installed import CARDS_VARIABLE

#: A pair of BSIM4 cards with thresholds near 0.5 V that passes every check.
GOOD_PAIR = """\
.model slim_n nmos level=54 version=4.8.2 toxe=4e-9 vth0=0.5 u0=0.03 lint=5e-9 vsat=1e5 rdsw=100 cgso=3e-10
+ cgdo=3e-10 ; a remark
.model slim_p pmos level=54 version=4.8.2 toxe=4e-9 vth0=-0.5 u0=0.01 lint=5e-9 vsat=8e4 rdsw=300 cgso=3e-10
+ cgdo=3e-10
"""


def available(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Technology:
    """The technology; cards that are not installed come from the external data, without which the test is skipped."""
    technology = technologies[name]
    if not technology.is_available:
        monkeypatch.setenv(CARDS_VARIABLE, str(request.getfixturevalue("shared_data") / "technologies"))
    return technology


def pair_in(folder: Path, text: str = GOOD_PAIR, name: str = "pair.spice") -> Path:
    """The path of a file of cards with this text."""
    path = folder / name
    path.write_text(text, encoding="latin-1")
    return path
