"""Found by title, built while people write"""

import sqlalchemy as sa
from alembic import op

revision = 'title'
down_revision = 'pages'
branch_labels = None
depends_on = None


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_book_title", "book", ["title"], postgresql_concurrently=True)
    op.execute("COMMENT ON TABLE book IS 'found by title'")


def downgrade():
    op.execute("COMMENT ON TABLE book IS NULL")
    with op.get_context().autocommit_block():
        op.drop_index("ix_book_title", "book", postgresql_concurrently=True)
