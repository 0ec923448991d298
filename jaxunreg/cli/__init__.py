"""The command line: `jaxunreg fit`, `score` and `evaluate`."""
