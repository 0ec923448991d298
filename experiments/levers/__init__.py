"""What each part of the recipe of the toy study is worth."""
