"""The examples run as they stand, with a shorter training, and what they print is true."""

from pathlib import Path

import jax
import numpy as np
import pytest

from examples import ensemble, export_and_reload, folder, inside_jit, saliency, vae, video

STEPS = 100


def test_the_program_around_the_scorer_rejects_defects_and_few_normal_parts(capsys):
    verdict = inside_jit.main(STEPS)
    normal, defects = np.split(np.asarray(verdict.reject), 2)
    # A threshold that 5 % of the normal images pass: of 64 more, at most 5 % and three standard deviations.
    assert normal.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(normal))
    assert defects.mean() > 2 * normal.mean()
    assert verdict.worst == np.argmax(verdict.terms.m)
    assert f"{defects.mean():.0%} of those with a defect" in capsys.readouterr().out


def test_the_defect_is_where_the_gradient_is():
    ratio = saliency.main(STEPS)
    assert np.mean(ratio > 1.0) > 0.9


def test_an_ensemble_sees_the_defect_by_every_member():
    terms = ensemble.main(STEPS, members=2)
    normal, defect = np.split(np.asarray(terms.m), 2, axis=1)
    assert terms.m.shape == (2, 128)
    assert np.all(np.mean(defect > normal, axis=1) > 0.9)
    assert np.any(terms.m[0] != terms.m[1])


def test_the_alarm_comes_after_the_defect_and_soon():
    result = video.main(STEPS, count=64)
    assert not result.alarm[:64].any()
    assert result.alarm[69:].all()
    smoothed = float(result.smoothed[10])
    assert result.smoothed[11] == pytest.approx(0.8 * smoothed + 0.2 * float(result.terms.m[11]), rel=1e-5)


def test_the_file_scores_as_python_does(capsys):
    assert export_and_reload.main(STEPS) < 0.1
    assert "cpu, cuda, tpu" in capsys.readouterr().out


def test_the_whole_method_in_one_file_finds_erased_squares_by_m(capsys):
    with jax.numpy_dtype_promotion("standard"):  # Optax promotes, and the example is as a user would write it.
        auc = vae.main(steps=500)
    # 397 normal and 397 erased digits; the standard error of the difference is below 0.02.
    assert auc["M"] > auc["L"] + 0.04
    assert auc["M"] > 0.7
    source = Path(vae.__file__).read_text(encoding="utf-8")
    assert "jaxunreg" not in source
    assert capsys.readouterr().out.splitlines()[-1].startswith("ROC AUC: L 0.")


def test_a_folder_becomes_a_detector(capsys):
    auc = folder.main(resolution=160, false_positive_rate=0.2, parts=24)
    assert auc > 0.5
    out = capsys.readouterr().out
    assert "at a false-positive rate of 20 % from 6 held-out normal images" in out
    assert out.count(" nats, p = ") == 9


def test_every_example_is_tested_and_can_be_read_at_one_sitting():
    tested = {
        Path(module.__file__) for module in (ensemble, export_and_reload, folder, inside_jit, saliency, vae, video)
    }
    files = {path for path in Path(video.__file__).parent.glob("*.py") if path.stem not in ("__init__", "trained")}
    assert files == tested
    for path in files:
        assert len(path.read_text(encoding="utf-8").splitlines()) < (150 if path.stem == "vae" else 60)
        assert f"python -m examples.{path.stem}\n" in path.read_text(encoding="utf-8")
