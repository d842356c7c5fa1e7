"""Prometheus metrics of one daemon, with the names that operators know."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_BUCKETS = (0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
_BROADCAST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one service, in a registry of their own so that one process can host several."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        labels = {"service": service}
        self.requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request, by route and status.",
            ["service", "method", "route", "status"],
            registry=self.registry,
            buckets=_REQUEST_BUCKETS,
        )
        self.retry_attempts = Counter(
            "retry_attempts",
            "Calls repeated after a failure, by reason.",
            ["service", "reason"],
            registry=self.registry,
        )
        self.cache_hits = Counter(
            "cache_hits", "Reads answered from memory.", ["service"], registry=self.registry
        ).labels(**labels)
        self.cache_misses = Counter(
            "cache_misses", "Reads that had to ask.", ["service"], registry=self.registry
        ).labels(**labels)
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
