"""Layers merged, rules that span several settings, and the frozen values of :mod:`pgops.environments.model`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from pgops.environments.connections import read_connection
from pgops.environments.layers import NOTHING, Layer, Layers, merge, plain, values
from pgops.environments.model import (
    AlembicSettings,
    ApprovalPolicy,
    BackupPolicy,
    Environment,
    HazardSettings,
    HostConnection,
    Keep,
    Monitoring,
    Origin,
    Position,
    Project,
    RehearsalPolicy,
    Timeouts,
)
from pgops.environments.pgbackrest import read_pgbackrest
from pgops.environments.places import Place, one_database, place_of
from pgops.environments.spec import ENVIRONMENT
from pgops.environments.stores import read_stores
from pgops.environments.walk import Given, Walker
from pgops.environments.words import did_you_mean, join, listed, shown


class Builder:
    """Makes a :class:`Project` of a walked document; every broken rule becomes a problem of the walker."""

    def __init__(self, document: Layer, walker: Walker, file: Path, root: Path) -> None:
        self._walker = walker
        self._file = file
        self._root = root
        self._default = document.get("default")
        self._promotion = document.get("promotion")
        self._written: Layer = values(document.get("environments"))
        base: Layer = {"alembic": document["alembic"]} if "alembic" in document else NOTHING
        self._base = merge(base, values(document.get("defaults")))
        self._stores = read_stores(document.get("stores"), walker, file.parent)
        self._written_stores: Layer = values(document.get("stores"))
        self._names = self._read_names()

    def project(self) -> Project:
        """The project; only complete when the walker noted no problem."""
        promotion = self._read_promotion()
        before = dict(zip(promotion[1:], promotion[:-1], strict=True))
        environments: dict[str, Environment] = {}
        protected: set[str] = set()
        for name in self._written:
            layers = self._layers(name)
            if layers is None:
                continue
            if layers.protected and not layers.is_broken("protected", self._walker):
                protected.add(name)
            built = self._environment(name, layers, before.get(name))
            if built is not None:
                environments[name] = built
        self._refuse_two_names(environments)
        default = self._read_default(protected)
        return Project(
            file=self._file,
            root=self._root,
            environments=MappingProxyType(environments),
            default=default,
            promotion=promotion,
            stores=MappingProxyType(self._stores),
        )

    def _refuse_two_names(self, environments: Mapping[str, Environment]) -> None:
        """A database that is protected under one name and not under another is not protected."""
        protected = {
            _place(each.connection): name
            for name, each in environments.items()
            if each.protected and isinstance(each.connection, HostConnection)
        }
        for name, each in environments.items():
            if each.protected or not isinstance(each.connection, HostConnection):
                continue
            there = _place(each.connection)
            if there in protected:
                given = self._written[name]
                self._walker.problem(given.at, given.path, one_database(protected[there], name))

    # names

    def _read_names(self) -> dict[str, str]:
        """Every name and alias -> the name of its environment."""
        found: dict[str, str] = {}
        # Directories of backups carry the name, and some file systems know no case.
        owners: dict[str, str] = {}
        for name, given in self._written.items():
            found[name] = name
            first = owners.setdefault(name.lower(), name)
            if first != name:
                said = f"{shown(first)} and {shown(name)} differ in case only"
                self._walker.problem(given.at, given.path, said)
        names = frozenset(owners)
        for name, given in self._written.items():
            aliases = values(given).get("aliases")
            for alias in (aliases.value or ()) if aliases else ():
                owner = owners.setdefault(alias.value.lower(), name)
                if alias.value.lower() in names:
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
            if f"environments.{given.value}" in self._walker.broken:
                return None
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

    def _read_default(self, protected: Collection[str]) -> str | None:
        if self._default is None:
            return None
        name = self._known(self._default)
        if name in protected:
            self._walker.problem(
                self._default.place,
                "default",
                f"{name} is protected; a protected environment is always named on the command line",
            )
        return name

    # layers

    def _layers(self, name: str) -> Layers | None:
        """Defaults, then each ``extends`` from the far end, then its own; ``None`` where a link is wrong."""
        chain = [name]
        while (parent := values(self._written[chain[-1]]).get("extends")) is not None and parent.value:
            known = self._known(parent) if len(chain) == 1 else self._names.get(parent.value)
            if known is None:
                return None
            if known in chain:
                # A circle further up is reported by those who are part of it.
                if known == name:
                    circle = " -> ".join([*chain, known])
                    self._walker.problem(parent.place, parent.path, f"goes in a circle: {circle}")
                return None
            chain.append(known)
        merged = dict(self._base)
        for each in reversed(chain[1:]):
            inherited = values(self._written[each])
            merged = merge(merged, {key: value for key, value in inherited.items() if not _own(key)})
        own = self._written[name]
        written_in = ("defaults", *(self._written[each].path for each in chain))
        return Layers(own, values(own), merge(merged, values(own)), written_in)

    # one environment

    def _environment(self, name: str, layers: Layers, promoted_from: str | None) -> Environment | None:
        noted = len(self._walker.problems)
        settings = layers.merged
        connection = read_connection(layers, self._walker)
        backups = self._backups(layers)
        if connection is None or backups is None or len(self._walker.problems) > noted:
            return None
        return Environment(
            name=name,
            aliases=tuple(each.value for each in settings["aliases"].value) if "aliases" in settings else (),
            protected=layers.protected,
            connection=connection,
            timeouts=Timeouts(**plain(settings.get("timeouts"))),
            backups=backups,
            alembic=self._alembic(settings),
            hazards=_hazards(settings),
            rehearsal=_rehearsal(settings),
            monitoring=_monitoring(settings),
            reversible_before=frozenset(
                each.value for each in plain(settings.get("reversible")).get("required_before", ())
            ),
            approval=_approval(settings),
            project=self._root,
            position=self._position(layers.given),
            promoted_from=promoted_from,
            trusted_owners=tuple(each.value for each in settings["trusted_owners"].value)
            if "trusted_owners" in settings
            else (),
            origins=MappingProxyType(self._origins(settings)),
        )

    def _position(self, given: Given) -> Position:
        return Position(self._file, given.at.line, given.at.column)

    def _origins(self, settings: Layer, prefix: str = "") -> dict[str, Origin]:
        found: dict[str, Origin] = {}
        for key, given in settings.items():
            path = join(prefix, key)
            if isinstance(given.value, dict):
                found |= self._origins(given.value, path)
            else:
                found[path] = Origin(given.path, self._position(given))
        return found

    # settings

    def _backups(self, layers: Layers) -> BackupPolicy | None:
        backups = values(layers.merged.get("backups"))
        named = backups.get("store")
        if named is None:
            if len(self._stores) != 1:
                if self._stores and not layers.is_broken("backups.store", self._walker):
                    where = f"{layers.given.path}.backups.store"
                    which = f"is missing: which of {listed(self._stores)}?"
                    self._walker.problem(layers.given.at, where, which)
                return None
            store = next(iter(self._stores.values()))
        elif named.value in self._stores:
            store = self._stores[named.value]
        else:
            written = [*(self._written_stores or self._stores)]
            if named.value not in written and f"stores.{named.value}" not in self._walker.broken:
                near = did_you_mean(named.value, written) or f"; known are {listed(written)}"
                self._walker.problem(named.place, named.path, f"there is no store {shown(named.value)}{near}")
            return None
        required = backups.get("required_before")
        return BackupPolicy(
            store=store,
            keep=Keep(**plain(backups.get("keep"))),
            required_before=frozenset(each.value for each in required.value) if required else frozenset(),
            jobs=backups["jobs"].value if "jobs" in backups else 0,
            max_age=backups["max_age"].value if "max_age" in backups else None,
            prove_every=backups["prove_every"].value if "prove_every" in backups else None,
            pgbackrest=read_pgbackrest(layers, self._walker),
        )

    def _alembic(self, settings: Layer) -> AlembicSettings:
        given = values(settings.get("alembic"))
        found = self._history(given)
        base = {key: each for key, each in given.items() if key != "histories"}
        written = values(given.get("histories"))
        histories = {
            name: replace(self._history(merge(base, values(each))), history=name)
            for name, each in written.items()
        }
        self._refuse_one_history_twice(histories, written)
        return replace(found, histories=MappingProxyType(histories))

    def _refuse_one_history_twice(
        self, histories: Mapping[str, AlembicSettings], written: Mapping[str, Given]
    ) -> None:
        seen: list[tuple[str, AlembicSettings]] = []
        for name, each in histories.items():
            same = next((other for other, known in seen if known == replace(each, history=other)), None)
            if same is not None:
                given = written[name]
                self._walker.problem(given.at, given.path, f"is the same history as {same}")
            seen.append((name, each))

    def _history(self, given: Layer) -> AlembicSettings:
        # Flask-Migrate's own directory, where it is not told another.
        usual = self._root / "migrations" / "alembic.ini" if "app" in given else self._root / "alembic.ini"
        return AlembicSettings(
            config=given["config"].value if "config" in given else usual,
            name=given["name"].value if "name" in given else None,
            app=given["app"].value if "app" in given else None,
            runner=given["runner"].value if "runner" in given else None,
            x=MappingProxyType(plain(given.get("x"))),
            environ=MappingProxyType(plain(given.get("environ"))),
        )


def _place(connection: HostConnection) -> Place:
    return place_of(connection.host, connection.port, connection.dbname, connection.tunnel)


def _hazards(settings: Layer) -> HazardSettings:
    found = plain(settings.get("hazards"))
    if "trace" in found:
        found["trace"] = str(getattr(found["trace"], "value", found["trace"]))
    if "exclude" in found:
        found["exclude"] = frozenset(each.value for each in found["exclude"])
    return HazardSettings(**found)


def _rehearsal(settings: Layer) -> RehearsalPolicy:
    found = plain(settings.get("rehearsal"))
    if "required_before" in found:
        found["required_before"] = frozenset(each.value for each in found["required_before"])
    return RehearsalPolicy(**found)


def _approval(settings: Layer) -> ApprovalPolicy | None:
    found = values(values(settings.get("approvals")).get("migrate"))
    return ApprovalPolicy(**{key: each.value for key, each in found.items()}) if found else None


def _monitoring(settings: Layer) -> Monitoring:
    given = values(settings.get("monitoring"))
    found = plain(settings.get("monitoring"))
    found["notify"] = MappingProxyType(plain(given.get("notify")))
    return Monitoring(**found)


def _own(key: str) -> bool:
    field = ENVIRONMENT.get(key)
    return field is not None and field.own
