"""Short programs that compose the scorer; each runs with `python -m examples.NAME` in a few seconds."""
