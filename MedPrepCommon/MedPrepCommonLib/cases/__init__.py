"""Which images belong to a data set: tables, folders, layouts, splits."""
