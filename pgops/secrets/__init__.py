"""References to secrets, and keeping their values out of every text."""
