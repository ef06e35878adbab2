"""The network of the neural simulator: shapes, what may change an answer and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from app.nn.simulator import KNOWN, UNKNOWN, CircuitTensors, RowTensors, SimulatorConfig, SimulatorNetwork, Told

CONFIG = SimulatorConfig(
    kinds=5, net_classes=6, pins=4, relations=16, element_features=7, fact_features=3, facts=2, conditions=4,
    estimate_features=4, testbenches=2, metrics=9, width=16, heads=2, element_layers=2, metric_layers=2, mlp_width=24,
    message_width=4,
)  # fmt: skip


def network() -> SimulatorNetwork:
    """One whose outputs depend on its inputs: heads do not start at zero here."""
    torch.manual_seed(0)
    made = SimulatorNetwork(CONFIG)
    for heads in (made.metric_heads, made.fact_heads):
        torch.nn.init.normal_(heads)
    return made.eval()


def circuit(elements: int = 6, metrics: int = 3) -> CircuitTensors:
    generator = torch.Generator().manual_seed(1)
    shared = (torch.rand(elements, elements, CONFIG.relations, generator=generator) < 0.2).float()
    return CircuitTensors(
        torch.randint(CONFIG.kinds, (elements,), generator=generator),
        torch.randint(CONFIG.net_classes, (elements, CONFIG.pins), generator=generator),
        shared,
        torch.tensor(1),
        torch.arange(metrics) + 2,
    )


def rows(count: int = 5, elements: int = 6, metrics: int = 3) -> RowTensors:
    generator = torch.Generator().manual_seed(2)
    return RowTensors(
        torch.randn(count, elements, CONFIG.element_features, generator=generator),
        torch.randn(count, elements, CONFIG.fact_features, generator=generator),
        torch.randn(count, CONFIG.conditions, generator=generator),
        torch.randn(count, metrics, generator=generator),
        torch.rand(count, metrics, CONFIG.estimate_features, generator=generator),
        torch.zeros(count, metrics),
        torch.full((count, metrics), UNKNOWN),
    )


def told_of(made: SimulatorNetwork, of: CircuitTensors, inputs: RowTensors) -> Told:
    with torch.no_grad():
        told: Told = made(of, inputs)
    return told


def numbers(told: Told) -> list[Tensor]:
    return [told.mean, told.log_spread, told.defined]


def test_every_row_metric_and_element_is_told():
    told = told_of(network(), circuit(), rows())
    assert [tuple(each.shape) for each in numbers(told)] == [(5, 3)] * 3
    assert told.facts.shape == (5, 6, CONFIG.facts)
    assert told.summary.shape == (5, CONFIG.width)
    assert all(torch.isfinite(each).all() for each in (*numbers(told), told.facts, told.summary))


def test_a_row_is_told_the_same_alone_and_among_others():
    made, inputs = network(), rows()
    together = told_of(made, circuit(), inputs)
    alone = RowTensors(**{name: getattr(inputs, name)[2:3] for name in vars(inputs)})
    for whole, part in zip(numbers(together), numbers(told_of(made, circuit(), alone)), strict=True):
        torch.testing.assert_close(whole[2:3], part, rtol=0, atol=1e-5)


def test_the_order_of_the_elements_says_nothing():
    made, of, inputs = network(), circuit(), rows()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    other = replace(of, kinds=of.kinds[order], nets=of.nets[order], shared=of.shared[order][:, order])
    moved = replace(inputs, elements=inputs.elements[:, order], facts=inputs.facts[:, order])
    one, two = told_of(made, of, inputs), told_of(made, other, moved)
    for first, second in zip(numbers(one), numbers(two), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-4)
    torch.testing.assert_close(one.facts[:, order], two.facts, rtol=0, atol=1e-4)


@pytest.mark.parametrize("change", ["wires", "kinds", "nets", "testbench", "sizes", "facts", "conditions", "known"])
def test_what_is_told_depends_on(change: str):
    made, of, inputs = network(), circuit(), rows()
    changed = {
        "wires": lambda: (replace(of, shared=of.shared.roll(1, dims=-1)), inputs),
        "kinds": lambda: (replace(of, kinds=(of.kinds + 1) % CONFIG.kinds), inputs),
        "nets": lambda: (replace(of, nets=(of.nets + 1) % CONFIG.net_classes), inputs),
        "testbench": lambda: (replace(of, testbench=torch.tensor(0)), inputs),
        "sizes": lambda: (of, replace(inputs, elements=inputs.elements + 1)),
        "facts": lambda: (of, replace(inputs, facts=inputs.facts + 1)),
        "conditions": lambda: (of, replace(inputs, conditions=inputs.conditions + 1)),
        "known": lambda: (of, replace(inputs, states=torch.full_like(inputs.states, KNOWN))),
    }
    torch.nn.init.normal_(made.state_embedding.weight)
    before, after = told_of(made, of, inputs), told_of(made, *changed[change]())
    assert not torch.allclose(before.mean, after.mean, atol=1e-4)


def test_an_untrained_network_mostly_believes_the_estimates():
    torch.manual_seed(0)
    inputs = rows()
    told = told_of(SimulatorNetwork(CONFIG).eval(), circuit(), inputs)
    torch.testing.assert_close(told.mean, torch.sigmoid(torch.tensor(3.0)) * inputs.estimates)


def test_every_weight_learns():
    made = network().train()
    told = made(circuit(), rows())
    torch.autograd.backward(sum(each.square().sum() for each in (*numbers(told), told.facts)))
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_widths_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="a width of 16 does not divide into 3 heads"):
        replace(CONFIG, heads=3)
