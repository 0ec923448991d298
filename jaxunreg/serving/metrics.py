"""The counts of a service, for Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from jaxunreg.serving.service import Answer, ScoringService

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

# Each of the ten last bins holds a tenth of the normal parts, and drift shows there.
_P_VALUES = (0.001, 0.005, 0.01, 0.02, 0.05, *(k / 10 for k in range(1, 11)))


class ServiceMetrics:
    """Counters and histograms of one service, in their own registry.

    Args:
      service: the service, whose queue and drift are reported.
    """

    def __init__(self, service: ScoringService) -> None:
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
        outcomes = ("normal", "anomalous") if service.detector.review_rate is None else ("pass", "review", "reject")
        for outcome in (*outcomes, "skipped"):
            self._images.labels(outcome)  # reported as 0 before the first one
        for name, meaning, value in (
            ("queue_places", "Images that may wait or be scored", lambda: service.places.count),
            ("queue_taken", "Images that wait or are scored now", lambda: service.places.taken),
            ("drift_parts", "Images that the test of drift has seen", lambda: service.drift().parts),
            ("drift_capital", "Capital of the bets on drift", lambda: service.drift().drift),
            ("drift_excess_capital", "Capital of the bets on an excess of anomalies", lambda: service.drift().excess),
            ("drift_alarm_at", "Capital at which either alarms", lambda: service.drift().alarm_at),
        ):
            Gauge(f"jaxunreg_{name}", meaning, **place).set_function(value)

    def count_answer(self, answer: Answer) -> None:
        """Count an image that was scored."""
        self._images.labels(answer.verdict.outcome).inc()
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
        """Return all metrics, in the text format of Prometheus."""
        return generate_latest(self._registry)
