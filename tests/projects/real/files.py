"""What stands beside environments.yaml for the projects of the catalogue: runners, settings, programs that make tables."""

IN_A_WORKER_THREAD = """\
import anyio


def run(config, call):
    async def main():
        return await anyio.to_thread.run_sync(call)

    return anyio.run(main)
"""

OF_KEYSTONE = """\
import keystone.conf
from keystone.common import sql
from keystone.common.sql import upgrades


def run(config, call):
    keystone.conf.configure()
    sql.initialize()
    keystone.conf.CONF([], project="keystone", default_config_files=[])
    theirs = upgrades.get_alembic_config()
    config.set_main_option("version_locations", theirs.get_main_option("version_locations"))
    return call()
"""
OF_NEUTRON = """\
from neutron.db.migration import cli


def run(config, call):
    cli.CONF(["current"], project="neutron", default_config_files=[], default_config_dirs=[])
    cli.CONF.set_override("connection", config.get_main_option("sqlalchemy.url"), group="database")
    theirs = cli.get_neutron_config()
    config.set_main_option("version_locations", theirs.get_main_option("version_locations"))
    config.neutron_config = cli.CONF
    return call()
"""
OF_GALAXY = """\
def run(config, call):
    config.cmd_opts = None  # as its own programs call Alembic: the URL is then sqlalchemy.url
    return call()
"""
TABLES_OF_GALAXY = """\
import os
from sqlalchemy import create_engine
from galaxy.model import Base
from galaxy.model.mapping import create_additional_database_objects
from galaxy.model.tool_shed_install import Base as Tools

engine = create_engine(os.environ["BASE_URL"].replace("postgresql://", "postgresql+psycopg2://"))
Base.metadata.create_all(engine)
Tools.metadata.create_all(engine)
create_additional_database_objects(engine)
"""
TABLES_OF_QCFRACTAL = """\
import os
from sqlalchemy import create_engine
from qcfractal.components import register_all
from qcfractal.db_socket import BaseORM

BaseORM.metadata.create_all(create_engine(os.environ["BASE_URL"].replace("postgresql://", "postgresql+psycopg2://")))
"""
SETTINGS_OF_PRIVACYIDEA = """\
import os
SQLALCHEMY_DATABASE_URI = os.environ["PI_DATABASE_URL"]
SECRET_KEY = PI_PEPPER = "not secret, and long enough for it: 0123456789"
PI_AUDIT_NO_SIGN = True
PI_ENCFILE = "enckey"
"""
TABLES_OF_PRIVACYIDEA = """\
import os
os.environ["PI_DATABASE_URL"] = os.environ["BASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
from privacyidea.app import create_app
from privacyidea.models import db

with create_app("production", os.path.abspath("pi.cfg"), True).app_context():
    db.create_all()
"""

OF_BARBICAN = """\
def run(config, call):
    config.barbican_sqlalchemy_url = config.get_main_option("sqlalchemy.url")
    return call()
"""
INI_OF_JUPYTERHUB = """\
[alembic]
script_location = jupyterhub:alembic
sqlalchemy.url = driver://nowhere
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARN
handlers =
"""
TABLES_OF_JUPYTERHUB = """\
import os
from jupyterhub.orm import Base
from sqlalchemy import create_engine

Base.metadata.create_all(create_engine(os.environ["BASE_URL"].replace("postgresql://", "postgresql+psycopg2://")))
"""

INI_OF_RUCIO = """\
[alembic]
script_location = rucio:db/sqla/migrate_repo
sqlalchemy.url = driver://nowhere
version_table_schema = rucio
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARN
handlers =
"""
SETTINGS_OF_RUCIO = """\
[common]
logdir = /tmp
[database]
default = postgresql+psycopg2://nowhere/rucio
schema = rucio
"""
TABLES_OF_RUCIO = """\
import os
from rucio.db.sqla import models
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["BASE_URL"].replace("postgresql://", "postgresql+psycopg2://"))
with engine.begin() as connection:
    connection.execute(text("CREATE SCHEMA rucio"))
models.register_models(engine)
"""
