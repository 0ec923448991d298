"""The measurement of int8: what is quantised is, and the scores are near those of float32."""

from collections import Counter

import numpy as np
import pytest

from jaxunreg.export import export_detector
from tests.export.small_detectors import SIZE, image, of_features

onnx = pytest.importorskip("onnx", reason="the extra 'export' is not installed")


def test_the_network_is_quantised(tmp_path):
    from benchmarks.quantized import quantise, scores_of

    folder = export_detector(of_features(), tmp_path / "exported")
    images = [image(k, *SIZE)[None].astype(np.float32) / 255 for k in range(8)]
    plain, ms = scores_of(folder / "network.onnx", folder, images, 3, threads=1)
    assert ms > 0.0
    quantise(folder / "network.onnx", tmp_path / "int8.onnx", images)
    nodes = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert nodes["QuantizeLinear"] >= 1
    assert nodes["DequantizeLinear"] >= 2
    scores, _ = scores_of(tmp_path / "int8.onnx", folder, images, 3, threads=1)
    assert np.all(scores != plain)
    np.testing.assert_allclose(scores, plain, rtol=0.2)
