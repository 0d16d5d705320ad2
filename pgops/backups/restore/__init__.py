"""Restoring: planned, loaded beside the target, swapped in one transaction, undone."""
