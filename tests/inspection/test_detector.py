"""A detector: its scores against a slow loop, its calibration, its content, and its folder on disk."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import jaxunreg as ju
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.datasets.folders.image_file import ImageFile
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.files import temporary_sibling
from jaxunreg.inspection import detector_folder, fitting, pixel_fitting, selection
from jaxunreg.inspection.learned import Learned
from jaxunreg.scoring import each
from jaxunreg.serialization import with_checksum, without_checksum
from jaxunreg.training import saved_model

pytestmark = pytest.mark.slow

CONFIG = ju.DetectorConfig(
    space="pixels",
    patch=8,
    depth=2,
    base_channels=4,
    latent_dim=3,
    stride=3,
    calibration_fraction=0.3,
    false_positive_rate=0.2,
    train=ju.TrainConfig(steps=4, batch_size=8, steps_per_dispatch=4),
)
SIZES = [(8, 8), (9, 12), (14, 8), (17, 20), (11, 31)]


def pixels(seed: int, height: int = 12, width: int = 15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(60, 120, (height, width, 1), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> ImageFiles:
    """Twenty parts with two images each."""
    folder = tmp_path_factory.mktemp("parts")
    for k in range(40):
        Image.fromarray(pixels(k)[..., 0]).save(folder / f"part{k // 2:02}-{k % 2}.png")
    loaded = load_files([folder], label="good", progress=False)
    grouped = tuple(ImageFile(f.path, f.label, None, f.path.stem.split("-")[0]) for f in loaded.files)
    return dataclasses.replace(loaded, files=grouped)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def detector(finished) -> ju.AnomalyDetector:
    return ju.AnomalyDetector.load(finished)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr(pixel_fitting, "fit", refuse)


def test_scores_boxes_and_verdicts_are_those_of_a_loop_over_crops(detector):
    images = [pixels(100 + k, *size) for k, size in enumerate(SIZES)]
    images.append(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (8, 8))[..., None])
    held_out = np.sort(detector.held_out["m"][:, 0])
    threshold = held_out[int(np.ceil((len(held_out) + 1) * 0.8)) - 1]
    verdicts = list(detector.scores(iter(images)))
    assert len(verdicts) == len(images)
    for image, verdict in zip(images, verdicts, strict=True):
        height, width = image.shape[:2]
        rows = sorted({*range(0, height - 7, 3), height - 8})
        columns = sorted({*range(0, width - 7, 3), width - 8})
        crops = np.stack([image[r : r + 8, c : c + 8] for r in rows for c in columns])
        m = ju.score_images(detector.scorer, crops).m
        assert verdict.score == pytest.approx(m.max(), rel=1e-4)
        top, left = rows[m.argmax() // len(columns)], columns[m.argmax() % len(columns)]
        assert verdict.worst == (top, left, 8, 8)
        assert verdict.maps.m.shape == (len(rows), len(columns))
        assert verdict.p_value == (1 + (held_out >= verdict.score).sum()) / (len(held_out) + 1)
        assert verdict.threshold == threshold
        assert verdict.is_anomalous == (verdict.score > threshold) == (verdict.p_value <= 0.2)
    assert verdicts[-1].is_anomalous


def test_the_threshold_rests_on_one_image_of_each_part_that_was_not_trained_on(files, monkeypatch):
    seen = []

    def fit(model, images, *_, **__):
        seen.extend(file.path.name for file in images.files)
        return original(model, images, *_, **__)

    original = pixel_fitting.fit
    monkeypatch.setattr(pixel_fitting, "fit", fit)
    scored = []
    calibrate = fitting.calibrate_detector

    def noted(scorer, images, **how):
        scored.extend(file.path.name for file in images.files)
        return calibrate(scorer, images, **how)

    monkeypatch.setattr(fitting, "calibrate_detector", noted)
    found = ju.fit_detector(files, CONFIG, key=jax.random.key(0), progress=False)
    trained, calibrated = ({name.split("-")[0] for name in names} for names in (seen, scored))
    assert len(trained) == 14
    assert len(seen) == 28
    assert len(scored) == len(calibrated) == found.calibration.count == 6
    assert not trained & calibrated
    assert {name.split("-")[1] for name in scored} == {"0.png", "1.png"}
    other = ju.fit_detector(
        files.select(range(39, -1, -1)), dataclasses.replace(CONFIG, top_k=2), key=jax.random.key(0), progress=False
    )
    assert set(scored[:6]) == set(scored[6:])
    assert other.record["held_out"] == 12


def test_another_top_k_or_term_is_calibrated_anew(detector, files):
    chosen = range(5)
    maps = [ju.score_image(detector.scorer, files[k], stride=3) for k in chosen]
    three = dataclasses.replace(detector, top_k=3)
    for verdict, found in zip(three.scores(files[k] for k in chosen), maps, strict=True):
        assert verdict.score == pytest.approx(np.sort(np.ravel(found.m))[-3:].mean(), rel=1e-4)
    assert (three.calibration.scores < detector.calibration.scores).all()
    nelbo = dataclasses.replace(detector, term="nelbo")
    np.testing.assert_array_equal(nelbo.calibration.scores, np.sort(detector.held_out["nelbo"][:, 0]).astype(float))
    # More patches than an image has: all of them.
    [one] = dataclasses.replace(detector, top_k=16).scores([pixels(1, 8, 11)])
    assert one.score == pytest.approx(float(one.maps.m.mean()), rel=1e-6)


def test_the_held_out_scores_are_scored_by_the_detector_itself(detector, files):
    everything = [verdict.score for verdict in detector.scores(files)]
    assert set(detector.calibration.scores) <= set(np.float32(everything).astype(float))


def test_heat_maps_are_those_of_the_term(detector):
    image = pixels(7, 13, 18)
    [raw] = detector.heat_maps([image], stride=2)
    np.testing.assert_allclose(raw, ju.heat_map(detector.scorer, image, stride=2), rtol=1e-3, atol=1e-4)
    [smooth] = detector.heat_maps([image], stride=2, smooth=True)
    np.testing.assert_allclose(smooth, scipy.ndimage.gaussian_filter(raw, 0.25, mode="nearest"))
    low, high = detector.heat_scale
    assert low < detector.pixel_levels["m"][1] < high
    with pytest.raises(ValueError, match="stride"):
        list(detector.heat_maps([image], stride=0))


@pytest.mark.parametrize("stride", [None, 2])
def test_inspection_takes_each_image_once_and_says_what_the_parts_say(detector, stride):
    images = [pixels(400 + k, *size) for k, size in enumerate(SIZES)]
    taken = []

    def once():
        for image in images:
            taken.append(image)
            yield image

    found = list(detector.inspect(once(), pixels=True, heat_map_stride=stride))
    assert len(taken) == len(images)
    for one, image, verdict, heat in zip(
        found, images, detector.scores(images), detector.heat_maps(images, stride=stride), strict=True
    ):
        assert one.image is image
        # With or without heat maps, to the bit: a threshold is one of the held-out scores.
        assert one.verdict[:5] == verdict[:5]
        for term in ("d", "a", "m"):
            np.testing.assert_array_equal(getattr(one.verdict.maps, term), getattr(verdict.maps, term))
        np.testing.assert_allclose(one.pixels.m, heat, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(detector.heat_map(one.pixels), one.pixels.m)
        smooth = scipy.ndimage.gaussian_filter(one.pixels.m, 8 / 32, mode="nearest")
        np.testing.assert_allclose(detector.heat_map(one.pixels, smooth=True), smooth)
    [bare] = detector.inspect(images[:1])
    assert bare.pixels is None
    with pytest.raises(ValueError, match="got heat_map_stride=9; expected 1 to 8"):
        next(detector.inspect(images, pixels=True, heat_map_stride=9))


def test_heat_maps_of_the_same_stride_cost_no_second_pass_of_the_network(detector, monkeypatch):
    images = [pixels(500 + k) for k in range(3)]
    passed: list[int] = []
    call = each.one_call

    def noted(method, scorer, patches, batch_size):
        passed.append(len(patches))
        return call(method, scorer, patches, batch_size)

    monkeypatch.setattr(each, "one_call", noted)
    verdicts = [found.verdict for found in detector.inspect(images, pixels=True)]
    assert sum(passed) == sum(verdict.maps.m.size for verdict in verdicts)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.float16, 32), (np.float32, 32), (np.float64, 32)])
def test_the_bits_of_arrays_are_those_of_images(dtype, bits, monkeypatch, no_type_checks):
    monkeypatch.setattr(fitting, "pixel_learning", lambda *_, **__: lambda _: Learned(None, 3, 1, {}))
    monkeypatch.setattr(fitting, "calibrate_detector", lambda *_, **how: noted.append(how["bits"]))
    noted: list[int] = []
    images = [np.full((8, 8, 1), k if bits == 8 else k / 20, dtype) for k in range(20)]
    ju.fit_detector(images, CONFIG, key=jax.random.key(0), progress=False)
    assert noted == [bits]


def test_a_detector_read_back_says_the_same_to_the_bit(detector, tmp_path):
    changed = dataclasses.replace(detector, top_k=2, false_positive_rate=0.5, bits=16)
    changed.save(tmp_path / "new" / "model")
    again = ju.AnomalyDetector.load(tmp_path / "new" / "model")
    for name in ("stride", "term", "top_k", "false_positive_rate", "bits", "record", "calibration", "pixel_levels"):
        assert getattr(again, name) == getattr(changed, name), name
    images = [pixels(k) for k in range(3)]
    for one, other in zip(changed.scores(images), again.scores(images), strict=True):
        assert one[:5] == other[:5]
        np.testing.assert_array_equal(one.maps.nelbo, other.maps.nelbo)


def test_scores_of_another_precision_meet_no_threshold(detector, tmp_path, monkeypatch):
    def narrow(scorer, **changes):
        config = dataclasses.replace(scorer.model.config, precision="bfloat16", **changes)
        return ju.make_scorer(ju.VAE(config), scorer.variables)

    with pytest.raises(ValueError, match=r"a scorer in bfloat16, matmul, and held-out scores in float32; expected one"):
        dataclasses.replace(detector, scorer=narrow(detector.scorer))
    made = ju.calibrate_detector(narrow(detector.scorer), [pixels(k) for k in range(19)], stride=3)
    assert made.arithmetic == "bfloat16, matmul"
    made.save(tmp_path / "m")
    assert ju.AnomalyDetector.load(tmp_path / "m").threshold == made.threshold
    # A lowering rounds at other places than another one.
    with pytest.raises(ValueError, match="a scorer in bfloat16, native, and held-out scores in bfloat16, matmul"):
        dataclasses.replace(made, scorer=narrow(detector.scorer, lowering="native"))
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        with pytest.raises(
            ju.CheckpointError, match="a scorer in bfloat16, native, and held-out scores in bfloat16, mat"
        ):
            ju.AnomalyDetector.load(tmp_path / "m")


def test_nothing_is_overwritten_and_nothing_half_written_is_left(detector, tmp_path, monkeypatch):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("all of it")
    with pytest.raises(ju.CheckpointError, match="already used"):
        detector.save(tmp_path / "used")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "save_model", full)
    with pytest.raises(ju.CheckpointError, match=r"cannot be written: .*No space left"):
        detector.save(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_finished_detector_is_not_fitted_again(files, finished, no_training):
    again = ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=finished, progress=False)
    assert again.record["trained_on"] == 28
    assert again.has_seen(files).all()
    assert {path.name for path in finished.iterdir()} == {"detector.json", "model", "training"}
    assert not (finished / "training" / "checkpoints").exists()
    other = dataclasses.replace(CONFIG, stride=4, train=dataclasses.replace(CONFIG.train, learning_rate=0.1))
    with pytest.raises(ju.CheckpointError, match=r"stride was 3, is now 4; learning_rate was 0.001, is now 0.1"):
        ju.fit_detector(files, other, key=jax.random.key(0), directory=finished, progress=False)
    with pytest.raises(ju.CheckpointError, match="made of other images"):
        ju.fit_detector(files.select(range(38)), CONFIG, key=jax.random.key(0), directory=finished, progress=False)


def test_a_detector_of_another_key_or_maker_is_not_taken_for_this_one(files, finished, detector, tmp_path, no_training):
    with pytest.raises(ju.CheckpointError, match=r"key was \[0, 0\], is now \[0, 1\]"):
        ju.fit_detector(files, CONFIG, key=jax.random.key(1), directory=finished, progress=False)
    dataclasses.replace(detector, record={}).save(tmp_path / "calibrated")
    with pytest.raises(ju.CheckpointError, match="without a note of its config, fingerprint, images, key"):
        ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=tmp_path / "calibrated", progress=False)


def test_what_a_user_records_hides_nothing_that_is_noted(files, tmp_path):
    def fit() -> ju.AnomalyDetector:
        mine = {"config": "a.yaml", "operator": "me"}
        return ju.fit_detector(
            files, CONFIG, key=jax.random.key(0), directory=tmp_path / "model", progress=False, record=mine
        )

    assert fit().record["operator"] == "me"
    assert fit().record["config"]["stride"] == CONFIG.stride


def test_a_model_of_images_that_are_not_square_is_refused():
    model = ju.VAE(ju.VAEConfig(image_shape=(8, 16, 1), depth=2, base_channels=4, latent_dim=3))
    scorer = ju.make_scorer(model, jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 16, 1), np.float32)))
    with pytest.raises(ValueError, match="got a model of 8x16 images; expected as many rows as columns"):
        ju.calibrate_detector(scorer, [pixels(k, 16, 24) for k in range(19)], stride=4)


def test_an_error_of_an_autoencoder_is_not_in_nats():
    model = ju.Autoencoder(ju.AutoencoderConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    scorer = ju.make_scorer(model, jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32)))
    summary = ju.calibrate_detector(scorer, [pixels(k) for k in range(19)], stride=4).summary()
    assert summary.startswith("threshold ")
    assert "nats" not in summary


def test_scores_that_are_nan_are_refused_and_not_left_out(detector):
    with pytest.raises(ValueError, match="got 1 of 3 patch scores that are NaN"):
        dataclasses.replace(detector, top_k=3).image_score(np.array([[np.nan, 5, 3]], np.float32))


def test_a_folder_of_something_else_is_left_alone(files, tmp_path, no_training):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"mine")
    with pytest.raises(ju.CheckpointError, match="already used for something else"):
        ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=tmp_path, progress=False)
    assert (tmp_path / "model" / "weights.bin").read_bytes() == b"mine"


def test_a_second_run_into_the_same_folder_is_refused_and_changes_nothing(files, tmp_path, monkeypatch):
    def start_another(*_, **__):
        other = dataclasses.replace(CONFIG, stride=4)
        with pytest.raises(ju.CheckpointError, match="training, where another run is writing right now"):
            ju.fit_detector(files, other, key=jax.random.key(0), directory=tmp_path / "model", progress=False)
        raise KeyboardInterrupt

    monkeypatch.setattr(pixel_fitting, "fit", start_another)
    with pytest.raises(KeyboardInterrupt):
        ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=tmp_path / "model", progress=False)
    note = json.loads((tmp_path / "model" / "training" / "config.json").read_text())
    assert note["config"]["stride"] == CONFIG.stride


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"false_positive_rate": 0.1},
            "got 20 normal parts, from which calibration_fraction=0.3 holds out 6; expected at least 9 held-out parts "
            "for a false_positive_rate of 0.1; raise calibration_fraction to 0.45, or raise false_positive_rate to "
            "0.143, or give 30 normal parts",
        ),
        ({"false_positive_rate": 0.01}, "99 held-out parts .* raise false_positive_rate to 0.143, or give 330 normal"),
        (
            {"patch": 16},
            r"got part00-0.png, which has 12x15 pixels \(and 39 more\); expected at least 16x16",
        ),
    ],
)
def test_what_cannot_end_well_is_refused_before_training(files, config, message, no_training):
    with pytest.raises(ValueError, match=message):
        ju.fit_detector(files, dataclasses.replace(CONFIG, **config), key=jax.random.key(0), progress=False)


def test_the_advice_of_that_refusal_works(files):
    for better in ({"calibration_fraction": 0.45}, {"false_positive_rate": 0.143}):
        config = dataclasses.replace(CONFIG, **{"false_positive_rate": 0.1, **better})
        groups = [file.group for file in files.files]
        assert len({groups[k] for k in np.flatnonzero(selection.hold_out(groups, config))}) >= 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch": 100, "depth": 5}, "multiple of 2\\*\\*5 = 32, e.g. 96"),
        ({"stride": 9}, "got stride=9; expected 1 to 8"),
        ({"top_k": 0}, "got top_k=0; expected at least 1"),
        ({"term": "x"}, "got term='x'"),
        ({"calibration_fraction": 1.0}, "calibration_fraction=1.0"),
        ({"false_positive_rate": 0.0}, "got false_positive_rate=0.0; expected a number between 0 and 1"),
        ({"base_channels": 0}, "got base_channels=0"),
        ({"seed": 2**63}, "expected an integer of 64 bits"),
    ],
)
def test_a_config_out_of_range_is_refused(fields, message, no_type_checks):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_a_path_in_place_of_an_image_is_named(detector, no_type_checks):
    for method in (detector.scores, detector.heat_maps):
        with pytest.raises(TypeError, match="got str; expected a NumPy or JAX array"):
            next(method(["part.png"]))


def test_a_detector_refuses_a_rate_that_it_cannot_support(detector):
    with pytest.raises(ValueError, match=r"expected at least 1/\(6 \+ 1\) = 0.143"):
        dataclasses.replace(detector, false_positive_rate=0.1)
    with pytest.raises(ValueError, match="got 3 held-out normal images; expected at least 19"):
        ju.calibrate_detector(detector.scorer, [pixels(k) for k in range(3)], stride=3)


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_detector_is_named(finished, tmp_path):
    load = ju.AnomalyDetector.load
    with pytest.raises(ju.CheckpointError, match="which is not a folder"):
        load(tmp_path / "missing")
    with pytest.raises(ju.CheckpointError, match=r"without a detector.json"):
        load(tmp_path)
    (tmp_path / "training").mkdir()
    with pytest.raises(ju.CheckpointError, match="whose training has not ended"):
        load(tmp_path)

    def broken(name: str, change) -> Path:
        folder = tmp_path / name
        shutil.copytree(finished, folder)
        content = without_checksum(json.loads((folder / "detector.json").read_text()))
        change(content)
        (folder / "detector.json").write_text(json.dumps(with_checksum(content)))
        return folder

    for name, change, message in (
        ("format", lambda c: c.update(format=9), "format 9"),
        ("key", lambda c: c.pop("held_out"), "held_out"),
        ("empty", lambda c: c["held_out"].update(m=[]), "without a score"),
        ("fewer", lambda c: c["held_out"]["m"].pop(), "held-out scores of different numbers of images"),
        ("nan", lambda c: c["held_out"]["m"][0].insert(0, None), "1 of .* patch scores that are NaN"),
        ("levels", lambda c: c["pixel_levels"].update(m=[0.0, math.nan]), "two finite numbers, ascending"),
        ("one", lambda c: c.update(pixel_levels=[1]), "AttributeError"),
        ("text", lambda c: c["pixel_levels"].update(m="ab"), "two finite numbers, ascending"),
        ("stride", lambda c: c.update(stride=900), "got stride=900"),
        ("half", lambda c: c.update(stride=2.5), "got stride=2.5 of type float; expected an integer"),
        ("true", lambda c: c.update(top_k=True), "got top_k=True of type bool; expected an integer"),
        ("bits", lambda c: c.update(bits="x"), "got bits='x' of type str; expected an integer"),
        ("twelve", lambda c: c.update(bits=12), "got bits=12; expected 8, 16, or 32"),
        ("rate", lambda c: c.update(false_positive_rate="0.2"), "got false_positive_rate='0.2' of type str"),
        ("record", lambda c: c.update(record=[1]), "a record of type list; expected a dict"),
        ("other", lambda c: c.update(model_files={"a": "0"}), "is not the model that detector.json was written with"),
        ("none", lambda c: c.update(model_files={}), "is not the model that detector.json was written with"),
    ):
        with pytest.raises(ju.CheckpointError, match=f"cannot be read: .*({message})"):
            load(broken(name, change))
    broken("cut", dict)
    for content in ("[1]", "1", "null", '"x"', "{}", "[" * 200_000, '{"format": 2, "a": ' + "[" * 200_000):
        (tmp_path / "cut" / "detector.json").write_text(content)
        with pytest.raises(ju.CheckpointError, match="cannot be read: "):
            load(tmp_path / "cut")
    (tmp_path / "cut" / "detector.json").write_text('{"format": 1, "te')
    with pytest.raises(ju.CheckpointError, match="JSONDecodeError"):
        load(tmp_path / "cut")
    shutil.rmtree(broken("gone", dict) / "model")
    with pytest.raises(ju.CheckpointError, match="not a folder"):
        load(tmp_path / "gone")


def test_a_flipped_bit_is_told(finished, detector, tmp_path, monkeypatch):
    """Of 400 in `detector.json`, wherever they are, none makes another detector."""
    # What the model is loaded from is not looked at before the JSON is, and is loaded in another test.
    monkeypatch.setattr(detector_folder, "load_scorer", lambda *_: detector.scorer)
    shutil.copytree(finished, tmp_path / "m")
    file = tmp_path / "m" / "detector.json"
    whole = file.read_bytes()
    refused = 0
    for bit in np.random.default_rng(0).choice(8 * len(whole), 400, replace=False):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(flipped)
        try:
            found = ju.AnomalyDetector.load(tmp_path / "m")
        except ju.CheckpointError:
            refused += 1
        else:  # e.g. another kind of white space
            assert json.loads(flipped) == json.loads(whole)
            assert found.threshold == detector.threshold
    assert refused >= 390


def test_an_altered_file_of_the_model_is_told(finished, tmp_path):
    """Be it one that says how the model computes, or one that is not needed to score."""
    shutil.copytree(finished, tmp_path / "m")
    step = tmp_path / "m" / "model" / "0"
    for file, message in (
        (step / "config" / "metadata", "match their SHA-256"),
        (step / "rest" / "_METADATA", "not the"),
    ):
        content = file.read_bytes()
        file.write_bytes(content.replace(b'"x_log_var_max": 2.0', b'"x_log_var_max": 1.0') + b" ")
        with pytest.raises(ju.CheckpointError, match=message):
            ju.AnomalyDetector.load(tmp_path / "m")
        file.write_bytes(content)
    ju.AnomalyDetector.load(tmp_path / "m")


def test_what_is_left_of_a_stop_while_saving_is_replaced(files, finished, tmp_path, monkeypatch):
    """Stopped between the model and `detector.json`: the training is at its end, so that only the rest is done."""
    with monkeypatch.context() as patch:
        patch.setattr(detector_folder, "replacing", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=tmp_path / "m", progress=False)
    assert (tmp_path / "m" / "model").is_dir()
    assert not (tmp_path / "m" / "detector.json").exists()
    # As a process leaves them that was killed between two files.
    temporary_sibling(tmp_path / "m" / "model").mkdir()
    temporary_sibling(tmp_path / "m" / "training" / "config.json").touch()
    again = ju.fit_detector(files, CONFIG, key=jax.random.key(0), directory=tmp_path / "m", progress=False)
    assert again.calibration == ju.AnomalyDetector.load(finished).calibration
    assert list((tmp_path / "m").rglob(".*")) == []


def test_nothing_is_written_through_links_that_others_put_there(detector, tmp_path):
    """In a folder that several users write into, names that can be foreseen may be links to elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("all of it")
    target = tmp_path / "model"
    target.mkdir()
    for name in (".model.tmp", "model"):
        (target / name).symlink_to(elsewhere)
    (target / "detector.json").symlink_to(elsewhere / "thesis.tex")
    detector.write_into(target)
    assert [path.name for path in elsewhere.iterdir()] == ["thesis.tex"]
    assert (elsewhere / "thesis.tex").read_text() == "all of it"
    assert ju.AnomalyDetector.load(target).threshold == detector.threshold
