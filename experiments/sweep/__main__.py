"""`python -m experiments.sweep`."""

from ..commands import run_command
from .config import SweepConfig
from .study import main

if __name__ == "__main__":
    run_command(main, SweepConfig)
