"""Several devices and several processes: the data mesh, and how processes start and communicate."""

from jaxunreg.parallel.mesh import data_mesh, replicate
from jaxunreg.parallel.processes import ProcessError, gather, share
from jaxunreg.parallel.start import start

__all__ = ["ProcessError", "data_mesh", "gather", "replicate", "share", "start"]
