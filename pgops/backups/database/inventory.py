"""What is in a database: tables with their sizes, sequences, extensions, roles, settings.

Everything here reads over a connection that holds the dump's snapshot, so that it says the same as the
archive. Hundreds of tables cost a few round trips, not hundreds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pgops.backups.manifest.manifest import Extension, InvalidIndex, Locale, SequenceValue, Setting, Table
from pgops.postgres import Connection, fetch_all, fetch_one, fetch_value, identifier

_BATCH_TABLES = 100


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation that a dump covers. ``kind`` and ``persistence`` are pg_class's letters.

    ``bytes`` are those of its rows on the disk, large values included, as VACUUM or ANALYZE last saw them; as they are
    now where neither did, or much has changed since.
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    bytes: int
    readable: bool
    row_security: bool

    @property
    def quoted(self) -> str:
        """Its name for SQL text."""
        return identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Owners:
    """Roles that own schemas, relations, functions or types; ``guests`` are those that own some in schemas of others."""

    all: tuple[str, ...]
    guests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a database holds besides relations; ``descending`` are the sequences that count down."""

    descending: frozenset[tuple[str, str]]
    large_objects: int
    invalid_indexes: tuple[InvalidIndex, ...]
    extensions: tuple[Extension, ...]
    roles: tuple[str, ...]
    named_roles: tuple[str, ...]
    owners: Owners
    tablespaces: tuple[str, ...]
    database: DatabaseFacts


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The database itself, which a plain pg_restore into an existing database does not bring back."""

    owner: str
    encoding: str
    locale: Locale
    acl: tuple[str, ...] | None
    settings: tuple[Setting, ...]


# Members of extensions are not dumped; the restore's CREATE EXTENSION makes them. They are looked for from the side of
# the extensions, which are few; and whoever may read everything is not asked for each table whether he may.
# To ask for the size of a table the server opens it, its TOAST table and that one's index: for many small tables as
# much as pg_dump does with them, and a second for ten thousand. So it is asked for only where what VACUUM and ANALYZE
# noted down is missing or a tenth has changed since. A standby has no statistics of what was changed.
_RELATIONS = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
       CASE WHEN c.relkind NOT IN ('r', 'm') THEN 0
            WHEN c.relpages = 0 OR pg_stat_get_mod_since_analyze(c.oid) > c.reltuples / 10 OR pg_is_in_recovery()
                 OR t.reltuples < 0 AND pg_stat_get_tuples_inserted(t.oid) > 0
            THEN coalesce(pg_table_size(c.oid), 0)
            ELSE (c.relpages::bigint + coalesce(t.relpages, 0)) * current_setting('block_size')::bigint END,
       CASE WHEN (SELECT r.rolsuper OR pg_has_role(r.oid, 'pg_read_all_data', 'USAGE')
                    FROM pg_roles AS r WHERE r.rolname = current_user) THEN true
            ELSE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') END,
       c.relrowsecurity AND row_security_active(c.oid)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
 WHERE c.relkind IN ('r', 'm', 'f', 'S') AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND c.oid NOT IN (SELECT d.objid FROM pg_depend AS d
                      WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass
                        AND d.deptype = 'e')
 ORDER BY 6 DESC, 2, 3
"""


def relations(connection: Connection) -> list[Relation]:
    """Tables, materialised views, foreign tables and sequences of the user, the largest first."""
    return [Relation(*row) for row in fetch_all(connection, _RELATIONS)]


# A value of an enum is hashed by its OID, which is another one in another database: pg_dump loads such partitions
# through their root, and finds them by this operator class as well.
_PARTITIONS_BY_ENUM = """
SELECT DISTINCT ON (c.oid) n.nspname, c.relname, pn.nspname, p.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 CROSS JOIN pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, level)
  JOIN pg_partitioned_table AS t ON t.partrelid = a.relid AND t.partstrat = 'h'
  JOIN pg_class AS p ON p.oid = t.partrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
 WHERE c.relispartition AND c.relkind = 'r'
   AND EXISTS (SELECT 1 FROM pg_opclass AS o JOIN pg_am AS m ON m.oid = o.opcmethod AND m.amname = 'hash'
                WHERE o.oid = ANY (t.partclass) AND o.opcname = 'enum_ops'
                  AND o.opcnamespace = 'pg_catalog'::regnamespace)
 ORDER BY c.oid, a.level DESC
"""


