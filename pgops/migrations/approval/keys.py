"""Which key a person signs with: the one that was named, or the one in ssh-agent or ~/.ssh that an allowed signer has."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pgops.errors import ConfigurationError, UsageError
from pgops.migrations.approval.openssh import agent_keys
from pgops.migrations.approval.policy import Policy
from pgops.migrations.approval.signers import Signer, parse_signers


@contextlib.contextmanager
def choose_key(policies: Sequence[Policy], named: str | None) -> Iterator[tuple[Signer, Path]]:
    """Whose key signs, and the file for ssh-keygen, which is there for the block.

    :param named: the key that the person named, its private or its public half.
    :raises UsageError: it is no allowed signer's, or none or several could be meant.
    """
    if named is not None:
        file = Path(named).expanduser()
        public = file if file.suffix == ".pub" else file.with_name(f"{file.name}.pub")
        try:
            line = public.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--key={named}: its public half can't be read: {public}", untouched="nothing was signed"
            ) from error
        signer = _signer(line, policies)
        if signer is None:
            raise _nobody(policies, f"--key={named} is no allowed signer's")
        yield signer, file
        return
    found: dict[str, tuple[Signer, str | Path]] = {}
    for public in sorted((Path.home() / ".ssh").glob("*.pub")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            signer = _signer(public.read_text(encoding="utf-8"), policies)
            private = public.with_suffix("")
            if signer is not None:
                found[signer.fingerprint] = (signer, private if private.exists() else public)
    for line in agent_keys():
        signer = _signer(line, policies)
        if signer is not None:
            found.setdefault(signer.fingerprint, (signer, line))
    if len(found) != 1:
        raise _nobody(policies, _which(value[0] for value in found.values()))
    ((signer, where),) = found.values()
    if isinstance(where, Path):
        yield signer, where
        return
    with tempfile.TemporaryDirectory(prefix="pgops-key-") as directory:
        file = Path(directory) / "key.pub"
        file.write_text(f"{where}\n", encoding="utf-8")
        yield signer, file


def _which(signers: Iterable[Signer]) -> str:
    said = ", ".join(f"{each.name} ({each.fingerprint})" for each in signers)
    return f"several of your keys may sign: {said}" if said else "no key in ssh-agent or ~/.ssh may sign"


def _nobody(policies: Sequence[Policy], why: str) -> UsageError:
    names = dict.fromkeys(name for each in policies for name in each.signers.names)
    return UsageError(
        why,
        untouched="nothing was signed",
        hint=f"--key=~/.ssh/…, a key of {', '.join(names)}",
    )


def _signer(public: str, policies: Sequence[Policy]) -> Signer | None:
    """Who has this public key (``type base64 comment``), by the newest policy first."""
    words = public.split()
    if len(words) < 2:
        return None
    try:
        (key,) = parse_signers(f"somebody {words[0]} {words[1]}", "key").signers
    except ConfigurationError:
        return None
    found = [each.signers.by_fingerprint(key.fingerprint) for each in reversed(policies)]
    return next((each for each in found if each is not None), None)
