"""`python -m experiments.svhn_toy`."""

from ..commands import run_command
from .config import ToyConfig
from .study import main

if __name__ == "__main__":
    run_command(main, ToyConfig)
