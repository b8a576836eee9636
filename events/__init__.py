"""Facts and folds: what happened, and what follows from it. Standard library only."""
