"""Upstreams that fail in every way they are known to, and what a client of the gateway sees of it."""
