"""Found by title"""

import sqlalchemy as sa
from alembic import op

revision = 'title'
down_revision = 'pages'
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("ix_book_title", "book", ["title"])


def downgrade():
    op.drop_index("ix_book_title", "book")
