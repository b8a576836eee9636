"""One module per upstream wire: what a provider is asked, and what its answers mean."""
