"""migrate.rehearse as a person types it, on a real server, with rows."""

from __future__ import annotations

import json

import pytest

from pgops.postgres import Target, connected, execute, fetch_all
from tests.integration.rehearsal.conftest import Release

RETYPE = 'op.execute("ALTER TABLE people ALTER COLUMN age TYPE bigint")'
BACK = 'op.execute("ALTER TABLE people ALTER COLUMN age TYPE integer")'


def test_a_rewrite_is_measured_and_leaves_a_receipt(release: Release) -> None:
    release.add("aa02", "aa01", RETYPE, BACK)
    found = release.rehearse()
    (revision,) = found["revisions"]
    (statement,) = revision["statements"]
    assert statement["rewrites"] == ["people"]
    (lock,) = [each for each in statement["locks"] if each["relation"] == "people"]
    assert lock["mode"] == "ACCESS EXCLUSIVE"
    assert lock["held_seconds"] >= statement["seconds"] > 0
    assert statement["wal_bytes"] > 1_000_000
    (stall,) = found["stalls"]
    assert stall["relation"] == "people"
    assert stall["read_seconds"] > statement["seconds"] / 2
    assert stall["write_seconds"] > statement["seconds"] / 2
    assert found["round_trip"] == {
        "tried": True,
        "ok": True,
        "seconds": found["round_trip"]["seconds"],
        "down_seconds": found["round_trip"]["down_seconds"],
        "problems": [],
    }
    assert 0 < found["round_trip"]["down_seconds"] < found["round_trip"]["seconds"]
    assert ("changing-column-type", "people", "confirmed") in [
        (each["rule"], each["relation"], each["verdict"]) for each in found["predictions"]
    ] or found["predictions"]
    (receipt,) = release.receipts()
    assert json.loads(receipt.read_text())["plan_hash"] == found["plan_hash"]


def as_a_role_of_its_own(release: Release) -> str:
    """A role that owns the database and is no superuser takes over; its name."""
    role = f"app_{release.database.dbname[-6:]}"
    with connected(release.database) as connection:
        execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'its own'")
        execute(connection, f"ALTER DATABASE {release.database.dbname} OWNER TO {role}")
        for name in ("people", "alembic_version"):
            execute(connection, f"ALTER TABLE {name} OWNER TO {role}")
        execute(connection, f"REASSIGN OWNED BY {role} TO {role}; ALTER SCHEMA pgops OWNER TO {role}")
        for name in ("journal", "runs", "revisions", "files"):
            execute(connection, f"ALTER TABLE pgops.{name} OWNER TO {role}")
        execute(
            connection,
            f"ALTER ROLE {role} IN DATABASE {release.database.dbname} SET search_path = public, extra",
        )
    file = release.project.path / "environments.yaml"
    file.write_text(file.read_text().replace("user: postgres", f"user: {role}"))
    return role


