"""What hangs at an output. Knows no circuit."""

from __future__ import annotations

#: An output behind a capacitor has a level all the same.
_LEAK = "1g"


def output_load(node: str, farad: float) -> tuple[str, str]:
    """Cards of a capacitance to VSS, and of a resistance so high that it only defines the direct voltage."""
    return f"c_tb_load_{node} {node} vss {farad:.12g}", f"r_tb_leak_{node} {node} vss {_LEAK}"
