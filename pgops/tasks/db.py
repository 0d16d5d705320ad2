"""Tasks to come."""
