"""One branch"""

import sqlalchemy as sa
from alembic import op

revision = 'left'
down_revision = 'books'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("book", sa.Column("left", sa.Integer))


def downgrade():
    op.drop_column("book", "left")
