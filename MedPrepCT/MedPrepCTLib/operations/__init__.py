"""The operations for CT, one a file that is named after its id; importing this registers them."""

from MedPrepCommonLib.core.operation import import_files

import_files(__name__, __path__)
