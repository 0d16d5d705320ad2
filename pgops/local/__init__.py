"""The database that ``db.up`` starts: the compose service in Docker, or PostgreSQL from a wheel."""
