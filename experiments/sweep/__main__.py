"""`python -m experiments.sweep`."""

from experiments.commands import run_command
from experiments.sweep.config import SweepConfig
from experiments.sweep.study import main

if __name__ == "__main__":
    run_command(main, SweepConfig)
