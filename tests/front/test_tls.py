"""TLS on a listener: certificates that change without a restart, and client certificates that say who calls."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from concento.front.http import Exchange, HttpListener
from concento.front.identity.authenticator import Authenticator, Peer
from concento.front.identity.keys import ApiKeys
from concento.front.parser import HttpHead, HttpRequest, Refusal
from concento.front.tls import Certificates
from concento.model.auth import Auth, Certificate, Tls
from concento.model.config import Address
from concento.model.errors import StartError
from concento.model.principal import ANONYMOUS, Principal
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.waiting import until


def write(ca: trustme.CA, folder: Path, name: str = "hub") -> Tls:
    issued = ca.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(folder / f"{name}.key")
    (folder / f"{name}.crt").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return Tls(folder / f"{name}.crt", folder / f"{name}.key")


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def locked(key: Path) -> bytes:
    """A private key under a passphrase."""
    loaded = load_pem_private_key(key.read_bytes(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))


class Asked:
    """What came in, and from whom."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def admit(self, head: HttpHead, peer: Peer) -> Refusal | Principal | None:
        self.peers.append(peer)
        return ANONYMOUS

    async def serve(self, request: HttpRequest, exchange: Exchange) -> None:
        exchange.reply(200, b"{}")


@asynccontextmanager
async def listening(certificates: Certificates, asked: Asked, auth: Auth | None = None) -> AsyncIterator[int]:
    clock = ManualClock()
    authenticator = Authenticator(ApiKeys(MemoryStore(), clock), clock)
    await authenticator.configure(auth, "https://localhost")
    listener = HttpListener(asked.admit, asked.serve, meet=authenticator.meet)
    address = await listener.start(Address("127.0.0.1", 0), certificates.context)
    try:
        yield address.port
    finally:
        await listener.drain(1.0)


class Line:
    """One TLS connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> "Line":
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"))

    async def ask(self) -> int:
        try:
            self.writer.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        except BaseException:
            self.close()
            raise
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        await self.reader.readexactly(length)
        return int(head.split(" ")[1])

    @property
    def serial(self) -> str:
        return str(self.writer.get_extra_info("peercert")["serialNumber"])

    def close(self) -> None:
        self.writer.close()


def on_both_loops(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path, bool], None]:
    """Run a test on the loop that `serve` uses, and on the standard one."""

    @pytest.mark.parametrize("uv", [True, False], ids=["uvloop", "asyncio"])
    def run(tmp_path: Path, uv: bool) -> None:
        (uvloop.run if uv else asyncio.run)(test(tmp_path))

    run.__name__ = test.__name__
    return run


@on_both_loops
async def test_a_new_certificate_is_used_for_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificates = Certificates(write(ca, tmp_path))
    async with listening(certificates, Asked()) as port:
        old = await Line.open(port, trusting(ca))
        assert await old.ask() == 200
        assert certificates.reload() is None  # nothing changed
        write(ca, tmp_path)
        assert "new certificate is in use" in str(certificates.reload())
        new = await Line.open(port, trusting(ca))
        assert await new.ask() == 200
        assert await old.ask() == 200
        assert new.serial != old.serial
        old.close()
        new.close()


@on_both_loops
async def test_a_broken_pair_leaves_the_last_good_one(tmp_path: Path) -> None:
    ca = trustme.CA()
    tls = write(ca, tmp_path)
    certificates = Certificates(tls)
    async with listening(certificates, Asked()) as port:
        other = write(ca, tmp_path, "other")
        for broken, told in (
            (b"nonsense", "can't be used"),
            (other.key.read_bytes(), "does not fit"),
            (locked(other.key), "is encrypted"),
        ):
            tls.key.write_bytes(broken)
            problem = str(certificates.reload())
            assert told in problem
            assert "stays in use" in problem
            assert certificates.reload() is None  # told once
            line = await Line.open(port, trusting(ca))
            assert await line.ask() == 200
            line.close()
        tls.key.unlink()
        assert "there is no file" in str(certificates.reload())


def test_files_that_can_not_be_used_are_named_at_the_start(tmp_path: Path) -> None:
    ca = trustme.CA()
    tls = write(ca, tmp_path)
    for wrong in (
        Tls(tmp_path / "none.crt", tls.key),
        Tls(tls.cert, tmp_path / "none.key"),
        Tls(tls.key, tls.cert),
        Tls(tls.cert, tls.key, client_ca=tmp_path / "none.ca"),
    ):
        with pytest.raises(StartError) as refused:
            Certificates(wrong)
        assert str(tmp_path) in str(refused.value)


@on_both_loops
async def test_the_holder_of_a_client_certificate_is_who_its_rule_says(tmp_path: Path) -> None:
    ca, agents, strangers = trustme.CA(), trustme.CA(), trustme.CA()
    agents.cert_pem.write_to_path(tmp_path / "agents.ca")
    tls = write(ca, tmp_path)
    tls = Tls(tls.cert, tls.key, tmp_path / "agents.ca")
    rules = (
        Certificate("dns:*.ci.example.com", "ci", agent="{name}", tenant="acme", roles=("dev",), scopes=("a",)),
        Certificate("email:*@example.com"),
    )
    asked = Asked()
    async with listening(Certificates(tls), asked, Auth(certificates=rules)) as port:

        async def met(issued: trustme.LeafCert | None) -> Peer:
            context = trusting(ca)
            if issued is not None:
                issued.configure_cert(context)
            line = await Line.open(port, context)
            assert await line.ask() == 200
            line.close()
            return asked.peers[-1]

        runner = (await met(agents.issue_cert("runner.ci.example.com"))).certificate
        assert runner is not None
        assert (runner.subject, runner.agent) == ("ci", "runner.ci.example.com")
        assert (runner.tenant, runner.proof) == ("acme", "mtls")
        assert (runner.roles, runner.scopes) == (frozenset({"dev"}), frozenset({"a"}))
        assert runner.credential.startswith("cert:")
        assert runner.until_s is not None
        alice = (await met(agents.issue_cert("alice@example.com"))).certificate
        assert alice is not None
        assert alice.subject == "alice@example.com"
        assert (await met(agents.issue_cert("other.example.org"))).certificate is None
        assert (await met(None)).certificate is None
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await met(strangers.issue_cert("runner.ci.example.com"))


@on_both_loops
async def test_where_certificates_are_required_nobody_comes_without(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca")
    tls = write(ca, tmp_path)
    asked = Asked()
    async with listening(Certificates(Tls(tls.cert, tls.key, tmp_path / "ca", client_required=True)), asked) as port:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await (await Line.open(port, trusting(ca))).ask()
        assert asked.peers == []


@on_both_loops
async def test_whoever_is_slow_to_shake_hands_is_cut(tmp_path: Path) -> None:
    """T27: a connection that never begins TLS is closed."""
    ca = trustme.CA()
    async with listening(Certificates(write(ca, tmp_path)), Asked()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: reader.at_eof(), "the connection is closed", wait_s=10)
        writer.close()
