"""`python -m experiments.manufacturing`."""

from experiments.commands import run_command
from experiments.manufacturing.config import ManufacturingConfig
from experiments.manufacturing.study import main

if __name__ == "__main__":
    run_command(main, ManufacturingConfig)
