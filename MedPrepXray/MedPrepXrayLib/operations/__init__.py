"""The operations for radiographs, one a file that is named after its id; importing this registers them."""

from MedPrepCommonLib.core.operation import import_files

from ..view import recognising  # noqa: F401  (registers itself)

import_files(__name__, __path__)
