"""Baselines with the protocol `Baseline`: scikit-learn's on images or patches, PaDiM and PatchCore on features.

scikit-learn's scores are higher for *normal* images. Only this room and `adapters` change signs, so that every score of
this package is higher for the more anomalous image.

For images that are larger than a patch, fit a baseline on `jaxunreg.training.random_crops` and score through
`jaxunreg.scoring.map_patches`.
"""

from jaxunreg.baselines.base import Baseline, NotFittedError
from jaxunreg.baselines.coreset import greedy_coreset
from jaxunreg.baselines.feature_maps import Localization, to_pixels
from jaxunreg.baselines.gaussian_mixture import GaussianMixture, GaussianMixtureConfig
from jaxunreg.baselines.isolation_forest import IsolationForest, IsolationForestConfig
from jaxunreg.baselines.one_class_svm import OneClassSVM, OneClassSVMConfig
from jaxunreg.baselines.padim import PaDiM, PaDiMConfig
from jaxunreg.baselines.patchcore import PatchCore, PatchCoreConfig
from jaxunreg.baselines.pca_residual import PCAResidual, PCAResidualConfig

__all__ = [
    "Baseline",
    "GaussianMixture",
    "GaussianMixtureConfig",
    "IsolationForest",
    "IsolationForestConfig",
    "Localization",
    "NotFittedError",
    "OneClassSVM",
    "OneClassSVMConfig",
    "PCAResidual",
    "PCAResidualConfig",
    "PaDiM",
    "PaDiMConfig",
    "PatchCore",
    "PatchCoreConfig",
    "greedy_coreset",
    "to_pixels",
]
