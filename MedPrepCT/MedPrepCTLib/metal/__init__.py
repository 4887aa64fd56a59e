"""Metal and what it does around itself."""
