"""What public functions cannot take is told at the door, in the words of the package and not of NumPy, JAX or Flax."""

import dataclasses
import unicodedata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.doors import check_key
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from tests.datasets.written_images import gray, write, write_mask

pytestmark = pytest.mark.usefixtures("no_type_checks")

MODEL = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
IMAGE = np.zeros((8, 8, 1), np.uint8)
CONFIG = ju.TrainConfig(steps=1, batch_size=8)
KEY = jax.random.key(0)


def fit(model=MODEL, images=(IMAGE,), config=CONFIG, key=KEY):
    return ju.fit(model, list(images), config, key=key, progress=False)


DOORS = {
    "fit model": ("model", lambda bad: fit(model=bad)),
    "fit config": ("config", lambda bad: fit(config=bad)),
    "fit key": ("key", lambda bad: fit(key=bad)),
    "fit_detector images": ("images", lambda bad: ju.fit_detector(bad, ju.DetectorConfig(), progress=False)),
    "fit_detector config": ("config", lambda bad: ju.fit_detector([IMAGE] * 9, bad, progress=False)),
    "save_model": ("model", lambda bad: ju.save_model("nowhere", bad, {})),
    "decompose model": ("model", lambda bad: ju.decompose(bad, {}, IMAGE)),
    "decompose variables": ("variables", lambda bad: ju.decompose(MODEL, bad, IMAGE)),
    "score_each scorer": ("scorer", lambda bad: next(ju.score_each(bad, [IMAGE], stride=4))),
    "heat_map_each scorer": ("scorer", lambda bad: next(ju.heat_map_each(bad, [IMAGE], stride=4))),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "bad", [None, 5, object(), np.zeros((8, 8, 1), np.float32)], ids=lambda bad: type(bad).__name__
)
def test_an_argument_of_another_kind_is_named(door, bad):
    name, call = DOORS[door]
    with pytest.raises(
        ArgumentTypeError, match=rf"got {name} of (type {type(bad).__name__}|dtype float32).*; expected "
    ):
        call(bad)


@pytest.mark.parametrize("bad", [5, None, object()])
def test_images_that_do_not_come_one_after_another_are_named(bad):
    scorer = ju.make_scorer(MODEL, jax.eval_shape(MODEL.init, KEY, jnp.zeros((1, 8, 8, 1))))
    with pytest.raises(ArgumentTypeError, match=f"got images of type {type(bad).__name__}; expected images one after"):
        next(ju.score_each(scorer, bad, stride=4))


def test_keys_of_both_styles_pass_and_several_do_not():
    check_key("key", KEY)
    check_key("key", jax.random.PRNGKey(0))
    with pytest.raises(ArgumentTypeError, match=r"got key of shape \[2\]; expected a PRNG key"):
        check_key("key", jax.random.split(KEY))


def test_a_depth_of_more_digits_than_python_prints_is_told():
    with pytest.raises(
        ArgumentError, match=r"with depth=20000; expected height and width to be multiples of 2\*\*20000;"
    ):
        ju.VAEConfig(image_shape=(96, 96, 1), depth=20_000)
    with pytest.raises(ArgumentError, match="got depth=20000; expected at most 16; lower depth"):
        ju.DetectorConfig(space="pixels", depth=20_000)


def test_a_batch_beyond_the_memory_is_told_before_it_is_drawn():
    with pytest.raises(
        ArgumentError, match=r"got batch_size=1000000000000; expected fewer than .*must fit into memory"
    ):
        fit(config=dataclasses.replace(CONFIG, batch_size=10**12))


@pytest.mark.parametrize(("image", "mask"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_mask_belongs_to_its_image_however_its_accents_are_written(image, mask, tmp_path):
    names = {form: unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")}
    for split in ("train", "test"):
        write(tmp_path / split / "good" / "a.png", gray(0))
    for k, place in enumerate(("ground_truth/crack", "test/crack")):
        write(tmp_path / "test" / "crack" / f"{names[image]}{k}.png", gray(1))
        write_mask(tmp_path / place / f"{names[mask]}{k}_mask.png")
    data = load_folder(tmp_path)
    assert [file.mask is not None for file in data.test.files if file.label == "crack"] == [True, True]
    assert data.skipped == ()
