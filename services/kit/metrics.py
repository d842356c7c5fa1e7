"""Prometheus metrics of one daemon, with the names that operators know."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_BUCKETS = (0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
_BROADCAST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Times:
    """How often something took how long: a histogram that the event loop alone writes, so it needs no lock."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_REQUEST_BUCKETS) + 1)
        """By bucket; the last one is everything longer."""
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_REQUEST_BUCKETS, seconds)] += 1
        self.total_s += seconds


class _Hot(Collector):
    """What every request counts, in plain numbers: prometheus_client's own would cost more than finding the route."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.requests: dict[tuple[str, str, str], Times] = {}
        """By method, route and status."""
        self.cache_hits = 0
        self.cache_misses = 0

    def collect(self) -> Iterable[Metric]:
        """Give the numbers their names; called when somebody asks for them."""
        times = HistogramMetricFamily(
            "http_request_duration_seconds",
            "Time to answer a request, by route and status.",
            labels=["service", "method", "route", "status"],
        )
        bounds = [*map(str, _REQUEST_BUCKETS), "+Inf"]
        for labels, found in self.requests.items():
            buckets = list(zip(bounds, accumulate(found.counts), strict=True))
            times.add_metric([self._service, *labels], buckets, found.total_s)
        yield times
        for name, text, value in (
            ("cache_hits", "Reads answered from memory.", self.cache_hits),
            ("cache_misses", "Reads that had to ask.", self.cache_misses),
        ):
            counter = CounterMetricFamily(name, text, labels=["service"])
            counter.add_metric([self._service], value)
            yield counter


class Metrics:
    """Counters of one service, in a registry of their own so that one process can host several."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        labels = {"service": service}
        self._hot = _Hot(service)
        self.registry.register(self._hot)
        self.retry_attempts = Counter(
            "retry_attempts",
            "Calls repeated after a failure, by reason.",
            ["service", "reason"],
            registry=self.registry,
        )
        self.network_errors = Counter(
            "network_errors", "Failed calls to a neighbour, by kind.", ["service", "kind"], registry=self.registry
        )
        self.broadcast_duration = Histogram(
            "transaction_broadcast_duration_seconds",
            "Time until an endpoint answered a broadcast.",
            ["service"],
            registry=self.registry,
            buckets=_BROADCAST_BUCKETS,
        ).labels(**labels)
        self.subscribers = Gauge(
            "event_subscribers", "Open event streams.", ["service"], registry=self.registry
        ).labels(**labels)
        self.service = service
        self.retries_total = 0
        """Retries so far, for a status page."""

    def request_times(self, method: str, route: str, status: int) -> Times:
        """The histogram of one kind of request; keep it."""
        return self._hot.requests.setdefault((method, route, str(status)), Times())

    def cache_hit(self) -> None:
        """Count a read that was answered from memory."""
        self._hot.cache_hits += 1

    def cache_miss(self) -> None:
        """Count a read that had to ask."""
        self._hot.cache_misses += 1

    def retried(self, reason: str) -> None:
        """Count one repeated call."""
        self.retries_total += 1
        self.retry_attempts.labels(self.service, reason).inc()

    def network_error(self, kind: str) -> None:
        """Count one failed call to a neighbour."""
        self.network_errors.labels(self.service, kind).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)
