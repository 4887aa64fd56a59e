"""Kept for one version: ``from MedPrepCommonLib.errors import ...``, as pages before 0.2 had it."""

import MedPrepCommonLib

globals().update({k: v for k, v in vars(MedPrepCommonLib.moved("errors")).items() if not k.startswith("__")})
