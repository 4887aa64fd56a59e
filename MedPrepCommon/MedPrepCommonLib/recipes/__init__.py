"""Recipes as people handle them: listed, edited, copied as code, taken from a history."""
