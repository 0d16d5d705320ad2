"""retry_history: retries of processing

Revision: c47e05a1936f
Revises: 9b60d2e4f118
Created: 2026-11-22 17:22:00+00:00
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "c47e05a1936f"
down_revision: str | Sequence[str] | None = "9b60d2e4f118"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "retry_history",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("knowledge_id", sa.BigInteger()),
        sa.Column("chapter_id", sa.BigInteger()),
        sa.Column("attempt", sa.SmallInteger(), nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), server_default="5", nullable=False),
        sa.Column("state", sa.String(16), server_default="scheduled", nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_details", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("next_retry_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retry_history")),
        sa.ForeignKeyConstraint(
            ["knowledge_id"],
            ["knowledge.id"],
            name=op.f("fk_retry_history_knowledge_id_knowledge"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["chapter_id"],
            ["chapters_v1.id"],
            name=op.f("fk_retry_history_chapter_id_chapters_v1"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'running', 'succeeded', 'failed', 'abandoned')",
            name=op.f("ck_retry_history_state_known"),
        ),
        sa.CheckConstraint(
            "num_nonnulls(knowledge_id, chapter_id) = 1", name=op.f("ck_retry_history_one_subject")
        ),
        sa.CheckConstraint("attempt > 0", name=op.f("ck_retry_history_attempt_positive")),
        sa.CheckConstraint("attempt <= max_attempts", name=op.f("ck_retry_history_attempt_within_limit")),
        sa.CheckConstraint(
            "finished_at IS NULL OR started_at <= finished_at",
            name=op.f("ck_retry_history_finished_after_started"),
        ),
    )
    op.create_index(
        "uq_retry_history_knowledge_attempt",
        "retry_history",
        ["knowledge_id", "attempt"],
        unique=True,
        postgresql_where=sa.text("knowledge_id IS NOT NULL"),
    )
    op.create_index(
        "uq_retry_history_chapter_attempt",
        "retry_history",
        ["chapter_id", "attempt"],
        unique=True,
        postgresql_where=sa.text("chapter_id IS NOT NULL"),
    )
    op.create_index(
        "ix_retry_history_due",
        "retry_history",
        ["next_retry_at"],
        postgresql_where=sa.text("state IN ('scheduled', 'failed') AND next_retry_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("retry_history")
