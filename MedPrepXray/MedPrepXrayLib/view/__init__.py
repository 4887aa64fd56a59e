"""What a radiograph shows: which part of the body from which side, and which way up."""
