"""Detectors: models with a threshold from held-out normal images, how they are made, and how good they are."""

from jaxunreg.inspection.calibrating import calibrate_detector
from jaxunreg.inspection.calibration import Calibration, calibrate, images_needed
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.drift import DriftState, DriftTest
from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.evaluating import evaluate_detector
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.inspection.lots import benjamini_hochberg, fewest_rejections
from jaxunreg.inspection.named_regions import JointRate, NamedRegion
from jaxunreg.inspection.promises import promises
from jaxunreg.inspection.recalibrating import Recalibrated, recalibrate_detector
from jaxunreg.inspection.recalibration import Recalibration
from jaxunreg.inspection.region_to_tell import RegionToTell
from jaxunreg.inspection.regions import Region, find_regions, region_mask
from jaxunreg.inspection.unseen import UnseenImages, unseen_images
from jaxunreg.inspection.verdict import Box, ImageVerdict, InspectedImage, RegionVerdict

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
