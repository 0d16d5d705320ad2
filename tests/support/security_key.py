"""A security key (FIDO) in software: OpenSSH's ``sk-`` signatures, with and without a touch.

https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f and PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import textwrap
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KIND = b"sk-ssh-ed25519@openssh.com"
_APPLICATION = b"ssh:"
TOUCHED = 0x01


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


@dataclass
class SecurityKey:
    """One such key."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def blob(self) -> bytes:
        """The public key as OpenSSH has it."""
        return _text(_KIND) + _text(self.key.public_key().public_bytes_raw()) + _text(_APPLICATION)

    def line(self, name: str, options: str = "") -> str:
        """A line of allowed signers."""
        words = (name, options, _KIND.decode(), base64.b64encode(self.blob).decode())
        return " ".join(filter(None, words))

    def sign(self, document: bytes, *, flags: int = TOUCHED, namespace: bytes = b"pgops") -> str:
        """What ``ssh-keygen -Y sign`` makes with it."""
        digest = _text(hashlib.sha512(document).digest())
        message = b"SSHSIG" + _text(namespace) + _text(b"") + _text(b"sha512") + digest
        state = struct.pack(">BI", flags, 7)
        signed = self.key.sign(
            hashlib.sha256(_APPLICATION).digest() + state + hashlib.sha256(message).digest()
        )
        signature = _text(_text(_KIND) + _text(signed) + state)
        whole = b"SSHSIG" + struct.pack(">I", 1) + _text(self.blob) + _text(namespace) + _text(b"")
        body = base64.b64encode(whole + _text(b"sha512") + signature).decode()
        return "\n".join(
            ["-----BEGIN SSH SIGNATURE-----", *textwrap.wrap(body, 70), "-----END SSH SIGNATURE-----", ""]
        )
