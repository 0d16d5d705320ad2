"""What a revision's text says of its way back."""

from __future__ import annotations

import pytest

from pgops.migrations.revisions.reversible import irreversible

UP = "from alembic import op\ndef upgrade():\n    op.execute('SELECT 1')\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (UP, "it has no downgrade()"),
        (UP + "def downgrade(): pass\n", "its downgrade() does nothing"),
        (UP + "def downgrade():\n    '''Nothing.'''\n    ...\n", "its downgrade() does nothing"),
        (UP + "def downgrade():\n    return\n    op.execute('SELECT 2')\n", "its downgrade() does nothing"),
        (
            UP + "def downgrade() -> None:\n    '''No.'''\n    raise NotImplementedError\n",
            "its downgrade() raises",
        ),
        (UP + "def downgrade(): op.execute('SELECT 2')\n", None),
        (UP + "def downgrade(engine_name=''): globals()[f'downgrade_{engine_name}']()\n", None),
        (UP + "from shared import downgrade\n", None),
        (UP + "from shared import *\n", None),
        (UP + "downgrade = upgrade\n", None),
        ("def upgrade(): pass\ndef downgrade(): pass\n", None),
        (UP + "def downgrade():\n    if True:\n        raise ValueError\n", None),
        ("this is no Python", None),
        (UP + "def downgrade() -> None:\n    # commands\n\n    op.drop_table('a')\n    # end\n", None),
        (
            UP + "def downgrade():\n    with op.batch_alter_table('a') as batch:\n        raise ValueError\n",
            None,
        ),
        (UP + 'def downgrade():\n    """Back."""\n    op.drop_table("a")\n', None),
        (UP + 'def downgrade():\n    """Back. # """\n    raise errors.Never()\n', "its downgrade() raises"),
        (UP + "def downgrade():\n    conn = op.get_bind()\n    raise ValueError\n", None),
        (UP + "def downgrade():\n    if old():\n        return\n", None),
        (UP + "def downgrade():\n    raise_ = 1\n", None),
        (UP + "def downgrade():\n    raise(ValueError)\n", "its downgrade() raises"),
        (UP + "def downgrade():\n    return(op.f)\n", None),
        (UP + "def downgrade():\n    raise errors.Never('op.f()')\n", "its downgrade() raises"),
        (UP + '"""\ndef downgrade():\n    op.drop_table()\n"""\n', "it has no downgrade()"),
        (UP + "'''\ndef downgrade():\n    op.drop_table()\n'''\n", "it has no downgrade()"),
        (UP + "def downgrade():\n    op.f()\ndef downgrade():\n    pass\n", "its downgrade() does nothing"),
        (UP + "def downgrade():\n    # op.drop_table('a')\n    pass\n", "its downgrade() does nothing"),
    ],
)
def test_irreversible(text: str, why: str | None) -> None:
    assert irreversible(text.encode()) == why
