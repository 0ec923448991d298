"""Sweeps: a member has the gradients, weights and scores of the small model trained alone, beside any others."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.sweep import part, program, setup
from jaxunreg.sweep.latent_padding import PaddedLatentSpace, with_latent_size
from jaxunreg.sweep.program import member_bytes
from jaxunreg.training.state import init_state

pytestmark = pytest.mark.slow

SIZES = {"image_shape": (8, 8, 1), "depth": 1, "base_channels": 4}
MODEL = ju.VAE(ju.VAEConfig(**SIZES, latent_dim=5))
CONFIG = ju.TrainConfig(
    steps=10,
    batch_size=4,
    steps_per_dispatch=4,
    evaluate_every=5,
    checkpoint_every=6,
    warmup_steps=2,
    kl_warmup_steps=3,
)
MEMBERS = [
    ju.Member(seed=0, latent_dim=2, learning_rate=3e-3, weight_decay=0.1),
    ju.Member(seed=1),
    ju.Member(seed=1, kl_weight=0.3),
]


def images(n: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, 1), dtype=np.uint8)


def fit_sweep(members=MEMBERS, **options) -> ju.SweepResult:
    """Parts of two members on one device, so that all tests have one program."""
    options = {"devices": jax.devices()[:1], "members_at_once": 2, "progress": False, **options}
    return ju.fit_sweep(MODEL, options.pop("images", images()), options.pop("config", CONFIG), members, **options)


def small_model(model, latent_dim: int):
    return type(model)(dataclasses.replace(model.config, latent_dim=latent_dim))


def records(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


class Spy:
    """`sweep_steps`, its compiled program and how often a step was traced."""

    def __init__(self) -> None:
        self.run, self.step, self.traces, self.program = program.sweep_steps, program.train_step, 0, None

    def sweep_steps(self, *arguments):
        if self.program is None:
            self.program = self.run.lower(*arguments).compile()
        return self.run(*arguments)

    def train_step(self, *arguments):
        self.traces += 1
        return self.step(*arguments)


@pytest.fixture(scope="module")
def spy() -> Spy:
    return Spy()


@pytest.fixture(scope="module")
def swept(spy) -> ju.SweepResult:
    spy.run.clear_cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "sweep_steps", spy.sweep_steps)
        patch.setattr(program, "train_step", spy.train_step)
        return fit_sweep(held_out=images(7), evaluate=used)


def used(model, variables) -> dict:
    assert isinstance(model.latent_space, PaddedLatentSpace)
    return {"used": variables["latent"]["latent_space"]["size"].item()}


def test_all_parts_are_one_program(swept, spy):
    assert swept.history.loss.shape == (3, 10)
    assert spy.traces == 1


@pytest.mark.parametrize("k", [0, 2])
def test_a_member_is_the_small_model_trained_alone(swept, tmp_path, k):
    member = swept.members[k]
    fields = {name: getattr(member, name) for name in ("learning_rate", "weight_decay", "kl_weight")}
    config = dataclasses.replace(CONFIG, **fields)
    small, key = small_model(MODEL, member.latent_dim), jax.random.key(member.seed)
    state = ju.fit(small, images(), config, key=key, directory=tmp_path, held_out=images(7), progress=False)
    model, variables = swept.variables(k)
    assert model == small
    chex.assert_trees_all_close(variables, state.variables, rtol=1e-3, atol=2e-5)
    log = records(tmp_path)
    for name, curve in {"loss": swept.history.loss, **swept.history.terms._asdict()}.items():
        np.testing.assert_allclose(curve[k], [line[name] for line in log if name in line], rtol=1e-4)
    evaluated = [line for line in log if "held_out" in line]
    assert [record["step"] for record in swept.evaluations[k]] == [5, 10]
    for record, line in zip(swept.evaluations[k], evaluated, strict=True):
        assert record["held_out"] == pytest.approx(line["held_out"], rel=1e-4)
        assert record["used"] == member.latent_dim


def test_the_history_is_the_objective_of_each_member(swept):
    d, a, m = swept.history.terms
    warmup = np.minimum(1.0, np.arange(1, 11) / 3)
    for k, weight in enumerate((1.0, 1.0, 0.3)):
        np.testing.assert_allclose(swept.history.loss[k], weight * warmup * d[k] + a[k] + m[k], rtol=1e-5)
    # Members of one seed see the same batches, but have other weights and settings.
    assert np.ptp(swept.history.loss[:, -1]) > 0.1


def test_the_padding_stays_zero_under_weight_decay_and_adam(swept):
    for k, member in enumerate(swept.members):
        kernel = swept.stacked["params"]["decoder"]["Dense_0"]["kernel"][k]
        assert kernel[: member.latent_dim].any(axis=1).all()
        assert not kernel[member.latent_dim :].any()
        bias = swept.stacked["params"]["encoder"]["Dense_0"]["bias"][k].reshape(2, 5)
        assert bias[:, : member.latent_dim].all()
        assert not bias[:, member.latent_dim :].any()


def test_a_padded_model_has_the_gradients_of_the_small_one_and_none_in_the_padding():
    small = small_model(MODEL, 2)
    leaves, tree = jax.tree.flatten(init_state(small, CONFIG, jax.random.key(3)).variables)
    # No bias at zero, as all are at the start.
    rng = np.random.default_rng(4)
    variables = jax.tree.unflatten(tree, [leaf + 0.1 * rng.random(leaf.shape, np.float32) for leaf in leaves])
    wide = jax.tree.map(np.array, variables)
    # Of ten outputs of the encoder five are means and five log-variances.
    columns, rest = np.array([0, 1, 5, 6]), np.array([2, 3, 4, 7, 8, 9])
    encoder, decoder = wide["params"]["encoder"]["Dense_0"], wide["params"]["decoder"]["Dense_0"]
    for name, leaf in encoder.items():
        encoder[name] = np.zeros((*leaf.shape[:-1], 10), np.float32)
        encoder[name][..., columns] = leaf
    decoder["kernel"] = np.concatenate([decoder["kernel"], np.zeros((3, decoder["kernel"].shape[1]), np.float32)])
    wide = with_latent_size(wide, jnp.asarray(2, jnp.int32))
    batch = jnp.asarray(images(4) / np.float32(255))

    def gradients(model, variables):
        def loss(params):
            arguments = {**variables, "params": params}, batch, jax.random.key(9)
            terms, _ = model.apply(*arguments, method="training_terms", mutable=["batch_stats"])
            return (terms.d * 0.7 + terms.a + terms.m).mean(), terms

        (_, terms), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
        return terms, jax.tree.map(np.array, gradient)

    terms, wanted = gradients(small, variables)
    padded_terms, found = gradients(MODEL.with_latent_space(PaddedLatentSpace()), wide)
    chex.assert_trees_all_close(padded_terms, terms, rtol=1e-5)
    encoder, decoder = found["encoder"]["Dense_0"], found["decoder"]["Dense_0"]
    # Exactly none, so that Adam, which divides by its size, has nothing to make large.
    for name, leaf in encoder.items():
        assert not leaf[..., rest].any()
        encoder[name] = leaf[..., columns]
    assert not decoder["kernel"][2:].any()
    decoder["kernel"] = decoder["kernel"][:2]
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.abs(want).max() > 0
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * np.abs(want).max())


def test_stacked_members_are_an_ensemble_of_the_small_models(swept):
    scorer = ju.make_scorer(swept.model, swept.stacked)
    terms = jax.jit(lambda scorer: jax.vmap(lambda one: jax.vmap(one)(images()))(scorer))(scorer)
    own = ju.score_images(ju.make_scorer(*swept.variables(0)), images())
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], terms), own, rtol=1e-4)


def test_an_autoencoder_is_padded_without_a_mask():
    """Zeros in the decoder's rows give the padding no gradient, and zeros in the encoder's give the rows none."""
    model = ju.Autoencoder(ju.AutoencoderConfig(**SIZES, latent_dim=5))
    config = dataclasses.replace(CONFIG, weight_decay=0.1)
    result = ju.fit_sweep(model, images(), config, [ju.Member(seed=4, latent_dim=2)], progress=False)
    _, variables = result.variables(0)
    state = ju.fit(small_model(model, 2), images(), config, key=jax.random.key(4), progress=False)
    chex.assert_trees_all_close(variables, state.variables, rtol=1e-3, atol=2e-5)
    assert not result.stacked["params"]["decoder"]["Dense_0"]["kernel"][0, 2:].any()
    assert not result.stacked["params"]["encoder"]["Dense_0"]["kernel"][0, :, 2:].any()


def test_a_folder_has_one_sweep_at_a_time(tmp_path):
    def start_another(*_: object) -> dict[str, float]:
        with pytest.raises(ju.CheckpointError, match="another run is writing right now"):
            fit_sweep(directory=tmp_path)
        return {}

    assert not fit_sweep(directory=tmp_path, evaluate=start_another).failures


def test_other_devices_and_parts_change_nothing(swept, monkeypatch):
    """Three members in four slots on two devices, vectorised there, for three in a loop on one in two parts."""
    spy = Spy()
    monkeypatch.setattr(part, "sweep_steps", spy.sweep_steps)
    again = fit_sweep(devices=jax.devices()[:2], members_at_once=None, vectorize=True, held_out=images(7))
    assert again.members == swept.members
    chex.assert_trees_all_close(again.stacked, swept.stacked, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(again.history.loss, swept.history.loss, rtol=1e-4)
    for records_again, records_swept in zip(again.evaluations, swept.evaluations, strict=True):
        held_out, wanted = ([record["held_out"] for record in both] for both in (records_again, records_swept))
        assert held_out[-1] == pytest.approx(wanted[-1], rel=1e-4)
    # Members have nothing to say to each other.
    hlo = spy.program.as_text()
    assert "num_partitions=2" in hlo
    names = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
    assert not [name for name in names if f" {name}" in hlo]


def test_images_on_the_host_train_alike(swept, monkeypatch):
    monkeypatch.setattr(setup, "stay_on_device", lambda *_: False)
    chex.assert_trees_all_equal(fit_sweep().stacked, swept.stacked)


CHILD = """
import sys
sys.path.insert(0, {root!r})
from tests.sweep.test_sweep import fit_sweep, used, images
def evaluate(model, variables):
    print("evaluated", flush=True)
    sys.stdin.readline()
    return used(model, variables)
