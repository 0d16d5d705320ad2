"""Carrying a plan out: gates, locks, revisions one by one, retries, recovery, and looking again."""
