"""Layers merged, rules that span several settings, and the frozen values of :mod:`pgops.environments.model`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgops.environments.model import (
    SSL_MODES,
    AlembicSettings,
    BackupPolicy,
    ComposeConnection,
    Connection,
    Encryption,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Origin,
    Position,
    Project,
    S3Settings,
    ServiceConnection,
    Store,
    Timeouts,
    UrlConnection,
)
from pgops.environments.spec import COMPOSE, CONNECTIONS, ENVIRONMENT
from pgops.environments.walk import Given, Walker
from pgops.environments.words import did_you_mean, join, listed, shown

Layer = Mapping[str, Given]
_NOTHING: Layer = MappingProxyType({})
_STRONGEST = "verify-full"


def merge(below: Layer, above: Layer) -> dict[str, Given]:
    """Put one layer over another: records merge key by key, everything else replaces, null takes away."""
    merged = dict(below)
    for key, given in above.items():
        if given.value is None:
            merged.pop(key, None)
        elif isinstance(given.value, dict):
            under = merged.get(key)
            inner = under.value if under is not None and isinstance(under.value, dict) else _NOTHING
            merged[key] = Given(merge(inner, given.value), given.place, given.path, given.key_place)
        else:
            merged[key] = given
    return merged


class Builder:
    """Makes a :class:`Project` of a walked document; every broken rule becomes a problem of the walker."""

    def __init__(self, document: Layer, walker: Walker, file: Path, root: Path) -> None:
        self._walker = walker
        self._file = file
        self._root = root
        self._default = document.get("default")
        self._promotion = document.get("promotion")
        self._written: Layer = _values(document.get("environments"))
        base: Layer = {"alembic": document["alembic"]} if "alembic" in document else _NOTHING
        self._base = merge(base, _values(document.get("defaults")))
        self._stores = self._read_stores(document.get("stores"))
        self._names = self._read_names()

    def project(self) -> Project:
        """The project; only complete when the walker noted no problem."""
        promotion = self._read_promotion()
        before = dict(zip(promotion[1:], promotion[:-1], strict=True))
        environments: dict[str, Environment] = {}
        for name, given in self._written.items():
            layers = self._layers(name)
            built = None if layers is None else self._environment(name, given, layers, before.get(name))
            if built is not None:
                environments[name] = built
        default = self._read_default(environments)
        return Project(
            file=self._file,
            root=self._root,
            environments=MappingProxyType(environments),
            default=default,
            promotion=promotion,
            stores=MappingProxyType(self._stores),
        )

    # names

    def _read_names(self) -> dict[str, str]:
        """Every name and alias -> the name of its environment."""
        found: dict[str, str] = {}
        # Directories of backups carry the name, and some file systems know no case.
        owners: dict[str, str] = {name.lower(): name for name in self._written}
        for name, given in self._written.items():
            found[name] = name
            if owners[name.lower()] != name:
                self._walker.problem(
                    given.at,
                    given.path,
                    f"{shown(name)} and {shown(owners[name.lower()])} differ in case only",
                )
        for name, given in self._written.items():
            aliases = _values(given).get("aliases")
            for alias in aliases.value or () if aliases else ():
                owner = owners.setdefault(alias.value.lower(), name)
                if alias.value.lower() in {each.lower() for each in self._written}:
                    said = f"alias {shown(alias.value)} is the name of an environment"
                elif owner != name:
                    said = f"alias {shown(alias.value)} already belongs to {owner}"
                else:
                    found[alias.value] = name
                    continue
                self._walker.problem(alias.place, alias.path, said)
        return found

    def _known(self, given: Given) -> str | None:
        """The environment that a name or alias in the file means."""
        if given.value not in self._names:
            near = did_you_mean(given.value, self._names) or f"; known are {listed(self._names)}"
            self._walker.problem(
                given.place, given.path, f"there is no environment {shown(given.value)}{near}"
            )
            return None
        return self._names[given.value]

    def _read_promotion(self) -> tuple[str, ...]:
        order: list[str] = []
        for given in self._promotion.value if self._promotion else ():
            name = self._known(given)
            if name in order:
                self._walker.problem(given.place, given.path, f"{name} stands twice")
            elif name is not None:
                order.append(name)
        return tuple(order)

    def _read_default(self, environments: Mapping[str, Environment]) -> str | None:
        if self._default is None:
            return None
        name = self._known(self._default)
        if name is not None and name in environments and environments[name].protected:
            self._walker.problem(
                self._default.place,
                "default",
                f"{name} is protected; a protected environment is always named on the command line",
            )
        return name

    # layers

    def _layers(self, name: str) -> dict[str, Given] | None:
        """defaults, then each ``extends`` from the far end, then the environment's own; ``None`` on a cycle."""
        chain = [name]
        while (parent := _values(self._written[chain[-1]]).get("extends")) is not None and parent.value:
            known = self._known(parent) if len(chain) == 1 else self._names.get(parent.value)
            if known is None:
                return None
            if known in chain:
                circle = [*chain[chain.index(known) :], known]
                if len(chain) == 1 or known == name:
                    self._walker.problem(
                        parent.place, parent.path, f"goes in a circle: {' -> '.join(circle)}"
                    )
                return None
            chain.append(known)
        merged = dict(self._base)
        for each in reversed(chain[1:]):
            inherited = _values(self._written[each])
            merged = merge(merged, {key: value for key, value in inherited.items() if not _own(key)})
        return merge(merged, _values(self._written[name]))

    # one environment

    def _environment(
        self, name: str, given: Given, settings: Layer, promoted_from: str | None
    ) -> Environment | None:
        noted = len(self._walker.problems)
        aliases = tuple(each.value for each in settings["aliases"].value) if "aliases" in settings else ()
        kind = self._connection_kind(given, settings)
        protected = settings["protected"].value if "protected" in settings else kind != "compose"
        connection = self._connection(kind, given, settings, protected) if kind else None
        backups = self._backups(given, settings)
        if connection is None or backups is None or len(self._walker.problems) > noted:
            return None
        return Environment(
            name=name,
            aliases=aliases,
            protected=protected,
            connection=connection,
            timeouts=Timeouts(**_plain(settings.get("timeouts"))),
            backups=backups,
            alembic=self._alembic(settings),
            hazards=_hazards(settings),
            project=self._root,
            position=self._position(given),
            promoted_from=promoted_from,
            origins=MappingProxyType(dict(self._origins(settings))),
        )

    def _position(self, given: Given) -> Position:
        return Position(self._file, given.at.line, given.at.column)

    def _origins(self, settings: Layer, prefix: str = "") -> Mapping[str, Origin]:
        found: dict[str, Origin] = {}
        for key, given in settings.items():
            path = join(prefix, key)
            if isinstance(given.value, dict):
                found |= self._origins(given.value, path)
            else:
                found[path] = Origin(given.path, self._position(given))
        return found

    def _connection_kind(self, given: Given, settings: Layer) -> str | None:
        kinds = [kind for kind in CONNECTIONS if kind in settings]
        if len(kinds) != 1:
            ways = listed(CONNECTIONS)
            said = f"{' and '.join(kinds)} are given; exactly one of {ways} says where the server is"
            if not kinds:
                said = f"says nowhere where the server is: exactly one of {ways} is needed"
            elif inherited := [kind for kind in kinds if kind not in _values(given)]:
                said += f" (take an inherited one away with {inherited[0]}: null)"
            place = settings[kinds[1]].at if kinds and kinds[1] in _values(given) else given.at
            self._walker.problem(place, given.path, said)
            return None
        goes_along = {*CONNECTIONS[kinds[0]], kinds[0]}
        for key, own in _values(given).items():
            if (
                key not in goes_along
                and any(key in others for others in CONNECTIONS.values())
                and own.value is not None
            ):
                self._walker.problem(
                    own.at, own.path, f"does not go with {kinds[0]}; it goes with {_with(key)}"
                )
        return kinds[0]

    def _connection(self, kind: str, given: Given, settings: Layer, protected: bool) -> Connection | None:
        values = {key: each.value for key, each in settings.items() if key in {*CONNECTIONS[kind], kind}}
        if kind == "compose":
            compose = settings["compose"]
            self._walker.require(compose.place, compose.path, COMPOSE, compose.value)
            if "service" not in compose.value:
                return None
            inner = _plain(compose)
            return ComposeConnection(inner["service"], values.get("server", "auto"), inner.get("file"))
        if kind == "host":
            missing = [key for key in ("dbname", "user") if key not in values]
            for key in missing:
                self._walker.problem(given.at, join(given.path, key), "is missing: host needs it")
            values["sslmode"] = self._sslmode(
                given, settings, protected, local=self._check_host(settings["host"])
            )
            if ("sslcert" in values) != ("sslkey" in values):
                lone = settings["sslcert" if "sslcert" in values else "sslkey"]
                self._walker.problem(lone.at, lone.path, "sslcert and sslkey go together")
            return None if missing else HostConnection(**values)
        if "sslmode" in settings:
            # Where the host is unknown until it is connected to, it may be anywhere.
            self._sslmode(given, settings, protected, local=False)
        return ServiceConnection(**values) if kind == "service" else UrlConnection(**values)

    def _check_host(self, host: Given) -> bool:
        """Note what cannot be one host; whether it is this machine."""
        text: str = host.value
        said = ""
        if "://" in text:
            # Not shown: such a text carries a password.
            said = "is a URL, not a host; put it where only you read it and write url: {env: …}"
        elif "," in text:
            said = "is several hosts; those belong into pg_service.conf: service: …"
        elif re.fullmatch(r"[^:/]+:[0-9]+", text):
            said = f"{shown(text)} is a host and a port; write port: {text.rsplit(':', 1)[1]} beside it"
        elif not text.startswith(("/", "@")) and not re.fullmatch(r"[\w.:%-]+", text):
            said = f"{shown(text)} is not a host name, an address or a socket directory"
        if said:
            self._walker.problem(host.place, host.path, said)
        return is_this_machine(text)

    def _sslmode(self, given: Given, settings: Layer, protected: bool, *, local: bool) -> str:
        must_verify = protected and not local
        written = settings.get("sslmode")
        if written is None:
            return _STRONGEST if must_verify else "prefer"
        mode: str = written.value
        if must_verify and SSL_MODES.index(mode) < SSL_MODES.index(_STRONGEST):
            why = (
                "is protected" if "protected" in settings else "is protected, as everything that is not local"
            )
            own = "sslmode" in _values(given)
            self._walker.problem(
                written.place if own else given.at,
                join(given.path, "sslmode"),
                f"{shown(mode)} does not prove who answers, and {_last(given.path)} {why};"
                f" write {_STRONGEST} (or protected: false)",
            )
        return mode

    # settings

    def _backups(self, given: Given, settings: Layer) -> BackupPolicy | None:
        backups = _values(settings.get("backups"))
        named = backups.get("store")
        if named is None:
            if len(self._stores) != 1:
                self._walker.problem(
                    given.at,
                    join(given.path, "backups.store"),
                    f"is missing: which of {listed(self._stores)}?",
                )
                return None
            store = next(iter(self._stores.values()))
        elif named.value in self._stores:
            store = self._stores[named.value]
        else:
            near = did_you_mean(named.value, self._stores) or f"; known are {listed(self._stores)}"
            self._walker.problem(named.place, named.path, f"there is no store {shown(named.value)}{near}")
            return None
        required = backups.get("required_before")
        return BackupPolicy(
            store=store,
            keep=Keep(**_plain(backups.get("keep"))),
            required_before=frozenset(each.value for each in required.value) if required else frozenset(),
            jobs=backups["jobs"].value if "jobs" in backups else 0,
        )

    def _alembic(self, settings: Layer) -> AlembicSettings:
        given = _values(settings.get("alembic"))
        return AlembicSettings(
            config=given["config"].value if "config" in given else self._root / "alembic.ini",
            name=given["name"].value if "name" in given else None,
            x=MappingProxyType(_plain(given.get("x"))),
            environ=MappingProxyType(_plain(given.get("environ"))),
        )

    def _read_stores(self, given: Given | None) -> dict[str, Store]:
        if given is None:
            return {"local": Store("local", f"file:{self._file.parent / 'backups'}")}
        found: dict[str, Store] = {}
        for name, each in given.value.items():
            if "url" in each.value:
                found[name] = self._store(name, each)
        if not found:
            self._walker.problem(given.place, given.path, "is empty")
        return found

    def _store(self, name: str, given: Given) -> Store:
        values: Layer = given.value
        url: str = values["url"].value
        encrypt = _values(values.get("encrypt"))
        encryption = None
        if "recipients" in encrypt:
            recipients = tuple(each.value for each in encrypt["recipients"].value)
            encryption = Encryption(recipients, encrypt["identity"].value if "identity" in encrypt else None)
        s3 = {
            key: values[key].value
            for key in ("endpoint", "region", "access_key", "secret_key")
            if key in values
        }
        if url.startswith("file:"):
            for key in s3:
                self._walker.problem(values[key].at, values[key].path, "goes with an s3:// url only")
            path = Path(url.removeprefix("file:").removeprefix("//"))
            return Store(name, f"file:{self._file.parent / path}", None, encryption)
        if ("access_key" in s3) != ("secret_key" in s3):
            lone = values["access_key" if "access_key" in s3 else "secret_key"]
            self._walker.problem(lone.at, lone.path, "access_key and secret_key go together")
        return Store(name, url, S3Settings(**s3), encryption)


def is_this_machine(host: str) -> bool:
    """Whether a host is a socket (``/`` or ``@`` first) or a loopback address or name."""
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _values(given: Given | None) -> Layer:
    """A record's entries; none where it was not given, unset or wrong."""
    return given.value if given is not None and isinstance(given.value, dict) else _NOTHING


def _plain(given: Given | None) -> dict[str, Any]:
    return {key: each.value for key, each in _values(given).items()}


def _hazards(settings: Layer) -> HazardSettings:
    values = _plain(settings.get("hazards"))
    if "exclude" in values:
        values["exclude"] = frozenset(each.value for each in values["exclude"])
    return HazardSettings(**values)


def _own(key: str) -> bool:
    field = ENVIRONMENT.get(key)
    return field is not None and field.own


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _with(key: str) -> str:
    return " or ".join(kind for kind, others in CONNECTIONS.items() if key in others)
