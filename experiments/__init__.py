"""Experiments: each a command, `python -m experiments.<name> --help`."""
