"""The methods of `benchmarks.peers`: ours, PyOD's, scikit-learn's and anomalib's, each with `fit` and `scores`.

Packages are imported when a method is made, so that a process measures the memory of one alone.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

Columns: TypeAlias = Literal["features", "pixels", "images"]
"""What a method sees: means and standard deviations of features over an image, an image of 32x32, or images."""

_SIDE = 32
_BATCH = 4


class Method(Protocol):
    """What is measured."""

    def fit(self, images: Sequence[np.ndarray]) -> None:
        """Learn from normal images."""
        ...

    def scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The score of each image; higher is more anomalous."""
        ...


class Detector:
    """Our detector of features, in its default settings but for the resolution."""

    def __init__(self, resolution: int) -> None:
        import jaxunreg as ju

        self._config = ju.DetectorConfig(resolution=resolution, false_positive_rate=0.1)
        self._fit = ju.fit_detector

    def fit(self, images: Sequence[np.ndarray]) -> None:
        """Choose, fit and calibrate."""
        self._detector = self._fit(list(images), self._config, progress=False)

    def scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """M, the mean over one place in fifty."""
        return np.array([verdict.score for verdict in self._detector.scores(images)])


class OfRows:
    """A model of tables, on rows that are made of images."""

    def __init__(self, model: Any, columns: Columns, resolution: int) -> None:
        self._model = model
        self._rows = pooled_features(resolution) if columns == "features" else pixels
        self._decide: Callable = getattr(model, "decision_function", None) or model.score_samples
        # scikit-learn's scores are higher for normal rows.
        self._sign = -1.0 if type(model).__module__.startswith("sklearn") else 1.0

    def fit(self, images: Sequence[np.ndarray]) -> None:
        """Standardise the columns, and fit the model."""
        rows = self._rows(images)
        self._mean, self._scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
        self._model.fit((rows - self._mean) / self._scale)

    def scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The score of each row."""
        return self._sign * np.asarray(self._decide((self._rows(images) - self._mean) / self._scale), np.float64)


def pixels(images: Sequence[np.ndarray]) -> np.ndarray:
    """Each image at 32x32, as a row."""
    from jaxunreg.scoring.working_size import shrunk

    small = [shrunk(image, (_SIDE, _SIDE), image.shape[2]).pixels.ravel() for image in images]
    return np.stack(small).astype(np.float64)


def pooled_features(resolution: int) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Mean and standard deviation over an image of what EfficientNet-Lite0 sees, as a row."""
    from jaxunreg.features import EfficientNetLite0
    from jaxunreg.scoring.feature_stream import feature_maps

    network = EfficientNetLite0.pretrained()

    def rows(images: Sequence[np.ndarray]) -> np.ndarray:
        channels = images[0].shape[2]
        maps = feature_maps(network, images, len(images), (resolution, resolution), channels).astype(np.float64)
        return np.concatenate([maps.mean(axis=(1, 2)), maps.std(axis=(1, 2))], axis=1)

    return rows


class Anomalib:
    """PaDiM or PatchCore of anomalib, on the levels and the weights of EfficientNet-Lite0 that our network has.

    anomalib's usual backbones need weights that it would download. PaDiM keeps 100 of the 152 features, as it does of a
    ResNet18, and PatchCore 1 % of the places.
    """

    def __init__(self, name: Literal["PaDiM", "PatchCore"], resolution: int) -> None:
        import torch

        from jaxunreg.features.weights import weights_path

        torch.manual_seed(0)
        settings: dict[str, Any] = {
            "backbone": "tf_efficientnet_lite0",
            "layers": ["blocks.2", "blocks.4"],
            "pre_trained": False,
        }
        room = importlib.import_module(f"anomalib.models.image.{name.lower()}.torch_model")
        self._model: Any = (
            room.PadimModel(**settings, n_features=100) if name == "PaDiM" else room.PatchcoreModel(**settings)
        )
        self._torch, self._size, self._name = torch, (resolution, resolution), name
        backbone = self._model.feature_extractor.feature_extractor
        stored = torch.load(weights_path(), weights_only=True)
        # Both list their tensors from the stem on. Ours has a head more.
        own = list(backbone.state_dict().items())
        pairs = list(zip(own, stored.values(), strict=False))
        assert all(tensor.shape == value.shape for (_, tensor), value in pairs)
        backbone.load_state_dict({key: value for (key, _), value in pairs})

    def fit(self, images: Sequence[np.ndarray]) -> None:
        """Collect the features, and fit the Gaussians or choose the memory bank."""
        self._model.train()
        self._model.feature_extractor.eval()
        for batch in self._batches(images):
            self._model(batch)
        if self._name == "PaDiM":
            self._model.fit()
        else:
            self._model.subsample_embedding(0.01)
        self._model.eval()

    def scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The highest value of the map, or the weighted distance of the farthest place."""
        with self._torch.inference_mode():
            return np.concatenate([self._model(batch).pred_score.numpy().ravel() for batch in self._batches(images)])

    def _batches(self, images: Sequence[np.ndarray]) -> Any:
        from jaxunreg.scoring.working_size import shrunk

        for start in range(0, len(images), _BATCH):
            some = [shrunk(image, self._size, image.shape[2]).pixels for image in images[start : start + _BATCH]]
            stacked = np.stack([np.broadcast_to(one, (*self._size, 3)) for one in some])
            # As the weights expect: (255 x - 127) / 128.
            yield self._torch.from_numpy((stacked * 255.0 - 127.0) / 128.0).permute(0, 3, 1, 2).contiguous()


def _of_table(module: str, name: str, **settings: Any) -> Callable[[Columns, int], Method]:
    def make(columns: Columns, resolution: int) -> Method:
        return OfRows(getattr(importlib.import_module(module), name)(**settings), columns, resolution)

    return make


METHODS: Mapping[str, tuple[str, tuple[Columns, ...], Callable[[Columns, int], Method]]] = {
    "jaxunreg": ("jaxunreg", ("images",), lambda _, resolution: Detector(resolution)),
    "jaxunreg, Gaussian of rows": (
        "jaxunreg",
        ("features", "pixels"),
        _of_table("jaxunreg.adapters", "PyODDetector"),
    ),
    **{
        f"PyOD, {name}": ("pyod", ("features", "pixels"), _of_table(f"pyod.models.{name.lower()}", name))
        for name in ("ECOD", "COPOD", "HBOS", "KNN", "PCA")
    },
    "scikit-learn, Isolation Forest": (
        "sklearn",
        ("features", "pixels"),
        _of_table("sklearn.ensemble", "IsolationForest", random_state=0),
    ),
    "scikit-learn, one-class SVM": ("sklearn", ("features", "pixels"), _of_table("sklearn.svm", "OneClassSVM")),
    "scikit-learn, local outlier factor": (
        "sklearn",
        ("features", "pixels"),
        _of_table("sklearn.neighbors", "LocalOutlierFactor", novelty=True),
    ),
    "anomalib, PaDiM": ("anomalib", ("images",), lambda _, resolution: Anomalib("PaDiM", resolution)),
    "anomalib, PatchCore": ("anomalib", ("images",), lambda _, resolution: Anomalib("PatchCore", resolution)),
}
"""For each method the package that it needs, what it can see, and how it is made."""
