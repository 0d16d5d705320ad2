"""Names"""

import sqlalchemy as sa
from alembic import op

revision = 'names'
down_revision = 'authors'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("author", sa.Column("name", sa.Text))


def downgrade():
    op.drop_column("author", "name")
