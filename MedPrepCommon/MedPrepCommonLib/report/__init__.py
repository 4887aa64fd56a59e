"""The report page: pictures, charts, tables, style."""
