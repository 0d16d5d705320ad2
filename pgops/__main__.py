"""``python -m pgops`` is ``pgops``."""

from pgops.cli import main

main()
