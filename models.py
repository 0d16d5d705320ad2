"""The knowledge base: entries, their chapters, and the retries of processing them."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Identity, Index, MetaData, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import BigInteger, Integer, SmallInteger, Text

# Every constraint has a name that a later migration can refer to.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Status(enum.StrEnum):
    """Where an entry or a chapter stands in processing."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    ARCHIVED = "archived"


class RetryState(enum.StrEnum):
    """How one retry stands."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


def _words(kind: type[enum.StrEnum], name: str) -> Enum:
    # Text with a CHECK, not a PostgreSQL enum: words can be added and removed in one cheap migration.
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Common metadata and types: text without length limits, timestamps with zone."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        dt.datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB(),
        list[str]: ARRAY(Text()),
        uuid.UUID: UUID(as_uuid=True),
    }


class Timestamps:
    """When a row was made and last changed; the application sets ``updated_at`` through SQLAlchemy."""

    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Knowledge(Timestamps, Base):
    """A core entry: content, metadata, where its processing stands, and how the content is managed."""

    __tablename__ = "knowledge"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    public_id: Mapped[uuid.UUID] = mapped_column(server_default=text("gen_random_uuid()"), unique=True)
    title: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)
    summary: Mapped[str | None]
    content: Mapped[str] = mapped_column(server_default="")
    content_type: Mapped[str] = mapped_column(server_default="text/markdown")
    content_hash: Mapped[str | None]
    language: Mapped[str] = mapped_column(server_default="en")
    source_url: Mapped[str | None]
    # "metadata" is taken by SQLAlchemy on the class; the column has the plain name.
    details: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    status: Mapped[Status] = mapped_column(
        _words(Status, "status_known"), server_default=Status.PENDING.value
    )
    status_changed_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    published_at: Mapped[dt.datetime | None]
    archived_at: Mapped[dt.datetime | None]

    chapters: Mapped[list[Chapter]] = relationship(
        back_populates="knowledge",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Chapter.position",
    )
    retries: Mapped[list[Retry]] = relationship(
        back_populates="knowledge", cascade="all, delete-orphan", passive_deletes=True
    )

    __table_args__ = (
        CheckConstraint("length(btrim(title)) > 0", name="title_not_blank"),
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug_form"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_object"),
        # What the workers read: open entries, oldest first; finished ones stay out of the index.
        Index(
            "ix_knowledge_open",
            "status",
            "created_at",
            postgresql_where=text("status IN ('pending', 'processing', 'failed')"),
        ),
        Index("ix_knowledge_created_at", text("created_at DESC")),
        Index("ix_knowledge_tags", "tags", postgresql_using="gin"),
        Index(
            "ix_knowledge_metadata",
            "metadata",
            postgresql_using="gin",
            postgresql_ops={"metadata": "jsonb_path_ops"},
        ),
    )


class Chapter(Timestamps, Base):
    """One chapter of an entry, in order."""

    __tablename__ = "chapters_v1"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    knowledge_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("knowledge.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    title: Mapped[str]
    content: Mapped[str] = mapped_column(server_default="")
    word_count: Mapped[int] = mapped_column(Integer, server_default="0")
    details: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'::jsonb"))
    status: Mapped[Status] = mapped_column(
        _words(Status, "status_known"), server_default=Status.PENDING.value
    )

    knowledge: Mapped[Knowledge] = relationship(back_populates="chapters")
    retries: Mapped[list[Retry]] = relationship(
        back_populates="chapter", cascade="all, delete-orphan", passive_deletes=True
    )

    __table_args__ = (
        CheckConstraint("position > 0", name="position_positive"),
        CheckConstraint("word_count >= 0", name="word_count_not_negative"),
        CheckConstraint("length(btrim(title)) > 0", name="title_not_blank"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_object"),
        # Serves "the chapters of this entry, in order" as well as the foreign key.
        Index("uq_chapters_v1_knowledge_id_position", "knowledge_id", "position", unique=True),
        Index(
            "ix_chapters_v1_open",
            "status",
            "created_at",
            postgresql_where=text("status IN ('pending', 'processing', 'failed')"),
        ),
    )


class Retry(Timestamps, Base):
    """One attempt to process an entry or a chapter again; linked to exactly one of the two."""

    __tablename__ = "retry_history"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    knowledge_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("knowledge.id", ondelete="CASCADE")
    )
    chapter_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("chapters_v1.id", ondelete="CASCADE")
    )
    attempt: Mapped[int] = mapped_column(SmallInteger)
    max_attempts: Mapped[int] = mapped_column(SmallInteger, server_default="5")
    state: Mapped[RetryState] = mapped_column(
        _words(RetryState, "state_known"), server_default=RetryState.SCHEDULED.value
    )
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    scheduled_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    next_retry_at: Mapped[dt.datetime | None]

    knowledge: Mapped[Knowledge | None] = relationship(back_populates="retries")
    chapter: Mapped[Chapter | None] = relationship(back_populates="retries")

    __table_args__ = (
        CheckConstraint("num_nonnulls(knowledge_id, chapter_id) = 1", name="one_subject"),
        CheckConstraint("attempt > 0", name="attempt_positive"),
        CheckConstraint("attempt <= max_attempts", name="attempt_within_limit"),
        CheckConstraint("finished_at IS NULL OR started_at <= finished_at", name="finished_after_started"),
        Index(
            "uq_retry_history_knowledge_attempt",
            "knowledge_id",
            "attempt",
            unique=True,
            postgresql_where=text("knowledge_id IS NOT NULL"),
        ),
        Index(
            "uq_retry_history_chapter_attempt",
            "chapter_id",
            "attempt",
            unique=True,
            postgresql_where=text("chapter_id IS NOT NULL"),
        ),
        Index(
            "ix_retry_history_due",
            "next_retry_at",
            postgresql_where=text("state IN ('scheduled', 'failed') AND next_retry_at IS NOT NULL"),
        ),
    )
