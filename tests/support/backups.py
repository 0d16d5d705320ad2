"""Words for tests of backups: an environment around a target, a manifest made up, a database full of odd things."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pgops.backups.manifest.manifest import (
    DUMP_DIRECTORY,
    Extension,
    File,
    InvalidIndex,
    Locale,
    Manifest,
    SequenceValue,
    Setting,
    Table,
    Tools,
)
from pgops.backups.manifest.order import next_id
from pgops.backups.manifest.proof import Proof
from pgops.backups.repository import listing
from pgops.backups.repository.backup import Backup
from pgops.backups.repository.repository import Repository
from pgops.backups.verify.reading import check_files
from pgops.environments import (
    AlembicSettings,
    BackupPolicy,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Position,
    Store,
    Timeouts,
)
from pgops.postgres import Target

MOMENT = dt.datetime(2026, 3, 14, 12, 30, tzinfo=dt.UTC)


def environment_for(
    target: Target, root: Path, *, keep: Keep | None = None, jobs: int = 2, name: str = "staging"
) -> Environment:
    """An unprotected environment whose backups go below ``root``."""
    return Environment(
        name=name,
        aliases=(),
        protected=False,
        connection=HostConnection(target.host, target.dbname, target.user, target.port),
        timeouts=Timeouts(),
        backups=BackupPolicy(Store("local", f"file:{root}"), keep or Keep(), jobs=jobs),
        alembic=AlembicSettings(root / "alembic.ini"),
        hazards=HazardSettings(),
        project=root,
        position=Position(root / "environments.yaml", 1, 1),
    )


def sound_backups(repository: Repository) -> list[Backup]:
    """Everything that is listed; it fails where something of that is not whole."""
    found = listing(repository)
    assert found.damaged == ()
    for backup in found.backups:
        assert backup.verified
        with repository.local(backup.id) as files:
            assert check_files(files, backup.manifest) == []
    return list(found.backups)


def manifest_for(
    files: Sequence[File], *, moment: dt.datetime = MOMENT, environment: str = "staging"
) -> Manifest:
    """A whole manifest that nobody dumped."""
    return Manifest(
        id=next_id(moment)[0],
        environment=environment,
        database="app",
        system_identifier="7711051888829614704",
        server_version="17.2",
        server_version_num=170002,
        tools=Tools("17.2", "/usr/lib/postgresql/17/bin", "same major as the server (17)"),
        snapshot="00000003-00000008-1",
        started_at=moment,
        finished_at=moment + dt.timedelta(seconds=3.25),
        heads=("abc123",),
        git_commit=None,
        files=tuple(files),
        tables=(Table("public", 'odd "name"\n', 12, 8192), Table("public", "view", None, 0)),
        sequences=(SequenceValue("public", "down", -5, False),),
        large_objects=2,
        extensions=(Extension("plpgsql", "1.0", "pg_catalog"),),
        roles=("owner",),
        encoding="UTF8",
        locale=Locale("icu", "C", "C", "de-DE"),
        owner="owner",
        settings=(Setting(None, "work_mem", "5MB"), Setting("owner", "search_path", '"$user", public')),
        acl=("=Tc/owner",),
        warnings=("a warning",),
        compression="zstd:3",
        jobs=2,
        pgops_version="0.1.0",
        invalid_indexes=(InvalidIndex("public", "odd index", True),),
    )


def write_files(root: Path, contents: dict[str, bytes]) -> list[File]:
    """Put files below ``root`` and describe them as a manifest does."""
    found = []
    for name, content in sorted(contents.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        found.append(File(name, len(content), hashlib.sha256(content).hexdigest()))
    return found


def made_up_contents() -> dict[str, bytes]:
    """What a dump's files look like from afar."""
    return {
        f"{DUMP_DIRECTORY}/toc.dat": b"PGDMP" * 100,
        f"{DUMP_DIRECTORY}/3456.dat.gz": bytes(range(256)) * 9000,
        "globals.sql": b"-- roles\n",
    }


