"""library 0002"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("book", sa.Column("title", sa.Text))


def downgrade():
    op.drop_column("book", "title")
