"""Trying revisions on a database made for it and removed after: schema before and after, data that survives."""