fit_sweep(directory={directory!r}, held_out=images(7), evaluate=evaluate)
"""


def test_a_sweep_that_was_killed_ends_with_the_same_bits(swept, tmp_path):
    """SIGKILL in the first part, after the checkpoint of step 6, while step 10 is evaluated."""
    code = CHILD.format(root=str(Path(__file__).parents[2]), directory=str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # A process of its own has the eight fake devices as well, so that it compiles the same program.
    child = subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy(), **pipes)
    try:
        for answer in ("\n", "\n", ""):  # Two members at step 5, then the first at step 10.
            assert child.stdout.readline() == "evaluated\n"
            child.stdin.write(answer)
            child.stdin.flush()
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.communicate()
    folder = tmp_path / "part-000"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["6"]
    assert records(folder)[-1]["step"] == 8
    evaluate = {"held_out": images(7), "evaluate": used}
    resumed = fit_sweep(directory=tmp_path, **evaluate)
    chex.assert_trees_all_equal(resumed.stacked, swept.stacked)
    chex.assert_trees_all_equal(resumed.history, swept.history)
    assert resumed.evaluations == swept.evaluations

    # Once more: nothing is left to do, on any devices.
    before = (folder / "metrics.jsonl").read_bytes()
    elsewhere = dataclasses.replace(CONFIG, loader_threads=1)
    again = fit_sweep(directory=tmp_path, devices=jax.devices()[:2], config=elsewhere, **evaluate)
    chex.assert_trees_all_equal(again.stacked, swept.stacked)
    chex.assert_trees_all_equal(again.history, swept.history)
    assert again.evaluations == resumed.evaluations
    assert (folder / "metrics.jsonl").read_bytes() == before
    assert {record["member"] for record in records(tmp_path / "part-001") if "member" in record} == {2}

    other = [MEMBERS[0], ju.Member(seed=5), MEMBERS[2]]
    with pytest.raises(ju.CheckpointError, match=r"these differ: members was .*'seed': 1.* is now .*'seed': 5"):
        fit_sweep(other, directory=tmp_path)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_member_that_diverges_is_reported_and_stops_no_other(swept, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    wild = ju.Member(seed=1, learning_rate=1e30)
    options = {"directory": tmp_path, "held_out": images(7), "description": "tile A"}
    result = fit_sweep([wild, MEMBERS[0]], progress=True, **options)
    shown = capsys.readouterr().err
    for words in ("tile A", "10/10", "2 members", "loss", " to ", "images/s", "1 failed"):
        assert words in shown
    chex.assert_trees_all_equal(result.variables(1)[1], swept.variables(0)[1])
    (failure,) = result.failures.values()
    # The first update, of a warm-up from zero, changes nothing; the second does its harm, and the third step sees it.
    assert failure.step == 3
    with pytest.raises(ju.NonFiniteLossError, match=r"member 0 of the sweep failed: got a loss of .* at step 3"):
        result.variables(0)
    finite = np.isfinite(result.history.loss)
    assert finite[1].all()
    assert finite[0].tolist() == [True] * 2 + [False] * 8
    assert result.evaluations[0] == ()
    assert [record["step"] for record in result.evaluations[1]] == [5, 10]
    steps = [record for record in records(tmp_path / "part-000") if "loss" in record]
    assert [record["loss"][0] is None for record in steps] == [False] * 2 + [True] * 8
    again = fit_sweep([wild, MEMBERS[0]], **options)
    assert str(again.failures) == str(result.failures)
    chex.assert_trees_all_equal(again.history, result.history)


def test_a_parameter_that_is_not_finite_fails_a_member(swept, monkeypatch):
    run = program.sweep_steps

    def poisoned(*arguments):
        state, metrics = run(*arguments)
        if int(state.step[0]) == 10:
            spoil = jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, leaf), state.variables["params"])
            spoil["decoder"]["Dense_0"]["bias"] = spoil["decoder"]["Dense_0"]["bias"].at[1, 0].set(jnp.inf)
            state = state._replace(variables={**state.variables, "params": spoil})
        return state, metrics

    monkeypatch.setattr(part, "sweep_steps", poisoned)
    result = fit_sweep(MEMBERS[:2])
    assert list(result.failures) == [1]
    with pytest.raises(ju.NonFiniteLossError, match="parameter that is NaN or infinite at step 10"):
        result.variables(1)
    chex.assert_trees_all_equal(result.variables(0)[1], swept.variables(0)[1])


def test_a_sweep_whose_members_have_all_failed_ends(monkeypatch):
    calls, run = [], program.sweep_steps
    monkeypatch.setattr(part, "sweep_steps", lambda *arguments: (calls.append(1), run(*arguments))[-1])
    result = fit_sweep([ju.Member(seed=k, learning_rate=1e30, latent_dim=2) for k in range(2)])
    assert sorted(result.failures) == [0, 1]
    assert len(calls) == 1
    assert np.isnan(result.history.loss[:, 2:]).all()


def test_members_are_grouped_by_every_shape_but_the_latent_size():
    def vae(channels: int, latent_dim: int) -> ju.VAE:
        return ju.VAE(ju.VAEConfig(**{**SIZES, "base_channels": channels}, latent_dim=latent_dim))

    models = [vae(4, 3), vae(8, 3), vae(4, 9), ju.Autoencoder(ju.AutoencoderConfig(**SIZES, latent_dim=3)), vae(8, 2)]
    members = [ju.Member(seed=k) for k in range(4)] + [ju.Member(seed=4, latent_dim=7)]
    groups = ju.group_members(models, members)
    assert [group.indices for group in groups] == [(0, 2), (1, 4), (3,)]
    assert [group.model for group in groups] == [vae(4, 9), vae(8, 7), models[3]]
    assert [[member.latent_dim for member in group.members] for group in groups] == [[3, 9], [3, 7], [3]]
    assert [member.seed for group in groups for member in group.members] == [0, 2, 1, 4, 3]
    with pytest.raises(ValueError, match="5 models and 1 members"):
        ju.group_members(models, members[:1])


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"members": []}, ValueError, "no members"),
        ({"members": [ju.Member(latent_dim=6)]}, ValueError, "latent_dim=6 for member 0 with a model of latent_dim=5"),
        ({"devices": []}, ValueError, "no devices"),
        ({"members_at_once": 0}, ValueError, "members_at_once=0"),
        ({"images": [images()[0]] * 9}, TypeError, "got list; expected an array"),
        ({"images": images(3)}, ValueError, "3 training images with batch_size=4"),
        ({"images": images().astype(np.int32)}, TypeError, "int32"),
        ({"held_out": images()[:, :4]}, ValueError, r"\[N, 8, 8, 1\]"),
    ],
)
def test_a_bad_sweep_is_refused_before_anything_is_written(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        fit_sweep(directory=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"learning_rate": float("inf")}, "learning_rate=inf"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0; expected a finite value of at least zero"),
        ({"kl_weight": float("nan")}, "kl_weight=nan"),
        ({"latent_dim": 0}, "latent_dim=0; expected at least 1"),
    ],
)
def test_a_member_out_of_range_says_why(fields, said):
    with pytest.raises(ValueError, match=said):
        ju.Member(**fields)


def test_no_such_member(swept):
    with pytest.raises(IndexError, match="member 3; expected 0 to 2"):
        swept.variables(3)


def test_the_estimate_of_memory_counts_parameters_and_activations():
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    one, two = (member_bytes(MODEL, dataclasses.replace(CONFIG, batch_size=n)) for n in (1, 2))
    # What the gradient keeps of an image is at least the input of every layer.
    assert one.weights == two.weights >= 3 * 4 * parameters
    assert two.activations == 2 * one.activations
    assert one.activations > 4 * (64 + 2 * 4 * 16 + 2 * 64)
