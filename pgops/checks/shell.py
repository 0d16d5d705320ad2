"""What the variables of the shell decide beside environments.yaml, and which of them decide nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pgops.checks.report import Finding, ok, warn
from pgops.environments import Environment
from pgops.postgres import Target
from pgops.runtime import variables
from pgops.secrets.references import EnvSecret, SecretRef

_ALWAYS = {
    "PGOPS_ENVIRONMENTS": "which environments.yaml is read",
    "PGOPS_OPERATOR": "whom the journal names",
    "DOCKER_HOST": "which Docker engine is asked",
    "DOCKER_CONTEXT": "which Docker engine is asked",
    "DOCKER_CONFIG": "which Docker engine is asked",
    "DOCKER_CERT_PATH": "which Docker engine is asked",
    "DOCKER_TLS_VERIFY": "which Docker engine is asked",
}
_COMPOSE = {
    "COMPOSE_FILE": "which compose file is read",
    "COMPOSE_PATH_SEPARATOR": "which compose file is read",
    "COMPOSE_PROJECT_NAME": "which containers and volumes are meant",
}
_BUCKET = {
    **dict.fromkeys(variables.AWS_CREDENTIALS, "as whom the bucket is reached"),
    **dict.fromkeys(variables.AWS_REGION, "in which region the bucket is looked for"),
    **dict.fromkeys(
        (
            each
            for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
            for each in (name, name.lower())
        ),
        "through which proxy the bucket is reached",
    ),
}
_ENCRYPTED = {
    "TMPDIR": "where what was decrypted lies meanwhile",
    "XDG_CACHE_HOME": "where dumps are made in clear",
}


def shell_variables(environment: Environment, target: Target) -> Iterator[Finding]:
    """A warning for those that are ignored, a line for each thing that one decides. No value is shown."""
    store = environment.backups.store
    bucket = store.url.startswith("s3:")
    kept = () if store.s3 and store.s3.access_key else variables.AWS_CREDENTIALS
    if not (store.s3 and (store.s3.region or store.s3.endpoint)):
        kept = (*kept, *variables.AWS_REGION)
    references: tuple[SecretRef | None, ...] = (
        target.password,
        getattr(environment.connection, "url", None),
        *((store.s3.access_key, store.s3.secret_key) if store.s3 else ()),
    )
    named = {each.name for each in references if isinstance(each, EnvSecret)}
    ignored = variables.ignored()
    if bucket:
        ignored += sorted(variables.aws_variables(os.environ) - {*kept})
    if found := [name for name in ignored if name not in named]:
        yield warn(
            "variables",
            f"{', '.join(found)}: set in this shell, and ignored",
            "what they are to decide belongs in environments.yaml; unset them for other programs' sake",
        )
    matters = dict(_ALWAYS)
    if environment.local:
        matters |= _COMPOSE
    if bucket:
        matters |= {
            name: what for name, what in _BUCKET.items() if not name.startswith("AWS_") or name in kept
        }
    if store.encrypt:
        matters |= _ENCRYPTED
    decided: dict[str, list[str]] = {}
    for name, what in matters.items():
        if os.environ.get(name):
            decided.setdefault(what, []).append(name)
    for what, names in decided.items():
        yield ok("shell", f"{', '.join(names)} {'decides' if len(names) == 1 else 'decide'} {what}")
