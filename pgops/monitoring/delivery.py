"""Sending notices through Apprise, and asking a dead-man switch's URL. The only module that speaks to either.

Nothing here raises for what a receiver does: a notice that can't be sent is an answer, not a failure. Each receiver
has its own few seconds, whatever it does with the connection; addresses are never part of an answer.
"""

from __future__ import annotations

import inspect
import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from pgops import __version__
from pgops.errors import PgopsError
from pgops.monitoring.alarms import Kind
from pgops.runtime.threads import TooLateError, each_within
from pgops.secrets.redaction import redact
from pgops.secrets.references import MASK, SecretRef, resolve
from pgops.units import one_line

TIMEOUT = 30.0
"""Seconds for all receivers together."""
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for people."""

    kind: Kind
    title: str
    body: str


class _UndeliveredError(Exception):
    """A receiver did not take a notice; the message says why, without its address."""


def send(
    channels: Mapping[str, SecretRef],
    notices: Mapping[str, Notice],
    *,
    setting: str,
    timeout: float = TIMEOUT,
) -> dict[str, str]:
    """Send each channel its notice, all at the same time.

    :param channels: where each address is, by the channel's name.
    :param notices: by the channel's name; channels without one are left alone.
    :param setting: what holds the channels in environments.yaml, for messages about secrets.
    :param timeout: seconds for all of them together.
    :returns: by the channel's name, why it was not reached; empty where it was.
    """
    names = list(notices)
    try:
        # Here and not in the threads: loading its many plugins is no receiver's delay.
        import apprise
    except ImportError:
        return dict.fromkeys(names, "notices need the extra notify: pip install apprise")

    def work(name: str) -> str:
        _deliver(apprise, channels[name], notices[name], f"{setting}.{name}")
        return ""

    found = each_within(timeout, names, work)
    return {name: _said(each, timeout) for name, each in zip(names, found, strict=True)}


def ping(reference: SecretRef, *, setting: str, timeout: float = TIMEOUT) -> str:
    """Request a dead-man switch's URL.

    :returns: why it did not answer as it should; empty where it did.
    """
    (found,) = each_within(timeout, [reference], lambda each: _ping(each, setting))
    return _said(found, timeout)


def _said(found: str | Exception, timeout: float) -> str:
    match found:
        case str():
            return found
        case TooLateError():
            return f"no answer within {timeout:g} s"
        case _UndeliveredError():
            return str(found)
        case PgopsError():
            return redact(found.message)
    raise found


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https and within a host. Another host may be a login page, and nobody would be told."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.hostname != after.hostname or after.scheme not in {before.scheme, "https"}:
            raise _UndeliveredError("it led elsewhere: a redirect to another host, or away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ping(reference: SecretRef, setting: str) -> str:
    url = resolve(reference, what=setting).reveal()
    if not re.match("https?://", url, re.IGNORECASE):
        raise _UndeliveredError("it is no http or https URL")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"pgops/{__version__}"})
        with urllib.request.build_opener(_SameHost).open(request, timeout=10) as answer:
            answer.read(1024)
    except _UndeliveredError:
        raise
    except urllib.error.HTTPError as error:
        raise _UndeliveredError(f"it answered {error.code}") from None
    # Without their cause: what urllib, http.client and ssl say may quote the address.
    except (OSError, ValueError) as error:
        raise _UndeliveredError(masked(one_line(str(error)), url)) from None
    except Exception as error:  # noqa: BLE001 - http.client's own, which are no OSError; told like one
        raise _UndeliveredError(type(error).__name__) from None
    return ""


def _deliver(apprise: Any, reference: SecretRef, notice: Notice, setting: str) -> None:
    address = resolve(reference, what=setting).reveal()
    kinds = {"trouble": apprise.NotifyType.FAILURE, "recovery": apprise.NotifyType.SUCCESS}
    with _log_of_this_thread() as said:
        server = apprise.Apprise(asset=_asset(apprise))
        try:
            if not server.add(address):
                raise _UndeliveredError("it is no address that Apprise knows")
            reached = server.notify(
                title=notice.title,
                body=notice.body,
                notify_type=kinds[notice.kind],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except _UndeliveredError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin of other people; told as not delivered
            raise _UndeliveredError(
                masked(f"{type(error).__name__}: {one_line(str(error))}", address)
            ) from None
    if not reached:
        why = masked("; ".join(said[-2:]), address) if said else "it did not say why"
        raise _UndeliveredError(why)


def _asset(apprise: Any) -> Any:
    """One receiver, in this thread. Versions that know a timeout of their own wait for it in a pool, whose threads Python
    joins at its end: a receiver that never answers would keep the process from ending."""
    known = inspect.signature(apprise.AppriseAsset).parameters
    none = {"service_timeout": 0} if "service_timeout" in known else {}
    return apprise.AppriseAsset(async_mode=False, app_id="pgops", **none)


def masked(text: str, address: str) -> str:
    """``text`` without the address and any part of it: tokens stand in hosts, paths and queries alike.

    >>> masked("no answer from T0KEN1: /abcd1234/x", "slack://T0KEN1/abcd1234/efgh5678")
    'no answer from ***: /***/x'
    """
    found = {address}
    for part in (address, unquote(address)):
        found.update(re.split(r"[:/?&=@#,;]+", part.partition("://")[2]))
    for each in sorted(found, key=len, reverse=True):
        if len(each) >= _SHORTEST:
            text = re.sub(re.escape(each), MASK, text, flags=re.IGNORECASE)
    return redact(text)


@contextmanager
def _log_of_this_thread() -> Iterator[Sequence[str]]:
    """What Apprise logs in this thread during the block, as it would say it to a person; nowhere else."""
    found: list[str] = []
    mine = threading.get_ident()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == mine:
                found.append(one_line(record.getMessage()))

    handler = Collect(logging.WARNING)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    # Python shows warnings on stderr where nobody listens; the root's listeners would get the address with them.
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
