"""A detector on features, from files to verdicts: its learning, findings, files and refusals."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.datasets.folders.dataset import FolderDataset, load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.features import EfficientNetLite0, WhiteningConfig, fit_whitening, held_out_nats, wrap
from jaxunreg.images import to_float
from jaxunreg.inspection import evaluate_detector, feature_fitting
from jaxunreg.inspection.feature_fitting import learning_order
from jaxunreg.inspection.selection import hold_out
from jaxunreg.scoring.working_size import resized

pytestmark = pytest.mark.slow

CONFIG = ju.DetectorConfig(resolution=192, calibration_fraction=0.3, false_positive_rate=0.1)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> FolderDataset:
    folder = write_parts(tmp_path_factory.mktemp("generated") / "parts", train=36, test=6, image_size=(240, 200))
    return load_folder(folder, progress=False)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    ju.fit_detector(data.train, CONFIG, directory=folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def detector(finished) -> ju.AnomalyDetector:
    return ju.AnomalyDetector.load(finished)


def averaged(weights: jax.Array, images: jax.Array) -> jax.Array:
    """A user's own network: means of blocks, and the residual at their middle."""
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    blocks = padded.reshape(batch, -(-height // 8), 8, -(-width // 8), 8, channels)
    return jnp.concatenate([blocks.mean(axis=(2, 4)), blocks[:, :, 4, :, 4]], axis=-1) * weights


def own_network(scale: float = 1.0):
    return wrap(averaged, jnp.full((1, 1, 1, 1), scale), name="averaged", image_channels=1)


def noting(tried: list[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which notes the latent sizes that it is to try."""

    def noted(*arguments: Any, latent_dims: Any, **named: Any) -> Any:
        tried.append(latent_dims)
        return function(*arguments, latent_dims=latent_dims, **named)

    return noted


def gray(seed: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width, 1), np.uint8)


TINY = dataclasses.replace(CONFIG, resolution=32, false_positive_rate=0.2)
ARRAYS = [gray(k) for k in range(30)]


def test_defects_are_found_and_the_box_and_the_heat_map_are_where_they_are(detector, data):
    found = evaluate_detector(detector, data.test, bootstrap=5, progress=False)
    assert found.results["image"]["m"]["roc_auc"]["value"] >= 0.85
    assert found.pixels["m"]["aupro"] > 0.6
    assert found.describe()["model"]["network"] == "efficientnet-lite0"
    json.dumps(found.results, allow_nan=False)
    hits = []
    for k, box in enumerate(found.worst):
        if data.test.labels[k] != "good":
            mask = data.test.mask(k)
            hits.append(mask[box.top : box.top + box.height, box.left : box.left + box.width].any())
            assert mask.shape == (240, 200)
    assert np.mean(hits) > 0.7


def test_the_record_says_what_was_chosen_among_what(detector, data, finished):
    record = json.loads((finished / "detector.json").read_text())["record"]["features"]
    table = record["held_out_nats"]
    assert record["whitening"] == {
        name: min(table, key=lambda row: row["nats"])[name] for name in ("per_place", "shrinkage")
    }
    assert {row["per_place"] for row in table} == {False, True}
    assert record["network"] == "efficientnet-lite0"
    assert record["sha256"] == detector.scorer.network.sha256
    # 240x200 keeps its aspect ratio at about 192**2 pixels, in multiples of 16.
    assert record["working_size"] == [208, 176] == list(detector.scorer.size)
    # One in fifty of 26x22 places.
    assert detector.top_k == 11
    assert {len(row) for row in detector.held_out["m"]} == {22}
    assert detector.stride == 8


def test_the_gaussian_is_chosen_on_other_parts_than_it_is_fitted_to_and_neither_sets_the_threshold(monkeypatch):
    parts = [gray(k // 2) + np.uint8(k % 2) for k in range(60)]
    seen = {}

    def maps(network, images, count, *_, **__):
        seen["learned"] = [image.tobytes() for image in images]
        return original(network, images, count, *_, **__)

    def nats(features, held_out, *_):
        seen["split"] = len(features), len(held_out)
        return held_out_nats(features, held_out)

    def calibrate(scorer, images, **how):
        seen["calibrated"] = [image.tobytes() for image in images]
        return ju.calibrate_detector(scorer, images, **how)

    original = feature_fitting.feature_maps
    monkeypatch.setattr(feature_fitting, "feature_maps", maps)
    monkeypatch.setattr(feature_fitting, "held_out_nats", nats)
    monkeypatch.setattr("jaxunreg.inspection.fitting.calibrate_detector", calibrate)
    ju.fit_detector(parts, TINY, network=own_network(), progress=False)
    assert len(seen["learned"]) == 42
    assert seen["split"] == (34, 8)
    assert not set(seen["learned"]) & set(seen["calibrated"])


def test_without_a_latent_variable_it_is_the_gaussian_of_what_it_was_fitted_to_at_the_scale_of_others():
    network = own_network()
    found = ju.fit_detector(ARRAYS, TINY, network=network, progress=False)
    learned = ~hold_out([str(k) for k in range(30)], TINY)
    images = [jnp.asarray(ARRAYS[k], jnp.float32) / 255 for k in np.flatnonzero(learned)]
    features = network(jnp.stack([resized(image, found.scorer.size) for image in images]))
    config = WhiteningConfig(**found.record["features"]["whitening"])
    order, fitted = learning_order([str(k) for k in np.flatnonzero(learned)], TINY.seed)
    narrow = fit_whitening(features[jnp.asarray(order[:fitted])], config)
    widened = sum(float(jnp.mean(narrow(maps).m)) for maps in features[jnp.asarray(order[fitted:])])
    assert found.scorer.density.latent_dim == 0
    [maps] = found.scorer.maps_each([gray(77)], stride=8)
    want = narrow(network(resized(to_float(gray(77)), found.scorer.size)[None])[0]).m * (len(order) - fitted) / widened
    # M of held-out images is half a nat a feature in the mean. Features are kept in float16.
    np.testing.assert_allclose(maps.patches.m, want * features.shape[3] / 2, rtol=0.02)


def test_where_a_covariance_for_each_place_takes_too_much_all_places_share_one(monkeypatch):
    rng = np.random.default_rng(0)
    # At each place other features vary, so that one covariance for each is much better.
    spread = rng.uniform(0.1, 10.0, (1, 4, 5, 3))
    maps = (spread * rng.normal(size=(60, 4, 5, 3))).astype(np.float32)
    network = own_network()

    def learned() -> Any:
        apart = [str(k) for k in range(20)]
        return feature_fitting.learn_from_maps(maps, apart, network, (32, 40), 1, progress=False).scorer.density

    assert learned().factor.shape[:2] == (4, 5)
    monkeypatch.setattr("jaxunreg.inspection.affordable._BYTES_OF_GAUSSIANS", 4 * 3 * 3 * 20 - 1)
    monkeypatch.setattr("jaxunreg.inspection.affordable._BYTES_OF_COMPONENTS", 0)
    tried = []
    monkeypatch.setattr(feature_fitting, "fit_map_vae", noting(tried, feature_fitting.fit_map_vae))
    assert learned().factor.shape[:2] == (1, 1)
    assert tried == [(0,)]


def test_a_detector_read_back_says_the_same_to_the_bit(detector, data, tmp_path):
    changed = dataclasses.replace(detector, top_k=3, false_positive_rate=0.3)
    changed.save(tmp_path / "new")
    again = ju.AnomalyDetector.load(tmp_path / "new")
    for name in ("stride", "term", "top_k", "false_positive_rate", "bits", "record", "calibration", "pixel_levels"):
        assert getattr(again, name) == getattr(changed, name), name
    for one, other in zip(changed.scores(data.test), again.scores(data.test), strict=True):
        assert one[:5] == other[:5]
        np.testing.assert_array_equal(one.maps.m, other.maps.m)
    # Weights that everybody has are not copied.
    assert {path.name for path in (tmp_path / "new" / "model").iterdir()} == {"whitening.safetensors"}


def test_scores_of_another_precision_meet_no_threshold(detector, tmp_path):
    narrow = dataclasses.replace(detector.scorer, network=EfficientNetLite0.pretrained(precision="bfloat16"))
    with pytest.raises(ValueError, match="a scorer in bfloat16, and held-out scores in float32; expected one"):
        dataclasses.replace(detector, scorer=narrow)
    dataclasses.replace(detector, scorer=narrow, arithmetic="bfloat16").save(tmp_path / "narrow")
    assert ju.AnomalyDetector.load(tmp_path / "narrow").scorer.arithmetic == "bfloat16"
    with pytest.raises(ju.CheckpointError, match="a scorer in float32, and held-out scores in bfloat16"):
        ju.AnomalyDetector.load(tmp_path / "narrow", network=EfficientNetLite0.pretrained())


def test_a_network_of_ones_own_is_asked_for_and_another_one_refused(tmp_path):
    network = own_network()
    found = ju.fit_detector(ARRAYS, TINY, network=network, directory=tmp_path / "model", progress=False)
    load = ju.AnomalyDetector.load
    again = load(tmp_path / "model", network=own_network())
    [one], [other] = found.scores([gray(9)]), again.scores([gray(9)])
    assert one[:5] == other[:5]
    with pytest.raises(ju.CheckpointError, match=r"the feature network averaged with the SHA-256 .*, which is not bun"):
        load(tmp_path / "model")
    with pytest.raises(ju.CheckpointError, match="expected the network of the detector: averaged with the"):
        load(tmp_path / "model", network=own_network(2.0))
    with pytest.raises(ju.CheckpointError, match="expected the network of the detector"):
        ju.fit_detector(ARRAYS, TINY, network=own_network(2.0), directory=tmp_path / "model", progress=False)
    same = ju.fit_detector(ARRAYS, TINY, network=network, directory=tmp_path / "model", progress=False)
    assert same.calibration == found.calibration


def test_gaussians_that_are_not_finite_are_not_saved(detector, tmp_path):
    density = detector.scorer.density
    bad = dataclasses.replace(density, signal=density.signal.at[0].set(np.nan))
    with pytest.raises(ValueError, match=r"variables with NaN or infinities, 1 of the \d+ values of \.signal"):
        dataclasses.replace(detector, scorer=dataclasses.replace(detector.scorer, density=bad)).save(tmp_path / "new")
    assert not any(tmp_path.iterdir())


def test_a_damaged_folder_is_named(finished, tmp_path):
    def broken(name: str, change) -> Path:
        shutil.copytree(finished, tmp_path / name)
        change(tmp_path / name / "model" / "whitening.safetensors")
        return tmp_path / name

    def alter(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-5] ^= 64
        path.write_bytes(content)

    for name, change, message in (
        ("cut", lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be read"),
        ("altered", alter, "is not the model that detector.json was written with"),
        ("gone", lambda path: path.unlink(), "no file .*whitening.safetensors"),
        ("other", lambda path: path.write_bytes(b"mine"), "cannot be read"),
    ):
        with pytest.raises(ju.CheckpointError, match=message):
            ju.AnomalyDetector.load(broken(name, change))


def test_images_of_other_sizes_are_scored_and_those_that_are_too_small_refused(detector):
    for size in ((240, 200), (300, 170), (40, 200), (16, 16)):
        [found] = detector.inspect([gray(1, *size)], pixels=True)
        assert found.pixels.m.shape == size
        box = found.verdict.worst
        assert box.top + box.height <= size[0]
        assert box.left + box.width <= size[1]


def test_a_fit_that_was_stopped_begins_anew(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jaxunreg.inspection.fitting.calibrate_detector", stop)
        with pytest.raises(KeyboardInterrupt):
            ju.fit_detector(ARRAYS, TINY, network=own_network(), directory=tmp_path / "model", progress=False)
    found = ju.fit_detector(ARRAYS, TINY, network=own_network(), directory=tmp_path / "model", progress=False)
    assert found.calibration.count == 9


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([*ARRAYS, np.zeros((12, 48, 1), np.uint8)], "got image 30, which has 12x48 pixels; expected at least 16x16"),
        ([*ARRAYS, np.zeros((32, 48, 3), np.uint8)], r"got image 30 of shape \[32, 48, 3\] among images of 1 channel"),
        (ARRAYS[:10], "got 10 normal parts"),
    ],
)
def test_images_that_cannot_end_well_are_refused_before_any_work(images, message, monkeypatch, tmp_path):
    monkeypatch.setattr(feature_fitting, "feature_maps", lambda *_, **__: 1 / 0)
    with pytest.raises(ValueError, match=message):
        ju.fit_detector(images, TINY, directory=tmp_path / "model", progress=False)
    assert not (tmp_path / "model").exists()


def test_too_few_images_for_a_covariance_are_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(feature_fitting, "feature_maps", lambda *_, **__: 1 / 0)
    few = dataclasses.replace(TINY, false_positive_rate=0.5, calibration_fraction=0.5)
    with pytest.raises(ValueError, match="got 4 normal images to fit a covariance of 152 features at 16 places"):
        ju.fit_detector(ARRAYS[:10], few, progress=False)


def test_what_does_not_vary_or_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="features of .* images that do not vary"):
        ju.fit_detector(ARRAYS, TINY, network=own_network(0.0), progress=False)
    with pytest.raises(ValueError, match="features with NaN"):
        ju.fit_detector(ARRAYS, TINY, network=own_network(float("nan")), progress=False)


def test_a_network_is_for_features_alone():
    config = ju.DetectorConfig(space="pixels", patch=32, depth=2, false_positive_rate=0.2)
    with pytest.raises(ValueError, match="got a feature network, averaged, with space='pixels'; expected space='feat"):
        ju.fit_detector(ARRAYS, config, network=own_network(), progress=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch": 64}, "got patch=64, which belongs to the space of pixels; expected space='pixels' with it; add"),
        ({"stride": 8}, "got stride=8, which belongs to the space of pixels"),
        ({"train": ju.TrainConfig()}, "which belongs to the space of pixels"),
        ({"space": "pixels", "resolution": 512}, "got resolution=512, which belongs to the space of features"),
        ({"resolution": 8}, "got resolution=8; expected 32 to 4096"),
        ({"space": "latents"}, "got space='latents'; expected one of"),
    ],
)
def test_what_belongs_to_the_other_space_is_refused(fields, message, no_type_checks):
    with pytest.raises(ValueError, match=message):
        ju.DetectorConfig(**fields)


def test_another_stride_of_heat_maps_is_refused(detector):
    with pytest.raises(ValueError, match="got heat_map_stride=4; expected 8, the stride of the feature network"):
        next(detector.inspect([gray(1, 240, 200)], pixels=True, heat_map_stride=4))
