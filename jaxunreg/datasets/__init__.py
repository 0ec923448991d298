"""Data sets: folders of images, digits from SVHN or drawn from a seed, the toy anomaly, and a generated part."""
