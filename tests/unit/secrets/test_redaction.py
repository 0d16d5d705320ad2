"""No secret gets through, in whatever form it comes."""

from __future__ import annotations

import json
import shlex
import urllib.parse
from collections.abc import Callable

import pytest
import sqlalchemy

from pgops import postgres
from pgops.secrets.redaction import redact, redacted_traceback
from pgops.secrets.references import Secret, not_secret

S = "s3cr3t/p@ss%word"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:s3cr3t@db.example.com:5432/app",
        "postgresql+asyncpg://app:s3cr3t@[::1]/app",
        "postgresql://db/app?user=app&password=s3cr3t",
        "postgresql://app@db/app?sslmode=require&sslpassword=s3cr3t&x=1",
        "host=db password=s3cr3t dbname=app",
        "host=db password='s3cr3t with \\' quote' dbname=app",
        'connection to "db" failed: PASSWORD = s3cr3t',
        "https://user:s3cr3t@bucket.example.com/",
        "could not parse postgresql://app:p@s3cr3t@db/app",
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'u', password 's3cr3t')",
        "ALTER ROLE app PASSWORD 'it''s s3cr3t'",
        "ALTER ROLE app PASSWORD E'it\\'s s3cr3t'",
    ],
)
def test_redacts_by_position(text: str) -> None:
    assert "s3cr3t" not in redact(text)
    assert "***" in redact(text)


def test_redacts_values_it_was_given_raw_and_percent_encoded() -> None:
    assert S not in redact(f"the server said {S}", [S])
    assert "s3cr3t%2Fp%40ss%25word" not in redact("tried s3cr3t%2Fp%40ss%25word", [S])


def test_redacts_every_value_revealed_so_far() -> None:
    Secret("Revealed-once-9")
    assert redact("token Revealed-once-9 was refused") == "token *** was refused"


@pytest.mark.parametrize(
    "text", ["hunter", "got hunter.", "'hunter'", "x=hunter_", "user:hunter@", "HUNTER hunter"]
)
def test_a_password_that_is_a_word_is_masked_where_it_stands_alone(text: str) -> None:
    assert "hunter" not in redact(text, ["hunter"])


def test_a_password_that_is_a_word_leaves_longer_words_whole() -> None:
    assert redact("a relationship, 2ships, shipping", ["ship"]) == "a relationship, 2ships, shipping"


def test_names_that_people_must_see_stay_readable() -> None:
    Secret("postgres")
    not_secret("postgres")
    text = "postgresql://postgres@localhost:5432/development is ready"
    assert redact(text) == text
    assert (
        redact("password authentication failed for user postgres")
        == "password authentication failed for user postgres"
    )
    assert "postgres@" not in redact("postgresql://postgres:postgres@localhost/development")


EVIL = "Gv7:x\\y%/@'\"p#Zq"


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        ascii,
        lambda value: repr({"password": value, "it's": 1}),
        lambda value: repr(f"'{value}"),
        lambda value: repr(repr(value)),
        json.dumps,
        lambda value: json.dumps({"text": repr(value)}),
        lambda value: json.dumps(json.dumps({"url": value})),
        urllib.parse.quote,
        lambda value: urllib.parse.quote(value, safe="").lower().replace("gv7", "Gv7").replace("zq", "Zq"),
        urllib.parse.quote_plus,
        lambda value: str(sqlalchemy.URL.create("postgresql", "app", value, "db").render_as_string(False)),
        lambda value: value.replace("%", "%%"),
        lambda value: "'" + value.replace("'", "''") + "'",
        lambda value: "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'",
        lambda value: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'",
        postgres.literal,
        shlex.quote,
        lambda value: value[:9] + "\n    " + value[9:],
        lambda value: value[:5] + "\n│ " + value[5:11] + " │\n" + value[11:],
        lambda value: json.dumps(value)[:9] + "\n" + json.dumps(value)[9:],
    ],
)
def test_every_form_that_a_value_takes(write: Callable[[str], str]) -> None:
    text = redact(f"before {write(EVIL)} after", [EVIL])
    assert text.startswith("before ") and text.endswith(" after")
    for part in ("Gv7", "Zq", "p#", "p%23"):
        assert part not in text, text


def test_what_nobody_caught_is_printed_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret(EVIL)
    try:
        raise ValueError(f"no such thing: {secret.reveal()!r}")
    except ValueError as error:
        text = redacted_traceback(error)
    assert "ValueError: no such thing: " in text
    assert "Gv7" not in text


@pytest.mark.parametrize("outer", [json.dumps, repr, ascii])
@pytest.mark.parametrize("inner", [json.dumps, repr, ascii])
def test_a_text_that_was_written_within_a_written_one(
    inner: Callable[[str], str], outer: Callable[[str], str]
) -> None:
    """As a log line as JSON has the repr of what was raised."""
    value = "pa\\ss\"wö'rd"
    assert "ss" not in redact(outer(f"x {inner(f'y {value}')}"), [value])
