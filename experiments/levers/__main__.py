"""`python -m experiments.levers`."""

from ..commands import run_command
from .config import LeversConfig
from .study import main

if __name__ == "__main__":
    run_command(main, LeversConfig)
