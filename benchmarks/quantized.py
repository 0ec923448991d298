"""What int8 does to exported detectors: ONNX Runtime's static quantisation of their feature networks.

    python -m benchmarks.quantized --models DIR/bottle DIR/casting --data DATA/bottle DATA/casting --json quantized.json

exports each model, quantises its network by `onnxruntime.quantization.quantize_static` with ranges from normal images
that it was trained on, and scores images of the test split in float32 and in int8. What was learned of the features
stays in float32. Needs the extra `export`.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.export import export_detector
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.inspection import unseen_images
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.metrics import roc_auc
from jaxunreg.provenance import device, versions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      models: folders that `jaxunreg fit` wrote.
      data: the folder that each of them was made of, with defects.
      images: how many normal and how many defective images of the test split are scored, at most.
      calibration: how many normal images set the ranges.
      threads: of ONNX Runtime.
      json: where to write the results.
    """

    models: tuple[Path, ...]
    data: tuple[Path, ...]
    images: int = 70
    calibration: int = 40
    threads: int = 1
    json: Path | None = None


def main(options: Options) -> list[dict[str, Any]]:
    """Measure all models, print the results, and write them.

    Returns:
      A row for each model.
    """
    rows: list[dict[str, Any]] = []
    for model, data in zip(options.models, options.data, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_measured(model, data, Path(folder), options))
    table = Table("data", "AUC float32", "AUC int8", "scores int8 / float32", "ms float32", "ms int8")
    for row in rows:
        numbers = [f"{row[name]:.3f}" for name in ("auc_float32", "auc_int8", "ratio")]
        table.add_row(row["data"], *numbers, *(f"{row[f'ms_{kind}']:.0f}" for kind in ("float32", "int8")))
    Console().print(table)
    if options.json is not None:
        about = {"device": device(), "versions": versions(("jax", "onnx", "onnxruntime")), "rows": rows}
        options.json.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return rows


def _measured(model: Path, data: Path, folder: Path, options: Options) -> dict[str, Any]:
    detector = AnomalyDetector.load(model)
    exported = export_detector(detector, folder / "exported")
    images, _, _ = unseen_images(detector, load_folder(data, progress=False))
    rng = np.random.default_rng(0)
    anomalous = np.asarray(images.is_anomalous)
    chosen = [rng.permutation(np.flatnonzero(anomalous == kind))[: options.images] for kind in (False, True)]
    train = load_folder(data, progress=False).train
    about = runner.read_description(exported)

    def working(image: np.ndarray) -> np.ndarray:
        return runner.resized(runner.prepared(image, detector.channels), about["working_size"])[None]

    normal, defects = ([working(images[int(k)]) for k in some] for some in chosen)
    ranges = [working(train[int(k)]) for k in rng.permutation(len(train))[: options.calibration]]
    plain, plain_ms = scores_of(exported / "network.onnx", exported, normal + defects, detector.top_k, options.threads)
    network = folder / "int8.onnx"
    quantise(exported / "network.onnx", network, ranges)
    scores, ms = scores_of(network, exported, normal + defects, detector.top_k, options.threads)
    return {
        "data": data.name,
        "normal": len(normal),
        "defects": len(defects),
        "auc_float32": roc_auc(plain[: len(normal)], plain[len(normal) :]).value,
        "auc_int8": roc_auc(scores[: len(normal)], scores[len(normal) :]).value,
        "ratio": float(np.median(scores / plain)),
        "ms_float32": plain_ms,
        "ms_int8": ms,
    }


def quantise(network: Path, target: Path, ranges: list[np.ndarray]) -> None:
    """Write a network in int8, with ranges from images at the working size."""
    import onnxruntime
    from onnxruntime import quantization

    class Ranges(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(ranges)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image}

    joined = target.with_name("joined.onnx")
    joining = onnxruntime.SessionOptions()
    joining.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    joining.optimized_model_filepath = str(joined)
    onnxruntime.InferenceSession(str(network), joining, providers=["CPUExecutionProvider"])
    quantization.quantize_static(
        str(joined),
        str(target),
        Ranges(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
    )


def scores_of(
    network: Path, exported: Path, images: list[np.ndarray], top_k: int, threads: int
) -> tuple[np.ndarray, float]:
    """The score of each image, and the median milliseconds that its network takes."""
    look, density = (runner.load_onnx(path, threads) for path in (network, exported / "density.onnx"))
    scores, seconds = [], []
    for image in images:
        began = time.perf_counter()
        features = look(image)[0][0]
        seconds.append(time.perf_counter() - began)
        scores.append(np.sort(density(features)[0], axis=None)[::-1][:top_k].mean(dtype=np.float64))
    return np.array(scores), 1e3 * float(np.median(seconds))


if __name__ == "__main__":
    main(tyro.cli(Options))
