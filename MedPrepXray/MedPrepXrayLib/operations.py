"""Importing this module registers every X-ray operation."""

__all__: list[str] = []
