"""The tables in README.md, `results/README.md` and `docs/`, made from the JSON files in `results/`."""
