"""TLS that does not come about: what is wrong with which certificate, and what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pgops.errors import UNTOUCHED, UnreachableError
from pgops.postgres.target import Target

_SYSTEM = "system"


def refuse_missing_files(target: Target) -> None:
    """Refuse certificates and a key that are named and not there.

    libpq passes over them: without its ``sslrootcert`` nothing is proven by ``require``, and without ``sslcert`` no
    certificate is shown.

    :raises UnreachableError: a file is not there, or can't be read.
    """
    if target.sslmode == "disable":
        return
    for key, path in (
        ("sslrootcert", target.sslrootcert),
        ("sslcert", target.sslcert),
        ("sslkey", target.sslkey),
    ):
        if path is None or str(path) == _SYSTEM:
            continue
        if not path.is_file():
            wrong = "is not there"
        elif not os.access(path, os.R_OK):
            wrong = "can't be read"
        else:
            continue
        raise UnreachableError(
            f"{target.environment}: {key} {wrong}: {path}",
            kind="tls",
            untouched=UNTOUCHED,
            hint=f"put the file there, or fix {target.environment}.{key} in environments.yaml",
        )


def explain(target: Target, said: str) -> tuple[str, str]:
    """What a person is told of a connection that failed for its TLS, and what to do.

    :param said: what libpq or the server said, on one line.
    """
    failed = f"no TLS connection to {target.host}:{target.port} with sslmode={target.sslmode}"
    for needle, (message, hint) in _causes(target).items():
        if needle in said:
            return f"{failed}: {message}", hint
    return failed, f"libpq said: {said}"


def _causes(target: Target) -> Mapping[str, tuple[str, str]]:
    """A part of what libpq or the server says -> what is wrong, and what to do."""
    name, place = target.environment, f"{target.host}:{target.port}"
    ca = target.sslrootcert or "~/.postgresql/root.crt"
    own = f"{name}.sslcert and {name}.sslkey in environments.yaml name a certificate for {target.user!r}"
    return {
        "does not match host name": (
            f"the certificate there is for another name than {target.host}",
            f"another server may answer; else fix {name}.host: it has to be a name that the certificate has",
        ),
        "certificate verify failed": (
            f"the certificate there is not of an authority in {ca}, or its time is over",
            f"another server may answer; else renew its certificate, or fix {name}.sslrootcert. "
            f"openssl s_client -starttls postgres -connect {place} shows it",
        ),
        "does not support SSL": (
            "the server there has no TLS",
            "another server may answer; else turn it on there: ssl = on",
        ),
        "root certificate file": (
            f"no certificate of an authority can be read in {ca}",
            f"name the file of the server's authority, or system: {name}.sslrootcert in environments.yaml",
        ),
        "connection requires a valid client certificate": ("the server wants a certificate of ours", own),
        "certificate authentication failed": (
            f"the server does not take our certificate for user {target.user!r}",
            own,
        ),
        "group or world access": (
            f"others may read the key {target.sslkey}",
            f"chmod 600 {target.sslkey}",
        ),
        "key values mismatch": (
            f"the key {target.sslkey} is not that of the certificate {target.sslcert}",
            own,
        ),
        "private key file": (f"the key {target.sslkey} can't be used", own),
    }
