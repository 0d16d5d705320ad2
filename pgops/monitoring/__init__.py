"""Backups that nobody has to remember: whether they are fresh, who is told, and what runs them.

What counts is the last success: a backup that was not taken leaves no trace, so nothing here waits for a failure.
Reads, and tells; no database and no backup is ever changed here. The way in is :func:`pgops.monitoring.check.check`.
"""
