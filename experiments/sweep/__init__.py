"""A sweep of the toy study: settings, trials, and the workers that train them."""
