"""`python -m experiments.levers`."""

from experiments.commands import run_command
from experiments.levers.config import LeversConfig
from experiments.levers.study import main

if __name__ == "__main__":
    run_command(main, LeversConfig)
