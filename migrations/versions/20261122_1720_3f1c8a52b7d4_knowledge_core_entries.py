"""knowledge: core entries

Revision: 3f1c8a52b7d4
Revises:
Created: 2026-11-22 17:20:00+00:00
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "3f1c8a52b7d4"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "knowledge",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("public_id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text()),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("content_type", sa.Text(), server_default="text/markdown", nullable=False),
        sa.Column("content_hash", sa.Text()),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("source_url", sa.Text()),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column(
            "tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False
        ),
        sa.Column("status", sa.String(16), server_default="pending", nullable=False),
        sa.Column(
            "status_changed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_knowledge")),
        sa.UniqueConstraint("public_id", name=op.f("uq_knowledge_public_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_knowledge_slug")),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'archived')",
            name=op.f("ck_knowledge_status_known"),
        ),
        sa.CheckConstraint("length(btrim(title)) > 0", name=op.f("ck_knowledge_title_not_blank")),
        sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_knowledge_slug_form")),
        sa.CheckConstraint("version > 0", name=op.f("ck_knowledge_version_positive")),
        sa.CheckConstraint("jsonb_typeof(metadata) = 'object'", name=op.f("ck_knowledge_metadata_object")),
    )
    op.create_index(
        "ix_knowledge_open",
        "knowledge",
        ["status", "created_at"],
        postgresql_where=sa.text("status IN ('pending', 'processing', 'failed')"),
    )
    op.create_index("ix_knowledge_created_at", "knowledge", [sa.text("created_at DESC")])
    op.create_index("ix_knowledge_tags", "knowledge", ["tags"], postgresql_using="gin")
    op.create_index(
        "ix_knowledge_metadata",
        "knowledge",
        ["metadata"],
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )


def downgrade() -> None:
    op.drop_table("knowledge")
