"""What an image given to MRI operations is."""
