"""Mathematics on arrays: statistics, filters, similarity. Knows no patient space and no files."""
