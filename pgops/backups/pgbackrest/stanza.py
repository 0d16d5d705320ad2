"""pgBackRest's commands on one stanza, where it runs: each is called, its exit code seen, its words passed on."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pgops.backups.pgbackrest.backup import (
    MOST_RESTORES,
    PROOF,
    RESTORES,
    BackupType,
    PhysicalBackup,
    PhysicalProof,
    StanzaInfo,
    physical_history,
    read_info,
    restores_text,
)
from pgops.backups.pgbackrest.errors import PgBackRestError, failure, warnings_of
from pgops.backups.pgbackrest.wal import Branch, WalArchive, read_archive, read_history
from pgops.backups.verify.history import RestoreTime
from pgops.environments import PgBackRest
from pgops.errors import ConfigurationError, UsageError
from pgops.pgtools import Finished, Runner, run

_UNTOUCHED = "nothing was touched"
_STATUS = re.compile(r"^status: (\w+)", re.MULTILINE)
_SET = re.compile(r"^ *backup: ([^,]+), status: ([^,]+)(?:, (.*))?$")
_WAL = re.compile(r"^ *archiveId: ([^,]+)(?:, (.*))?$")
_COUNTS = re.compile(r"(missing|checksum invalid|size invalid|other): ([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Stanza:
    """One cluster in pgBackRest's words.

    :param settings: of environments.yaml.
    :param runner: what starts programs where pgBackRest runs.
    :param place: where that is, in words.
    """

    settings: PgBackRest
    runner: Runner
    place: str

    @property
    def name(self) -> str:
        """pgBackRest's name of the cluster."""
        return self.settings.stanza

    @property
    def url(self) -> str:
        """Where the backups are, for people."""
        return f"pgbackrest stanza {self.name} on {self.place}"

    def call(
        self,
        command: str,
        *arguments: str,
        untouched: str = _UNTOUCHED,
        hint: str = "",
        on_poll: Callable[[], None] = lambda: None,
    ) -> Finished:
        """Run one command of pgBackRest to its end.

        :raises PgopsError: it failed; see :func:`pgops.backups.pgbackrest.errors.failure`.
        """
        finished = run(self.runner, self.command(command, *arguments), on_poll=on_poll)
        if finished.exit_code != 0:
            raise failure(finished, stanza=self.name, place=self.place, untouched=untouched, hint=hint)
        return finished

    def command(self, command: str, *arguments: str) -> list[str]:
        """The whole command line."""
        config = [] if self.settings.config is None else [f"--config={self.settings.config}"]
        quiet = ["--log-level-console=off", "--log-level-stderr=warn"]
        return ["pgbackrest", *config, f"--stanza={self.name}", *quiet, command, *arguments]

    def info(self) -> StanzaInfo:
        """What is there now, every repository included.

        :raises ConfigurationError: pgBackRest knows no such stanza.
        :raises PgBackRestError: a repository can't be read: wrong passphrase, damage, no access.
        """
        said = self.call("info", "--output=json")
        found = read_info(said.stdout, stanza=self.name, place=self.place)
        if found.problems:
            crypto = any("CryptoError" in each or "FormatError" in each for each in found.problems)
            raise PgBackRestError(
                f"{self.url} can't be read: {'; '.join(found.problems)}",
                untouched=_UNTOUCHED,
                hint="is repo-cipher-pass the one that the repository was made with?"
                if crypto
                else f"pgbackrest --stanza={self.name} info, there",
            )
        if found.missing and not found.backups:
            raise ConfigurationError(
                f"{self.url}: {found.missing}",
                untouched=_UNTOUCHED,
                hint=f"pgbackrest --stanza={self.name} stanza-create, there; or another `stanza` in environments.yaml",
            )
        return found

    def find(self, name: str, backups: Sequence[PhysicalBackup]) -> PhysicalBackup:
        """The backup called ``latest``, by its label, or by the beginning or end of one.

        :raises UsageError: there is none, or more than one.
        """
        if name == "latest" and backups:
            return backups[-1]
        exact = [each for each in backups if each.id == name]
        found = exact or [each for each in backups if each.id.startswith(name) or each.id.endswith(name)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(each.id for each in (found or backups)[-3:])
        told = f"{len(found)} backups are called {name}" if found else f"there is no backup {name}"
        raise UsageError(
            f"{self.url}: {told}" if backups else f"{self.url} holds no backup",
            untouched=_UNTOUCHED,
            hint=f"{'which of' if found else 'there are'} {known}?" if backups else "take one: invoke backup",
        )

    def back_up(
        self,
        kind: BackupType | None,
        annotations: Mapping[str, str],
        on_poll: Callable[[], None] = lambda: None,
    ) -> tuple[PhysicalBackup, tuple[str, ...]]:
        """Take a backup, and see that it is listed.

        :param kind: ``None`` for pgBackRest's own choice (incremental where there is a full one).
        :returns: the backup, and what pgBackRest warned of.
        :raises PgBackRestError: it failed, or is not listed afterwards, or holds pages with wrong checksums.
        """
        before = {(each.repository, each.id) for each in self.info().backups}
        said = self.call(
            "backup",
            *([f"--type={kind}"] if kind else []),
            *(f"--annotation={key}={value}" for key, value in annotations.items()),
            untouched="the database was only read; no backup was added",
            hint=f"invoke backup.list shows what is there; pgbackrest --stanza={self.name} check, there",
            on_poll=on_poll,
        )
        added = [each for each in self.info().backups if (each.repository, each.id) not in before]
        warned = warnings_of(said)
        if not added:
            raise PgBackRestError(
                f"pgbackrest backup ({self.name}, {self.place}) ended well, and lists no new backup",
                untouched="the database was only read",
                hint=f"pgbackrest --stanza={self.name} info, there",
            )
        made = added[-1]
        if made.page_errors:
            raise PgBackRestError(
                f"backup {made.id} was taken, and pages of the cluster have wrong checksums: "
                + (
                    "; ".join(each for each in warned if "checksum" in each)
                    or "which ones is in pgBackRest's log"
                ),
                untouched="the database was only read; the backup is listed as TAKEN WITH BROKEN PAGES",
                hint="the cluster itself is damaged: look at its disk, and at the backup before this one",
            )
        return made, warned

    def verify(self, backup: PhysicalBackup, on_poll: Callable[[], None] = lambda: None) -> PhysicalProof:
        """Read a backup, all that it rests on, and its WAL; note the result down beside it.

        :raises PgBackRestError: pgBackRest could not look.
        """
        began = time.monotonic()
        said = self.call(
            "verify",
            f"--set={backup.id}",
            f"--repo={backup.repository}",
            "--output=text",
            "--verbose",
            on_poll=on_poll,
        )
        # It ends with 0 whatever it found, and does not miss WAL that a backup can't be restored without.
        problems = verify_problems(said.stdout, backup.id) + tuple(
            f"backup {backup.id}: its WAL {each} is not in the archive"
            for each in self.archive(backup).missing(backup)
        )
        proof = PhysicalProof("read", dt.datetime.now(dt.UTC), time.monotonic() - began, problems)
        self.note(backup, proof)
        return proof

    def archive(self, backup: PhysicalBackup) -> WalArchive:
        """The WAL in the repository and for the cluster version of a backup."""
        said = self.call(
            "repo-ls",
            f"archive/{self.name}/{backup.archive}",
            f"--repo={backup.repository}",
            "--recurse",
            "--output=json",
        )
        return read_archive(said.stdout, [backup])

    def branches(self, backup: PhysicalBackup, timeline: int) -> list[Branch]:
        """How a timeline of a backup's archive came from the first one."""
        if timeline == 1:
            return []
        file = f"archive/{self.name}/{backup.archive}/{timeline:08X}.history"
        return read_history(self.call("repo-get", file, f"--repo={backup.repository}").stdout, timeline)

    def note_restore(self, backup: PhysicalBackup, proof: PhysicalProof) -> list[RestoreTime]:
        """Write a proof by restoring down, and all restores that are known of: they outlive their backups so.

        :returns: these, oldest first.
        """
        mine = RestoreTime(proof.at, backup.id, round(proof.seconds, 3), backup.bytes, proof.ok)
        # Asked again: a proof takes long, and another may have been noted down meanwhile.
        known = sorted({*physical_history(self.info().backups), mine})
        self.note(backup, proof, f"--annotation={RESTORES}={restores_text(known[-MOST_RESTORES:])}")
        return known

    def note(self, backup: PhysicalBackup, proof: PhysicalProof, *more: str) -> None:
        """Write a verification into the backup's annotations.

        :param more: further arguments.
        """
        self.call(
            "annotate",
            f"--set={backup.id}",
            f"--repo={backup.repository}",
            f"--annotation={PROOF}={proof.to_text()}",
            *more,
            untouched="the backup was looked at, and what was found is not noted down",
        )


def verify_problems(text: str, label: str) -> tuple[str, ...]:
    """What ``pgbackrest verify --output=text --verbose`` found wrong; what it does not say is a problem too."""
    problems: list[str] = []
    seen = False
    subject = ""
    for line in text.splitlines():
        if (found := _SET.match(line)) is not None:
            subject = f"backup {found[1]}"
            seen = seen or found[1] == label
            if found[2] != "valid":
                problems.append(f"{subject}: {found[2]}")
        elif (found := _WAL.match(line)) is not None:
            subject = f"WAL {found[1]}"
        elif counts := _COUNTS.findall(line):
            problems.append(f"{subject}: " + ", ".join(f"{count} {what}" for what, count in counts))
    status = _STATUS.search(text)
    if not seen:
        problems.append(f"pgbackrest verify says nothing of backup {label}")
    if status is None or status[1] != "ok":
        problems = problems or [f"pgbackrest verify says: {' '.join(text.split()) or 'nothing'}"]
    return tuple(problems)
