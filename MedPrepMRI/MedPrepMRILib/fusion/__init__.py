"""Several sequences as one image: registration, resampling, combining."""
