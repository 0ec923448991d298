"""The value of each part of the recipe of the toy study."""
