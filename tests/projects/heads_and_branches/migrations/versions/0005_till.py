"""A base of its own"""

import sqlalchemy as sa
from alembic import op

revision = 'till'
down_revision = None
branch_labels = ('shop',)
depends_on = None


def upgrade():
    op.create_table("shop", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.drop_table("shop")
