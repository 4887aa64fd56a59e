"""What a run writes: its folder and all files in it."""
