"""Public functions say what they take in their annotations, and refuse the rest in the words of the package."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import pytest
from jaxtyping import Array, Float, Num

import jaxunreg as ju
from jaxunreg import baselines, export, features, metrics, plots
from jaxunreg.errors import ArgumentError, ArgumentTypeError, JaxunregError
from jaxunreg.signatures import check_annotated, check_fields, checked

pytestmark = pytest.mark.usefixtures("no_type_checks")


class Pair(NamedTuple):
    low: float
    names: Sequence[str]


Maps = Float[Array | np.ndarray, "n rows columns"]
KINDS: list[tuple[Any, list[Any], list[Any]]] = [
    (str, ["a"], [1, b"a", None]),
    (bool, [True, np.bool_(False)], [1, None, "yes"]),
    (int, [3, np.int64(3), 2**100], [True, 3.0, "3", 10**400]),
    (float, [0.5, 3, np.float32(1), jnp.ones(()), float("nan")], [True, "0.5", None, 1j, np.ones(1), 10**400]),
    (float | None, [None, 0.5], ["0.5"]),
    (Literal["a", "b"], ["a", "other"], [1, None]),
    (Sequence[int | float], [[1, 2.0], (3,), np.arange(3), jnp.ones(2)], ["12", 3, {1: 2}, [None], np.array(["1"])]),
    (Mapping[str, Sequence[float]], [{}, {"a": [1.0]}], [[], {1: [1.0]}, {"a": 1.0}, {"a": ["b"]}]),
    (tuple[str, bool], [("a", True)], [("a",), ("a", 1), "ab"]),
    (Callable[[int], int], [abs], [3]),
    (Pair, [Pair(0.5, ["a"])], [(0.5, ["a"]), Pair("low", ["a"]), Pair(0.5, [1])]),
    (np.ndarray | Array, [np.ones(2), jnp.ones(2)], [[1.0], jax.random.key(0), np.ma.masked_equal([1, 2], 1)]),
    (
        Maps,
        [np.ones((1, 2, 3)), jnp.ones((1, 2, 3), jnp.bfloat16)],
        [np.ones((2, 3)), np.ones((1, 2, 3), int), [[[1.0]]]],
    ),
    (Num[np.ndarray, "*any"], [np.ones((), np.uint8), np.ones((2, 2))], [np.ones(2, complex), np.array(["a"])]),
    (Any, [None, object()], []),
]


@pytest.mark.parametrize(
    ("kind", "good", "bad"), KINDS, ids=lambda part: str(part) if not isinstance(part, list) else ""
)
def test_values_are_told_apart_by_annotations(kind, good, bad):
    for value in good:
        check_annotated("argument", value, kind)
    for value in bad:
        with pytest.raises((ArgumentTypeError, ArgumentError), match="argument.*; expected "):
            check_annotated("argument", value, kind)


def test_the_place_of_a_wrong_part_is_told():
    with pytest.raises(ArgumentTypeError, match=r"got maps\['a'\]\[1\] of type NoneType; expected a number or text; "):
        check_annotated("maps", {"a": [1.0, None]}, Mapping[str, Sequence[float | str]])


def test_a_checked_function_runs_as_it_was_and_python_tells_of_missing_arguments():
    @checked
    def scaled(value: float, *rest: int, by: float = 2.0, **others: int) -> float:
        """Doc."""
        return value * by

    assert (scaled(3.0), scaled(3.0, "any", by=1.0, other="any"), scaled.__doc__) == (6.0, 3.0, "Doc.")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
        scaled()


def test_the_fields_of_a_config_are_checked():
    config = dataclasses.make_dataclass("Config", [("steps", int), ("rate", float | None)])
    check_fields(config(3, None))
    with pytest.raises(ArgumentTypeError, match="got rate of type str; expected a number"):
        check_fields(config(3, "fast"))


MODEL = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
SCORES, LABELS = np.arange(4.0), np.array([0, 0, 1, 1])
IMAGES, MAPS = np.zeros((4, 8, 8, 1), np.uint8), np.zeros((4, 2, 2, 3), np.float32)
HEAT = IMAGES[0, ..., 0] + 0.5
WHITENING = features.Whitening(jnp.zeros((1, 1, 3)), jnp.eye(3)[None, None], jnp.ones((1, 1)), jnp.ones((1, 1)))
TEXTS = {"title": "t", "label": "l"}

# Each has one argument that is left open.
DOORS: dict[str, Callable[[Any], Any]] = {
    "roc_auc paired": lambda bad: metrics.roc_auc(SCORES, SCORES, paired=bad),
    "average_precision confidence": lambda bad: metrics.average_precision(SCORES, SCORES, confidence=bad),
    "roc_curve": lambda bad: metrics.roc_curve(bad, SCORES),
    "pixel_roc_auc": lambda bad: metrics.pixel_roc_auc(bad, [None]),
    "per_region_overlap": lambda bad: metrics.per_region_overlap([HEAT], bad),
    "explained_by_class": lambda bad: metrics.explained_by_class(SCORES, bad),
    "explained_by_complexity": lambda bad: metrics.explained_by_complexity(bad, SCORES),
    "box_statistics": lambda bad: metrics.box_statistics(SCORES, bad),
    "complexity": metrics.complexity,
    "GaussianMixtureConfig": lambda bad: baselines.GaussianMixtureConfig(tol=bad),
    "IsolationForest": lambda bad: baselines.IsolationForest().fit(bad),
    "OneClassSVM config": lambda bad: baselines.OneClassSVM([bad]),
    "PCAResidual": lambda bad: baselines.PCAResidual().fit(bad),
    "PaDiM": lambda bad: baselines.PaDiM().fit(bad),
    "PatchCore": lambda bad: baselines.PatchCore().fit(bad),
    "greedy_coreset": lambda bad: baselines.greedy_coreset(bad, 1),
    "to_pixels": lambda bad: baselines.to_pixels(bad, 4, 4),
    "fit_whitening": lambda bad: features.fit_whitening(bad, features.WhiteningConfig(per_place=False)),
    "fit_whitening config": lambda bad: features.fit_whitening(MAPS, bad),
    "WhiteningConfig": lambda bad: features.WhiteningConfig(per_place=bad),
    "held_out_nats": lambda bad: features.held_out_nats(MAPS, bad),
    "fit_map_vae": lambda bad: features.fit_map_vae(bad, MAPS, MAPS),
    "fit_map_vae groups": lambda bad: features.fit_map_vae(WHITENING, MAPS, MAPS, groups=[bad]),
    "inflate": lambda bad: features.inflate(bad, MAPS),
    "whitening": WHITENING,
    "wrap": lambda bad: features.wrap(bad, (), name="network"),
    "map_shape": lambda bad: features.map_shape(bad, 8, 8),
    "best_config": features.best_config,
    "ResNet.from_file": features.ResNet.from_file,
    "auc_sweep": lambda bad: plots.auc_sweep(bad, title="t"),
    "auc_sweep panel": lambda bad: plots.auc_sweep([plots.SweepPanel("a", "b", [1], {"m": bad})], title="t"),
    "auc_spread": lambda bad: plots.auc_spread(bad, {"m": [[0.5]]}, title="t", x_label="x"),
    "dots_by_data_set": lambda bad: plots.dots_by_data_set(bad, **TEXTS),
    "explained_by_class_bars": lambda bad: plots.explained_by_class_bars({"VAE": bad}, title="t"),
    "heat_map_comparison": lambda bad: plots.heat_map_comparison(HEAT[..., None], None, bad, title="t"),
    "decomposition_figure": lambda bad: plots.decomposition_figure(bad, LABELS, title="t"),
    "heat_map_examples": lambda bad: plots.heat_map_examples(
        [IMAGES[0]], bad, [None], [("a", True)], scale=(0.0, 1.0), **TEXTS
    ),
    "error_maps": lambda bad: plots.error_maps(bad, IMAGES, IMAGES, title="t"),
    "roc_comparison": lambda bad: plots.roc_comparison({"m": bad}, title="t"),
    "sample_grid": lambda bad: plots.sample_grid(bad, IMAGES, title="t", rows=1, columns=1),
    "score_strips": lambda bad: plots.score_strips({"good": bad}, threshold=1.0, **TEXTS),
    "save_figure": lambda bad: plots.save_figure(matplotlib.figure.Figure(), "nowhere.png", dpi=bad),
    "training_curves": lambda bad: plots.training_curves([{"step": 1, "loss": bad}], title="t"),
    "training_curves auc": lambda bad: plots.training_curves([{"step": 1, "loss": 1.0, "auc": bad}], title="t"),
    "parallel_coordinates": lambda bad: plots.parallel_coordinates({"n": bad}, [1.0], **TEXTS),
    "scale_note": plots.scale_note,
    "export_scorer": export.export_scorer,
    "export_onnx": lambda bad: export.export_onnx(bad, "nowhere.onnx"),
    "export_detector": lambda bad: export.export_detector(bad, "nowhere"),
    "check_export": lambda bad: export.check_export("nowhere", bad, []),
    "decompose_gaussian": lambda bad: ju.decompose_gaussian(bad, *[jnp.ones(4)] * 4),
    "decompose variables": lambda bad: ju.decompose(MODEL, {"params": bad}, IMAGES[0]),
    "score_images": lambda bad: ju.score_images(bad, IMAGES),
    "score_image": lambda bad: ju.score_image(bad, IMAGES[0], stride=4),
}


@pytest.mark.parametrize("door", DOORS)
def test_nothing_malformed_ends_in_an_error_of_another_library(door):
    for bad in (None, object(), [object()], [[1.0], [1.0, 2.0]], {"a": None}, jax.random.key(0), [None, "a"]):
        with pytest.raises(JaxunregError, match="; expected "):
            DOORS[door](bad)
