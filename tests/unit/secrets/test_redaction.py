"""No secret gets through, in whatever form it comes."""

from __future__ import annotations

import pytest

from pgops.secrets.redaction import redact
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
