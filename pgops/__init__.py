"""pgops: an operations toolkit for PostgreSQL environments, made of Invoke tasks."""

from pgops.runtime import alembics_own

__version__ = "0.1.0"

alembics_own.found_first()
