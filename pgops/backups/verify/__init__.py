"""Whether a backup is what it says: by reading it whole, by restoring it, row by row."""
