"""The detector with the interfaces of scikit-learn and PyOD, for tables and for arrays of images.

`SklearnDetector` has scikit-learn's sign: higher is more normal. Only this room and `baselines` change signs.
`PyODDetector` has PyOD's and this package's: higher is more anomalous.
"""

from jaxunreg.adapters.pyod_detector import PyODDetector
from jaxunreg.adapters.row_gaussian import RowGaussian, fit_row_gaussian
from jaxunreg.adapters.sklearn_detector import SklearnDetector

__all__ = ["PyODDetector", "RowGaussian", "SklearnDetector", "fit_row_gaussian"]
