"""Layers of the networks and their lowerings. Internal: the models are the way to them."""
