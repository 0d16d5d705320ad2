"""ssh-keygen and ssh-add as they are installed: the only ones who see a private key or judge a signature."""

from __future__ import annotations

import base64
import datetime as dt
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pgops.errors import PgopsError, RefusedError
from pgops.migrations.approval.signers import Signer, Signers
from pgops.runtime import variables

NAMESPACE = "pgops"
"""What the signatures are for: one that was made for a commit or a mail is none for a plan."""
LIMIT = 1 << 20
_BLOCK = re.compile(r"-----BEGIN SSH SIGNATURE-----\n.*?\n-----END SSH SIGNATURE-----\n?", re.DOTALL)
# ours, with the one line that was looked at
_OWN_FILE = re.compile(r"\S*/allowed:\d+: ")
_KEY = re.compile(r" key (SHA256:\S+)\s*$")
_SECONDS = 30.0
_TOUCHED = 0x01


class SignatureError(RefusedError):
    """What is no signature of this plan, or not one by an allowed signer whose key is valid now."""

    code = "signature"


def signatures_in(text: str) -> list[str]:
    """The signatures in a file: one after another, as ``cat`` makes of several."""
    return _BLOCK.findall(text.replace("\r\n", "\n"))


def _run(
    command: Sequence[str], stdin: bytes, *, wait: float | None = _SECONDS
) -> subprocess.CompletedProcess[bytes]:
    # Times in allowed_signers are local to who reads them; here to nobody.
    environ = {**variables.inherited(), "TZ": "UTC", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, input=stdin, env=environ, capture_output=True, timeout=wait, check=False
        )
    except FileNotFoundError as error:
        raise PgopsError(
            f"{command[0]} is not installed here, and it judges signatures",
            untouched="nothing was touched",
            hint="install OpenSSH's client, 8.2 or newer",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise PgopsError(
            f"{command[0]} did not end within {wait:.0f} s", untouched="nothing was touched"
        ) from error


def signer_of(signature: str, document: bytes, signers: Signers, now: dt.datetime) -> Signer:
    """Whose signature it is.

    :param document: what was signed, byte for byte.
    :param now: the time at which the key has to be valid.
    :raises SignatureError: it is forged, of something else, by somebody who is not among ``signers``, or by a key
        whose time is over.
    """
    with tempfile.TemporaryDirectory(prefix="pgops-signature-") as name:
        directory = Path(name)
        file = directory / "sig"
        file.write_text(signature, encoding="utf-8")
        looked = _run(["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file)], document)
        key = _KEY.search(looked.stdout.decode(errors="replace"))
        if looked.returncode != 0 or key is None:
            raise SignatureError(f"a signature does not hold: {_complaint(looked)}")
        known = signers.by_fingerprint(key[1])
        if known is None:
            raise SignatureError(f"a signature is by the key {key[1]}, which is no allowed signer's")
        allowed = directory / "allowed"
        allowed.write_text(f"{known.line}\n", encoding="utf-8")
        verified = _run(
            [
                *("ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-s", str(file), "-f", str(allowed)),
                *("-I", known.name, f"-Overify-time={now.astimezone(dt.UTC):%Y%m%d%H%M%S}"),
            ],
            document,
        )
        if verified.returncode != 0:
            raise SignatureError(
                f"the key of {known.name} ({known.fingerprint}) does not count now: {_complaint(verified)}"
            )
        # ssh-keygen takes a security key's word for anything; that somebody was there is for us to look at.
        if not _touched(signature):
            raise SignatureError(
                f"{known.name}'s security key ({known.fingerprint}) signed without a touch, so a program may have done it",
                hint="sign with a key that wants a touch: ssh-keygen -t ed25519-sk, without no-touch-required",
            )
        return known


def _touched(signature: str) -> bool:
    """Whether somebody touched the security key that signed; true of other keys, which know no touch.

    :param signature: one that ssh-keygen has found to hold.
    """
    # https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig and PROTOCOL.u2f
    rest = base64.b64decode("".join(signature.split("-----")[2].split()))[len("SSHSIG") + 4 :]
    for _ in ("public key", "namespace", "reserved", "hash"):
        _, rest = _text(rest)
    made, _ = _text(rest)
    kind, made = _text(made)
    if b"sk-" not in kind:
        return True
    _, made = _text(made)
    return bool(made[0] & _TOUCHED)


def _text(data: bytes) -> tuple[bytes, bytes]:
    """The first string of OpenSSH's wire format, and what follows it."""
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length], data[4 + length :]


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    said = " ".join(_OWN_FILE.sub("", done.stderr.decode(errors="replace")).split())
    if "incorrect signature" in said:
        return "it is forged, or of another plan"
    return said or f"ssh-keygen ended with {done.returncode}"


def sign(document: bytes, key: Path) -> str:
    """A signature over ``document`` by a person's key; ssh-keygen itself asks for a passphrase or a touch.

    :param key: a private key, or the public half of one that the agent holds.
    :raises PgopsError: ssh-keygen made none.
    """
    done = _run(["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)], document, wait=None)
    made = signatures_in(done.stdout.decode(errors="replace"))
    if done.returncode != 0 or len(made) != 1:
        raise PgopsError(
            f"ssh-keygen made no signature with {key}: {_complaint(done)}",
            untouched="nothing was signed",
            hint=f"ssh-add {key.with_suffix('') if key.suffix == '.pub' else key}, or name another key: --key=…",
        )
    return made[0]


def agent_keys() -> list[str]:
    """The public keys that the person's agent holds, a line each; none where there is no agent."""
    try:
        done = _run(["ssh-add", "-L"], b"")
    except PgopsError:
        return []
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
