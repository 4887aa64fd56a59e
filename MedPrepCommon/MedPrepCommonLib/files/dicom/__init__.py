"""DICOM: which files belong together, where slices lie, what headers say."""
