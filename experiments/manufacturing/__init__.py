"""The manufacturing study of section V."""
