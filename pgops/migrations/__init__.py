"""Alembic across environments: look, plan, run, journal. The only package that imports Alembic and SQLAlchemy.

Its modules are imported one by one, by name: a look at revision files must not pay for SQLAlchemy.
"""
