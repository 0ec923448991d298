"""All promises of a detector, in sentences for a log."""

from jaxunreg.inspection.calibrated_scorer import CalibratedScorer
from jaxunreg.text import rounded


def promises(detector: CalibratedScorer) -> tuple[str, ...]:
    """Return sentences on the threshold and its basis, the review band, the ignored area, and the named regions.

    Args:
      detector: the detector.

    Returns:
      Sentences without a full stop. The first is `AnomalyDetector.summary`.
    """
    found = [detector.summary()]
    if detector.review_threshold is not None:
        found.append(
            f"review above {rounded(detector.review_threshold)} {detector.scorer.unit}: at most "
            f"{100 * (detector.review_rate or 0):.4g} % of normal images are reviewed or rejected"
        )
    if detector.ignored is not None:
        found.append(f"{100 * detector.ignored.mean():.3g} % of the image is ignored")
    for region in detector.named_regions:
        calibration = region.calibration(detector.term, detector.scorer.unit)
        found.append(f"region {region.name}: {calibration.summary(region.false_positive_rate)}")
    if detector.named_regions:
        joint = detector.joint_rate()
        found.append(
            f"as a whole or by any region at most {100 * joint.bound:.4g} % of normal images are called anomalous; of "
            f"the held-out ones {100 * joint.held_out:.3g} % would be by the others"
        )
    return tuple(found)
