"""The result for one image as JSON data, with the same names in answers of a service and rows of a watch."""

from collections.abc import Sequence
from typing import Any

from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.regions import Region
from jaxunreg.inspection.verdict import ImageVerdict


def verdict_row(verdict: ImageVerdict) -> dict[str, Any]:
    """Return a verdict as JSON data, with the names of the columns of `jaxunreg score`.

    >>> from jaxunreg.inspection import Box
    >>> row = verdict_row(ImageVerdict(3.5, 0.01, 2.0, True, Box(0, 8, 32, 32), None))
    >>> row["verdict"], row["is_anomalous"], row["left"]
    ('anomalous', True, 8)
    """
    row = {
        "score": verdict.score,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "verdict": verdict.outcome,
        "is_anomalous": verdict.is_anomalous,
        **verdict.worst._asdict(),
    }
    if verdict.review_threshold is not None:
        row["review_threshold"] = verdict.review_threshold
    if verdict.named:
        row["named_regions"] = [region._asdict() for region in verdict.named]
    return row


def region_rows(regions: Sequence[Region]) -> list[dict[str, Any]]:
    """Return regions of a heat map as JSON data.

    >>> from jaxunreg.inspection import Box
    >>> region_rows([Region(Box(4, 8, 3, 3), area=7, peak=9.5, mean=6.0)])
    [{'top': 4, 'left': 8, 'height': 3, 'width': 3, 'area': 7, 'peak': 9.5, 'mean': 6.0}]
    """
    return [
        {**region.box._asdict(), "area": region.area, "peak": region.peak, "mean": region.mean} for region in regions
    ]


def skipped_row(reason: str) -> dict[str, Any]:
    """Return the row of an unusable image.

    >>> skipped_row("is empty (0 bytes)")
    {'verdict': 'skipped', 'reason': 'is empty (0 bytes)'}
    """
    return {"verdict": "skipped", "reason": reason}


def drift_row(reading: DriftReading) -> dict[str, Any]:
    """Return what a test of drift says, as JSON data.

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
