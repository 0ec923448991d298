"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder."""

__version__ = "0.1.0"
