"""Export for other programs: StableHLO for programs with JAX, ONNX for programs with an ONNX runtime."""

from jaxunreg.export.detector_export import export_detector
from jaxunreg.export.export_check import ExportCheck, ExportMismatchError, check_export
from jaxunreg.export.onnx import export_onnx
from jaxunreg.export.stablehlo import export_scorer

__all__ = ["ExportCheck", "ExportMismatchError", "check_export", "export_detector", "export_onnx", "export_scorer"]
