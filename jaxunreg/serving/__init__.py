"""A detector at work: a service that answers over HTTP, and a watch over a folder in which images arrive."""

from jaxunreg.serving.places import QueueFullError
from jaxunreg.serving.service import Answer, ScoringService
from jaxunreg.serving.timings import Timings

__all__ = ["Answer", "QueueFullError", "ScoringService", "Timings"]
