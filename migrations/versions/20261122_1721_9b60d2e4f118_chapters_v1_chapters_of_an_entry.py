"""chapters_v1: chapters of an entry

Revision: 9b60d2e4f118
Revises: 3f1c8a52b7d4
Created: 2026-11-22 17:21:00+00:00
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "9b60d2e4f118"
down_revision: str | Sequence[str] | None = "3f1c8a52b7d4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "chapters_v1",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("knowledge_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("word_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("status", sa.String(16), server_default="pending", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chapters_v1")),
        sa.ForeignKeyConstraint(
            ["knowledge_id"],
            ["knowledge.id"],
            name=op.f("fk_chapters_v1_knowledge_id_knowledge"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'archived')",
            name=op.f("ck_chapters_v1_status_known"),
        ),
        sa.CheckConstraint("position > 0", name=op.f("ck_chapters_v1_position_positive")),
        sa.CheckConstraint("word_count >= 0", name=op.f("ck_chapters_v1_word_count_not_negative")),
        sa.CheckConstraint("length(btrim(title)) > 0", name=op.f("ck_chapters_v1_title_not_blank")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_chapters_v1_metadata_object")),
    )
    # Serves "the chapters of this entry, in order" as well as the foreign key.
    op.create_index(
        "uq_chapters_v1_knowledge_id_position", "chapters_v1", ["knowledge_id", "position"], unique=True
    )
    op.create_index(
        "ix_chapters_v1_open",
        "chapters_v1",
        ["status", "created_at"],
        postgresql_where=sa.text("status IN ('pending', 'processing', 'failed')"),
    )


def downgrade() -> None:
    op.drop_table("chapters_v1")
