"""The brain in the head: mask, surface, head."""
