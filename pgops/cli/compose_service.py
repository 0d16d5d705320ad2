"""The PostgreSQL service of a project's compose file, for ``pgops init``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgops.errors import ConfigurationError
from pgops.local import compose
from pgops.local.compose.document import Fields, Scalar, read_documents
from pgops.local.compose.project import FILE_NAMES, find_files

# PostgreSQL's own image, and those that are made of it and take its variables.
_IMAGE = re.compile(
    r"(?:^|/)(?:postgres|postgresql|postgis|timescaledb(?:-ha)?|pgvector|citus|paradedb)(?:[:@]|$)"
)


@dataclass(frozen=True, slots=True)
class ComposeService:
    """A service that pgops can start and reach; ``file`` is the compose file."""

    name: str
    file: Path


def find_compose_service(
    root: Path, environ: Mapping[str, str]
) -> tuple[ComposeService | None, tuple[str, ...]]:
    """The first PostgreSQL service that can be reached from here, and why others can't.

    A compose file above ``root`` counts as far as the repository goes.
    """
    ours = _of_the_repository(root)
    if not environ.get("COMPOSE_FILE") and not any(
        (each / name).is_file() for each in ours for name in FILE_NAMES
    ):
        return None, ()
    try:
        (file, *over), _ = find_files(root, None, environ)
        services = [each for one in (file, *over) for each in _postgres_services(one)]
    except ConfigurationError as error:
        return None, (f"the compose file was not understood: {error.message}",)
    notes: list[str] = []
    for name in dict.fromkeys(services):
        try:
            compose.connection_facts(compose.load(root, service=name, environ=environ))
        except ConfigurationError as error:
            what = "; ".join(error.problems) or error.message
            notes.append(f"service {name} of {file.name} can't be used from here: {what}")
        else:
            return ComposeService(name, file), tuple(notes)
    return None, tuple(notes)


def _of_the_repository(root: Path) -> list[Path]:
    """``root``, and what is above it up to the directory with ``.git``."""
    for at, each in enumerate((root, *root.parents)):
        if (each / ".git").exists():
            return [root, *root.parents][: at + 1]
    return [root]


def _postgres_services(file: Path) -> list[str]:
    found = []
    for tree in read_documents(file, shown=file.name):
        services = tree.get("services")
        for key, service in services if isinstance(services, Fields) else ():
            if isinstance(service, Fields) and _is_postgres(service):
                found.append(key.text)
    return found


def _is_postgres(service: Fields) -> bool:
    image = service.get("image")
    if isinstance(image, Scalar):
        return _IMAGE.search(image.text) is not None
    # Built here: the variables of PostgreSQL's image tell.
    around = service.get("environment")
    return (
        service.get("build") is not None
        and isinstance(around, Fields)
        and (around.get("POSTGRES_PASSWORD") is not None)
    )


__all__ = ["ComposeService", "find_compose_service"]
