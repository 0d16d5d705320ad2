"""Backups: taken, proven, kept, restored.

Floors, each importing only those below it: ``manifest`` (what a backup says of itself), ``repository`` (where
backups lie), ``database`` (what is in a database), ``retention`` (what is kept and why), ``load`` (a database
beside its target), ``verify`` (by reading, by restoring), ``dump`` (taking one), ``restore``.
"""
