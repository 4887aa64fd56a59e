"""Kept for one version: ``from MedPrepCommonLib.reading import ...``, as pages before 0.2 had it."""

import MedPrepCommonLib

globals().update({k: v for k, v in vars(MedPrepCommonLib.moved("reading")).items() if not k.startswith("__")})
