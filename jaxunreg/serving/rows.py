"""What came out for one image, as JSON data: the same names in the answers of a service and in the rows of a watch."""

from typing import Any

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
