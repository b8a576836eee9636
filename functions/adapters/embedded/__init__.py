"""Every port on one machine, in SQLite files. For one machine only."""
