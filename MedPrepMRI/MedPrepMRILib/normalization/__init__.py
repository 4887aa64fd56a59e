"""White Stripe and normalization within a tissue."""
