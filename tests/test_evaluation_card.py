"""What a model's card says of where the model comes from."""

from __future__ import annotations

from app.evaluation.card import beginning_lines


def test_a_card_tells_the_models_that_a_model_goes_on_from_one_after_the_other():
    first = {
        "model": "old", "weights": "c0ffee" * 10, "new_tokens": 0, "command": "josephson train quantum --recipe cpu",
        "tokens_seen": 24_000_000, "from": None,
    }  # fmt: skip
    begun = {
        "model": "newer", "weights": "ab12" * 16, "new_tokens": 193, "tokens_seen": 6_000,
        "command": "josephson train quantum --recipe tune --from old", "from": first,
    }  # fmt: skip
    assert beginning_lines(begun) == [
        "- Goes on from the model `newer` with the weights ab12ab12ab12 (`josephson train quantum --recipe tune --from "
        "old`, 6,000 tokens), for which 193 tokens of the vocabulary were new.",
        "- Goes on from the model `old` with the weights c0ffeec0ffee (`josephson train quantum --recipe cpu`, "
        "24,000,000 tokens), for which 0 tokens of the vocabulary were new.",
    ]
    assert beginning_lines(None) == []
