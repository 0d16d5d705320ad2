"""An environment's settings in the words of the file, each with where it was given. No secret is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pgops.environments.kinds import BYTES
from pgops.environments.model import AlembicSettings, Environment, Origin, Tunnel
from pgops.secrets.references import (
    CommandSecret,
    EnvSecret,
    FileSecret,
    KeyringSecret,
    LiteralSecret,
    PassfileSecret,
)
from pgops.units import SECONDS

BUILT_IN = "built in"
_SECRETS = (EnvSecret, FileSecret, CommandSecret, KeyringSecret, PassfileSecret, LiteralSecret)

_WHOLE = 1e-9


@dataclass(frozen=True, slots=True)
class Setting:
    """``name`` is dotted as in the file; ``origin`` is ``None`` for what is built in or follows from the rest."""

    name: str
    value: str
    origin: Origin | None

    @property
    def source(self) -> str:
        """Where it was given, for people: ``defaults.timeouts.lock (line 8)``."""
        return f"{self.origin.path} (line {self.origin.position.line})" if self.origin else BUILT_IN

    @property
    def source_in_brief(self) -> str:
        """Its line alone."""
        return f"line {self.origin.position.line}" if self.origin else BUILT_IN


def settings(environment: Environment) -> list[Setting]:
    """Every setting that holds for an environment, secrets as the reference that leads to them."""
    origins = environment.origins
    return [
        Setting(name, value, origins.get(name))
        for name, value in _pairs(environment)
        if value or name in origins
    ]


def _pairs(environment: Environment) -> Iterator[tuple[str, str]]:
    yield "aliases", _shown(environment.aliases)
    yield "protected", _shown(environment.protected)
    for each in fields(environment.connection):
        value = getattr(environment.connection, each.name)
        yield (
            _CONNECTION_NAMES.get((type(environment.connection).__name__, each.name), each.name),
            _shown(value),
        )
    yield "trusted_owners", _shown(environment.trusted_owners)
    for each in fields(environment.timeouts):
        yield f"timeouts.{each.name}", _shown(getattr(environment.timeouts, each.name))
    backups = environment.backups
    yield "backups.store", f"{backups.store.name}: {backups.store.url}"
    for each in fields(backups.keep):
        value = getattr(backups.keep, each.name)
        yield f"backups.keep.{each.name}", _shown(value)
    if backups.pgbackrest is not None:
        yield "backups.engine", "pgbackrest"
        yield "backups.stanza", backups.pgbackrest.stanza
        for each in fields(backups.pgbackrest)[1:]:
            yield f"backups.reach.{each.name}", _shown(getattr(backups.pgbackrest, each.name))
    yield "backups.required_before", _shown(backups.required_before)
    yield "backups.jobs", _shown(backups.jobs)
    yield "backups.max_age", _shown(backups.max_age)
    yield "backups.prove_every", _shown(backups.prove_every)
    common = dict(_alembic(environment.alembic))
    yield from common.items()
    for history, found in environment.alembic.histories.items():
        for name, value in _alembic(found):
            if common.get(name) != value:
                yield f"alembic.histories.{history}{name.removeprefix('alembic')}", value
    yield "hazards.large_rows", _shown(environment.hazards.large_rows)
    yield "hazards.large_bytes", _quantity(environment.hazards.large_bytes, BYTES)
    yield "hazards.trace", environment.hazards.trace
    yield "hazards.exclude", _shown(environment.hazards.exclude)
    yield "rehearsal.required_before", _shown(environment.rehearsal.required_before)
    yield "rehearsal.max_age", _shown(environment.rehearsal.max_age)
    yield "reversible.required_before", _shown(environment.reversible_before)
    if environment.approval is not None:
        yield "approvals.migrate.keys", _shown(environment.approval.keys)
        yield "approvals.migrate.count", _shown(environment.approval.count)
        yield "approvals.migrate.max_age", f"{environment.approval.max_age:g}s"
    monitoring = environment.monitoring
    yield "monitoring.metrics", _shown(monitoring.metrics)
    for name, reference in monitoring.notify.items():
        yield f"monitoring.notify.{name}", _shown(reference)
    yield "monitoring.repeat", _shown(monitoring.repeat)
    yield "monitoring.ping", _shown(monitoring.ping)


def _alembic(given: AlembicSettings) -> Iterator[tuple[str, str]]:
    yield "alembic.config", _shown(given.config)
    yield "alembic.name", _shown(given.name)
    yield "alembic.app", _shown(given.app)
    yield "alembic.runner", _shown(given.runner)
    for key, value in given.x.items():
        yield f"alembic.x.{key}", value
    for key, value in given.environ.items():
        yield f"alembic.environ.{key}", value


# Where the model's name for a field is not the file's.
_CONNECTION_NAMES = {
    ("ComposeConnection", "service"): "compose.service",
    ("ComposeConnection", "file"): "compose.file",
}


def _quantity(value: float, units: Mapping[str, float]) -> str:
    """As one would type it, in the largest unit of which it is a whole number: 900.0 of SECONDS is ``15min``."""
    for unit, size in sorted(units.items(), key=lambda each: -each[1]):
        times = value / size
        if round(times) >= 1 and abs(times - round(times)) < _WHOLE:
            return f"{round(times)}{unit}"
    return f"{value:g}{next(unit for unit, size in units.items() if size == 1)}"


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            # Durations, in seconds: no other setting is a float.
            return _quantity(value, SECONDS)
        case tuple() | frozenset():
            return ", ".join(sorted(value) if isinstance(value, frozenset) else value)
        case Path() | int() | str() | Tunnel():
            return str(value)
    if isinstance(value, _SECRETS):
        return value.describe()
    raise TypeError(f"{type(value).__name__} has no form for people")
