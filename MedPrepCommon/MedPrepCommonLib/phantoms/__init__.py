"""Images whose truth is known: a chest, a brain, projected radiographs."""
