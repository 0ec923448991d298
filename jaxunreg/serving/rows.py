"""What came out for one image, as JSON data: the same names in the answers of a service and in the rows of a watch."""

from typing import Any

from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.verdict import ImageVerdict


def verdict_row(verdict: ImageVerdict) -> dict[str, Any]:
    """A verdict as JSON data, with the names of the columns of `jaxunreg score`.

    >>> from jaxunreg.inspection import Box
    >>> verdict = ImageVerdict(3.5, 0.01, 2.0, True, Box(0, 8, 32, 32), None)
    >>> verdict_row(verdict)["verdict"], verdict_row(verdict)["left"]
    ('anomalous', 8)
    """
    return {
        "score": verdict.score,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "verdict": "anomalous" if verdict.is_anomalous else "normal",
        **verdict.worst._asdict(),
    }


def skipped_row(reason: str) -> dict[str, Any]:
    """The row of an image that cannot be used.

    >>> skipped_row("is empty (0 bytes)")
    {'verdict': 'skipped', 'reason': 'is empty (0 bytes)'}
    """
    return {"verdict": "skipped", "reason": reason}


def drift_row(reading: DriftReading) -> dict[str, Any]:
    """What a test of drift says, as JSON data.

    >>> drift_row(DriftReading(100, 30, 5.0, 1.5, 7e8, 200.0))["excess_alarm"]
    True
    """
    return {
        "parts": reading.parts,
        "capital": reading.drift,
        "excess_capital": reading.excess,
        "alarm_at": reading.alarm_at,
        "drift_alarm": reading.has_drifted,
        "excess_alarm": reading.has_excess,
    }
