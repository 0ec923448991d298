"""Measures of how good scores are: for images, for pixels, and against the complexity of the images."""

from jaxunreg.metrics.boxes import BoxStatistics, box_statistics
from jaxunreg.metrics.explained import ComplexityShare, explained_by_class, explained_by_complexity
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.pixels import OverlapCurve, per_region_overlap, per_region_overlap_curve, pixel_roc_auc
from jaxunreg.metrics.png_size import bytes_a_pixel, complexity
from jaxunreg.metrics.ranking import Roc, average_precision, roc_auc, roc_curve

__all__ = [
    "BoxStatistics",
    "ComplexityShare",
    "Interval",
    "OverlapCurve",
    "Roc",
    "average_precision",
    "box_statistics",
    "bytes_a_pixel",
    "complexity",
    "explained_by_class",
    "explained_by_complexity",
    "per_region_overlap",
    "per_region_overlap_curve",
    "pixel_roc_auc",
    "roc_auc",
    "roc_curve",
]
