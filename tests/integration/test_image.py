"""The container image: twenty replicas that start at once, as a Deployment starts them; and the manifests of the docs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.projects import AlembicProject

DOCS = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"
IMAGE = "pgops:ci"
REPLICAS = 20
ENVIRONMENTS = """\
version: 1
default: staging
environments:
  staging:
    host: db
    dbname: postgres
    user: postgres
    password: {env: PGOPS_PASSWORD}
    protected: false
"""
# As the manifests have it: an ordinary user, nothing writable but /tmp.
CONFINED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "environment": {"PGOPS_PASSWORD": "s3cr3t"},
}


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL and an image of a project on one network."""

    engine: Any
    network: str
    image: str
    database: Any

    def replica(self, *arguments: str) -> Any:
        """A container of the project's image, made and not yet started."""
        return self.engine.containers.create(self.image, list(arguments), network=self.network, **CONFINED)

    def sql(self, query: str) -> str:
        """What psql prints, unaligned."""
        code, out = self.database.exec_run(["psql", "-U", "postgres", "-Atqc", query])
        assert code == 0, out
        return str(out.decode().strip())


@pytest.fixture(scope="module")
def engine(docker_engine: str) -> Iterator[Any]:
    import docker
    import docker.errors

    with contextlib.closing(docker.from_env(timeout=120)) as client:
        try:
            client.images.get(IMAGE)
        except docker.errors.ImageNotFound:
            reason = f"the engine has no image {IMAGE}; .ci/pgops-image.sh makes it"
            if os.environ.get("PGOPS_TEST_REQUIRE_DOCKER"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield client


@pytest.fixture
def cluster(engine: Any, tmp_path: Path) -> Iterator[Cluster]:
    name = f"pgops-test-{uuid.uuid4().hex[:8]}"
    project = AlembicProject.make(tmp_path / "project")
    project.chain("one", "two", "three")
    # Long enough that the others find the lock taken.
    project.revision("four", "three", "op.execute('SELECT pg_sleep(5)')")
    (project.path / "environments.yaml").write_text(ENVIRONMENTS, encoding="utf-8")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY project /project\n", encoding="utf-8")
    with contextlib.ExitStack() as stack:
        image, _ = engine.images.build(path=str(tmp_path), tag=name, rm=True)
        stack.callback(engine.images.remove, name, force=True)
        network = engine.networks.create(name)
        stack.callback(network.remove)
        database = engine.containers.create(
            "postgres:17", name=name, environment={"POSTGRES_PASSWORD": "s3cr3t"}, labels=["pgops-test"]
        )
        stack.callback(database.remove, force=True, v=True)
        network.connect(database, aliases=["db"])
        database.start()
        yield Cluster(engine, name, image.id, database)


def ended(container: Any) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON object and the words beside it; the container is removed."""
    code = int(container.wait(timeout=280)["StatusCode"])
    out = container.logs(stdout=True, stderr=False).decode()
    err = container.logs(stdout=False, stderr=True).decode()
    container.remove(force=True)
    return code, json.loads(out), err


@pytest.mark.docker
def test_twenty_replicas_that_start_at_once(cluster: Cluster) -> None:
    migrate = ("migrate", "--yes", "--lock-wait=240", "--json")
    # The database is still starting: that is waited for by who started it, not by pgops.
    until(lambda: cluster.database.exec_run(["pg_isready", "-h", "127.0.0.1"])[0] == 0)
    replicas = [cluster.replica(*migrate) for _ in range(REPLICAS)]

    with ThreadPoolExecutor(REPLICAS) as pool:
        list(pool.map(lambda each: each.start(), replicas))
        answers = list(pool.map(ended, replicas))

    assert [code for code, _, _ in answers] == [0] * REPLICAS, [each for each in answers if each[0] != 0]
    outcomes = sorted(answer["run"]["outcome"] for _, answer, _ in answers)
    assert outcomes == ["nothing_pending"] * (REPLICAS - 1) + ["succeeded"]
    applied = [answer["run"]["applied"] for _, answer, _ in answers if answer["run"]["applied"]]
    assert applied == [["one", "two", "three", "four"]]
    assert cluster.sql("SELECT count(*) FROM pgops.runs") == "1"
    assert cluster.sql("SELECT version_num FROM alembic_version") == "four"

    code, answer, _ = started(cluster.replica(*migrate))
    assert (code, answer["run"]["outcome"]) == (0, "nothing_pending")


@pytest.mark.docker
def test_a_replica_that_is_killed_is_followed_by_the_next(cluster: Cluster) -> None:
    until(lambda: cluster.database.exec_run(["pg_isready", "-h", "127.0.0.1"])[0] == 0)
    first = cluster.replica("migrate", "--yes", "--json")
    first.start()
    until(
        lambda: cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(5)%'") >= "2"
    )
    first.kill()
    first.remove(force=True)

    code, answer, err = started(cluster.replica("migrate", "--yes", "--lock-wait=120", "--json"))
    assert code == 0, err
    assert answer["run"]["applied"] == ["four"]


def started(container: Any) -> tuple[int, dict[str, Any], str]:
    container.start()
    return ended(container)


def until(holds: Callable[[], bool]) -> None:
    """Ask again until it holds; the test's own timeout ends what never does."""
    import time

    while not holds():
        time.sleep(0.2)


def manifests() -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return [found for block in blocks if "apiVersion" in (found := yaml.safe_load(block))]


def test_the_manifests_are_what_kubernetes_takes() -> None:
    import kubernetes_validate

    found = manifests()
    assert [each["kind"] for each in found] == ["Job", "Deployment"]
    for version in ("1.30", kubernetes_validate.latest_version()):
        for each in found:
            kubernetes_validate.validate(each, version, strict=True)
    found[0]["spec"]["template"]["spec"]["containers"][0]["image_pull_policy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found[0], "1.30", strict=True)


def test_the_manifests_run_the_command_that_the_page_explains() -> None:
    command = "pgops migrate --env=production --confirm=production --lock-wait=600"
    assert f"$ {command}\n" in DOCS.read_text(encoding="utf-8")
    for each in manifests():
        pod = each["spec"]["template"]["spec"]
        (container, *_) = pod.get("initContainers") or pod["containers"]
        assert container["args"] == command.split()[1:]
