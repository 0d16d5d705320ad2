"""How long they are, on the safe side"""

import sqlalchemy as sa
from alembic import op

revision = 'pages'
down_revision = 'books'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("book", sa.Column("pages", sa.Integer))
    op.get_bind().commit()


def downgrade():
    op.drop_column("book", "pages")
    op.get_bind().commit()
