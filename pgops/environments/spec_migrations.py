"""What environments.yaml may hold about migrations."""

from __future__ import annotations

from pgops.environments.hazard_rules import HAZARD_RULES
from pgops.environments.kinds import (
    Choice,
    Duration,
    Field,
    File,
    Integer,
    Items,
    Record,
    Size,
    Table,
    Text,
)
from pgops.environments.spec_values import (
    ENVIRONMENT_NAME,
    TEMPLATE,
    VARIABLE,
    WORD,
)

_HISTORY = (
    Field(
        "config",
        File("the path of alembic.ini or pyproject.toml"),
        "Alembic's configuration file",
        "alembic.ini of the project; with `app`, its migrations/alembic.ini",
    ),
    Field(
        "app",
        Text("a Flask application, as FLASK_APP names it", r"[^\r\n]+"),
        'the Flask application whose context env.py needs (Flask-Migrate): `module`, `module:name`, `module:factory` or `module:factory("argument")`',
    ),
    Field(
        "runner",
        Text("module:function", r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*"),
        "a function of the project, `run(config, call)`, around every use of env.py",
    ),
    Field("name", WORD, "section of the ini file, as `alembic -n`", "alembic"),
    Field(
        "x",
        Table(Text("a name", r"[^=\s]+"), TEMPLATE, layered=True),
        "passed as `alembic -x name=value`; filled in as in `environ`",
    ),
    Field(
        "environ",
        Table(VARIABLE, TEMPLATE, layered=True),
        "environment variables for an env.py that looks there; {url}, {url:driver}, {host}, {port}, {user}, {dbname} and {password} are filled in while env.py runs",
    ),
)
HISTORY = Record("history", _HISTORY)
ALEMBIC = Record(
    "alembic",
    (
        *_HISTORY,
        Field(
            "histories",
            Table(ENVIRONMENT_NAME, HISTORY, layered=True),
            "several histories in one database, by name, each with a version table of its own; migrate takes them in this order",
        ),
    ),
)
HAZARDS = Record(
    "hazards",
    (
        Field("large_rows", Integer(0), "a table of so many rows is large", "100000"),
        Field("large_bytes", Size(), "a table of this size is large", "100MB"),
        Field("exclude", Items(Choice(HAZARD_RULES)), "rules that do not count here", "[]"),
        Field(
            "trace",
            Choice(("auto", "always", "never")),
            "whether a plan is carried out on the target's bare schema first; auto: where that holds rows and a server of its major can be had",
            "auto",
        ),
    ),
)
REHEARSAL = Record(
    "rehearsal",
    (
        Field(
            "required_before",
            Items(Choice(("migrate",))),
            "what runs only after `migrate.rehearse` has carried the very plan out on a copy",
            "[]",
        ),
        Field(
            "max_age",
            Duration(366 * 86400.0),
            "how old that rehearsal, and the backup that it ran on, may be",
            "24h",
        ),
    ),
)
REVERSIBLE = Record(
    "reversible",
    (
        Field(
            "required_before",
            Items(Choice(("migrate",))),
            "what takes only revisions whose downgrade() undoes them",
            "[]",
        ),
    ),
)
APPROVALS = Record(
    "approvals",
    (
        Field(
            "migrate",
            Record(
                "approval",
                (
                    Field(
                        "keys",
                        File("the path of a file of allowed signers"),
                        "OpenSSH's allowed signers: one line for each key, one person's keys under one name",
                        required=True,
                    ),
                    Field("count", Integer(1, 99), "how many people have to sign", "1"),
                    Field(
                        "max_age", Duration(366 * 86400.0), "how long after it was made a plan may run", "24h"
                    ),
                ),
            ),
            "what a plan needs before it is carried out, up or down: SSH signatures",
        ),
    ),
)
