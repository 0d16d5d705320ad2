"""Real projects from PyPI: how each is installed, and what adopting it takes.

A version moves with its pins (``<name>.txt``). Where a project's own setting says which database it is, ``trap`` has
it: adopt.py leads it to another one, which must stay as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from files import (
    INI_OF_JUPYTERHUB,
    INI_OF_RUCIO,
    IN_A_WORKER_THREAD,
    OF_BARBICAN,
    OF_GALAXY,
    OF_KEYSTONE,
    OF_NEUTRON,
    SETTINGS_OF_PRIVACYIDEA,
    SETTINGS_OF_RUCIO,
    TABLES_OF_GALAXY,
    TABLES_OF_JUPYTERHUB,
    TABLES_OF_PRIVACYIDEA,
    TABLES_OF_QCFRACTAL,
    TABLES_OF_RUCIO,
)

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class RealProject:
    """How a project is installed and where its Alembic lives.

    ``install`` are pip's arguments, besides the pins. ``config`` is its alembic.ini, relative to site-packages, or
    ``ini`` the text of one of our own where it ships none. ``alembic`` are the variables that environments.yaml hands to
    env.py, ``app``, ``runner``, ``x`` and ``histories`` its other keys; ``ops`` is the text of the module ops.py.
    ``environ`` is what the application itself wants; ``{work}`` is a directory it may write to. ``trap`` are the
    variables by which plain Alembic is told the database, where they are not those of ``alembic``.

    ``base`` is a program that makes the tables where the history does not begin with an empty database; it is then
    stamped at its heads. ``down`` is the step down that is tried, ``driver`` the one in plain Alembic's
    ``sqlalchemy.url``. ``untested`` says why migrate.test can't be content with it; ``no_way_down``: the newest revision has no
    downgrade.
    """

    install: tuple[str, ...]
    revisions: int
    config: str = ""
    ini: str = ""
    alembic: Mapping[str, str] = field(default_factory=dict)
    app: str = ""
    runner: str = ""
    x: Mapping[str, str] = field(default_factory=dict)
    histories: Mapping[str, str] = field(default_factory=dict)
    ops: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    trap: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    models_match: bool = False
    untested: str = ""
    no_way_down: bool = False
    down: str = "-1"
    driver: str = "psycopg2"


PROJECTS = {
    # Plain and synchronous; takes its URL from sqlalchemy.url; ships no alembic.ini.
    "ckan": RealProject(
        install=("--no-deps", "-r", str(HERE / "ckan.txt")),
        revisions=109,
        models_match=True,
        ini="[alembic]\nscript_location = ckan:migration\nsqlalchemy.url = driver://nowhere\n",
    ),
    # Migrates synchronously from an asynchronous URL of its own settings.
    "argilla": RealProject(
        install=("argilla-server==2.8.0", "asyncpg", "psycopg2-binary"),
        revisions=24,
        config="argilla_server/alembic.ini",
        alembic={"ARGILLA_DATABASE_URL": "{url:asyncpg}"},
        environ={"ARGILLA_HOME_PATH": "{work}/home"},
    ),
    # Follows its own variable, ignores sqlalchemy.url, logs on stdout, takes seconds to import.
    "airflow": RealProject(
        install=("apache-airflow-core==3.3.2", "psycopg2-binary", "asyncpg"),
        revisions=124,
        config="airflow/alembic.ini",
        alembic={"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "{url:psycopg2}"},
        environ={"AIRFLOW_HOME": "{work}/home", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
    ),
    # Its env.py runs only in a worker thread under an event loop; asyncpg; settings of its own.
    "prefect": RealProject(
        install=("prefect==3.9.1", "psycopg2-binary"),
        revisions=120,
        config="prefect/server/database/alembic.ini",
        alembic={"PREFECT_API_DATABASE_CONNECTION_URL": "{url:asyncpg}"},
        environ={"PREFECT_HOME": "{work}/home"},
        runner="ops:run",
        ops=IN_A_WORKER_THREAD,
        untested="its models differ",
    ),
    # env.py's code runs only where its module is named env_py; sets a lock_timeout; revisions in a directory a year.
    "dstack": RealProject(
        install=("dstack[server]==0.22.5", "psycopg2-binary"),
        revisions=141,
        config="dstack/_internal/server/alembic.ini",
        alembic={"DSTACK_DATABASE_URL": "{url:asyncpg}"},
        environ={"DSTACK_SERVER_DIR": "{work}/home"},
        models_match=True,
        untested="27d3e55759fa makes a type that exists, which goes unnoticed only in a run that also made it",
    ),
    # Six sections, six version tables, one database.
    "skypilot": RealProject(
        install=("skypilot==0.14.1", "psycopg2-binary"),
        revisions=58,
        config="sky/setup_files/alembic.ini",
        histories={
            name: name
            for name in ("state_db", "spot_jobs_db", "serve_db", "sky_config_db", "kv_cache_db", "recipes_db")
        },
        untested="its sections share one env.py without models",
    ),
    # Two branches, and a directory for each release that only its own program names. No way down.
    "keystone": RealProject(
        install=("keystone==30.0.0", "psycopg2-binary"),
        revisions=10,
        config="keystone/common/sql/alembic.ini",
        runner="ops:run",
        ops=OF_KEYSTONE,
        no_way_down=True,
        untested="its models differ",
    ),
    # Two branches for two models; env.py asks for the command; the tables are made before the first revision.
    "galaxy": RealProject(
        install=("galaxy-data==26.1.2", "psycopg2-binary"),
        revisions=82,
        config="galaxy/model/migrations/alembic.ini",
        runner="ops:run",
        ops=OF_GALAXY,
        base=TABLES_OF_GALAXY,
        down="gxy@-1",
        untested="its models differ",
    ),
    # The same, with an attribute on Alembic's Config; later releases have MySQL's SQL only.
    "neutron": RealProject(
        install=("neutron==26.0.0", "psycopg2-binary"),
        revisions=139,
        config="neutron/db/migration/alembic.ini",
        runner="ops:run",
        ops=OF_NEUTRON,
        no_way_down=True,
        untested="its models differ",
    ),
    # Flask-Migrate. Releases since 1.0 want PostGIS.
    "fittrackee": RealProject(
        install=("fittrackee==0.8.12", "psycopg2-binary"),
        revisions=41,
        config="fittrackee/migrations/alembic.ini",
        app="fittrackee:create_app",
        alembic={"DATABASE_URL": "{url}"},
        environ={
            "APP_SETTINGS": "fittrackee.config.ProductionConfig",
            "APP_SECRET_KEY": "not secret",
            "UI_URL": "http://localhost",
            "UPLOAD_FOLDER": "{work}/home",
        },
    ),
    # Flask-Migrate; the application opens its database while it is made, and its tables are there before it is stamped.
    "privacyidea": RealProject(
        install=("privacyidea==3.14", "psycopg2-binary"),
        revisions=110,
        config="privacyidea/migrations/alembic.ini",
        app="privacyidea.app:create_app('production', '{work}/pi.cfg', True)",
        files={"pi.cfg": SETTINGS_OF_PRIVACYIDEA},
        alembic={"PI_DATABASE_URL": "{url:psycopg2}"},
        base=TABLES_OF_PRIVACYIDEA,
        untested="its models differ",
    ),
    # env.py takes the address as an -x argument of its own, ignoring sqlalchemy.url; tables are there before it is stamped.
    "qcfractal": RealProject(
        install=("qcfractal==0.71", "psycopg2-binary"),
        revisions=62,
        config="qcfractal/alembic.ini",
        x={"uri": "{url}"},
        base=TABLES_OF_QCFRACTAL,
        untested="its models differ",
    ),
    # Asynchronous unless it is handed a connection; one transaction around everything.
    "phoenix": RealProject(
        install=("arize-phoenix==20.26.1", "psycopg2-binary", "asyncpg"),
        revisions=35,
        config="phoenix/db/alembic.ini",
        alembic={"PHOENIX_SQL_DATABASE_URL": "{url}"},
        environ={"PHOENIX_WORKING_DIR": "{work}/home"},
        untested="its models differ: INTEGER where its revisions make BIGINT",
        driver="asyncpg",
    ),
    # Flask-Migrate on SQLAlchemy 1.4: env.py takes the URL from the application's settings, which know it as their own
    # variable; the application is made by importing a module.
    "mwdb": RealProject(
        install=("mwdb-core==2.20.0", "psycopg2-binary"),
        revisions=49,
        config="mwdb/model/migrations/alembic.ini",
        app="mwdb.app:app",
        alembic={"MWDB_POSTGRES_URI": "{url}"},
        environ={
            "MWDB_SECRET_KEY": "not secret",
            "MWDB_REDIS_URI": "redis://localhost:1",
            "MWDB_BASE_URL": "http://localhost",
            "MWDB_ENABLE_SSDEEP": "0",
            "MWDB_UPLOADS_FOLDER": "{work}/home",
        },
        untested="its models differ",
    ),
    # Its own programs put the URL on Alembic's Config, as an attribute. Its newest revisions have no downgrade.
    "barbican": RealProject(
        install=("barbican==23.0.0", "psycopg2-binary"),
        revisions=3,
        config="barbican/model/migration/alembic.ini",
        runner="ops:run",
        ops=OF_BARBICAN,
        no_way_down=True,
        untested="its newest revisions have no downgrade",
    ),
    # env.py takes the connection that it is handed.
    "nova": RealProject(
        install=("nova==34.0.0", "psycopg2-binary"),
        revisions=10,
        config="nova/db/main/alembic.ini",
        no_way_down=True,
        untested="its newest revisions have no downgrade",
    ),
    # env.py takes what it is handed for an engine; the tables are made before the first revision.
    "jupyterhub": RealProject(
        install=("jupyterhub==6.1.1", "psycopg2-binary"),
        revisions=18,
        ini=INI_OF_JUPYTERHUB,
        base=TABLES_OF_JUPYTERHUB,
        models_match=True,
        untested="its first revision alters tables that are there",
    ),
    # Ships no alembic.ini: its own program makes the configuration.
    "quetz": RealProject(
        install=("quetz-server==0.10.4", "psycopg2-binary"),
        revisions=20,
        ini="[alembic]\nscript_location = quetz:migrations\nversion_locations = quetz:migrations/versions\n"
        "sqlalchemy.url = driver://nowhere\n",
        untested="its models differ",
    ),
    # A schema of its own, for its tables (schema_translate_map) and its version table, named in alembic.ini.
    "rucio": RealProject(
        install=("rucio[postgresql]==41.5.1", "psycopg2-binary"),
        revisions=133,
        ini=INI_OF_RUCIO,
        files={"rucio.cfg": SETTINGS_OF_RUCIO},
        environ={"RUCIO_CONFIG": "{work}/rucio.cfg"},
        base=TABLES_OF_RUCIO,
        untested="its env.py has no models",
    ),
    # Its own program puts its settings on Alembic's Config, and plain Alembic reads them from variables; env.py begins
    # the transaction by itself and leaves Alembic's out. No way down.
    "gnocchi": RealProject(
        install=("gnocchi[postgresql]==4.7.1", "psycopg2-binary"),
        revisions=31,
        config="gnocchi/indexer/alembic/alembic.ini",
        alembic={"GNOCCHI_INDEXER_URL": "{url}"},
        no_way_down=True,
        untested="its revisions have no downgrade",
    ),
    # An alembic.ini without [alembic]: two sections for two databases, of which one is adopted. env.py reads options of
    # its own from the section and takes the connection that it is handed.
    "fief": RealProject(
        install=("fief-server==0.27.0", "psycopg2-binary"),
        revisions=6,
        config="fief/alembic.ini",
        histories={"main": "main"},
        environ={
            "SECRET": "not secret, and long enough for it: 0123456789",
            "ENCRYPTION_KEY": "A" * 43 + "=",
            "FIEF_CLIENT_ID": "none",
            "FIEF_CLIENT_SECRET": "none",
            "DATABASE_TYPE": "POSTGRESQL",
        },
    ),
    # Revisions look into the database, print, and commit by themselves; env.py commits behind them unless it is handed a
    # connection.
    "contextforge": RealProject(
        install=("mcp-contextforge-gateway==1.0.7.post20260921", "psycopg2-binary"),
        revisions=113,
        config="mcpgateway/alembic.ini",
        alembic={"DATABASE_URL": "{url:psycopg2}"},
        environ={
            "JWT_SECRET_KEY": "Not-secret-0123456789-and-long-enough",
            "AUTH_ENCRYPTION_SECRET": "Not-secret-9876543210-and-long-enough",
        },
        untested="its models differ",
    ),
    # Models on SQLAlchemy's oldest declarative base, and an env.py that takes the connection that it is handed.
    "heat": RealProject(
        install=("openstack-heat==27.0.1", "psycopg2-binary"),
        revisions=4,
        config="heat/db/alembic.ini",
    ),
}
