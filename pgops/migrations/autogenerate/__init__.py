"""Differences between models and database, and new revision files."""
