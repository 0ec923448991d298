"""`jaxunreg export`: a folder for programs without this package, and the proof that it says the same."""

import json

import pytest

from jaxunreg.cli.main import main

pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")


def test_a_model_is_exported_and_verified(model, parts, tmp_path, capsys):
    folder = tmp_path / "exported"
    assert main(["export", str(model), "--output", str(folder), "--false-positive-rate", "0.25", "--top-k", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(folder)]
    assert "false-positive rate of 25 %" in err
    images = [str(parts / "crack"), str(parts / "dent")]
    assert main(["export", str(model), "--verify", str(folder), "--data", *images]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["images"], found["anomalous"]) == (6, 6)
    assert found["score_difference"] <= 1e-4
    assert "6 images, 6 of them anomalous: all verdicts are the same, scores within" in err
    (folder / "jaxunreg_runner.py").unlink()
    assert main(["export", str(model), "--verify", str(folder), "--data", *images]) == 1
    assert "jaxunreg_runner.py is missing or altered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got neither --output nor --verify; expected one of them"),
        (["--output", "a", "--verify", "b"], "got both --output and --verify; expected one of them"),
        (["--verify", "b"], "got --verify without --data; expected an exported folder and images"),
        (["--output", "a", "--data", "b"], "got --data without --verify; expected"),
        (["--verify", "b", "--data", "c", "--top-k", "3"], "got --top-k 3; expected no such setting with --verify"),
    ],
)
def test_words_that_do_not_fit_each_other_are_refused(model, words, message, capsys):
    assert main(["export", str(model), *words]) == 1
    assert message in capsys.readouterr().err
