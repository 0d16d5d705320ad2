"""Authors need books"""

import sqlalchemy as sa
from alembic import op

revision = 'authors'
down_revision = None
branch_labels = ('people',)
depends_on = 'books'


def upgrade():
    op.create_table("author", sa.Column("id", sa.Integer, primary_key=True), sa.Column("book_id", sa.Integer, sa.ForeignKey("book.id")))


def downgrade():
    op.drop_table("author")
