"""Nodule candidates: dense regions, blobs, shape, score."""
