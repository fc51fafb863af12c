"""TLS for a listener: certificates that are read again when their files change, without a restart.

New connections get the new certificate; old ones go on with theirs. Files that can't be used leave what was there.
"""

import ssl
from pathlib import Path

from ..model.auth import Tls
from ..model.errors import StartError


class Certificates:
    """The certificate, key and authorities of one listener, in a context that lives as long as the listener."""

    def __init__(self, tls: Tls) -> None:
        """Errors: StartError, naming the file and what is wrong with it."""
        self._tls = tls
        self._seen = self._contents()
        self._told: str | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        if tls.client_ca is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED if tls.client_required else ssl.CERT_OPTIONAL
        if (problem := self._load()) is not None:
            raise StartError(problem)

    def reload(self) -> str | None:
        """Take over files that changed; says what is wrong with them, once. Reads files: not for the event loop."""
        contents = self._contents()
        if contents == self._seen:
            return None
        self._seen = contents
        problem = self._load()
        if problem is None:
            self._told = None
            return f"{self._tls.cert}: the new certificate is in use"
        if problem == self._told:
            return None
        self._told = problem
        return f"{problem}; the one before stays in use"

    def _load(self) -> str | None:
        tls = self._tls
        try:
            # First in a context of its own: a pair that does not fit must not get into the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password=_no_password)
            self.context.load_cert_chain(tls.cert, tls.key)
        except FileNotFoundError:
            missing = tls.cert if not tls.cert.is_file() else tls.key
            return f"there is no file {missing}, which `tls` names"
        except PermissionError:
            return f"{tls.cert} or {tls.key} can't be read by this user"
        except ssl.SSLError as error:
            what = "does not fit the certificate" if "MISMATCH" in str(error).upper() else "can't be used"
            return f"the key {tls.key} {what} {tls.cert} ({error.reason or 'not PEM'})"
        except _Locked:
            return f"the key {tls.key} is encrypted; give one without a passphrase, readable by this user only"
        if tls.client_ca is not None:
            try:
                self.context.load_verify_locations(tls.client_ca)
            except (OSError, ssl.SSLError) as error:
                return f"the authorities {tls.client_ca} can't be used ({getattr(error, 'strerror', None) or error})"
        return None

    def _contents(self) -> list[bytes | None]:
        files = (self._tls.cert, self._tls.key, self._tls.client_ca)
        return [None if path is None else _content(path) for path in files]


class _Locked(Exception):
    """A key that wants a passphrase."""


def _no_password() -> str:
    raise _Locked


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
