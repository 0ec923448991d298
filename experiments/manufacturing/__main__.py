"""`python -m experiments.manufacturing`."""

from ..commands import run_command
from .config import ManufacturingConfig
from .study import main

if __name__ == "__main__":
    run_command(main, ManufacturingConfig)
