"""The public names of `jaxunreg.inspection`, each imported when it is first asked for."""

from .calibrating import calibrate_detector
from .calibration import Calibration, calibrate, images_needed
from .config import DetectorConfig
from .detector import AnomalyDetector
from .drift import DriftState, DriftTest
from .drift_reading import DriftReading
from .evaluating import evaluate_detector
from .evaluation import Evaluation
from .fitting import fit_detector
from .lots import benjamini_hochberg, fewest_rejections
from .named_regions import JointRate, NamedRegion
from .promised_rates import promises
from .recalibrating import Recalibrated, recalibrate_detector
from .recalibration import Recalibration
from .region_to_tell import RegionToTell
from .regions import Region, find_regions, region_mask
from .unseen import UnseenImages, unseen_images
from .verdict import Box, ImageVerdict, InspectedImage, RegionVerdict

__all__ = [
    "AnomalyDetector",
    "Box",
    "Calibration",
    "DetectorConfig",
    "DriftReading",
    "DriftState",
    "DriftTest",
    "Evaluation",
    "ImageVerdict",
    "InspectedImage",
    "JointRate",
    "NamedRegion",
    "Recalibrated",
    "Recalibration",
    "Region",
    "RegionToTell",
    "RegionVerdict",
    "UnseenImages",
    "benjamini_hochberg",
    "calibrate",
    "calibrate_detector",
    "evaluate_detector",
    "fewest_rejections",
    "find_regions",
    "fit_detector",
    "images_needed",
    "promises",
    "recalibrate_detector",
    "region_mask",
    "unseen_images",
]
