"""Measurements by the commands of this repository, as JSON, and the tables made from them."""
