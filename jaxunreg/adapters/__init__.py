"""The detector under the interfaces that scikit-learn and PyOD have, over tables and over arrays of images.

`SklearnDetector` has scikit-learn's sign: higher is more normal. This room and `baselines` alone turn signs.
`PyODDetector` has PyOD's and this package's: higher is more anomalous.
"""

from jaxunreg.adapters.pyod_detector import PyODDetector
from jaxunreg.adapters.row_gaussian import RowGaussian, fit_row_gaussian
from jaxunreg.adapters.sklearn_detector import SklearnDetector

__all__ = ["PyODDetector", "RowGaussian", "SklearnDetector", "fit_row_gaussian"]
