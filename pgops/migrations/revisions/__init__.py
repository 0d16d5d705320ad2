"""Revision files on disk as a graph, read without Alembic; nothing is imported and nothing is connected."""
