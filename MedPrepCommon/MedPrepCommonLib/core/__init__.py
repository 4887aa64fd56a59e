"""The ground floor: what an image, an operation, a result, a recipe and a job are."""
