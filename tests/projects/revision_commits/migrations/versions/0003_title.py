"""Titles in other languages"""

import sqlalchemy as sa
from alembic import op

revision = 'title'
down_revision = 'pages'
branch_labels = None
depends_on = None


def upgrade():
    op.create_table("title", sa.Column("book", sa.Integer), sa.Column("title", sa.Text))
    op.get_bind().commit()
    op.execute("COMMENT ON TABLE title IS 'translated'")


def downgrade():
    op.execute("COMMENT ON TABLE title IS NULL")
    op.get_bind().commit()
    op.drop_table("title")
