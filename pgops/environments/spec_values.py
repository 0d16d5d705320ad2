"""What environments.yaml says in many places: names, templates of URLs, secrets."""

from __future__ import annotations

from pgops.environments.kinds import (
    Duration,
    Field,
    File,
    Items,
    Record,
    SecretKind,
    Text,
)

# The server keeps these as milliseconds in a signed 32-bit integer.
LONGEST_TIMEOUT = 2_147_483.0
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
ENVIRONMENT_NAME = Text("a name of letters, digits, '.', '_' and '-', at most 63", NAME)
SERVER_WORDS = ("host", "port", "user", "dbname")
TEMPLATE = Text(fills=("url", "password", *SERVER_WORDS))
WORD = Text("a text without line breaks", r"[^\r\n]+")
VARIABLE = Text("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*")
# The options of each secret source; docs and schema read them too.
SECRET_SOURCES: dict[str, tuple[Field, ...]] = {
    "env": (Field("env", VARIABLE, "name of an environment variable", required=True),),
    "file": (
        Field("file", File("the path of a file"), "first line of a file with mode 0600", required=True),
    ),
    "command": (
        Field(
            "command",
            Items(Text("a text", r"[^\x00]*", SERVER_WORDS), at_least=1, unique=False),
            "program and arguments; no shell; {host}, {port}, {user} and {dbname} are filled in",
            required=True,
        ),
        Field(
            "ttl",
            Duration(86400.0, zero=True),
            "of `command`: how long its value is used again in one process",
            "0s",
        ),
        Field("timeout", Duration(3600.0), "of `command`: how long it may take", "10s"),
    ),
    "keyring": (
        Field(
            "keyring",
            Record(
                "keyring",
                (
                    Field("service", WORD, "name of the keyring's service", required=True),
                    Field("username", WORD, "name of the entry", required=True),
                ),
                layered=False,
            ),
            "entry of the operating system's keyring (extra `keyring`)",
            required=True,
        ),
    ),
    "passfile": (
        Field(
            "passfile", File("the path of a libpq password file"), "libpq's own password file", required=True
        ),
    ),
}
PASSWORD = SecretKind(("env", "file", "command", "keyring", "passfile"))
VALUE = SecretKind(("env", "file", "command", "keyring"))
