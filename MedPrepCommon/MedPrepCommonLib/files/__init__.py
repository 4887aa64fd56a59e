"""Reading and writing images, labels and patches; one file per format."""
