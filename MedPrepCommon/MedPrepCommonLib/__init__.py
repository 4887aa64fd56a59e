"""What all MedPrep modules share: images, operations, recipes, the scene, the command line and the report."""

from MedPrepCommonLib.version import __version__

__all__ = ["__version__"]
