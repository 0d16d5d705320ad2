"""The published schema is the loader's own specification: the same text, and the same verdict on values."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pgops.environments import schema
from pgops.environments.spec import DOCUMENT
from pgops.environments.tree import parse
from pgops.environments.walk import Walker

REPOSITORY = Path(__file__).resolve().parents[3]
VALIDATOR = jsonschema.Draft202012Validator(schema.schema())


@pytest.mark.parametrize("published", ["docs/environments.schema.json", "pgops/environments/schema.json"])
def test_published_copies(published: str) -> None:
    text = (REPOSITORY / published).read_text(encoding="utf-8")
    assert text == schema.text(), f"python -m pgops.environments.schema > {published}"


def test_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_accepts_the_file_of_this_repository() -> None:
    VALIDATOR.validate(yaml.safe_load((REPOSITORY / "environments.yaml").read_text(encoding="utf-8")))


GOOD: dict[str, Any] = {
    "version": 1,
    "default": "dev",
    "promotion": ["dev", "prod"],
    "x-anything": {"a": [1]},
    "defaults": {"timeouts": {"lock": "2s"}, "backups": {"keep": {"last": 5}}, "host": None},
    "stores": {
        "local": {"url": "file:b", "encrypt": {"recipients": ["age1abc"], "identity": {"file": "k"}}},
        "s3": {"url": "s3://b/p", "access_key": {"env": "A"}, "secret_key": {"command": ["x"], "ttl": "0s"}},
    },
    "alembic": {"x": {"tenant": "main", "off": None}, "environ": {"URL": "{url}"}},
    "environments": {
        "dev": {"aliases": ["d"], "compose": {"service": "db", "file": None}, "server": "auto"},
        "prod": {
            "host": "h", "port": 5432, "dbname": "d", "user": "u", "protected": True, "sslmode": "verify-full",
            "password": {"keyring": {"service": "s", "username": "u"}},
            "hazards": {"large_bytes": "1GB", "large_rows": 0, "exclude": ["ban-drop-column"]},
            "backups": {"required_before": ["migrate"], "jobs": 2, "store": "local"},
        },
        "third": {"url": {"env": "U"}, "extends": "prod", "sslrootcert": "system"},
        "fourth": {"service": "s", "password": {"passfile": "p"}},
    },
}  # fmt: skip


def walked(document: Any) -> list[str]:
    """What the walker says about each value by itself, before rules between settings."""
    walker = Walker(Path("/d"), Path("/r"))
    root = parse(json.dumps(document).encode(), lambda place, text: walker.problem(place, "", text))
    assert root is not None
    walker.walk(root, DOCUMENT, "")
    return [f"{each.path}: {each.text}" for each in walker.problems]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(each, (*path, key))
    return found


replacements: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 70000, "", "x", "a b", "1A", "5s", "0s", "5", "5 s", "10m", "1GB", "auto",
        "migrate", "s3://b", "file:", "http://h", "age1x", [], ["x"], ["x", "x"], [1], {}, {"env": "A"}, {"env": ""},
        {"file": "f", "env": "A"}, {"command": []}, {"command": ["a"], "timeout": "1s"}, {"keyring": {}}, {"x": None},
        {"service": "s"}, {"lock": None}, {"unknown": 1}, "a\nb",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_schema_and_loader_give_the_same_verdict_on_values(data: st.DataObject) -> None:
    document = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(0, 2))):
        path = data.draw(st.sampled_from(places(document)))
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        action = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace" or isinstance(parent, list):
            parent[path[-1]] = copy.deepcopy(data.draw(replacements))
        elif action == "remove":
            del parent[path[-1]]
        else:
            parent[data.draw(st.sampled_from(["x-a", "host", "1 2", "serviec", "env"]))] = parent.pop(
                path[-1]
            )
    mine = walked(document)
    theirs = [f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(document)]
    assert bool(mine) == bool(theirs), (document, mine, theirs)
