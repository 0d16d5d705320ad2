"""What a backup says of itself: ``manifest.json`` and the records of its proofs.

JSON from a repository is foreign: it is read value by value, and what does not fit names its path.
"""
