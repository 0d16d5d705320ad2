"""What the driver raises in the middle of something, as an expected failure."""

from __future__ import annotations

import pytest

from pgops.backups.database.errors import database_errors
from pgops.errors import LockedError, PgopsError, UnreachableError
from pgops.postgres import DatabaseError, Target

TARGET = Target("staging", "db.example.com", 5432, "app", "app")


def with_code(code: str | None) -> DatabaseError:
    class RefusedError(DatabaseError):
        pgcode = code

    return RefusedError("the server's\nwords password=hunter22")


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (None, UnreachableError, "the connection to db.example.com:5432 was lost: the server's words"),
        ("57P01", UnreachableError, "was lost"),
        ("08006", UnreachableError, "was lost"),
        ("55P03", LockedError, "the server's words"),
        ("42501", PgopsError, "the server refused: the server's words"),
    ],
)
def test_each_code_has_its_kind(code: str | None, kind: type[PgopsError], message: str) -> None:
    with pytest.raises(kind) as caught, database_errors(TARGET, untouched="all of it"):
        raise with_code(code)
    assert type(caught.value) is kind
    assert message in caught.value.message
    assert "hunter22" not in caught.value.message
    assert caught.value.untouched == "all of it"


def test_ours_pass_with_what_they_did_not_say() -> None:
    with pytest.raises(PgopsError) as caught, database_errors(TARGET, untouched="all", hint="do this"):
        raise PgopsError("x", hint="do that")
    assert (caught.value.untouched, caught.value.hint) == ("all", "do that")
