"""The scorer as a portable artifact: the same numbers from another program, which does not know this package."""

import dataclasses
import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.features import (
    EfficientNetLite0,
    FeatureDensity,
    FeatureNetwork,
    MapVAE,
    WhiteningConfig,
    fit_whitening,
    wrap,
)
from jaxunreg.features.network import native_of
from jaxunreg.models import registry
from jaxunreg.scoring import FeatureScorer

pytestmark = pytest.mark.slow

DEPTH = 2
# A layer for each of the matrix products: im2col, Winograd's filtering and its transpose, overlap-add.
CONFIG = ju.VAEConfig(image_shape=(16, 16, 1), depth=DEPTH, base_channels=16, latent_dim=3)


def make(model) -> ju.Scorer:
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *model.config.image_shape)))
    # Statistics that differ from their start, so that a test sees whether they are used.
    return ju.make_scorer(
        model, {**variables, "batch_stats": jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])}
    )


@pytest.fixture(scope="module")
def scorer() -> ju.Scorer:
    return make(ju.VAE(CONFIG))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(130, 16, 16, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def artifact(scorer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "scorer.jaxexport"
    ju.export_scorer(scorer, path, vjp_order=1)
    return path


def load(path: Path) -> jax.export.Exported:
    return jax.export.deserialize(bytearray(path.read_bytes()))


def count(operation: str, exported: jax.export.Exported) -> int:
    return len(re.findall(rf"stablehlo\.{operation}\b", exported.mlir_module()))


# ------------------------------------------------------------------------------------------------------- StableHLO


def test_the_export_scores_as_python_does_whatever_the_batch(scorer, images, artifact):
    exported = load(artifact)
    pixels = images / np.float32(255)
    want = ju.score_images(scorer, images)
    # At 130 images a batch of known size takes Winograd's filtering for more layers.
    for size in (1, 3, 130):
        got = exported.call(pixels[:size])
        assert all(term.dtype == jnp.float32 for term in got)
        chex.assert_trees_all_close(tuple(got), tuple(term[:size] for term in want), rtol=1e-5)


def test_a_process_that_never_imports_the_package_gets_the_same_scores(scorer, images, artifact, tmp_path):
    np.save(tmp_path / "images.npy", images[:5] / np.float32(255))
    program = (
        "import sys, numpy, jax, jax.export\n"
        f"exported = jax.export.deserialize(bytearray(open({str(artifact)!r}, 'rb').read()))\n"
        "numpy.save('terms.npy', numpy.stack(exported.call(numpy.load('images.npy'))))\n"
        "print([name for name in ('jaxunreg', 'flax', 'jaxtyping') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
    want = ju.score_images(scorer, images[:5])
    np.testing.assert_allclose(np.load(tmp_path / "terms.npy"), np.stack(want), rtol=1e-5)


def test_bytes_go_in_where_they_are_asked_for(scorer, images):
    exported = ju.export_scorer(scorer, platforms=["cpu"], dtype="uint8")
    got = exported.call(images[:3])
    chex.assert_trees_all_close(tuple(got), tuple(ju.score_images(scorer, images[:3])), rtol=1e-5)
    with pytest.raises(ValueError, match="expected uint8"):
        exported.call(images[:3] / np.float32(255))


def test_the_gradient_goes_through_the_file_where_it_was_kept(scorer, images, artifact):
    pixels = jnp.asarray(images[:2] / np.float32(255))
    exported = load(artifact)
    saliency = jax.jit(jax.grad(lambda pixels: exported.call(pixels)[2].sum()))(pixels)
    want = jax.jit(jax.vmap(jax.grad(lambda pixels: scorer(pixels).m)))(pixels)
    assert float(jnp.linalg.norm(saliency - want)) <= 1e-4 * float(jnp.linalg.norm(want))
    forward = jax.export.deserialize(ju.export_scorer(scorer, platforms=["cpu"]).serialize())
    with pytest.raises(ValueError, match="vjp|VJP|differentiat"):
        jax.grad(lambda pixels: forward.call(pixels)[2].sum())(pixels)


def test_each_platform_has_its_own_lowering(scorer, artifact):
    layers, dense = 2 * DEPTH, 2
    tpu = ju.export_scorer(scorer, platforms=["tpu"])
    assert (count("convolution", tpu), count("dot_general", tpu)) == (layers, dense)
    cpu = ju.export_scorer(scorer, platforms=["cpu"])
    assert count("convolution", cpu) == 0
    # A Winograd layer has a product for each of its three rows of points.
    assert count("dot_general", cpu) >= layers + dense
    every = load(artifact)
    assert every.platforms == ("cpu", "cuda", "tpu")
    assert count("convolution", every) >= layers
    assert count("dot_general", every) >= count("dot_general", cpu)


def test_the_weights_are_there_once(scorer, tmp_path):
    ju.export_scorer(scorer, tmp_path / "scorer.jaxexport")
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(scorer.variables["params"]))
    assert parameters < (tmp_path / "scorer.jaxexport").stat().st_size < parameters + 100_000


def test_the_sidecar_says_what_the_file_is(scorer, artifact):
    about = json.loads(artifact.with_name("scorer.jaxexport.json").read_text())
    assert about["sha256"] == hashlib.sha256(artifact.read_bytes()).hexdigest()
    assert registry.build_model(about["model"]) == scorer.model
    assert about["input"] == {"shape": ["batch", 16, 16, 1], "dtype": "float32", "range": [0.0, 1.0]}
    assert about["outputs"] == ["d", "a", "m"]
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert {name: about["versions"][name] for name in ("jaxunreg", "jax")} == {
        "jaxunreg": ju.__version__,
        "jax": jax.__version__,
    }


def test_the_file_tells_nothing_of_the_machine_that_wrote_it(artifact):
    assert b"convolution.py" in artifact.read_bytes()
    assert str(Path(ju.__file__).parent).encode() not in artifact.read_bytes()
    assert jax.config.jax_hlo_source_file_canonicalization_regex is None


def test_an_autoencoder_and_bfloat16_export_as_well(images):
    config = ju.AutoencoderConfig(image_shape=(8, 8, 1), depth=1, base_channels=4, latent_dim=3, precision="bfloat16")
    scorer = make(ju.Autoencoder(config))
    got = ju.export_scorer(scorer, platforms=["cpu"]).call(images[:3, :8, :8] / np.float32(255))
    want = jax.jit(jax.vmap(scorer))(images[:3, :8, :8])
    chex.assert_trees_all_close(tuple(got), tuple(want), rtol=1e-3)
    assert not np.any(got[0] + got[1])
    assert np.all(got[2] > 0)


def test_a_scorer_on_many_devices_becomes_a_program_for_one(scorer, images):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 8
    everywhere = jax.device_put(scorer, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    assert ju.export_scorer(everywhere, platforms=["cpu"]).nr_devices == 1


def test_a_file_that_cannot_be_written_leaves_nothing(scorer, artifact, tmp_path):
    with pytest.raises(FileNotFoundError):
        ju.export_scorer(scorer, tmp_path / "missing" / "scorer.jaxexport", platforms=["cpu"])
    assert list(tmp_path.iterdir()) == []
    assert sorted(file.name for file in artifact.parent.iterdir()) == ["scorer.jaxexport", "scorer.jaxexport.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"platforms": ["gpu"]}, r"platforms=\['gpu'\]; expected at least one of \['cpu', 'cuda', 'rocm', 'tpu'\]"),
        ({"platforms": []}, "at least one"),
        ({"dtype": "float64"}, r"dtype='float64'; expected one of \['float32', 'uint8'\]"),
        ({"vjp_order": -1}, "vjp_order=-1; expected at least 0"),
    ],
)
def test_what_cannot_be_exported_is_refused(scorer, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        ju.export_scorer(scorer, tmp_path / "scorer.jaxexport", **options)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ ONNX


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    return pytest.importorskip("onnx")


def run(path: Path, images: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["d", "a", "m"], {"images": images})


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_onnx_runtime_scores_as_python_does_whatever_the_batch(onnx, scorer, images, tmp_path, dtype):
    path = tmp_path / "scorer.onnx"
    differences = ju.export_onnx(scorer, path, dtype=dtype)
    assert set(differences) == {"d", "a", "m"}
    batch = images if dtype == "uint8" else images / np.float32(255)
    want = ju.score_images(scorer, images)
    for size in (1, 5, 130):
        for got, term in zip(run(path, batch[:size]), want, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, term[:size], rtol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["scorer.onnx"]


def test_the_onnx_graph_has_the_layers_as_nodes_and_says_what_it_is(onnx, scorer, tmp_path):
    narrow = ju.make_scorer(ju.VAE(dataclasses.replace(CONFIG, precision="bfloat16")), scorer.variables)
    ju.export_onnx(narrow, tmp_path / "scorer.onnx", opset=21)
    model = onnx.load(tmp_path / "scorer.onnx")
    nodes = Counter(node.op_type for node in model.graph.node)
    assert (nodes["Conv"], nodes["ConvTranspose"]) == (DEPTH, DEPTH)
    # Normalisation is in the weights, and of a float32 input nothing is cast.
    assert nodes["Sqrt"] == nodes["BatchNormalization"] == nodes["Cast"] == 0
    assert model.opset_import[0].version == 21
    (image,) = model.graph.input
    assert [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim] == ["batch", 16, 16, 1]
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}["jaxunreg"])
    assert registry.build_model(about["model"]) == narrow.model


def convolved(kernel: jax.Array, images: jax.Array) -> jax.Array:
    return jnp.tanh(
        jax.lax.conv_general_dilated(images, kernel, (4, 4), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )


def of_features(network: FeatureNetwork, size: tuple[int, int], latent_dim: int) -> FeatureScorer:
    """A scorer of a VAE on the map, whose sigma follows the image; of Gaussians with no latent variable."""
    rng = np.random.default_rng(0)
    features = jax.jit(network)(jnp.asarray(rng.random((40, *size, 3), np.float32)))
    density: FeatureDensity = fit_whitening(features, WhiteningConfig(per_place=True, shrinkage=0.5))
    if latent_dim:
        shape = features.shape[1:]
        components = np.linalg.qr(rng.normal(size=(math.prod(shape), latent_dim)))[0].T.reshape(-1, *shape)
        signal = jnp.linspace(4.0, 0.5, latent_dim)
        log_variance = jnp.asarray(0.1 * rng.normal(size=(2 * latent_dim + 1, *shape[:2])), jnp.float32)
        density = MapVAE(density, jnp.asarray(components, jnp.float16), signal, log_variance)
    return FeatureScorer(network, density, size, channels=3)


@pytest.mark.parametrize(
    ("make_network", "size", "latent_dim", "dtype"),
    [
        (
            lambda: wrap(
                convolved, jnp.asarray(np.random.default_rng(1).normal(size=(5, 5, 3, 7)), jnp.float32), name="own"
            ),
            (16, 24),
            0,
            "uint8",
        ),
        (lambda: EfficientNetLite0.pretrained(precision="bfloat16"), (64, 64), 3, "float32"),
    ],
    ids=["own network", "EfficientNet-Lite0 and a VAE"],
)
def test_onnx_runtime_scores_features_as_python_does(onnx, make_network, size, latent_dim, dtype, tmp_path):
    network = make_network()
    narrow = of_features(network, size, latent_dim)
    ju.export_onnx(narrow, tmp_path / "scorer.onnx", dtype=dtype)
    # In float32 whatever the network's precision.
    scorer = dataclasses.replace(narrow, network=native_of(network))
    pixels = np.random.default_rng(2).integers(0, 256, (3, *size, 3), np.uint8)
    batch = pixels if dtype == "uint8" else pixels / np.float32(255)
    want = jax.jit(jax.vmap(lambda image: tuple(scorer(image))))(batch)
    for count in (1, 3):
        for got, term in zip(run(tmp_path / "scorer.onnx", batch[:count]), want, strict=True):
            np.testing.assert_allclose(got, term[:count], rtol=1e-4, atol=1e-3)
    model = onnx.load(tmp_path / "scorer.onnx")
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}["jaxunreg"])
    assert about["features"]["sha256"] == network.sha256


def test_weights_that_no_onnx_file_holds_are_refused(onnx, scorer, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxunreg.export.onnx._MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"GB of weights; expected at most 0.0 GB.*; write it by export_scorer"):
        ju.export_onnx(scorer, tmp_path / "scorer.onnx")


def test_a_graph_with_other_scores_is_not_written(onnx, scorer, tmp_path, monkeypatch):
    from jaxunreg.export import onnx as module

    to_onnx = module.to_onnx
    monkeypatch.setattr(
        module, "to_onnx", lambda program, *a, **k: to_onnx(lambda x: (*program(x)[:2], 2 * program(x)[2]), *a, **k)
    )
    with pytest.raises(RuntimeError, match="got m = .* where JAX has .*nothing was written"):
        ju.export_onnx(scorer, tmp_path / "scorer.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_error_names_it(scorer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"onnx.*pip install 'jaxunreg\[export\]'"):
        ju.export_onnx(scorer, tmp_path / "scorer.onnx")
    assert list(tmp_path.iterdir()) == []
