"""Taking a backup: pg_dump under a snapshot, described, read back, published. The way in is :func:`~pgops.backups.dump.create.create`."""
