"""Weights and config together: bit for bit, without pickle, and with a clear error for a damaged folder."""

import dataclasses
import gc
import json
import tracemalloc
from collections.abc import Iterator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.models.registry import build_model, describe_model
from jaxunreg.scoring.scorer import fold
from jaxunreg.serialization import fingerprint, to_json, with_checksum, without_checksum
from jaxunreg.training import saved_model
from jaxunreg.training.checkpoints import Checkpoints

# Orbax leaves the coroutines of the arrays that it did not get to when a checkpoint is damaged; they are collected
# within the test that left them.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


SIZES = {"image_shape": (8, 8, 1), "depth": 2, "base_channels": 4, "latent_dim": 3}


@pytest.fixture(scope="module", params=["vae", "autoencoder"])
def trained(request):
    model = ju.VAE(ju.VAEConfig(**SIZES)) if request.param == "vae" else ju.Autoencoder(ju.AutoencoderConfig(**SIZES))
    return model, jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 8, 8, 1)))


def test_a_model_comes_back_bit_for_bit_with_its_config(trained, tmp_path):
    model, variables = trained
    ju.save_model(tmp_path / "model", model, variables)
    again, restored = ju.load_model(tmp_path / "model")
    assert again == model
    chex.assert_trees_all_equal(restored, variables)
    image = jnp.full((8, 8, 1), 0.25)
    decompose = jax.jit(ju.decompose, static_argnums=0)
    chex.assert_trees_all_equal(decompose(again, restored, image), decompose(model, variables, image))


def test_nothing_on_disk_is_a_pickle(trained, tmp_path):
    ju.save_model(tmp_path / "model", *trained)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        head = path.read_bytes()[:2]
        assert not (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"), path


def test_the_config_is_json_beside_the_weights(trained, tmp_path):
    ju.save_model(tmp_path / "model", *trained)
    metadata = [path for path in tmp_path.rglob("metadata") if "config" in path.parts]
    content = json.loads(metadata[0].read_text())
    assert content["config"]["model"]["config"]["latent_dim"] == 3


def test_what_could_not_be_loaded_again_is_not_saved(trained, tmp_path):
    model, variables = trained
    larger = dataclasses.replace(model, config=dataclasses.replace(model.config, latent_dim=5))
    with pytest.raises(
        ValueError, match=r"not belong to the model: .* is \(.*\); expected \(.*\) \(\d+ differ in all\)"
    ):
        ju.save_model(tmp_path / "model", larger, variables)
    with pytest.raises(ValueError, match=r"is missing; expected \(|; expected none"):
        ju.save_model(tmp_path / "model", model, fold(model, variables))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_variables_that_could_not_be_loaded_are_not_saved(trained, tmp_path, dtype):
    model, variables = trained
    other = jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), variables)
    with pytest.raises(ValueError, match=rf"another dtype than the model's: .* is {dtype}; expected float32 \(\d+ dif"):
        ju.save_model(tmp_path / "model", model, other)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_variables_that_are_not_finite_are_neither_saved_nor_loaded_nor_exported(trained, tmp_path, value, monkeypatch):
    model, variables = trained
    leaves, tree = jax.tree.flatten(variables)
    bad = tree.unflatten([*leaves[:-1], leaves[-1].at[(0,) * leaves[-1].ndim].set(value)])
    message = r"variables with NaN or infinities, 1 of the \d+ values of .*; expected finite numbers"
    with pytest.raises(ValueError, match=message):
        ju.save_model(tmp_path / "model", model, bad)
    with pytest.raises(ValueError, match=message):
        ju.export_scorer(ju.make_scorer(model, bad), platforms=["cpu"])
    assert not (tmp_path / "model").exists()
    with monkeypatch.context() as patch:
        patch.setattr(saved_model, "check_finite", lambda _: None)
        ju.save_model(tmp_path / "model", model, bad)
    with pytest.raises(ju.CheckpointError, match=message):
        ju.load_model(tmp_path / "model")


