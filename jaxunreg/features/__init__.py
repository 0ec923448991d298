"""Feature networks, frozen and pretrained, and the Gaussians of what they see."""
