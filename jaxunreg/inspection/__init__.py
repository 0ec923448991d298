"""Detectors: models with a threshold from held-out normal images, how they are made, and how good they are."""

from jaxunreg.inspection.calibrating import calibrate_detector
from jaxunreg.inspection.calibration import Calibration, calibrate, images_needed
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.evaluating import evaluate_detector
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.inspection.unseen import UnseenImages, unseen_images
from jaxunreg.inspection.verdict import Box, ImageVerdict, InspectedImage

__all__ = [
    "AnomalyDetector",
    "Box",
    "Calibration",
    "DetectorConfig",
    "Evaluation",
    "ImageVerdict",
    "InspectedImage",
    "UnseenImages",
    "calibrate",
    "calibrate_detector",
    "evaluate_detector",
    "fit_detector",
    "images_needed",
    "unseen_images",
]