def test_the_checkpoints_of_a_sweep_are_named_and_not_to_be_deleted(tmp_path):
    model = ju.VAE(ju.VAEConfig(**SIZES))
    config = ju.TrainConfig(steps=1, batch_size=4, checkpoint_every=1)
    images = np.zeros((4, 8, 8, 1), np.uint8)
    ju.fit_sweep(model, images, config, [ju.Member(seed=0)], directory=tmp_path, progress=False)
    [folder] = tmp_path.rglob("checkpoints")
    with pytest.raises(ju.CheckpointError, match="a sweep of 1 members; .*save what") as caught:
        ju.load_model(folder)
    assert "delete" not in str(caught.value)


def test_a_step_below_the_latest_is_refused(tmp_path):
    tree = {"w": np.zeros(3, np.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, tree, tree, {})
        with pytest.raises(ju.CheckpointError, match="got step 3 .*expected one above 5"):
            checkpoints.save(3, tree, tree, {})
        assert checkpoints.latest_step == 5


def test_a_used_folder_is_refused_and_left_alone(trained, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ju.CheckpointError, match="already used"):
        ju.save_model(tmp_path, *trained)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_an_error(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ju.CheckpointError, match="writable folder"):
        ju.save_model(tmp_path / "file" / "model", *trained)


def test_a_missing_or_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ju.CheckpointError, match="not a folder"):
        ju.load_model(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ju.CheckpointError, match="no checkpoint in it"):
        ju.load_model(tmp_path / "empty")


