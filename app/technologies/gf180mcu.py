"""GlobalFoundries' open 180 nm process, its 3.3 V transistors; the cards are those of the package `circuitgenome`."""

from __future__ import annotations

from types import MappingProxyType

from app.technologies._base import PASSIVE_SIZES, DeviceModels, Technology, technologies
from app.technologies._installed import InstalledCards
from app.technologies._library import ModelLibrary
from app.technologies._own_cards import JUNCTION_TYPES, complete_models

_SWITCHES_FILE, _MODELS_FILE = "design.ngspice", "sm141064.ngspice"

_CARDS = InstalledCards(
    technology="gf180mcu",
    package="circuitgenome",
    extra="gf180",
    inside="sizer/shared/pdk/gf180/ngspice",
    needs=(_SWITCHES_FILE, _MODELS_FILE),
)

#: The switches file turns both on: three runs of one deck would give three results.
_SWITCHES = MappingProxyType({"sw_stat_global": 0.0, "sw_stat_mismatch": 0.0})


def _load(technology: Technology, process: str) -> DeviceModels:
    library = ModelLibrary(_CARDS.folder(), fixed=_SWITCHES).read(_SWITCHES_FILE).read(_MODELS_FILE, process)
    mos = {kind: library.mos_model(kind, f"{kind}_3p3", f"gf180mcu_{kind}") for kind in ("nmos", "pmos")}
    return complete_models(technology, process, mos)


technologies.add(
    "gf180mcu",
    Technology(
        name="gf180mcu",
        summary="GlobalFoundries 180 nm MCU CMOS at 3.3 V (open process); BSIM4, 16 bins a transistor",
        licence="Apache-2.0",
        source="Python package circuitgenome, its copy of sm141064.ngspice, by the GlobalFoundries PDK Authors",
        processes=("typical", "ss", "ff", "sf", "fs"),
        load=_load,
        supply_v=3.3,
        celsius=27.0,
        length_min_m=280e-9,
        length_max_m=20e-6,
        width_min_m=220e-9,
        width_max_m=100e-6,
        sizes=MappingProxyType(
            {
                "nmos": {"width_m": 12e-6, "length_m": 800e-9},
                "pmos": {"width_m": 47e-6, "length_m": 800e-9},
                **PASSIVE_SIZES,
            }
        ),
        gate_bias_v=0.74,
        pmos_gate_bias_v=0.85,
        base_bias_v=0.75,
        bias_a=10e-6,
        inductor_ohm=0.5,
        borrowed=tuple(JUNCTION_TYPES),
        require=_CARDS.folder,
    ),
)
