"""TLS for a listener: certificates that are read again when their files change, without a restart.

New connections get the new certificate and the new authorities; old ones go on with theirs. Files that can't be used
leave what was there.
"""

import ssl
from pathlib import Path
from typing import Final

from ..model.auth import Tls
from ..model.errors import StartError

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest file of certificates or a key."""
DAY_S: Final = 86_400.0
SOON_S: Final = 14 * DAY_S
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: those with forward secrecy and authenticated encryption. TLS 1.3 has no others."""

_Contents = tuple[bytes | None, bytes | None, bytes | None]


class Certificates:
    """The certificate, key and authorities of one listener, in a context that lives as long as the listener."""

    def __init__(self, tls: Tls) -> None:
        """Errors: StartError, naming the file and what is wrong with it."""
        self._tls = tls
        self._seen = _contents(tls)
        self._told: str | None = None
        self._lives = _life(self._seen[0])
        self.context = self._current = server_context(tls)
        """What listeners are given. Each handshake is handed on to what is current: a context of its own is made for
        new files, since one that is in use would keep the authorities it had."""
        self.context.sni_callback = self._hand_on

    def _hand_on(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if self._current is not self.context:
            connection.context = self._current

    @property
    def name(self) -> str:
        """The certificate's file, without its folder."""
        return self._tls.cert.name

    @property
    def is_refused(self) -> bool:
        """Whether the files are others than those in use, since they can't be used."""
        return self._told is not None

    def runs_out(self, wall_s: float) -> float | None:
        """In how many days the certificate in use runs out, if that is soon: two weeks, or a quarter of its life."""
        begins_s, ends_s = self._lives
        left_s = ends_s - wall_s
        return left_s / DAY_S if left_s < min(SOON_S, (ends_s - begins_s) / 4) else None

    def reload(self) -> str | None:
        """Take over files that changed; says so, or what is wrong with them, once. It reads files: for a thread."""
        contents = _contents(self._tls)
        if contents == self._seen:
            return None
        self._seen = contents
        try:
            self._current = server_context(self._tls)
        except StartError as error:
            problem = str(error)
            if problem == self._told:
                return None
            self._told = problem
            return f"{problem}; the certificate before stays in use"
        self._told, self._lives = None, _life(contents[0])
        return f"the certificate in {self._tls.cert} is in use for new connections"


def server_context(tls: Tls) -> ssl.SSLContext:
    """What a listener speaks TLS with. Errors: StartError, naming the file and what is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    _check(tls.cert, b"-----BEGIN CERTIFICATE-----", "certificate")
    _check(tls.key, b"PRIVATE KEY-----", "private key")
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except _Locked:
        raise StartError(
            f"the key {tls.key} is encrypted; give one without a passphrase that only this user can read"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(f"the key {tls.key} does not belong to the certificate {tls.cert}") from None
        raise StartError(f"{tls.cert} and {tls.key} can't be used: {error.reason or 'damaged PEM'}") from None
    except OSError as error:  # gone since it was looked at
        raise StartError(f"{tls.cert} or {tls.key} can't be read: {error.strerror}") from None
    if tls.client_ca is not None:
        _ask_for_certificates(context, tls.client_ca, is_required=tls.client_required)
    return context


def _ask_for_certificates(context: ssl.SSLContext, authorities: Path, *, is_required: bool) -> None:
    content = _check(authorities, b"-----BEGIN CERTIFICATE-----", "certificate of an authority")
    try:
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise StartError(f"the authorities in {authorities} can't be used: damaged PEM") from None
    context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    # A resumed session would show a certificate again whose authority is no longer taken. TLS 1.2 resumes by an id,
    # too, which can't be switched off from here.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


def _check(path: Path, mark: bytes, what: str) -> bytes:
    try:
        content = _read(path)
    except FileNotFoundError:
        raise StartError(f"there is no file {path}, which `tls` names") from None
    except OSError as error:
        raise StartError(f"{path}, which `tls` names, can't be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise StartError(f"{path} is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
    if mark not in content:
        raise StartError(f"{path} holds no {what} in PEM")
    return content


class _Locked(Exception):
    """A key that wants a passphrase."""


def _no_password() -> str:
    raise _Locked


def _contents(tls: Tls) -> _Contents:
    return _content(tls.cert), _content(tls.key), None if tls.client_ca is None else _content(tls.client_ca)


def _life(content: bytes | None) -> tuple[float, float]:
    """From when until when a certificate holds, in Unix seconds; one that can't be read says nothing of its end."""
    from cryptography import x509  # here: few hubs speak TLS themselves

    try:
        found = x509.load_pem_x509_certificates(content or b"")[0]
    except ValueError:
        return 0.0, float("inf")
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


def _content(path: Path) -> bytes | None:
    try:
        return _read(path)
    except OSError:
        return None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX + 1)
