"""Conventional detectors over scikit-learn, all with one protocol, on images or on patches.

scikit-learn's scores grow with how *normal* an image is; the signs are turned here and nowhere else, so that every
score of this package is higher for the more anomalous image.

On images that are larger than a patch they are fitted on `jaxunreg.batches.random_crops` and scored through
`jaxunreg.patches.map_patches`.
"""

from jaxunreg.baselines.detector import Detector
from jaxunreg.baselines.forest import IsolationForest, IsolationForestConfig
from jaxunreg.baselines.mixture import GaussianMixture, GaussianMixtureConfig
from jaxunreg.baselines.pca import PCAResidual, PCAResidualConfig
from jaxunreg.baselines.svm import OneClassSVM, OneClassSVMConfig

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
