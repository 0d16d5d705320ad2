"""Rows that are there and do not fit what a plan demands of them: found before it runs.

A trace says best what is demanded: it sees what revisions written in Python do, under the names that things have by
then. Where there is none, the SQL is read.
"""