def good_proof(moment: dt.datetime = MOMENT) -> Proof:
    """A verification that found nothing."""
    return Proof("read", moment, 1.5, (), "pg_restore 17.2")


def with_moment(manifest: Manifest, moment: dt.datetime) -> Manifest:
    """The same backup at another time."""
    return dataclasses.replace(manifest, id=next_id(moment)[0], started_at=moment, finished_at=moment)


ODD_SQL = (
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION citext WITH SCHEMA pg_catalog",
    'CREATE SCHEMA "Odd schema"',
    "CREATE SCHEMA other",
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s')",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int, b text)",
    """CREATE TABLE everything (
         id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
         small serial, m mood DEFAULT 'ok', p positive, c pair, h hstore, j jsonb, b bytea, ts timestamptz,
         a int[], f float8, n numeric, ci citext, doubled int GENERATED ALWAYS AS (p * 2) STORED,
         dropped int, txt text COLLATE "C")""",
    "ALTER TABLE everything DROP COLUMN dropped",
    """INSERT INTO everything (p, c, h, j, b, ts, a, f, n, ci, txt)
       SELECT g, ROW(g, E'tab\\t\\\\ ' || g)::pair, hstore('k', g::text), jsonb_build_object('ü', g), decode(md5(g::text), 'hex'),
              timestamptz '2026-01-01 00:00Z' + g * interval '1 hour', ARRAY[g, NULL], 'NaN', 1e20 + g, 'CI', E'a\\nb\\\\.'
         FROM generate_series(1, 300) AS g""",
    "INSERT INTO everything DEFAULT VALUES",
    "COMMENT ON TABLE everything IS 'it''s all here; -- and '' more'",
    'CREATE TABLE "Odd schema"."quo""te \'x\' \n new line ü 表" ("col umn" int, "sel""ect" text)',
    'INSERT INTO "Odd schema"."quo""te \'x\' \n new line ü 表" SELECT g, repeat(\'x\', g) FROM generate_series(1, 20) g',
    "CREATE TABLE parts (at date NOT NULL, v int) PARTITION BY RANGE (at)",
    "CREATE TABLE parts_2025 PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "CREATE TABLE other.parts_rest PARTITION OF parts DEFAULT",
    "INSERT INTO parts SELECT date '2024-12-01' + g, g FROM generate_series(0, 99) g",
    "CREATE TABLE parent (x int)",
    "CREATE TABLE child (y int) INHERITS (parent)",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (1, 2), (3, 4)",
    "CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a",
    "CREATE TABLE empty ()",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM everything",
    "CREATE VIEW seen AS SELECT id, m FROM everything",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.txt := ''t''; RETURN NEW; END'",
    "CREATE TRIGGER touch BEFORE UPDATE ON everything FOR EACH ROW EXECUTE FUNCTION touch()",
    "CREATE TABLE guarded (owner name DEFAULT current_user, v int)",
    "INSERT INTO guarded (v) VALUES (1), (2)",
    "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY own ON guarded USING (owner = current_user)",
    "CREATE SEQUENCE other.down INCREMENT -2 MINVALUE -100 MAXVALUE 100 START 50",
    "SELECT nextval('other.down'), nextval('other.down')",
    "CREATE SEQUENCE untouched START 7",
    "SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')), lo_create(0)",
    "CREATE PUBLICATION pub FOR TABLE parent",
    "CREATE STATISTICS st ON m, p FROM everything",
    "CREATE INDEX odd_index ON everything (lower(txt)) WHERE p > 10",
    "CREATE FOREIGN DATA WRAPPER nothing",
    "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
    "CREATE FOREIGN TABLE far (a int) SERVER nowhere",
    "CREATE SCHEMA alembic_home",
    "CREATE TABLE alembic_home.my_versions (version_num varchar(32) PRIMARY KEY)",
    "INSERT INTO alembic_home.my_versions VALUES ('bbb222'), ('aaa111')",
)
"""A database of everything that is known to make dumps and restores stumble."""
