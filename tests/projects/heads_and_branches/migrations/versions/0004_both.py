"""Merged"""

import sqlalchemy as sa
from alembic import op

revision = 'both'
down_revision = ('left', 'right')
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("book", sa.Column("both", sa.Integer))


def downgrade():
    op.drop_column("book", "both")
