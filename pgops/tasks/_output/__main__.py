"""The schema as docs/ has it."""

from pgops.tasks._output import text

print(text(), end="")
