"""What environments.yaml may hold, said once.

The walker checks a file against this, and the JSON Schema for editors and the tables of
docs/environments.md are made from it.
"""

from __future__ import annotations

from pgops.environments.kinds import (
    Boolean,
    Choice,
    Duration,
    Field,
    File,
    Integer,
    Items,
    Record,
    Table,
    Text,
)
from pgops.environments.model import SSL_MODES
from pgops.environments.spec_migrations import ALEMBIC, APPROVALS, HAZARDS, REHEARSAL, REVERSIBLE
from pgops.environments.spec_values import (
    ENVIRONMENT_NAME,
    LONGEST_TIMEOUT,
    NAME,
    PASSWORD,
    VALUE,
    WORD,
)

KEEP = Record(
    "keep",
    (
        Field("last", Integer(1), "the newest so many"),
        Field("hourly", Integer(1), "the newest of each of so many hours"),
        Field("daily", Integer(1), "the newest of each of so many days"),
        Field("weekly", Integer(1), "the newest of each of so many weeks"),
        Field("monthly", Integer(1), "the newest of each of so many months"),
        Field("yearly", Integer(1), "the newest of each of so many years"),
        Field("within", Duration(100 * 366 * 86400.0), "all that are younger than this"),
    ),
)

TIMEOUTS = Record(
    "timeouts",
    (
        Field("connect", Duration(3600.0), "until a server has answered", "5s"),
        Field("lock", Duration(LONGEST_TIMEOUT), "lock_timeout of a migration's statements", "2s"),
        Field(
            "statement",
            Duration(LONGEST_TIMEOUT, zero=True),
            "statement_timeout of a migration; 0s is no limit",
            "15min",
        ),
        Field(
            "idle_in_transaction",
            Duration(LONGEST_TIMEOUT, zero=True),
            "idle_in_transaction_session_timeout of a migration; 0s is no limit",
            "5min",
        ),
    ),
)

REACH = Record(
    "reach",
    (
        Field(
            "ssh",
            Text("a destination of ssh", r"[^-\s][^\s]*"),
            "by OpenSSH: a host, user@host, or a Host of ~/.ssh/config",
        ),
        Field("container", WORD, "in a container that runs in the Docker engine: its name or id"),
        Field(
            "user",
            Text("the name of a user", r"[A-Za-z_][A-Za-z0-9_.-]*"),
            "as whom pgBackRest runs there: by runuser where we are root, else by sudo without a question",
            "in a container postgres, else who we are there",
        ),
        Field(
            "config",
            Text("an absolute path there", r"/[^\x00\r\n]*"),
            "pgBackRest's configuration file there",
            "its own",
        ),
        Field(
            "recovery",
            Text("an absolute path there", r"/[^\x00\r\n]*"),
            "directory there below which a recovered cluster gets one of its own; not with `container`",
            "the one that the cluster's own data directory is in",
        ),
    ),
)

BACKUPS = Record(
    "backups",
    (
        Field(
            "store",
            Text("the name of a store", NAME),
            "where backups live: a name from `stores`",
            "the only store",
        ),
        Field(
            "engine",
            Choice(("dump", "pgbackrest")),
            "what takes backups: pg_dump, of this database; or pgBackRest, of the whole cluster, kept in its own repositories by its own retention",
            "dump",
        ),
        Field(
            "stanza",
            Text("the name of a stanza", r"[A-Za-z0-9][A-Za-z0-9._-]*"),
            "pgBackRest's name of the cluster; with `engine: pgbackrest`",
        ),
        Field("reach", REACH, "where pgBackRest runs; with `engine: pgbackrest`", "this machine"),
        Field("keep", KEEP, "retention; the rules are ORed, without any nothing is pruned"),
        Field(
            "required_before",
            Items(Choice(("migrate", "restore"))),
            "what takes a verified backup first",
            "[]",
        ),
        Field("jobs", Integer(0, 64), "parallel workers; 0 is one per processor, at most 4", "0"),
        Field(
            "max_age",
            Duration(366 * 86400.0),
            "how old the newest good backup may be before `backup.check` and `status --exit-code` end with 9",
        ),
        Field(
            "prove_every",
            Duration(366 * 86400.0),
            "how long ago a backup was last proven by restoring it, at most; the same two end with 9 beyond it",
        ),
    ),
)


MONITORING = Record(
    "monitoring",
    (
        Field(
            "metrics",
            File("the path of a directory"),
            "directory of node_exporter's textfile collector; scheduled runs and checks write `pgops-<project>-<environment>.prom` there",
        ),
        Field(
            "notify",
            Table(ENVIRONMENT_NAME, VALUE, layered=True),
            "where notices go, by name: each an address as Apprise takes it, `slack://…`, `mailtos://…`, `jsons://…` (extra `notify`)",
        ),
        Field("repeat", Duration(366 * 86400.0), "how long until the same trouble is told again", "24h"),
        Field(
            "ping", VALUE, "an http or https URL that is asked for after each scheduled run that succeeded"
        ),
    ),
)

COMPOSE = Record(
    "compose",
    (
        Field("service", WORD, "service in the compose file", required=True),
        Field(
            "file",
            File("the path of a compose file", of_project=True),
            "compose file, relative to the project",
            "found as compose finds it",
        ),
    ),
)

TUNNEL = Record(
    "tunnel",
    (
        Field(
            "ssh",
            Text("a host as ssh takes it", r"[^\s-]\S*"),
            "a host that reaches the server, as your own OpenSSH knows it: its configuration, agent, jump hosts and known hosts",
        ),
        Field("config", File("the path of an ssh configuration"), "of `ssh`: read instead of ~/.ssh/config"),
        Field(
            "command",
            Items(Text("a text", r"[^\x00]*", ("local_port", "host", "port")), at_least=1, unique=False),
            "another program that listens on {local_port} of 127.0.0.1 until it is ended; no shell; {host} and {port} are filled in too",
        ),
        Field("timeout", Duration(3600.0), "until the server has answered through it", "30s"),
    ),
    layered=False,
)

