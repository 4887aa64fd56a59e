"""Voxels in the patient: orientation, cropping, resampling, warping, where patches lie."""
