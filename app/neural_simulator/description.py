"""What a trained neural simulator says of itself, read from its folder: its network is not loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import ModelDamaged


def describe_simulator(folder: Path) -> dict[str, Any] | None:
    """Name, kind, size, training rows and checksum of the model of a folder, and its card in short; None for no model.

    Of the evaluation there is, for each set of rows that it was judged by, how many these were and the summary of all
    metrics with the table simulator's estimates, and the speed.

    Raises:
        ModelDamaged: its files cannot be read.
    """
    if not (folder / "config.json").is_file():
        return None
    try:
        config, manifest = (_read(folder / name) for name in ("config.json", "manifest.json"))
        card = _read(folder / "card.json") if "card.json" in manifest else {}
        return {
            "name": config["name"],
            "kind": config["kind"],
            "parameters": config["parameters"],
            "sha256": manifest["weights.safetensors"],
            "training_rows": config["training"].get("rows", {}).get("training"),
            "evaluation": _headline(card["evaluation"]) if "evaluation" in card else None,
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelDamaged(
            f"model {folder.name}: it cannot be described ({error!r}); restore models/{folder.name} from the "
            "repository, or train it anew with 'josephson train simulator'"
        ) from error


def _headline(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "level": evaluation["level"],
        "sets": {
            name: {"rows": found["rows"], **found["estimated"]["summary"]} for name, found in evaluation["sets"].items()
        },
        "speed": (evaluation.get("speed") or {}).get("mean"),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
