"""What definitions of operations are made of, and the words made from them."""
