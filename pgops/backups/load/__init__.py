"""A database made beside its target and filled by pg_restore. The target itself is never touched here."""
