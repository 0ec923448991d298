"""The warning of bfloat16 on a processor without instructions for it, with made-up lists of what it can do."""

import re
import warnings

import jax
import pytest

import jaxunreg as ju
from jaxunreg import processor
from jaxunreg.features import EfficientNetLite0

SLOW = "precision='bfloat16' takes longer than 'float32' on this processor"


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """A function that makes a list of what the processor can do."""

    def write(content: str) -> None:
        (tmp_path / "cpuinfo").write_text(content, encoding="utf-8")
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")

    return write


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 sse\n\nbugs\t\t: spectre_v1\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("model name\t: A bf16 processor\nflags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd svebf16x\n", False),
        ("processor\t: 0\nhart\t: 0\n", None),
        ("", None),
    ],
)
def test_the_instructions_are_read_from_the_list(cpuinfo, content, found):
    cpuinfo(content)
    assert processor.multiplies_bfloat16() is found


def test_without_a_list_nothing_is_known_and_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nothing")
    assert processor.multiplies_bfloat16() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        processor.warn_of_slow_bfloat16("bfloat16", "cpu")


@pytest.mark.parametrize("arithmetic", ["bfloat16", "bfloat16, matmul"])
def test_only_a_slow_cpu_is_warned_of_and_only_once(cpuinfo, arithmetic):
    cpuinfo("flags : avx2\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for platform in ("gpu", "tpu"):
            processor.warn_of_slow_bfloat16(arithmetic, platform)
        processor.warn_of_slow_bfloat16("float32", "cpu")
        assert not caught
        processor.warn_of_slow_bfloat16(arithmetic, "cpu")
        processor.warn_of_slow_bfloat16(arithmetic)
    (warning,) = caught
    assert issubclass(warning.category, UserWarning)
    assert re.match(SLOW, str(warning.message))


def test_training_scoring_sweeps_and_features_warn(cpuinfo):
    cpuinfo("flags : avx2\n")
    model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=1, base_channels=2, latent_dim=2, precision="bfloat16"))
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 1))
    config = ju.TrainConfig(steps=1, batch_size=4)
    # As an error, so that nothing runs after the warning.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=SLOW):
            ju.fit(model, images, config, key=jax.random.key(0), progress=False)
        with pytest.raises(UserWarning, match=SLOW):
            ju.fit_sweep(model, images, config, [ju.Member(seed=0)], progress=False)
        with pytest.raises(UserWarning, match=SLOW):
            ju.make_scorer(model, {})
        with pytest.raises(UserWarning, match=SLOW):
            EfficientNetLite0.pretrained(precision="bfloat16")
