"""What fulfils the ports."""