def test_it_runs_as_the_role_that_migrates(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """With that role's rights, search path and name, and no more."""
    role = as_a_role_of_its_own(release)
    try:
        monkeypatch.setenv("TEST_PASSWORD", "its own")
        # By its id: the first one may be of the same second, and ids do not tell those apart by time.
        backup = f"--backup={release.backup()}"
        release.add(
            "aa02",
            "aa01",
            "found = op.get_bind().execute(sa.text(\"SELECT current_user || ' ' || current_setting('is_superuser')"
            " || ' ' || current_setting('search_path') || ' ' || current_database()\"))\n"
            f"if found is not None: assert found.scalar() == '{role} off public, extra {release.database.dbname}'",
        )
        found = release.rehearse(backup)
        assert found["verdict"] == "passed"
        (release.project.path / "migrations" / "versions" / "aa02_.py").unlink()
        release.add("aa02", "aa01", 'op.execute("CREATE ROLE somebody_else")')
        ran = release.run("migrate.rehearse", "--json", backup)
        assert ran.code == 1, ran.text
        said = json.loads(ran.out)
        assert said["error"]["code"] == "rehearsal_failed"
        assert "permission denied" in said["rehearsal"]["failure"]
        (statement,) = said["rehearsal"]["revisions"][0]["statements"]
        assert "permission denied" in statement["failed"]
        assert said["rehearsal"]["revisions"][0]["done"] is False
    finally:
        with connected(release.database) as connection:
            execute(connection, f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}")
            execute(
                connection, f"ALTER DATABASE {release.database.dbname} OWNER TO postgres; DROP ROLE {role}"
            )


def test_on_the_server_of_another_environment(release: Release, database: Target) -> None:
    """Beside its databases, and gone afterwards; a protected one lends nothing."""
    release.settings(
        "  lab:\n"
        f"    host: {database.host}\n    port: {database.port}\n    dbname: postgres\n    user: {database.user}\n"
        "    password: {env: TEST_PASSWORD}\n    protected: false\n"
    )
    release.add("aa02", "aa01", RETYPE, BACK)
    found = release.rehearse("--on=lab")
    assert found["server"] == "the server of lab"
    assert found["revisions"][0]["statements"][0]["rewrites"] == ["people"]
    assert found["differs"]
    with connected(database) as connection:
        assert fetch_all(connection, "SELECT datname FROM pg_database WHERE datname LIKE 'pgops%'") == []
    file = release.project.path / "environments.yaml"
    text = file.read_text()
    head, _, tail = text.partition("  lab:")
    file.write_text(head + "  lab:" + tail.replace("protected: false", "protected: true"))
    ran = release.run("migrate.rehearse", "--on=lab")
    assert ran.code in {2, 8}, ran.text


def test_many_kinds_of_revisions_at_once(release: Release) -> None:
    """Python that reads rows, a block outside of the transaction, a batch, a driver's own cursor: each is its revision's."""
    release.add(
        "aa02",
        "aa01",
        "bind = op.get_bind()\n"
        "ids = bind.execute(sa.text('SELECT id FROM people WHERE id <= 500 ORDER BY id'))\n"
        "for row in (ids.fetchall() if ids is not None else ()):\n"
        "    bind.execute(sa.text('UPDATE people SET name = :name WHERE id = :id'), {'name': 'n', 'id': row[0]})",
    )
    release.add(
        "aa03",
        "aa02",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('people_name', 'people', ['name'], postgresql_concurrently=True)",
        "op.drop_index('people_name')",
    )
    release.add(
        "aa04",
        "aa03",
        "with op.get_context().autocommit_block():\n"
        "    for low in range(0, 200000, 20000):\n"
        "        op.execute(f'UPDATE people SET age = age + 0 WHERE id > {low} AND id <= {low + 20000}')",
    )
    release.add(
        "aa05",
        "aa04",
        "if op.get_bind() is not None and hasattr(op.get_bind().connection, 'cursor'):\n"
        "    op.get_bind().connection.cursor().execute('ALTER TABLE people ADD COLUMN email text')",
        "op.drop_column('people', 'email')",
    )
    found = release.rehearse()
    by_name = {each["revision"]: each for each in found["revisions"]}
    reads, updates = by_name["aa02"]["statements"]
    assert (reads["times"], updates["times"], updates["rows"]) == (1, 500, 500)
    assert updates["wal_bytes"] > 500 * 50
    (index,) = by_name["aa03"]["statements"]
    assert index["autocommit"] is True
    assert index["indexes"] == ["people_name"]
    assert {each["mode"] for each in index["locks"]} == {"SHARE UPDATE EXCLUSIVE"}
    batches = by_name["aa04"]["statements"]
    assert [each["rows"] for each in batches] == [20000] * 10
    assert all(each["autocommit"] for each in batches)
    assert sum(each["seconds"] for each in batches) <= by_name["aa04"]["seconds"]
    (past,) = by_name["aa05"]["statements"]
    assert past["seconds"] is None
    assert any(
        "aa05: part of the work went over the driver's own cursors" in each for each in found["unobserved"]
    )
    assert found["round_trip"]["ok"] is True, found["round_trip"]


def test_a_way_back_that_does_not_lead_back(release: Release) -> None:
    release.add("aa02", "aa01", 'op.execute("CREATE INDEX people_age ON people (age)")', "pass")
    found = release.rehearse("--no-probes")
    assert found["verdict"] == "passed"
    assert found["round_trip"]["ok"] is False
    assert any("people_age" in each for each in found["round_trip"]["problems"])
