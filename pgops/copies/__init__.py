"""A backup restored beside, for something to be tried on: a database as the target's is, that nobody misses."""
