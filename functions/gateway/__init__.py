"""Decisions: pure where they can be, behind ports where they need the world. No SDK, no I/O library."""
