"""Where a database stands: heads on disk against rows in its version table, without importing Alembic."""
