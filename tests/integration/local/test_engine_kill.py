"""kill -9 of a start at any moment: the next one works, and the data is what it was."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from pgops import postgres

from .engine_project import EngineProject

pytestmark = [pytest.mark.docker, pytest.mark.soak]

ROUNDS = int(os.environ.get("PGOPS_TEST_ROUNDS", "3"))
START = """
import os, sys
from pathlib import Path
from pgops.local.compose import connection_facts, load
from pgops.local.engine import server
from pgops.local.engine.client import connect
from pgops.postgres import Target
from pgops.secrets.references import LiteralSecret, Secret

spec = load(Path(sys.argv[1]), service="db", environ={})
facts = connection_facts(spec)
target = Target("dev", facts.host, facts.port, facts.database, facts.user, LiteralSecret(Secret(facts.password)))
with connect(os.environ) as engine:
    print("go", flush=True)
    server.up(engine, spec, target)
"""


def test_a_killed_start_costs_nothing(compose_project: EngineProject) -> None:
    project = compose_project
    project.up()
    with postgres.connected(project.target()) as connection:
        postgres.execute(connection, "CREATE TABLE kept AS SELECT 42 AS a")
    said = "stop_grace_period: 20s"
    for number in range(ROUNDS):
        project.change(said, f"stop_grace_period: {21 + number}s")
        said = f"stop_grace_period: {21 + number}s"
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(project.directory)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(random.uniform(0, 1.2))  # the moment is the point of the test
        process.kill()
        process.communicate()
        project.up()
        assert project.containers() == [project.container], f"round {number}"
        with postgres.connected(project.target()) as connection:
            assert postgres.fetch_value(connection, "SELECT a FROM kept") == 42
    looking = {"label": f"pgops.looks-for={project.name}"}
    assert project.engine.api.containers(all=True, filters=looking) == []
    assert "Running" in project.compose("up", "-d")
