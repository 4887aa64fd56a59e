"""What only the X-ray panel has."""
