"""pgops: an operations toolkit for PostgreSQL environments, made of Invoke tasks."""

__version__ = "0.1.0"
