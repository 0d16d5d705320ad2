"""The program ``pgops``: Invoke's program with pgops' namespace, and ``pgops init`` for a project that is new to it.

It never edits or overwrites a file of the project. The way in is :func:`main`.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process; ends it with the exit code."""
    from pgops.cli.program import PgopsProgram

    PgopsProgram().run()


__all__ = ["main"]
