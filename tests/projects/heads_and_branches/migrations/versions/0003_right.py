"""Another branch"""

import sqlalchemy as sa
from alembic import op

revision = 'right'
down_revision = 'books'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("book", sa.Column("right", sa.Integer))


def downgrade():
    op.drop_column("book", "right")
