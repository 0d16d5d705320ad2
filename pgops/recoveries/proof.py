"""The proof of a physical backup: recovered into a scratch server, looked at by amcheck, counted, noted down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pgops.backups.pgbackrest.backup import DATABASE, PhysicalBackup, PhysicalProof
from pgops.backups.pgbackrest.cluster import RecoveredCluster
from pgops.backups.pgbackrest.goal import find_route, goal_of
from pgops.backups.pgbackrest.recovery import Observer
from pgops.backups.pgbackrest.stanza import Stanza
from pgops.backups.verify.history import RestoreTime
from pgops.environments import Environment
from pgops.errors import PgopsError
from pgops.recoveries.beside import recovered_for_now
from pgops.targets import target_for
from pgops.units import counted

_CHUNK = 200
_DATABASES = """
SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database
 WHERE datallowconn AND datname <> 'template1'
"""
_TABLES = """
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY 1), '[]')
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND n.nspname !~ '^(pg_|information_schema$)'
   AND (c.relkind = 'r' OR c.relispopulated)
"""
_HEADS = """
SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname)), '[]')
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE a.attname = 'version_num' AND a.atttypid = 'character varying'::regtype AND c.relkind = 'r'
   AND NOT EXISTS (SELECT 1 FROM pg_attribute AS b WHERE b.attrelid = a.attrelid
                      AND b.attnum > 0 AND b.attnum <> a.attnum AND NOT b.attisdropped)
"""


def prove_by_recovery(
    stanza: Stanza, environment: Environment, backup: PhysicalBackup, observer: Observer
) -> tuple[PhysicalProof, list[RestoreTime]]:
    """Recover a backup to its own end, look at all of it, and note down what was found and how long it took.

    :returns: the proof, whose ``seconds`` are the time until the recovered server answered; and all restores of the
        stanza that are known of, oldest first.
    :raises PgBackRestError: it can't be recovered at all; that is noted down too.
    """
    began = dt.datetime.now(dt.UTC)
    try:
        proof = _proof(stanza, environment, backup, observer)
    except PgopsError as error:
        seconds = (dt.datetime.now(dt.UTC) - began).total_seconds()
        if error.exit_code == 9:
            failed = PhysicalProof("restore", dt.datetime.now(dt.UTC), seconds, (error.message,))
            stanza.note_restore(backup, failed)
        raise
    return proof, stanza.note_restore(backup, proof)


def _proof(
    stanza: Stanza, environment: Environment, backup: PhysicalBackup, observer: Observer
) -> PhysicalProof:
    goal = goal_of(None, None, None, backup=backup.id)
    route = find_route(
        stanza, [backup], goal, backup=backup.id, timeline=stanza.archive(backup).parsed(backup.wal_start)[0]
    )
    with recovered_for_now(environment, route, observer) as done:
        # Only a cluster that can be written to can be given the extension that looks.
        done.cluster.promote()
        observer.step("pg_amcheck of every database")
        problems = amcheck_problems(done.cluster)
        observer.step("counting rows")
        held = _looked_at(done.cluster, environment, backup, problems)
        observer.step("checksums of every page")
        problems += done.cluster.checksum_problems()
    return PhysicalProof(
        "restore",
        dt.datetime.now(dt.UTC),
        done.seconds,
        tuple(problems),
        held,
    )


def _looked_at(
    cluster: RecoveredCluster, environment: Environment, backup: PhysicalBackup, problems: list[str]
) -> str:
    """What the cluster holds, in words; what can't be read, or is not what it was, is a problem."""
    try:
        databases = cluster.query("postgres", _DATABASES)
        tables, rows = _counted(cluster, databases)
        problems += _other_heads(cluster, environment, backup, databases)
    except PgopsError as error:
        problems.append(error.message)
        return ""
    return f"{counted(len(databases), 'database')}, {counted(tables, 'table')}, {counted(rows, 'row')}"


def amcheck_problems(cluster: RecoveredCluster) -> list[str]:
    """What pg_amcheck says of tables and btree indexes; it ends with 2 where something is wrong."""
    said = cluster.program("pg_amcheck", "--all", "--install-missing")
    if said.exit_code == 0:
        return []
    lines = [" ".join(each.split()) for each in f"{said.stdout}\n{said.stderr}".splitlines() if each.strip()]
    return [f"pg_amcheck: {each}" for each in lines] or [f"pg_amcheck ended with {said.exit_code}"]


def _counted(cluster: RecoveredCluster, databases: Sequence[str]) -> tuple[int, int]:
    """Tables and rows of all databases, every row read."""
    tables = rows = 0
    for database in databases:
        names = cluster.query(database, _TABLES)
        tables += len(names)
        for first in range(0, len(names), _CHUNK):
            counts = " + ".join(f"(SELECT count(*) FROM {each})" for each in names[first : first + _CHUNK])
            rows += int(cluster.query(database, f"SELECT to_json({counts})"))
    return tables, rows


def _other_heads(
    cluster: RecoveredCluster, environment: Environment, backup: PhysicalBackup, databases: Sequence[str]
) -> list[str]:
    """That the database is at the revisions that were noted down when the backup began."""
    database = target_for(environment).dbname
    # Several environments' databases can be in one cluster: what was noted down is of one of them.
    if not backup.heads or backup.annotations.get(DATABASE, database) != database:
        return []
    if database not in databases:
        return [f"database {database} is not in it"]
    tables = cluster.query(database, _HEADS)
    union = " UNION ".join(f"SELECT version_num FROM {each}" for each in tables)
    heads = (
        cluster.query(
            database, f"SELECT coalesce(json_agg(version_num ORDER BY version_num), '[]') FROM ({union}) AS v"
        )
        if tables
        else []
    )
    if sorted(heads) == sorted(backup.heads):
        return []
    return [
        f"{database} is at {', '.join(heads) or 'base'}, and was at {', '.join(backup.heads)} when it was begun"
    ]
