"""Conventional detectors over scikit-learn, all with one protocol, on images or on patches.

scikit-learn's scores grow with how *normal* an image is; the signs are turned here and nowhere else, so that every
score of this package is higher for the more anomalous image.

On images that are larger than a patch they are fitted on `jaxunreg.training.random_crops` and scored through
`jaxunreg.scoring.map_patches`.
"""

from jaxunreg.baselines.base import Detector
from jaxunreg.baselines.gaussian_mixture import GaussianMixture, GaussianMixtureConfig
from jaxunreg.baselines.isolation_forest import IsolationForest, IsolationForestConfig
from jaxunreg.baselines.one_class_svm import OneClassSVM, OneClassSVMConfig
from jaxunreg.baselines.pca import PCAResidual, PCAResidualConfig

__all__ = [
    "Detector",
    "GaussianMixture",
    "GaussianMixtureConfig",
    "IsolationForest",
    "IsolationForestConfig",
    "OneClassSVM",
    "OneClassSVMConfig",
    "PCAResidual",
    "PCAResidualConfig",
]
