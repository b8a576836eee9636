"""The three deployed functions and what they are made of."""
