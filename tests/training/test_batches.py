"""Random crops: where they lie, that they are what they claim, and that nobody's help changes them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.training.batches import batch_indices, make_batches, select
from jaxunreg.training.batches.streamed_crops import StreamedCrops
from jaxunreg.training.crops import crop_corners, random_crops
from jaxunreg.training.training_images import check_training_images, image_sizes, knows_sizes

SHAPE = (8, 8, 1)
SIZES = ((8, 8), (20, 9), (11, 30), (15, 15), (40, 12))


def pictures(dtype: type = np.uint8) -> list[np.ndarray]:
    """Images of several sizes, no two pixels near one another alike."""
    rng = np.random.default_rng(0)
    if dtype == np.uint8:
        return [rng.integers(0, 256, (*size, 1), dtype=np.uint8) for size in SIZES]
    return [rng.random((*size, 1), dtype=np.float32) for size in SIZES]


class OnDisk:
    """Images that know their sizes, and say which of them are read."""

    fingerprint = "made by hand"

    def __init__(self, broken: int | None = None) -> None:
        self.sizes = np.array(SIZES)
        self.broken = broken

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, index: int, /) -> np.ndarray:
        if index == self.broken:
            raise OSError(f"image {index} is gone")
        return pictures()[index]


def batches(images: object, *, start: int = 0, count: int = 3, on_device: str = "yes", threads: int = 0) -> np.ndarray:
    """Steps `start .. start + count`, `[count, batch, height, width, channels]`."""
    made = make_batches(
        images,
        SHAPE,
        jax.random.key(3),
        batch_size=6,
        steps=20,
        steps_per_dispatch=4,
        on_device=on_device,
        threads=threads,
    )
    source, indices = made.steps(start, count)
    assert indices.shape[:2] == (4, 6)
    return np.stack([np.asarray(select(source, jnp.asarray(rows), SHAPE)) for rows in indices[:count]])


def test_the_order_of_an_epoch_is_not_drawn_from_the_key_of_a_steps_noise():
    key = jax.random.key(3)
    order = batch_indices(key, 50, 10, 0, 10).reshape(2, 50)
    for epoch, images in enumerate(order):
        assert sorted(images) == list(range(50))
        assert not np.array_equal(images, jax.random.permutation(jax.random.fold_in(key, epoch), 50))
    assert not np.array_equal(*order)


def test_each_crop_is_a_part_of_an_image():
    everywhere = [
        {image[r : r + 8, c : c + 8].tobytes() for r in range(image.shape[0] - 7) for c in range(image.shape[1] - 7)}
        for image in pictures()
    ]
    crops = batches(pictures()).reshape(-1, *SHAPE)
    found = [[k for k, parts in enumerate(everywhere) if crop.tobytes() in parts] for crop in crops]
    assert all(len(owners) == 1 for owners in found)
    # 18 crops are three epochs and three of the fourth.
    counts = np.bincount([owners[0] for owners in found], minlength=5)
    assert counts.sum() == 18
    assert set(counts) <= {3, 4}


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_crops_are_the_same_whoever_cuts_them(threads):
    np.testing.assert_array_equal(batches(pictures()), batches(OnDisk(), on_device="no", threads=threads))


def test_crops_do_not_depend_on_where_a_run_began():
    straight = batches(pictures(), start=0, count=4)
    np.testing.assert_array_equal(batches(pictures(), start=2, count=2), straight[2:])
    np.testing.assert_array_equal(batches(OnDisk(), start=2, count=2, on_device="no", threads=2), straight[2:])


def test_crops_are_drawn_afresh():
    crops = batches([pictures()[4]] * 3)
    assert len({crop.tobytes() for crop in crops.reshape(-1, *SHAPE)}) > 15


def test_corners_are_uniform_over_all_places(key):
    n = 20_000
    corners = crop_corners(key, np.arange(1), np.tile([[[12, 10]]], (1, n, 1)), (8, 8))[0]
    counts = np.bincount(corners[:, 0] * 3 + corners[:, 1], minlength=15)
    assert len(counts) == 15
    expected = n / 15
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_float_images_keep_their_dtype(key):
    assert batches(pictures(np.float32)).dtype == np.float32
    assert random_crops(key, pictures(np.float32), (8, 8), per_image=2).dtype == np.float32


def test_random_crops_go_image_by_image(key):
    flat = [np.full((*size, 1), k, np.uint8) for k, size in enumerate(SIZES)]
    crops = random_crops(key, flat, (8, 8), per_image=3)
    np.testing.assert_array_equal(crops.max(axis=(1, 2, 3)), np.repeat(np.arange(5), 3))


def test_an_image_that_is_gone_stops_training_with_its_name():
    with pytest.raises(OSError, match="image 2 is gone"):
        batches(OnDisk(broken=2), on_device="no", threads=2)


def test_a_sized_sequence_is_known_by_its_sizes():
    assert knows_sizes(OnDisk())
    assert not knows_sizes(pictures())


class NeverHashed(OnDisk):
    """Images whose contents nobody may ask for a hash of."""

    @property
    def fingerprint(self) -> str:
        raise AssertionError("hashed")


@pytest.mark.parametrize("on_device", ["yes", "no"])
def test_images_are_not_hashed_where_nothing_reads_the_hash(tmp_path, monkeypatch, on_device):
    """Neither by training that keeps no checkpoints, nor by a check of types, which `isinstance` would do."""
    for module in ("whole_images", "crop_plan"):
        monkeypatch.setattr(f"jaxunreg.training.batches.{module}.fingerprint", lambda _: pytest.fail("hashed"))
    config = ju.TrainConfig(steps=1, batch_size=4, images_on_device=on_device)
    model = ju.VAE(ju.VAEConfig(image_shape=SHAPE, depth=1, base_channels=2, latent_dim=2))
    assert image_sizes(NeverHashed()).tolist() == [list(size) for size in SIZES]
    check_training_images(NeverHashed(), SHAPE)
    for images in (NeverHashed(), pictures(), np.zeros((4, *SHAPE), np.uint8)):
        ju.fit(model, images, config, key=jax.random.key(0), progress=False)
    # A run that may go on must know its images.
    with pytest.raises(AssertionError, match="hashed"):
        ju.fit(model, NeverHashed(), config, key=jax.random.key(0), directory=tmp_path, progress=False)


@pytest.mark.parametrize("on_device", ["yes", "no"])
def test_training_on_crops_is_the_same_from_memory_and_from_disk(on_device):
    config = ju.TrainConfig(steps=5, batch_size=6, steps_per_dispatch=2, images_on_device=on_device, loader_threads=3)
    model = ju.VAE(ju.VAEConfig(image_shape=SHAPE, depth=2, base_channels=4, latent_dim=3))

    def fit(images: object, config: ju.TrainConfig) -> list[np.ndarray]:
        state = ju.fit(model, images, config, key=jax.random.key(0), progress=False)
        return jax.tree.leaves(jax.tree.map(np.asarray, state.variables))

    here = fit(OnDisk(), config)
    there = fit(pictures(), dataclasses.replace(config, images_on_device="yes"))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "got no training images"),
        ([np.zeros((7, 9, 1), np.uint8)], ValueError, "got image 0 of 7x9; expected at least the model's 8x8"),
        ([np.zeros((9, 9, 3), np.uint8)], ValueError, r"got images of shape \[9, 9, 3\]"),
        ([np.full((9, 9, 1), np.nan, np.float32)], ValueError, "NaN"),
        ([np.zeros((9, 9, 1), np.uint8), np.zeros((9, 9, 1), np.float32)], TypeError, "got image 1 of dtype float32"),
        (7, TypeError, "got int; expected an array"),
    ],
)
def test_bad_images_are_named(images, error, message, no_type_checks):
    with pytest.raises(error, match=message):
        batches(images)


def test_too_many_pixels_for_an_index_are_refused(monkeypatch):
    huge = OnDisk()
    huge.sizes = np.array([[8, 8], [2**16, 2**16], [8, 8], [8, 8], [8, 8]])
    with pytest.raises(ValueError, match="images_on_device='no'"):
        batches(huge)
    monkeypatch.setattr("jaxunreg.training.batches.memory._free_memory", lambda: 1e12)
    how = {"batch_size": 6, "steps": 20, "steps_per_dispatch": 4, "threads": 0}
    assert isinstance(make_batches(huge, SHAPE, jax.random.key(3), on_device="auto", **how), StreamedCrops)


def test_no_crop_a_image_is_refused(key):
    with pytest.raises(ValueError, match="per_image=0"):
        random_crops(key, pictures(), (8, 8), per_image=0)
