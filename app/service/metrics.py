"""Prometheus metrics of one app: a registry of its own, filled by the service and asked on a scrape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_REQUEST_BUCKETS_S = (0.002, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60)


class Metrics:
    """Counters of one app. `text` is what GET /metrics answers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "josephson_requests", "HTTP requests.", ["method", "path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "josephson_request_seconds",
            "Time to the end of the answer.",
            ["path"],
            buckets=_REQUEST_BUCKETS_S,
            registry=self._registry,
        )
        self._circuits = Counter(
            "josephson_circuits",
            "Circuits, and simulated or predicted sizings, made.",
            ["kind", "status", "asked_by"],
            registry=self._registry,
        )
        self._checks = Counter("josephson_checks", "Texts checked.", ["kind", "status"], registry=self._registry)

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """One more exchange. `path` is the route's template, so that its values are few."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_circuit(self, kind: str, status: str, asked_by: str) -> None:
        """One more circuit or sizing, asked for by an ``inline`` call or a ``job``."""
        self._circuits.labels(kind, status, asked_by).inc()

    def count_check(self, kind: str, status: str) -> None:
        """One more text that a caller had checked."""
        self._checks.labels(kind, status).inc()

    def watch(self, families: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        """`families` is asked for gauges on every scrape."""
        self._registry.register(_Asked(families))

    def text(self) -> bytes:
        """Every metric in the Prometheus text format."""
        return generate_latest(self._registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Asked(Collector):
    def __init__(self, families: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()


def gauge(name: str, help_text: str, label: str, values: Iterable[tuple[str, float]]) -> GaugeMetricFamily:
    """A gauge with one sample per value of its label."""
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for label_value, value in values:
        family.add_metric([label_value], value)
    return family


def gauges_of(prefix: str, report: Mapping[str, Any]) -> Iterable[GaugeMetricFamily]:
    """One gauge for each number or boolean of a report.

    The name of a part of the report is a label: ``{"ngspice": {"done": 3}}`` gives ``..._done{name="ngspice"} 3``.
    """
    samples: dict[str, list[tuple[str, object]]] = {}
    for key, value in report.items():
        if isinstance(value, Mapping):
            for inner, number in value.items():
                samples.setdefault(inner, []).append((key, number))
        else:
            samples.setdefault(key, []).append(("", value))
    for key, values in samples.items():
        numbers = [(label, float(value)) for label, value in values if isinstance(value, (int, float))]
        if numbers:
            name = f"{prefix}_{re.sub('[^a-zA-Z0-9_]', '_', key)}"
            yield gauge(name, f"{key} as the service reports it.", "name", numbers)
