"""The version of MedPrep, defined here alone; ``pyproject.toml`` and every provenance record read it."""

__version__ = "0.2.0"
