"""Sealed text: what an agent keeps for the hub, and only the hub can read, in the context it was made for."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_TEXT_MAX = 8192


class Seal:
    """AES-GCM under one key of 32 bytes. What is opened in another context than it was sealed in does not open."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def close(self, secret: bytes, context: bytes) -> str:
        """Seal bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._aead.encrypt(nonce, secret, context)).decode().rstrip("=")

    def open(self, text: str, context: bytes, *, chars_max: int = _TEXT_MAX) -> bytes | None:
        """What was sealed; None if the text was altered, is of another context, or never was ours."""
        if len(text) > chars_max:
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (binascii.Error, ValueError, InvalidTag):
            return None
