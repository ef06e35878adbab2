"""Crossings, edges, settling, averages and tones, each against a curve whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from app.testbenches._waveforms import (
    crossing_frequency,
    crossings,
    decibels,
    edge_rate,
    first_crossing,
    mean_over,
    settling_time,
    tone,
    unwrapped_degrees,
    value_at,
)

FREQUENCY = np.logspace(1, 10, 181)
TIME = np.linspace(0.0, 10.0, 2001)


def test_a_line_crosses_where_its_equation_says() -> None:
    assert crossings(TIME, 2 * TIME - 3, 0.0).tolist() == pytest.approx([1.5])


def test_directions_are_told_apart() -> None:
    wave = np.sin(2 * np.pi * TIME / 4)
    assert crossings(TIME, wave, 0.5, +1).tolist() == pytest.approx([1 / 3, 4 + 1 / 3, 8 + 1 / 3], abs=1e-3)
    assert crossings(TIME, wave, 0.5, -1).tolist() == pytest.approx([5 / 3, 4 + 5 / 3, 8 + 5 / 3], abs=1e-3)
    assert crossings(TIME, wave, 0.5).size == 6


def test_a_curve_that_stays_away_has_no_crossing() -> None:
    assert first_crossing(TIME, np.ones_like(TIME), 2.0) is None
    assert crossing_frequency(FREQUENCY, np.full_like(FREQUENCY, 3.0)) is None


def test_a_single_pole_crosses_unity_at_gain_times_bandwidth() -> None:
    transfer = 1000 / (1 + 1j * FREQUENCY / 1e4)
    assert decibels(transfer)[0] == pytest.approx(60, abs=1e-4)
    assert crossing_frequency(FREQUENCY, decibels(transfer)) == pytest.approx(1e7, rel=1e-3)


def test_the_phase_of_four_poles_passes_half_a_turn_without_a_jump() -> None:
    phase = unwrapped_degrees(1 / (1 + 1j * FREQUENCY / 1e4) ** 4)
    assert phase[0] == pytest.approx(0, abs=0.3)
    assert phase[-1] == pytest.approx(-360, abs=0.1)
    assert value_at(np.log10(FREQUENCY), phase, 4.0) == pytest.approx(-180, rel=0.01)


def test_the_phase_of_an_inverting_stage_starts_at_half_a_turn() -> None:
    assert abs(unwrapped_degrees(-1 / (1 + 1j * FREQUENCY / 1e4))[0]) == pytest.approx(180, abs=0.1)


def test_an_exponential_settles_after_the_logarithm_of_the_band() -> None:
    curve = 1 - np.exp(-TIME)
    assert settling_time(TIME, curve, 1.0, 0.01) == pytest.approx(np.log(100), rel=1e-3)
    assert settling_time(TIME, curve, 1.0, 1e-6) is None
    assert settling_time(TIME, np.ones_like(TIME), 1.0, 0.01) == 0.0


def test_the_rate_of_an_exponential_edge_is_its_chord_from_20_to_80_percent() -> None:
    rate = 0.6 / np.log(0.8 / 0.2)
    assert edge_rate(TIME, 1 - np.exp(-TIME), 0.0, 1.0) == pytest.approx(rate, rel=1e-3)
    assert edge_rate(TIME, np.exp(-TIME), 1.0, 0.0) == pytest.approx(rate, rel=1e-3)
    assert edge_rate(TIME, 0.5 * (1 - np.exp(-TIME)), 0.0, 1.0) is None


def test_an_average_does_not_depend_on_uneven_samples() -> None:
    uneven = np.sort(np.random.default_rng(0).uniform(0, 10, 4000))
    assert mean_over(uneven, 3 + np.sin(2 * np.pi * uneven), 1.0, 9.0) == pytest.approx(3.0, abs=1e-3)


def test_a_tone_is_found_with_amplitude_and_phase_beside_another_one() -> None:
    curve = 0.2 + 0.5 * np.cos(2 * np.pi * 2 * TIME + 0.3) + 0.1 * np.cos(2 * np.pi * 3 * TIME)
    found = tone(TIME, curve, 2.0, 1.0, 8)
    assert abs(found) == pytest.approx(0.5, rel=2e-3)
    assert np.angle(found) == pytest.approx(0.3 + 2 * np.pi * 2 * 1.0 - 4 * np.pi, abs=0.01)
