"""Physical backups of a whole cluster, taken, kept and restored by pgBackRest. The way in is :class:`Stanza`.

pgBackRest's repositories, retention and encryption are its own: nothing here reads or writes a repository but by its
commands. What pgops knows of a backup (revisions, proofs) stands in the backup's annotations, beside it.
"""

from pgops.backups.pgbackrest.backup import PhysicalBackup
from pgops.backups.pgbackrest.errors import PgBackRestError
from pgops.backups.pgbackrest.stanza import Stanza

__all__ = ["PgBackRestError", "PhysicalBackup", "Stanza"]
