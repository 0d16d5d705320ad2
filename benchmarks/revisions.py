"""Histories of made-up revisions, like those that people write."""

from __future__ import annotations

from pathlib import Path

_HEAD = '''"""{message}

Revision ID: {revision}
Revises: {down}
Create Date: 2026-01-01 12:00:00+00:00
"""

from typing import Sequence, Union

from alembic import op
import sqlalchemy as sa


revision: str = "{revision}"
down_revision: Union[str, Sequence[str], None] = {down!r}
branch_labels: Union[str, Sequence[str], None] = None
depends_on: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def revision_id(number: int) -> str:
    """Twelve hexadecimal digits, as Alembic makes them."""
    return f"{number * 0x9E3779B97F4A % 16**12:012x}"


def write(directory: Path, count: int) -> str:
    """Write ``count`` revisions in one line of descent. Returns the head."""
    directory.mkdir(parents=True, exist_ok=True)
    down = None
    for number in range(1, count + 1):
        upgrade, downgrade = everyday(number)
        revision = revision_id(number)
        text = _HEAD.format(
            message=f"Step {number}", revision=revision, down=down, upgrade=upgrade, downgrade=downgrade
        )
        (directory / f"{revision}_step_{number}.py").write_text(text, encoding="utf-8")
        down = revision
    return revision_id(count)


def everyday(number: int) -> tuple[str, str]:
    """A table, then columns, an index, a key, a default and data for it: ten revisions about each table."""
    table, step = f"thing_{(number - 1) // 10}", (number - 1) % 10
    first = f"thing_{max(0, (number - 1) // 10 - 1)}"
    match step:
        case 0:
            columns = 'sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True), sa.Column("name", sa.Text(), nullable=False)'
            return f'op.create_table("{table}", {columns})', f'op.drop_table("{table}")'
        case 1 | 2 | 3:
            return _column(table, f"text_{step}", "sa.Text()")
        case 4:
            return _column(table, "made_at", "sa.DateTime(timezone=True), server_default=sa.func.now()")
        case 5:
            return (
                f'op.create_index("ix_{table}_name", "{table}", ["name"])',
                f'op.drop_index("ix_{table}_name", table_name="{table}")',
            )
        case 6:
            return _column(table, "parent_id", "sa.BigInteger()")
        case 7:
            return (
                f'op.create_foreign_key("fk_{table}_parent", "{table}", "{first}", ["parent_id"], ["id"])',
                f'op.drop_constraint("fk_{table}_parent", "{table}")',
            )
        case 8:
            return (
                f"op.execute(\"INSERT INTO {table} (name) SELECT 'n' || g FROM generate_series(1, 20) AS g\")",
                f'op.execute("DELETE FROM {table}")',
            )
        case _:
            return (
                f'op.alter_column("{table}", "text_1", server_default=\'none\')',
                f'op.alter_column("{table}", "text_1", server_default=None)',
            )


def _column(table: str, name: str, kind: str) -> tuple[str, str]:
    return (
        f'op.add_column("{table}", sa.Column("{name}", {kind}))',
        f'op.drop_column("{table}", "{name}")',
    )
