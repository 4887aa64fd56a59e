"""The built-in demonstration beside its known truth."""
