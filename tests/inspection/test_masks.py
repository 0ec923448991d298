"""What is ignored, named regions, pixel levels and the review band: against loops, and on disk."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
from jaxunreg.inspection import RegionToTell
from jaxunreg.inspection.counting import Counting, mask_at
from jaxunreg.inspection.named_regions import joint_rate
from jaxunreg.inspection.painting import PaintedImages, painted
from jaxunreg.reports.evaluation_tables import tabulate_evaluation
from jaxunreg.scoring.patches import patch_grid
from jaxunreg.serialization import with_checksum, without_checksum
from jaxunreg.serving.service import ScoringService

SIZE, STRIDE = (64, 96), 8


def images(seed: int, count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(60, 120, (count, *SIZE, 3), np.uint8))


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def odd(image: np.ndarray, row: int, column: int, value: int = 255) -> np.ndarray:
    """An image with a place that is odd; a place sees one pixel, so nothing else changes."""
    changed = image.copy()
    changed[row * STRIDE, column * STRIDE] = value
    return changed


@pytest.fixture(scope="module")
def network():
    return wrap(lambda weights, batch: batch[:, ::STRIDE, ::STRIDE], (), name="thinned")


@pytest.fixture(scope="module")
def scorer(network):
    learned = jax.numpy.asarray(np.stack(images(0, 30)), np.float32) / np.float32(255)
    whitening = fit_whitening(network(learned), WhiteningConfig(per_place=False))
    return ju.scoring.FeatureScorer(network, jax.tree.map(jax.numpy.asarray, whitening), SIZE, channels=3)


@pytest.fixture(scope="module")
def ignored() -> np.ndarray:
    """The left upper corner, drawn at half the size."""
    mask = np.zeros((32, 48), bool)
    mask[:8, :12] = True
    return mask


@pytest.fixture(scope="module")
def detector(scorer, ignored) -> ju.AnomalyDetector:
    right = np.zeros(SIZE, bool)
    right[:, 64:] = True
    return ju.calibrate_detector(
        scorer,
        images(1, 40),
        stride=STRIDE,
        top_k=4,
        false_positive_rate=0.1,
        review_rate=0.3,
        ignored=ignored,
        named_regions={"right": RegionToTell(right, 0.05)},
    )


@pytest.mark.parametrize("size", [(20, 30), (40, 60), (26, 39), (10, 15)])
def test_a_mask_marks_each_pixel_that_overlaps_a_marked_one(size):
    mask = np.random.default_rng(0).random((20, 30)) < 0.1
    (height, width), found = size, mask_at(mask, size)
    for row in range(height):
        for column in range(width):
            part = mask[
                int(np.floor(row * 20 / height)) : int(np.ceil((row + 1) * 20 / height)),
                int(np.floor(column * 30 / width)) : int(np.ceil((column + 1) * 30 / width)),
            ]
            assert found[row, column] == part.any()


def test_places_and_pixels_that_count_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    mask, region = rng.random((21, 33)) < 0.01, np.zeros((21, 33), bool)
    region[:, 10:20] = True
    grid = patch_grid(21, 33, patch=(5, 5), stride=4)
    found = Counting(mask, {"middle": region}).of((21, 33), grid)
    for i, row in enumerate(grid.rows):
        for j, column in enumerate(grid.columns):
            assert found.places[i, j] == (not mask[row : row + 5, column : column + 5].any())
            inside = region[int(row + 2.5), int(column + 2.5)]
            assert found.named["middle"][i, j] == (found.places[i, j] and inside)
    assert not found.pixels[mask].any()
    for row, column in rng.integers(0, [21, 33], (100, 2)):
        i = np.abs(grid.rows + 2.5 - row - 0.5).argmin()
        j = np.abs(grid.columns + 2.5 - column - 0.5).argmin()
        assert found.pixels[row, column] == found.places[i, j]
    assert Counting(None, {}).of((21, 33), grid).pixels is None


def test_ignored_pixels_are_gray_to_whoever_sees_the_image():
    image, mask = images(9, 1)[0], np.zeros((32, 48), bool)
    mask[:8, :12] = True
    found = painted(image, mask)
    assert (found[:16, :24] == 128).all()
    np.testing.assert_array_equal(found[16:], image[16:])
    np.testing.assert_array_equal(painted(image.astype(np.float32) / 255, mask), found.astype(np.float32) / 255)
    assert painted(image, None) is image
    sequence = PaintedImages([image, image], np.array([SIZE, SIZE]), mask)
    assert len(sequence) == len(sequence[:]) == 2
    np.testing.assert_array_equal(sequence[1:][0], found)
    assert sequence.fingerprint != PaintedImages([image, image], sequence.sizes, ~mask).fingerprint


def test_a_network_that_looks_far_around_sees_nothing_of_what_is_ignored():
    """Each place sees the mean of the whole image; the images that it learns from are painted, too."""

    def means(weights, batch):
        wide = batch.mean(axis=(1, 2), keepdims=True)
        return batch[:, ::STRIDE, ::STRIDE] + wide

    mask = np.zeros(SIZE, bool)
    mask[:24, :32] = True
    config = ju.DetectorConfig(false_positive_rate=0.2, calibration_fraction=0.4)
    detector = ju.fit_detector(
        images(10, 40), config, network=wrap(means, (), name="far"), ignored=mask, progress=False
    )
    [image] = images(11, 1)
    changed = np.where(mask[..., None], np.uint8(255), image)
    one, other = detector.inspect([image, changed], pixels=True)
    assert one.verdict.score == other.verdict.score
    np.testing.assert_array_equal(one.verdict.maps.m, other.verdict.maps.m)
    for seen, original in ((one, image), (other, changed)):
        assert seen.image is original
    for heat, found in zip(detector.heat_maps([image, changed]), (one, other), strict=True):
        np.testing.assert_array_equal(heat, found.pixels.m)
    assert detector.top_k == round(0.02 * 8 * 12 * (1 - mask.mean())) == 2


def test_what_is_ignored_changes_no_score_no_box_and_no_region(detector):
    [image] = images(2, 1)
    hidden, shown = odd(image, 0, 0), odd(image, 5, 4)
    plain, with_hidden, with_shown = detector.inspect([image, hidden, shown], pixels=True)
    assert with_hidden.verdict.score == plain.verdict.score
    assert with_hidden.verdict.worst == plain.verdict.worst
    np.testing.assert_array_equal(with_hidden.verdict.maps.m, plain.verdict.maps.m)
    assert detector.regions(with_hidden, 0.5) == detector.regions(plain, 0.5)
    assert with_shown.verdict.score > plain.verdict.score
    [found, *_] = detector.regions(with_shown)
    assert found.box.top <= 5 * STRIDE + 4 < found.box.top + found.box.height
    assert found.box.left <= 4 * STRIDE + 4 < found.box.left + found.box.width
    assert detector.region_mask(with_shown).sum() == sum(region.area for region in detector.regions(with_shown))
    bare = dataclasses.replace(detector, ignored=None)
    one, other = bare.scores([image, hidden])
    assert other.score > one.score


def test_the_threshold_rests_on_the_places_that_count(detector, scorer):
    expected = []
    for image in images(1, 40):
        [maps] = scorer.maps_each([image], stride=STRIDE)
        # The mask covers 16x24 pixels. The middle of place k lies at 8 k + 4, and its box reaches 16 pixels from there.
        counts = np.ones((8, 12), bool)
        counts[:4, :5] = False
        expected.append(np.sort(np.asarray(maps.patches.m)[counts])[-4:].mean())
    np.testing.assert_allclose(detector.calibration.scores, np.sort(expected), rtol=1e-6)


def test_a_named_region_has_a_threshold_of_its_own(detector):
    [image] = images(3, 1)
    for row, column, expected in ((5, 10, True), (5, 3, False)):
        [verdict] = detector.scores([odd(image, row, column)])
        [region] = verdict.named
        assert (region.name, region.is_anomalous) == ("right", expected)
        assert region.is_anomalous == (region.score > region.threshold) == (region.p_value <= 0.05)
        assert verdict.is_anomalous
    [region] = detector.named_regions
    assert region.top_k == 1
    rate = detector.joint_rate()
    assert rate.bound == pytest.approx(0.15)
    assert 0.0 <= rate.held_out <= rate.bound


def test_the_joint_rate_of_several_regions_is_kept_and_estimated():
    """Over draws of the held-out images: of three regions that have much in common, and one that has not."""
    rng, n, lines, rates = np.random.default_rng(4), 60, 400, [0.05, 0.1, 0.05, 0.1]
    flagged, bounds, estimates = [], [], []
    for _ in range(lines):
        common = rng.normal(size=n + 1)
        scores = [common + 0.5 * rng.normal(size=n + 1) for _ in range(3)] + [rng.normal(size=n + 1)]
        told = [
            ju.inspection.calibrate(row[:n]).is_anomalous(row[n:], rate)[0]
            for row, rate in zip(scores, rates, strict=True)
        ]
        flagged.append(any(told))
        found = joint_rate([row[:n] for row in scores], rates)
        bounds.append(found.bound)
        estimates.append(found.held_out)
    error = np.std(flagged) / np.sqrt(lines)
    np.testing.assert_allclose(bounds, 0.3)
    assert np.mean(flagged) <= 0.3 + 4 * error
    assert abs(np.mean(estimates) - np.mean(flagged)) < 4 * error
    assert np.mean(estimates) < 0.25


def test_a_review_band_gives_pass_review_and_reject(detector):
    outcomes = {verdict.outcome for verdict in detector.scores(images(5, 60))}
    assert outcomes == {"pass", "review", "reject"}
    for verdict in detector.scores(images(6, 20)):
        reject = verdict.p_value <= 0.1 or verdict.named[0].is_anomalous
        assert verdict.outcome == ("reject" if reject else "review" if verdict.p_value <= 0.3 else "pass")
    plain = dataclasses.replace(detector, review_rate=None)
    assert {verdict.outcome for verdict in plain.scores(images(5, 60))} == {"normal", "anomalous"}
    with pytest.raises(ValueError, match="got review_rate=0.1; expected more than false_positive_rate=0.1"):
        dataclasses.replace(detector, review_rate=0.1)


def test_of_normal_images_few_have_a_region_above_the_level(detector):
    peaks = np.sort(detector.pixel_peaks["m"])
    assert detector.pixel_level(0.1) == peaks[int(np.ceil(41 * 0.9)) - 1]
    shares = [bool(detector.regions(found, 0.25)) for found in detector.inspect(images(7, 150), pixels=True)]
    low, high = detector.calibration.realised_rate(0.25, confidence=0.9999)[1:]
    error = 4 * np.sqrt(0.25 * 0.75 / 150)
    assert low - error < np.mean(shares) < high + error
    with pytest.raises(ValueError, match=r"expected at least 1/\(40 \+ 1\)"):
        detector.pixel_level(0.001)
    [without] = detector.inspect(images(7, 1))
    with pytest.raises(ValueError, match="got an image without a heat map"):
        detector.regions(without)


def test_masks_and_rates_are_saved_with_the_detector(detector, network, tmp_path):
    detector.save(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["detector.json", "masks", "model"]
    again = ju.AnomalyDetector.load(tmp_path / "m", network=network)
    np.testing.assert_array_equal(again.ignored, detector.ignored)
    assert (again.review_rate, again.pixel_level(), again.joint_rate()) == (
        0.3,
        detector.pixel_level(),
        detector.joint_rate(),
    )
    for one, other in zip(detector.scores(images(8, 3)), again.scores(images(8, 3)), strict=True):
        assert (one.score, one.named, one.worst, one.outcome) == (other.score, other.named, other.worst, other.outcome)
    file = tmp_path / "m" / "masks" / "region-0.png"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ju.CheckpointError, match=r"masks that are not those it was written with \(region-0.png\)"):
        ju.AnomalyDetector.load(tmp_path / "m", network=network)
    dataclasses.replace(detector, ignored=None, named_regions=()).write_into(tmp_path / "m")
    assert ju.AnomalyDetector.load(tmp_path / "m", network=network).ignored is None
    assert not (tmp_path / "m" / "masks").exists()


def test_a_service_warms_up_with_an_image_that_the_masks_fit(detector):
    assert detector.fitting_size == (32, 48)
    assert dataclasses.replace(detector, ignored=None).fitting_size == SIZE
    assert dataclasses.replace(detector, ignored=None, named_regions=()).fitting_size == (32, 32)
    with ScoringService(detector) as service:
        service.warm_up()
        assert service.submit(images(12, 1)[0]).result().verdict.named[0].name == "right"


def test_a_detector_of_the_format_before_scores_as_it_did(detector, network, tmp_path):
    plain = dataclasses.replace(detector, ignored=None, named_regions=(), review_rate=None)
    plain.save(tmp_path / "m")
    file = tmp_path / "m" / "detector.json"
    content = without_checksum(json.loads(file.read_text()))
    for name in ("review_rate", "pixel_peaks", "named_regions", "mask_files"):
        del content[name]
    file.write_text(json.dumps(with_checksum({**content, "format": 2})))
    again = ju.AnomalyDetector.load(tmp_path / "m", network=network)
    assert again.calibration == plain.calibration
    with pytest.raises(ValueError, match=r"a detector of an earlier version.*calibrate it anew.*jaxunreg recalibrate"):
        again.pixel_level()


def test_masks_that_do_not_fit_are_told(scorer, ignored):
    def calibrated(**how):
        return ju.calibrate_detector(scorer, images(1, 19), stride=STRIDE, **how)

    corner = np.zeros(SIZE, bool)
    corner[0, 0] = True
    for how, message in (
        ({"ignored": np.zeros(SIZE, bool)}, "got the ignored area without a marked pixel"),
        ({"ignored": np.ones(SIZE, bool)}, "got an ignored area that leaves no place of an image of 64x96"),
        ({"ignored": np.eye(10, dtype=bool)}, "got a mask of 10x10 for an image of 64x96; expected sides of the same"),
        ({"named_regions": {"a": RegionToTell(corner)}}, "got a region 'a' in which no place of an image of 64x96"),
        (
            {"named_regions": {"a": RegionToTell(~corner, 0.01)}},
            "got 19 held-out normal images; expected at least 99 for a rate of 0.01 of region 'a'",
        ),
        ({"named_regions": {" ": RegionToTell(~corner)}}, "got a region named ' '"),
        ({"review_rate": 0.01}, "got review_rate=0.01; expected more than false_positive_rate=0.05"),
    ):
        with pytest.raises(ValueError, match=message):
            calibrated(**how)


def test_an_evaluation_counts_regions_reviews_and_defects_that_are_ignored(detector, tmp_path):
    for k, image in enumerate(images(20, 30)):
        write(tmp_path / "parts" / "good" / f"{k:02}.png", image)
    for k, image in enumerate(images(21, 4)):
        hidden = k % 2 == 0
        row, column = (0, 1) if hidden else (6, 10)
        write(tmp_path / "parts" / "spot" / f"{k}.png", odd(image, row, column))
        mask = np.zeros(SIZE, np.uint8)
        mask[row * STRIDE : row * STRIDE + 8, column * STRIDE : column * STRIDE + 8] = 255
        write(tmp_path / "parts" / "spot" / f"{k}_mask.png", mask)
    data = load_folder(tmp_path / "parts", progress=False)
    labelled = data.train.joined(data.test)
    found = ju.inspection.evaluate_detector(detector, labelled, bootstrap=2, progress=False)
    verdicts = list(detector.scores(labelled))
    np.testing.assert_array_equal(found.is_flagged, [verdict.is_anomalous for verdict in verdicts])
    assert any(verdict.is_anomalous and verdict.score <= verdict.threshold for verdict in verdicts)
    told, normal = found.results["verdicts"], ~labelled.is_anomalous
    assert told["joint_rate"]["bound"] == pytest.approx(0.15)
    reviewed = np.array([verdict.outcome == "review" for verdict in verdicts])
    assert told["review"]["normal"] == reviewed[normal].mean()
    assert told["review"]["anomalous"] == reviewed[~normal].mean()
    # Half of the defects lie where nothing counts, and are below all else there.
    assert found.pixels["m"]["roc_auc"] < 0.6
    notes = [table.note for table in tabulate_evaluation(found)]
    assert any("With all named regions, at most 0.15" in note and "a person looks" in note for note in notes)
    rows = list(found.rows())
    assert {row["verdict"] for row in rows} == {"normal", "anomalous"}
