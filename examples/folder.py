"""From a folder of good parts to verdicts: fit, save, load, score, and say how well the defects are found.

python -m examples.folder
python -m examples.folder --directory parts --resolution 384
"""

import tempfile
from pathlib import Path

import tyro

import jaxunreg as ju
from jaxunreg.datasets.folders import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection import evaluate_detector, unseen_images


def main(
    directory: Path | None = None, resolution: int = 256, false_positive_rate: float = 0.05, parts: int = 80
) -> float:
    """Return the ROC AUC of M on the images that the detector has not seen.

    Args:
      directory: images laid out as for `load_folder`; by default parts are generated.
      resolution: images are looked at with about the square of this many pixels.
      false_positive_rate: share of good parts that may be called anomalous.
      parts: good parts to learn from, where parts are generated.
    """
    with tempfile.TemporaryDirectory() as work:
        if directory is None:
            directory = write_parts(Path(work, "parts"), train=parts, test=max(2, parts // 8))
        data = load_folder(directory)
        config = ju.DetectorConfig(resolution=resolution, false_positive_rate=false_positive_rate)
        ju.fit_detector(data.train, config, directory=Path(work, "model"))

        detector = ju.AnomalyDetector.load(Path(work, "model"))
        print(detector.summary())
        images = unseen_images(detector, data).images
        for file, verdict in zip(images.files, detector.scores(images), strict=True):
            found = "anomalous" if verdict.is_anomalous else "normal"
            print(f"{file.label}/{file.path.name}: {found}, {verdict.score:.0f} nats, p = {verdict.p_value:.3f}")
        metrics = evaluate_detector(detector, images, bootstrap=100).results
    auc = metrics["image"]["m"]["roc_auc"]["value"]
    print(f"ROC AUC of M: {auc:.3f}")
    return auc


if __name__ == "__main__":
    tyro.cli(main)
