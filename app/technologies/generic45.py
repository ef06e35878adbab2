"""A predictive 45 nm CMOS process of our own: no foundry's numbers, free to ship, fast to load."""

from __future__ import annotations

from types import MappingProxyType

from app.technologies._base import PASSIVE_SIZES, Technology, technologies
from app.technologies._own_cards import own_models

technologies.add(
    "generic45",
    Technology(
        name="generic45",
        summary="predictive 45 nm CMOS at 1.0 V with parasitic bipolar transistors; BSIM4, own cards",
        licence="Apache-2.0",
        source="written for this project; the numbers are no foundry's",
        processes=("tt", "ss", "ff", "sf", "fs"),
        load=own_models,
        supply_v=1.0,
        celsius=27.0,
        length_min_m=45e-9,
        length_max_m=5e-6,
        width_min_m=90e-9,
        width_max_m=100e-6,
        sizes=MappingProxyType(
            {
                "nmos": {"width_m": 600e-9, "length_m": 140e-9},
                "pmos": {"width_m": 2.3e-6, "length_m": 140e-9},
                **PASSIVE_SIZES,
            }
        ),
        gate_bias_v=0.47,
        base_bias_v=0.75,
        bias_a=10e-6,
        inductor_ohm=0.5,
    ),
)
