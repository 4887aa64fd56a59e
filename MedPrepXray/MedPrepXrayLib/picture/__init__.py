"""The radiograph itself: pixels, exposed field, what its file says."""
