"""Evaluations against numbers that are known, or that another way of computing them gives."""

import dataclasses
import hashlib
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.ndimage
import sklearn.metrics
from PIL import Image

import jaxunreg as ju
from benchmarks.counted import counted
from jaxunreg.datasets.folders import room
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.inspection import Box, Evaluation, evaluate_detector, unseen_images

pytestmark = pytest.mark.slow

PATCH, STRIDE = 8, 4
TERMS = ("nelbo", "d", "a", "m")


def good(seed: int, height: int = 12, width: int = 15) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width), np.uint8)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def detector() -> ju.AnomalyDetector:
    """With weights as they are drawn: how good it is does not matter."""
    model = ju.VAE(ju.VAEConfig(image_shape=(PATCH, PATCH, 1), depth=2, base_channels=4, latent_dim=3))
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, PATCH, PATCH, 1), np.float32))
    images = [good(k)[..., None] for k in range(9)]
    return ju.calibrate_detector(ju.make_scorer(model, variables), images, stride=STRIDE, false_positive_rate=0.2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """Normal images of two sizes, cracks with masks of two regions, and dents without."""
    root = tmp_path_factory.mktemp("evaluation") / "parts"
    for k in range(8):
        write(root / "good" / f"{k}.png", good(100 + k, 12 + 4 * (k % 2), 20 - 4 * (k % 2)))
    for k in range(3):
        pixels, mask = good(200 + k), np.zeros((12, 15), np.uint8)
        for region in (np.s_[1:4, 2:9], np.s_[8:10, 10 : 12 + k]):
            pixels[region] += 60
            mask[region] = 255
        write(root / "crack" / f"{k}.png", pixels)
        write(root / "crack" / f"{k}_mask.png", mask)
        write(root / "dent" / f"{k}.png", good(300 + k) // 2)
    return root


@pytest.fixture(scope="module")
def images(parts) -> ImageFiles:
    data = load_folder(parts, progress=False)
    return data.train.joined(data.test)


@pytest.fixture(scope="module")
def found(detector, images) -> Evaluation:
    return evaluate_detector(detector, images, bootstrap=5, progress=False)


def remembering(detector: ju.AnomalyDetector, images: ImageFiles) -> ju.AnomalyDetector:
    """As if the detector had been made of these files."""
    hashes = [hashlib.sha256(file.path.read_bytes()).hexdigest()[:16] for file in images.files]
    return dataclasses.replace(detector, record={"files": hashes})


def area_under_overlap(heats: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """AUPRO from its definition: a threshold at every value there is, and a trapezoid between any two."""
    regions = []
    for k, mask in enumerate(masks):
        labels, count = scipy.ndimage.label(mask, np.ones((3, 3)))
        regions += [(k, labels == n) for n in range(1, count + 1)]
    normal = np.concatenate([heat[~mask] for heat, mask in zip(heats, masks, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([heat.ravel() for heat in heats]))[::-1]:
        overlap = np.mean([np.mean(heats[k][region] >= threshold) for k, region in regions])
        points.append((np.mean(normal >= threshold), overlap))
    rates, overlaps = np.array(points).T
    end = np.interp(limit, rates, overlaps)
    inside = rates <= limit
    x, y = np.append(rates[inside], limit), np.append(overlaps[inside], end)
    return float(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2) / limit)


def test_scores_are_those_of_a_loop_over_crops(detector, images, found):
    for k, image in enumerate(images):
        height, width = image.shape[:2]
        rows = sorted({*range(0, height - PATCH + 1, STRIDE), height - PATCH})
        columns = sorted({*range(0, width - PATCH + 1, STRIDE), width - PATCH})
        corners = [(row, column) for row in rows for column in columns]
        crops = np.stack([image[row : row + PATCH, column : column + PATCH] for row, column in corners])
        terms = ju.score_images(detector.scorer, crops)
        for term in TERMS:
            assert found.scores[term][k] == pytest.approx(getattr(terms, term).max(), rel=1e-4)
        assert found.worst[k] == (*corners[int(terms.m.argmax())], PATCH, PATCH)


def test_rankings_and_verdicts_are_those_of_scikit_learn_and_of_counting(detector, images, found):
    truth = np.array([file.path.parent.name != "good" for file in images.files])
    kinds = np.array([file.path.parent.name for file in images.files])
    results = found.results
    assert results["images"] == {"normal": 8, "anomalous": 6}
    for term in TERMS:
        scores = found.scores[term]
        image = results["image"][term]
        assert image["roc_auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores))
        expected = sklearn.metrics.average_precision_score(truth, scores)
        assert image["average_precision"]["value"] == pytest.approx(expected)
    held_out = np.sort(detector.held_out["m"][:, 0].astype(float))
    # Of 9 held-out images and a rate of 0.2, the k-th smallest with k = ceil(10 * 0.8).
    flagged = found.scores["m"] > held_out[7]
    assert results["verdicts"]["threshold"] == held_out[7]
    assert results["verdicts"]["false_positive_rate"] == np.mean(flagged[~truth])
    assert results["verdicts"]["true_positive_rate"] == np.mean(flagged[truth])
    assert {kind: (row["images"], row["found"]) for kind, row in results["defects"].items()} == {
        kind: (3, int(flagged[kinds == kind].sum())) for kind in ("crack", "dent")
    }
    # The check would be idle if all were called alike.
    assert 0 < flagged.sum() < len(flagged)


@pytest.mark.parametrize("stride", [None, 2])
def test_pixels_count_where_the_defect_is_known(detector, images, found, stride):
    if stride is not None:
        found = evaluate_detector(detector, images, heat_map_stride=stride, bootstrap=1, progress=False)
    known = [k for k, file in enumerate(images.files) if file.path.parent.name != "dent"]
    assert len(known) == 11
    masks = [images.mask(k) for k in known]
    for term in TERMS:
        heats = [np.asarray(ju.heat_map(detector.scorer, images[k], stride=stride or STRIDE, term=term)) for k in known]
        everywhere, inside = (np.concatenate([np.ravel(part) for part in parts]) for parts in (heats, masks))
        area = sklearn.metrics.roc_auc_score(inside, everywhere)
        # The two heat maps differ by rounding, which may swap neighbours among 3,000 pixels.
        assert found.pixels[term]["roc_auc"] == pytest.approx(area, abs=1e-3)
        assert found.pixels[term]["aupro"] == pytest.approx(area_under_overlap(heats, masks, 0.3), abs=5e-3)


def test_other_strides_change_the_pixels_and_nothing_else(detector, images, found):
    finer = evaluate_detector(detector, images, heat_map_stride=1, bootstrap=5, progress=False)
    assert finer.pixels != found.pixels
    for term in TERMS:
        np.testing.assert_array_equal(finer.scores[term], found.scores[term])
    assert finer.worst == found.worst
    assert {**finer.results, "pixel": None} == {**found.results, "pixel": None}


def test_without_masks_there_are_no_pixels(detector, images, found):
    unmasked = images.select([file.path.parent.name != "crack" for file in images.files])
    bare = evaluate_detector(detector, unmasked, bootstrap=1, progress=False)
    assert bare.pixels == {}
    assert bare.results["pixel"] is None
    expected = [score for score, file in zip(found.scores["m"], images.files, strict=True) if file.label != "crack"]
    np.testing.assert_array_equal(bare.scores["m"], expected)


def test_rows_and_examples_of_scores_that_are_known(detector, images):
    """Of three good, and of kinds of one or two, the one in the middle and the highest good one."""
    names = ["good/0", "good/1", "good/2", "crack/0", "crack/1", "dent/0"]
    order = [f"{file.path.parent.name}/{file.path.stem}" for file in images.files]
    few = images.select([order.index(name) for name in names])
    threshold = detector.threshold
    m = threshold + np.array([-1.0, 2.0, 0.0, 1.0, 3.0, -2.0])
    evaluation = Evaluation(
        detector=detector,
        images=few,
        scores={"m": m, "d": np.arange(6.0), "a": -np.arange(6.0), "nelbo": m},
        worst=[Box(k, 2 * k, PATCH, PATCH) for k in range(6)],
        pixels={},
        complexities=np.ones(6),
        heat_map_stride=STRIDE,
        bootstrap=1,
    )
    # A score that equals the threshold is normal.
    assert evaluation.is_flagged.tolist() == [False, True, False, True, True, False]
    rows = list(evaluation.rows())
    assert list(rows[0])[:6] == ["path", "label", "nelbo", "d", "a", "m"]
    assert [row["verdict"] for row in rows] == ["normal", "anomalous", "normal", "anomalous", "anomalous", "normal"]
    assert [row["m"] for row in rows] == m.tolist()
    assert [(row["top"], row["left"]) for row in rows] == [(k, 2 * k) for k in range(6)]
    # crack: the upper one of two; dent: the only one; good: the middle one, and the highest.
    assert evaluation.examples() == [4, 5, 2, 1]
    results = evaluation.results
    # Pairs of a defect above a good one, by hand: 1 beats -1 and 0, 3 beats all, -2 beats none.
    assert results["image"]["m"]["roc_auc"]["value"] == pytest.approx(5 / 9)
    assert results["image"]["d"]["roc_auc"]["value"] == 1.0
    assert results["image"]["a"]["roc_auc"]["value"] == 0.0
    assert results["defects"]["crack"]["found"] == 2
    assert results["defects"]["crack"]["roc_auc"]["m"] == pytest.approx(5 / 6)
    assert results["defects"]["dent"]["found"] == 0
    assert results["verdicts"]["true_positive_rate"] == pytest.approx(2 / 3)
    assert results["verdicts"]["false_positive_rate"] == pytest.approx(1 / 3)
    assert results["complexity"] is None


def test_each_file_is_read_once(detector, parts, monkeypatch):
    with counted(parts) as counts:
        images = load_folder(parts, progress=False).test
        evaluate_detector(detector, images, bootstrap=1, progress=False)
        everything = [path for path in parts.rglob("*") if path.is_file()]
        assert counts.opened == dict.fromkeys(map(str, everything), 1)
    # What there is no room to keep is read once more.
    monkeypatch.setattr(room, "MOST_BYTES", 0)
    images = load_folder(parts, progress=False).test
    with counted(parts) as counts:
        evaluate_detector(detector, images, bootstrap=1, progress=False)
    masks = {str(file.mask) for file in images.files if file.mask}
    assert counts.opened == dict.fromkeys([*(str(file.path) for file in images.files), *masks], 1)


def test_images_that_the_detector_was_made_of_are_refused(detector, images):
    made_of = remembering(detector, images.select([1, 3]))
    with pytest.raises(ValueError, match=r"got 2 of 14 images that .* and 1 more; expected .* not seen"):
        evaluate_detector(made_of, images, bootstrap=1, progress=False)
    unseen = images.select(~made_of.has_seen(images))
    assert len(evaluate_detector(made_of, unseen, bootstrap=1, progress=False).scores["m"]) == 12


def test_a_folder_that_the_detector_was_made_of_gives_its_test_split(detector, parts):
    data = load_folder(parts, progress=False)
    images, left_out, explanation = unseen_images(remembering(detector, data.train), data)
    assert images.files == data.test.files
    assert left_out == ()
    assert explanation.startswith("the test split of parts is used: a share of 0.25")


def test_another_folder_gives_all_images_but_those_that_were_seen(detector, parts):
    data = load_folder(parts, progress=False)
    images, left_out, explanation = unseen_images(detector, data)
    assert len(images) == 14
    assert left_out == ()
    assert explanation == "all images of parts are used, since the model was made of none of them"
    old = data.train.select([0])
    images, left_out, explanation = unseen_images(remembering(detector, old), data)
    assert len(images) == 13
    assert [(entry.path, "trained or calibrated on" in entry.reason) for entry in left_out] == [
        (old.files[0].path, True)
    ]
    assert explanation == "all images of parts are used, except 1 that the model was made of"


def test_a_split_on_disk_is_used_without_what_was_seen(detector, tmp_path):
    for k in range(2):
        write(tmp_path / "tree" / "train" / "good" / f"{k}.png", good(k))
        write(tmp_path / "tree" / "test" / "good" / f"{k}.png", good(1 + k))  # the first is a copy
        write(tmp_path / "tree" / "test" / "crack" / f"{k}.png", good(50 + k))
    data = load_folder(tmp_path / "tree", progress=False)
    images, left_out, _ = unseen_images(remembering(detector, data.train), data)
    assert sorted(f"{file.label}/{file.path.name}" for file in images.files) == [
        "crack/0.png",
        "crack/1.png",
        "good/1.png",
    ]
    assert [entry.path.name for entry in left_out] == ["0.png"]


def test_a_folder_without_an_unseen_image_is_refused(detector, tmp_path):
    for k in range(2):
        write(tmp_path / "plain" / f"{k}.png", good(k))
        write(tmp_path / "tree" / "train" / "good" / f"{k}.png", good(k))
        write(tmp_path / "tree" / "test" / "good" / f"{k}.png", good(k))
    plain, tree = (load_folder(tmp_path / name, progress=False) for name in ("plain", "tree"))
    with pytest.raises(ValueError, match="layout plain, which has no test images; expected normal images and defects"):
        unseen_images(remembering(detector, plain.train), plain)
    with pytest.raises(ValueError, match="and the model was made of all its 2 images; expected others"):
        unseen_images(remembering(detector, tree.train), tree)


@pytest.mark.parametrize(
    ("chosen", "options", "message"),
    [
        ("good", {}, "got 8 normal and 0 defective images to evaluate on; expected both"),
        ("crack", {}, "got 0 normal and 3 defective images to evaluate on; expected both"),
        (None, {"bootstrap": 0}, "got bootstrap=0; expected at least 1"),
        (None, {"heat_map_stride": 9}, "got heat_map_stride=9; expected 1 to 8"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_an_image_is_read(detector, images, chosen, options, message, parts):
    some = images if chosen is None else images.select([file.label == chosen for file in images.files])
    with counted(parts) as counts, pytest.raises(ValueError, match=message):
        evaluate_detector(detector, some, progress=False, **options)
    assert not counts.opened