@pytest.mark.parametrize("damage", ["cut", "empty", "deleted", "altered"])
def test_a_damaged_checkpoint_is_an_error_that_names_it(trained, tmp_path, damage):
    model, variables = trained
    ju.save_model(tmp_path / "model", model, variables)
    files = (tmp_path / "model" / "0" / "variables" / "d").iterdir()
    victim = max(files, key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "deleted":
        victim.unlink()
    else:
        middle = len(content) // 2
        victim.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(ju.CheckpointError, match="cannot be read, .*model"):
        ju.load_model(tmp_path / "model")


def test_altered_weights_that_can_still_be_read_do_not_pass(tmp_path):
    """The SHA-256 speaks even where the storage format's own checks do not."""
    tree, rest = {"w": np.arange(3.0, dtype=np.float32)}, {"n": np.zeros((), np.int32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, rest, {})
        meta = next(path for path in (tmp_path / "1" / "config").rglob("metadata"))
        content = without_checksum(json.loads(meta.read_text()))
        content["trees"]["variables"] = fingerprint({"w": np.ones(3, np.float32)})
        meta.write_text(json.dumps(with_checksum(content)))
        with pytest.raises(ju.CheckpointError, match="contents of 'variables' do not match their SHA-256"):
            checkpoints.restore(1, tree, rest)


def test_an_altered_config_does_not_pass(trained, tmp_path):
    ju.save_model(tmp_path / "model", *trained)
    [meta] = [path for path in tmp_path.rglob("metadata") if "config" in path.parts]
    content = meta.read_text()
    altered = content.replace('"batch_norm_epsilon": 1e-05', '"batch_norm_epsilon": 1e-01')
    assert altered != content
    for text in (altered, altered.replace("sha256", "sha257"), "[" * 200_000):
        meta.write_text(text)
        with pytest.raises(ju.CheckpointError, match="cannot be read, .*model"):
            ju.load_model(tmp_path / "model")


def test_a_checkpoint_of_other_shapes_is_an_error(tmp_path):
    rest = {"n": np.zeros((), np.int32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": np.zeros(3, np.float32)}, rest, {})
        with pytest.raises(ju.CheckpointError, match="cannot be read"):
            checkpoints.restore(1, {"w": np.zeros(4, np.float32)}, rest)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    tree, rest = {"w": np.arange(3.0, dtype=np.float32)}, {"n": np.zeros((), np.int32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree, rest, {})

        def full(*args, **kwargs):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints._manager, "save", full)
        with pytest.raises(ju.CheckpointError, match="No space left.*last good checkpoint is that of step 1"):
            checkpoints.save(2, tree, rest, {})
        assert checkpoints.latest_step == 1
        chex.assert_trees_all_equal(checkpoints.restore(1, tree, rest)[0], jax.tree.map(jnp.asarray, tree))


def test_only_the_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, {"w": np.full(2, step)}, {"n": np.zeros(())}, {})
        assert checkpoints.latest_step == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["2", "3"]


def test_descriptions_that_cannot_be_built_are_errors(trained):
    description = describe_model(trained[0])
    assert build_model(json.loads(json.dumps(description))) == trained[0]
    with pytest.raises(ju.CheckpointError, match="cannot be built"):
        build_model({**description, "kind": "gan"})
    with pytest.raises(ju.CheckpointError, match="cannot be built.*depth"):
        build_model({"kind": description["kind"], "config": {**description["config"], "depth": 9}})


@pytest.mark.usefixtures("no_type_checks")
def test_models_of_other_kinds_are_refused():
    with pytest.raises(TypeError, match="int; expected one of"):
        describe_model(3)


def test_a_fingerprint_copies_nothing(tmp_path):
    """A memory-mapped file may be larger than the memory."""
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((64, 256, 256), np.uint8))
    images = np.load(path, mmap_mode="r")
    tracemalloc.start()
    digest = fingerprint(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 4
    assert digest == fingerprint(np.array(images)) != fingerprint(np.array(images)[1:])
    for array in (np.zeros(()), np.zeros((0, 3)), np.zeros((3, 2), jnp.bfloat16).T):
        fingerprint(array)


def test_fingerprints_see_names_shapes_dtypes_and_values():
    tree = {"a": np.zeros((2, 3), np.float32)}
    others = [{"b": tree["a"]}, {"a": tree["a"].T}, {"a": tree["a"].astype(np.int32)}, {"a": tree["a"] + 1}]
    prints = {fingerprint(other) for other in (tree, *others)}
    assert len(prints) == 5
    assert fingerprint({"a": jnp.zeros((2, 3))}) == fingerprint(tree)


def test_json_data_is_plain(tmp_path):
    value = {"a": (1, np.float32(0.5)), "b": [np.int64(3)], "c": tmp_path, 4: None}
    assert json.loads(json.dumps(to_json(value))) == {"a": [1, 0.5], "b": [3], "c": str(tmp_path), "4": None}


@pytest.mark.parametrize("moment", ["config", "restore_variables"])
def test_a_checkpoint_that_a_run_removes_while_it_is_read_is_no_damage(trained, tmp_path, monkeypatch, moment):
    model, variables = trained
    ju.save_model(tmp_path / "run", model, variables)
    read = getattr(Checkpoints, moment)

    def removed_before(self, step, *args):
        if step == 0:
            (tmp_path / "run" / "0").rename(tmp_path / "run" / "7")
        return read(self, step, *args)

    monkeypatch.setattr(Checkpoints, moment, removed_before)
    again, restored = ju.load_model(tmp_path / "run")
    assert again == model
    chex.assert_trees_all_equal(restored, variables)


def test_checkpoints_that_never_stay_are_told(trained, tmp_path, monkeypatch):
    ju.save_model(tmp_path / "run", *trained)
    monkeypatch.setattr("jaxunreg.training.saved_model._SECONDS_TO_REMOVE", 0.0)

    def moved(self, step):
        (tmp_path / "run" / str(step)).rename(tmp_path / "run" / str(step + 1))
        raise ju.CheckpointError("gone")

    monkeypatch.setattr(Checkpoints, "config", moved)
    with pytest.raises(
        ju.CheckpointError, match="faster than they are read; expected a checkpoint that stays; wait until"
    ):
        ju.load_model(tmp_path / "run")