# The four ways to say where a server is, and the keys that go with each.
CONNECTIONS: dict[str, tuple[str, ...]] = {
    "compose": ("server",),
    "host": ("port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey", "tunnel"),
    "service": ("servicefile", "dbname", "user", "password", "sslmode", "sslrootcert", "tunnel"),
    "url": ("sslmode", "sslrootcert", "tunnel"),
}

ENVIRONMENT = Record(
    "environment",
    (
        Field("aliases", Items(ENVIRONMENT_NAME), "other names of this environment", "[]", own=True),
        Field("extends", ENVIRONMENT_NAME, "environment whose settings this one starts from", own=True),
        Field(
            "protected", Boolean(), "whether changes want the name typed", "true unless `compose`", own=True
        ),
        Field("compose", COMPOSE, "a service of docker-compose.yml: a local server that db.up starts"),
        Field("server", Choice(("docker", "embedded", "auto")), "what runs the compose service", "auto"),
        Field("host", WORD, "host name, address or socket directory"),
        Field("port", Integer(1, 65535), "TCP port", "5432"),
        Field("dbname", WORD, "database; required with `host`"),
        Field("user", WORD, "role; required with `host`"),
        Field("password", PASSWORD, "where the password is"),
        Field(
            "sslmode",
            Choice(SSL_MODES),
            "as libpq's sslmode",
            "verify-full where protected and remote, else prefer",
        ),
        Field(
            "sslrootcert",
            File("the path of a certificate", words=("system",)),
            "certificates to trust; `system` for the operating system's",
        ),
        Field("sslcert", File("the path of a certificate"), "client certificate; with `sslkey`"),
        Field("sslkey", File("the path of a key"), "key of the client certificate"),
        Field("service", WORD, "section of pg_service.conf"),
        Field(
            "servicefile",
            File("the path of a service file"),
            "file with that section; else ~/.pg_service.conf, then /etc/postgresql-common/pg_service.conf",
        ),
        Field("url", VALUE, "where a whole libpq URL is"),
        Field("tunnel", TUNNEL, "the way to a server that can't be reached from here"),
        Field(
            "trusted_owners",
            Items(WORD),
            "roles besides `user` whose schema `pgops`, version table and kept databases are believed",
            "[]",
        ),
        Field("timeouts", TIMEOUTS, "how long things may take"),
        Field("backups", BACKUPS, "where backups go and how long they stay"),
        Field("alembic", ALEMBIC, "how Alembic is reached"),
        Field("hazards", HAZARDS, "when a migration counts as dangerous"),
        Field("rehearsal", REHEARSAL, "what has to be rehearsed on a copy first"),
        Field("reversible", REVERSIBLE, "whether revisions have to be undoable"),
        Field("approvals", APPROVALS, "who has to sign a plan"),
        Field("monitoring", MONITORING, "who is told of backups that run by themselves"),
    ),
)

DEFAULTS = Record("defaults", tuple(each for each in ENVIRONMENT.fields if not each.own))

STORE = Record(
    "store",
    (
        Field(
            "url",
            Text("file:PATH or s3://BUCKET/PREFIX", r"(file:[^\x00]+|s3://[^/\s]+(/[^\s]*)?)"),
            "`file:./backups` or `s3://bucket/prefix`",
            required=True,
        ),
        Field(
            "endpoint",
            Text("an http or https URL", r"https?://[^\s/]+(/\S*)?"),
            "address of an S3-compatible server",
            "AWS",
        ),
        Field("region", WORD, "region of the bucket"),
        Field("access_key", VALUE, "access key", "the SDK's own chain"),
        Field("secret_key", VALUE, "secret key; with `access_key`", "the SDK's own chain"),
        Field(
            "encrypt",
            Record(
                "encrypt",
                (
                    Field(
                        "recipients",
                        Items(
                            Text("a public key of age or ssh", r"(age1[0-9a-z]+|ssh-(ed25519|rsa) \S+.*)"),
                            at_least=1,
                        ),
                        "public keys of age",
                        required=True,
                    ),
                    Field("identity", VALUE, "where the private key is, to read backups back"),
                    Field(
                        "staging",
                        File("the path of a directory"),
                        "private directory on this machine where dumps are made before they are encrypted",
                        "`~/.cache/pgops/clear`",
                    ),
                ),
                layered=False,
            ),
            "age encryption of what is stored (extra `age`)",
        ),
        Field(
            "sign",
            VALUE,
            "key that signs manifests and proofs, so that what somebody else put there is told from ours",
            "made from `encrypt.identity`, where that is set",
        ),
    ),
    layered=False,
)

DOCUMENT = Record(
    "environments.yaml",
    (
        Field("version", Integer(1, 1), "version of this format: 1", required=True),
        Field("default", ENVIRONMENT_NAME, "environment when --env is not given; never a protected one"),
        Field("promotion", Items(ENVIRONMENT_NAME), "the order in which environments take a revision", "[]"),
        Field("defaults", DEFAULTS, "merged under every environment; lists replace, null unsets"),
        Field(
            "stores",
            Table(ENVIRONMENT_NAME, STORE, at_least=1),
            "places for backups, by name",
            "local: {url: file:./backups}",
        ),
        Field("alembic", ALEMBIC, "the same as in an environment, beneath all of them"),
        Field(
            "environments",
            Table(ENVIRONMENT_NAME, ENVIRONMENT, at_least=1),
            "the targets, by name",
            required=True,
        ),
    ),
    layered=False,
    free=True,
)
