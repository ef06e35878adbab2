"""A predictive 180 nm CMOS process of our own: no foundry's numbers, free to ship, fast to load."""

from __future__ import annotations

from types import MappingProxyType

from app.resources import data_path
from app.technologies._base import Technology, technologies

_MODELLED = ("nmos", "pmos", "npn", "pnp", "diode", "inverter", "transmission_gate", "xor", "pfd")

technologies.add(
    "generic180",
    Technology(
        name="generic180",
        summary="predictive 180 nm CMOS at 1.8 V with parasitic bipolar transistors; BSIM4, own cards",
        licence="Apache-2.0",
        source="written for this project; the numbers are no foundry's",
        models_file=data_path("technologies", "generic180", "models.spice"),
        model_names=MappingProxyType({kind: f"generic180_{kind}" for kind in _MODELLED}),
        supply_v=1.8,
        celsius=27.0,
        length_min_m=180e-9,
        width_min_m=220e-9,
        sizes=MappingProxyType(
            {
                "nmos": {"width_m": 5e-6, "length_m": 500e-9},
                "pmos": {"width_m": 20e-6, "length_m": 500e-9},
                "resistor": {"resistance_ohm": 10e3},
                "capacitor": {"capacitance_f": 1e-12},
                "inductor": {"inductance_h": 1e-9},
            }
        ),
        gate_bias_v=0.6,
        base_bias_v=0.75,
        bias_a=10e-6,
        inductor_ohm=0.5,
    ),
)
