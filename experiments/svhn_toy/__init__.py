"""The toy study of section V."""
