"""`python -m experiments.svhn_toy`."""

from experiments.commands import run_command
from experiments.svhn_toy.config import ToyConfig
from experiments.svhn_toy.study import main

if __name__ == "__main__":
    run_command(main, ToyConfig)
