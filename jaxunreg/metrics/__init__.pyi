"""The public names of `jaxunreg.metrics`, each imported when it is first asked for."""

from .boxes import BoxStatistics, box_statistics
from .explained import ComplexityShare, explained_by_class, explained_by_complexity
from .interval import Interval
from .pixels import OverlapCurve, per_region_overlap, per_region_overlap_curve, pixel_roc_auc
from .png_size import bytes_a_pixel, complexity
from .ranking import Roc, average_precision, roc_auc, roc_curve

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
