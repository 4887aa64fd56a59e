"""What a CT shows: which parts of the body, and whether it lies as its header says."""
