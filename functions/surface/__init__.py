"""The HTTP surface: paths, and how requests and answers look on them."""
