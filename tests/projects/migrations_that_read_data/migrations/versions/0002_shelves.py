"""Shelves by first letter"""

import sqlalchemy as sa
from alembic import op

revision = 'shelves'
down_revision = 'books'
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("book", sa.Column("shelf", sa.Text))
    connection = op.get_bind()
    for id, title in connection.execute(sa.text("SELECT id, title FROM book")).fetchall():
        connection.execute(sa.text("UPDATE book SET shelf = :shelf WHERE id = :id"), {"shelf": title[0], "id": id})
    count = connection.execute(sa.text("SELECT count(*) FROM book")).scalar()
    if count > 10_000:
        raise RuntimeError(f"{count} books are too many")


def downgrade():
    op.drop_column("book", "shelf")