def partitions_by_enum(connection: Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """Partitions by the hash of an enum, each with the topmost table that is partitioned so."""
    rows = fetch_all(connection, _PARTITIONS_BY_ENUM)
    return {(schema, name): (above_schema, above) for schema, name, above_schema, above in rows}


def beside(connection: Connection) -> Beside:
    """Everything that the functions below tell, which only read catalogues."""
    return Beside(
        descending=descending(connection),
        large_objects=large_objects(connection),
        invalid_indexes=invalid_indexes(connection),
        extensions=extensions(connection),
        roles=roles(connection),
        named_roles=named_roles(connection),
        owners=owners(connection),
        tablespaces=tablespaces(connection),
        database=database_facts(connection),
    )


def table_of(relation: Relation, rows: int | None) -> Table:
    """The manifest's line for a table; ``rows`` are the archive's, if it has any."""
    return Table(relation.schema, relation.name, rows, relation.bytes)


def still_there(connection: Connection, found: Sequence[Relation]) -> list[Relation]:
    """Those that have not been dropped; over a connection without a snapshot, which would still see them."""
    rows = fetch_all(
        connection,
        "SELECT oid::bigint FROM pg_class WHERE oid = ANY(%s::bigint[]::oid[])",
        ([each.oid for each in found],),
    )
    oids = {int(row[0]) for row in rows}
    return [each for each in found if each.oid in oids]


def sequences(connection: Connection, found: Sequence[Relation]) -> tuple[SequenceValue, ...]:
    """Where each sequence stands."""
    values: list[SequenceValue] = []
    for start in range(0, len(found), _BATCH_TABLES):
        batch = found[start : start + _BATCH_TABLES]
        sql = " UNION ALL ".join(
            f"SELECT {at}, last_value, is_called FROM {each.quoted}" for at, each in enumerate(batch)
        )
        values += [
            SequenceValue(batch[at].schema, batch[at].name, int(last), bool(called))
            for at, last, called in fetch_all(connection, sql)
        ]
    return tuple(sorted(values, key=lambda each: (each.schema, each.name)))


def descending(connection: Connection) -> frozenset[tuple[str, str]]:
    """Schema and name of the sequences that count down."""
    return _sequences_where(connection, "seqincrement < 0")


def cycling(connection: Connection) -> frozenset[tuple[str, str]]:
    """Schema and name of the sequences that begin again at their end."""
    return _sequences_where(connection, "seqcycle")


def _sequences_where(connection: Connection, condition: str) -> frozenset[tuple[str, str]]:
    rows = fetch_all(
        connection,
        f"""
        SELECT n.nspname::text, c.relname::text FROM pg_sequence AS s
          JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE {condition}
        """,
    )
    return frozenset((schema, name) for schema, name in rows)


def is_before(one: SequenceValue, other: SequenceValue, descending: Collection[tuple[str, str]]) -> bool:
    """Whether a sequence that stands at ``one`` would give out again what it has given out at ``other``.

    :param descending: the sequences that count down.
    """
    sign = -1 if (one.schema, one.name) in descending else 1
    return (sign * one.last_value, one.is_called) < (sign * other.last_value, other.is_called)


def invalid_indexes(connection: Connection) -> tuple[InvalidIndex, ...]:
    """Indexes that answer no query, sorted by name: given up half-way, or with a partition that lacks its own."""
    rows = fetch_all(
        connection,
        """
        SELECT n.nspname, c.relname, c.relkind = 'I'
          FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE NOT i.indisvalid AND n.nspname !~ '^pg_' ORDER BY 1, 2
        """,
    )
    return tuple(InvalidIndex(*row) for row in rows)


def large_objects(connection: Connection) -> int:
    """How many large objects there are; a dump of a whole database has them all."""
    return int(fetch_value(connection, "SELECT count(*) FROM pg_largeobject_metadata"))


def extensions(connection: Connection) -> tuple[Extension, ...]:
    """Installed extensions with version and schema."""
    rows = fetch_all(
        connection,
        "SELECT e.extname, e.extversion, n.nspname FROM pg_extension AS e"
        " JOIN pg_namespace AS n ON n.oid = e.extnamespace ORDER BY 1",
    )
    return tuple(Extension(*row) for row in rows)


# Dependencies on the bootstrap superuser are not recorded in pg_shdepend, hence the owners.
_ROLES = """
SELECT DISTINCT r.rolname
  FROM pg_roles AS r
 WHERE r.rolname !~ '^pg_'
   AND r.oid IN (SELECT d.refobjid FROM pg_shdepend AS d, pg_database AS b
                  WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass
                    AND (d.dbid = b.oid OR (d.dbid = 0 AND d.classid = 'pg_database'::regclass AND d.objid = b.oid))
                 UNION SELECT datdba FROM pg_database WHERE datname = current_database()
                 UNION SELECT relowner FROM pg_class WHERE oid >= 16384
                 UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
                 UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
                 UNION SELECT typowner FROM pg_type WHERE oid >= 16384)
 ORDER BY 1
"""


def roles(connection: Connection) -> tuple[str, ...]:
    """Roles that own something here or were granted something: what a restore needs to find."""
    return tuple(row[0] for row in fetch_all(connection, _ROLES))


_NAMED_ROLES = """
SELECT rolname FROM pg_roles
 WHERE oid IN (SELECT unnest(polroles) FROM pg_policy UNION SELECT umuser FROM pg_user_mappings) ORDER BY 1
"""


def named_roles(connection: Connection) -> tuple[str, ...]:
    """Roles that policies and user mappings are about: a restore without owners needs these all the same."""
    return tuple(row[0] for row in fetch_all(connection, _NAMED_ROLES))


# What belongs to an extension comes with it, whoever owned it.
_OWNERS = """
SELECT r.rolname, bool_or(NOT pg_has_role(o.owner, n.nspowner, 'USAGE'))
  FROM (SELECT 'pg_class'::regclass::oid AS classid, oid, relowner AS owner, relnamespace AS schema FROM pg_class
         WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND relpersistence <> 't'
        UNION ALL SELECT 'pg_proc'::regclass::oid, oid, proowner, pronamespace FROM pg_proc
        UNION ALL SELECT 'pg_namespace'::regclass::oid, oid, nspowner, oid FROM pg_namespace WHERE nspname !~ '^pg_'
        UNION ALL SELECT 'pg_type'::regclass::oid, oid, typowner, typnamespace FROM pg_type
         WHERE typtype IN ('d', 'e', 'r')) AS o
  JOIN pg_roles AS r ON r.oid = o.owner
  JOIN pg_namespace AS n ON n.oid = o.schema
 WHERE o.oid >= 16384
   AND (o.classid, o.oid) NOT IN (SELECT d.classid, d.objid FROM pg_depend AS d
                                   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
 GROUP BY 1 ORDER BY 1
"""


def owners(connection: Connection) -> Owners:
    """Whoever restores the objects gives them away to these roles."""
    rows = fetch_all(connection, _OWNERS)
    return Owners(tuple(name for name, _guest in rows), tuple(name for name, guest in rows if guest))


_TABLESPACES = """
SELECT spcname::text FROM pg_tablespace
 WHERE oid IN (SELECT reltablespace FROM pg_class WHERE relkind IN ('r', 'i', 'm', 'p', 'I') AND NOT relisshared
                  AND relpersistence <> 't')
 ORDER BY 1
"""


def tablespaces(connection: Connection) -> tuple[str, ...]:
    """Tablespaces that tables and indexes were put into, the database's own left out."""
    return tuple(row[0] for row in fetch_all(connection, _TABLESPACES))


# Column names of pg_database changed between majors (daticulocale, datlocale): looked up as JSON keys.
_DATABASE = """
SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
       d.datacl::text[]
  FROM pg_database AS d WHERE d.datname = current_database()
"""
_SETTINGS = """
SELECT r.rolname, split_part(line, '=', 1), substr(line, strpos(line, '=') + 1)
  FROM pg_db_role_setting AS s
  JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database()
  LEFT JOIN pg_roles AS r ON r.oid = s.setrole
 CROSS JOIN unnest(s.setconfig) AS line
 ORDER BY 1 NULLS FIRST, 2
"""
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def database_facts(connection: Connection) -> DatabaseFacts:
    """Owner, encoding, locale, privileges and ``ALTER DATABASE … SET`` of the connection's database."""
    row = fetch_one(connection, _DATABASE)
    assert row is not None
    owner, encoding, collate, ctype, provider, locale, acl = row
    return DatabaseFacts(
        owner=owner,
        encoding=encoding,
        locale=Locale(_PROVIDERS.get(provider, provider), collate, ctype, locale),
        acl=None if acl is None else tuple(acl),
        settings=tuple(Setting(*each) for each in fetch_all(connection, _SETTINGS)),
    )


# Alembic's table is known by its shape: its name and schema are a setting of each project's env.py.
_VERSION_TABLES = """
SELECT a.attrelid::bigint FROM pg_attribute AS a
 WHERE a.attname = 'version_num' AND a.atttypid = 'character varying'::regtype AND a.attnum > 0 AND NOT a.attisdropped
   AND NOT EXISTS (SELECT 1 FROM pg_attribute AS b WHERE b.attrelid = a.attrelid
                      AND b.attnum > 0 AND b.attnum <> a.attnum AND NOT b.attisdropped)
"""


def alembic_heads(connection: Connection, tables: Sequence[Relation]) -> tuple[str, ...]:
    """Revisions that Alembic's version tables hold, whatever they are called; sorted."""
    oids = {int(row[0]) for row in fetch_all(connection, _VERSION_TABLES)}
    found = [each for each in tables if each.oid in oids]
    if not found:
        return ()
    sql = " UNION ".join(f"SELECT version_num FROM {each.quoted}" for each in found)
    return tuple(sorted(row[0] for row in fetch_all(connection, sql)))
