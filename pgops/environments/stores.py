"""``stores:`` -> :class:`Store` values, with the rules that span a store's settings."""

from __future__ import annotations

from pathlib import Path

from pgops.environments.layers import Layer, values
from pgops.environments.model import Encryption, S3Settings, Store
from pgops.environments.walk import Given, Walker

_S3_KEYS = ("endpoint", "region", "access_key", "secret_key")


def read_stores(given: Given | None, walker: Walker, directory: Path) -> dict[str, Store]:
    """Every store by name; where none is written, ``local`` in ``backups`` beside the file.

    :param directory: what a relative ``file:`` path is relative to.
    """
    if given is None:
        return {"local": Store("local", f"file:{directory / 'backups'}")}
    return {
        name: _store(name, each, walker, directory)
        for name, each in given.value.items()
        if "url" in values(each)
    }


def _store(name: str, given: Given, walker: Walker, directory: Path) -> Store:
    settings = values(given)
    url: str = settings["url"].value
    s3 = {key: settings[key].value for key in _S3_KEYS if key in settings}
    sign = settings["sign"].value if "sign" in settings else None
    if url.startswith("s3:"):
        if ("access_key" in s3) != ("secret_key" in s3):
            lone = settings["access_key" if "access_key" in s3 else "secret_key"]
            walker.problem(lone.at, lone.path, "access_key and secret_key go together")
        return Store(name, url, S3Settings(**s3), _encryption(settings), sign)
    for key in s3:
        walker.problem(settings[key].at, settings[key].path, "goes with an s3:// url only")
    path = url.removeprefix("file:")
    if path.startswith("//"):
        if not path.startswith("///"):
            walker.problem(
                settings["url"].place, settings["url"].path, "names a host; write file:/… or file:./…"
            )
        path = path[2:]
    try:
        absolute = directory / Path(path).expanduser()
    except RuntimeError:
        walker.problem(settings["url"].place, settings["url"].path, "there is no such home directory")
        absolute = directory
    return Store(name, f"file:{absolute}", None, _encryption(settings), sign)


def _encryption(settings: Layer) -> Encryption | None:
    encrypt = values(settings.get("encrypt"))
    if "recipients" not in encrypt:
        return None
    recipients = tuple(each.value for each in encrypt["recipients"].value)
    given = {key: encrypt[key].value for key in ("identity", "staging") if key in encrypt}
    return Encryption(recipients, **given)
