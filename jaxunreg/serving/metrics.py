"""What a service counts, for Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jaxunreg.serving.places import Places
from jaxunreg.serving.service import Answer

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

# Of normal parts each of the ten last bins holds a tenth, and drift shows there.
_P_VALUES = (0.001, 0.005, 0.01, 0.02, 0.05, *(k / 10 for k in range(1, 11)))


class ServiceMetrics:
    """Counters and histograms of one service, in a registry of their own.

    Args:
      places: of the service, which are told.

    >>> from jaxunreg.serving.timings import Timings
    >>> metrics = ServiceMetrics(Places(4, Timings()))
    >>> metrics.count_refused("queue full")
    >>> [line for line in metrics.text().decode().splitlines() if "full" in line and "_total" in line]
    ['jaxunreg_refused_requests_total{reason="queue full"} 1.0']
    """

    def __init__(self, places: Places) -> None:
        self._registry = CollectorRegistry()
        place: dict[str, Any] = {"registry": self._registry}
        self._images = Counter("jaxunreg_images", "Images by verdict", ["verdict"], **place)
        self._refused = Counter("jaxunreg_refused_requests", "Refused requests by reason", ["reason"], **place)
        self._p_values = Histogram("jaxunreg_p_value", "p-values of images", buckets=_P_VALUES, **place)
        self._waited = Histogram("jaxunreg_wait_seconds", "Seconds of an image in the queue", buckets=_SECONDS, **place)
        self._scored = Histogram(
            "jaxunreg_score_seconds", "Seconds from the queue to the scores of an image", buckets=_SECONDS, **place
        )
        self._answered = Histogram(
            "jaxunreg_request_seconds", "Seconds from the head of a request to its answer", buckets=_SECONDS, **place
        )
        for verdict in ("normal", "anomalous", "skipped"):
            self._images.labels(verdict)
        Gauge("jaxunreg_queue_places", "Images that may wait or be scored", **place).set(places.count)
        taken = Gauge("jaxunreg_queue_taken", "Images that wait or are scored now", **place)
        taken.set_function(lambda: places.taken)

    def count_answer(self, answer: Answer) -> None:
        """Count an image that was scored."""
        self._images.labels("anomalous" if answer.verdict.is_anomalous else "normal").inc()
        self._p_values.observe(answer.verdict.p_value)
        self._waited.observe(answer.waited)
        self._scored.observe(answer.scored)

    def count_skipped(self) -> None:
        """Count an image that cannot be used."""
        self._images.labels("skipped").inc()

    def count_request(self, seconds: float) -> None:
        """Count a request that was answered with scores, and how long that took."""
        self._answered.observe(seconds)

    def count_refused(self, reason: str) -> None:
        """Count a request that was refused."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)
