"""pg8000 knows none of libpq's words: TLS is a context of Python's, a socket is a parameter of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgops.postgres import Target

if TYPE_CHECKING:
    import ssl

NAME = "pg8000"


def put_tls_and_socket(target: Target, keywords: dict[str, Any]) -> None:
    """Change what ``pg8000.connect`` is called with to what the target's ``sslmode`` and host mean.

    What the project says itself stays.
    """
    host = str(keywords.get("host") or "")
    if host.startswith("/"):
        keywords.pop("host")
        keywords["unix_sock"] = f"{host}/.s.PGSQL.{keywords.get('port') or 5432}"
    elif target.sslmode not in ("allow", "prefer"):
        keywords.setdefault("ssl_context", _context(target))


def _context(target: Target) -> ssl.SSLContext | bool:
    if target.sslmode == "disable":
        return False
    import ssl  # takes a while, and pg8000 has it loaded already

    root = target.sslrootcert
    own = root is not None and str(root) != "system"
    context = ssl.create_default_context(cafile=str(root) if own else None)
    context.check_hostname = target.sslmode == "verify-full"
    # With a certificate of its own, libpq's "require" looks at the server's too.
    if target.sslmode == "require" and not own:
        context.verify_mode = ssl.CERT_NONE
    if target.sslcert is not None:
        context.load_cert_chain(target.sslcert, target.sslkey)
    return context
