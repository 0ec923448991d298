"""Data sets: digits from SVHN or drawn from a seed, and the toy anomaly."""
