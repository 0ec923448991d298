"""The scorer as a portable artifact: StableHLO for any program that has JAX, ONNX for any that has an ONNX runtime."""

from jaxunreg.export.onnx import export_onnx
from jaxunreg.export.stablehlo import export_scorer

__all__ = ["export_onnx", "export_scorer"]
