"""TLS of a real listener: certificates that change under way, and clients that show theirs. Source: hardening T27."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from concento.front.http import Exchange, HttpListener
from concento.front.identity.authenticator import Authenticator
from concento.front.identity.keys import ApiKeys
from concento.front.parser import HttpRequest
from concento.front.tls import Certificates, server_context
from concento.model.auth import Auth, Certificate, Tls
from concento.model.config import Address
from concento.model.errors import StartError
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

WAIT_S = 10.0
HUB = trustme.CA()
AGENTS = trustme.CA()
OTHERS = trustme.CA()
ONE, TWO = HUB.issue_cert("127.0.0.1", "one.test"), HUB.issue_cert("127.0.0.1", "two.test")
BOT = AGENTS.issue_cert("bot.agents.test", common_name="bot")
GUEST = AGENTS.issue_cert("guest@agents.test")
STRANGER = OTHERS.issue_cert("bot.agents.test")
RULES = (Certificate("dns:*.agents.test", agent="{name}", tenant="acme", roles=("reader",)),)


def place(folder: Path, leaf: trustme.LeafCert, ca: trustme.CA | None = None, *, required: bool = False) -> Tls:
    """Files as `tls` names them."""
    (folder / "hub.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    (folder / "hub.key").write_bytes(leaf.private_key_pem.bytes())
    if ca is not None:
        (folder / "agents.crt").write_bytes(ca.cert_pem.bytes())
    return Tls(folder / "hub.crt", folder / "hub.key", None if ca is None else folder / "agents.crt", required)


class Client:
    """One agent's connection over TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        self.protocol = tls.selected_alpn_protocol()
        self.version = tls.version()
        shown = tls.getpeercert()
        assert shown is not None
        self.names = [name[1] for name in shown["subjectAltName"]]

    async def ask(self) -> tuple[int, str]:
        """Who the hub says that this is."""
        self.writer.write(b"GET /mcp HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(WAIT_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            body = await self.reader.readexactly(length)
        return int(head.split(" ")[1]), body.decode()

    def close(self) -> None:
        """Go away."""
        self.writer.close()


class Listening:
    """A listener that speaks TLS, and tells everybody who they are."""

    def __init__(self, certificates: Certificates, listener: HttpListener, address: Address) -> None:
        self.certificates = certificates
        self.listener = listener
        self.address = address
        self.clients: list[Client] = []

    async def connect(
        self,
        leaf: trustme.LeafCert | None = None,
        *,
        name: str | None = None,
        ciphers: str | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> Client:
        """A new connection; `leaf` is the certificate that it shows."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        HUB.configure_trust(context)
        if leaf is not None:
            leaf.configure_cert(context)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if ciphers is not None:
            context.set_ciphers(ciphers)
        async with asyncio.timeout(WAIT_S):
            client = Client(
                *await asyncio.open_connection(
                    self.address.host, self.address.port, ssl=context, server_hostname=name or self.address.host
                )
            )
        self.clients.append(client)
        return client

    async def is_refused(self, leaf: trustme.LeafCert | None = None) -> bool:
        """Whether a connection with that certificate ends before it is answered."""
        try:
            await (await self.connect(leaf)).ask()
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return True
        return False


@asynccontextmanager
async def listening(tls: Tls, auth: Auth | None = None) -> AsyncIterator[Listening]:
    clock = ManualClock()
    identity = Authenticator(ApiKeys(MemoryStore(), clock), clock)
    await identity.configure(auth, "https://hub.test")

    async def serve(request: HttpRequest, exchange: Exchange) -> None:
        principal = request.principal
        assert principal is not None
        exchange.reply(200, f"{principal.subject} {principal.agent} {principal.tenant} {principal.proof}".encode())

    certificates = Certificates(tls)
    listener = HttpListener(identity.judge, serve, meet=identity.meet)
    at = Listening(certificates, listener, await listener.start(Address("127.0.0.1", 0), certificates.context))
    try:
        yield at
    finally:
        for client in at.clients:
            client.close()
        await listener.drain(1.0)


# -- speaking TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_agents_are_served_over_tls(version: ssl.TLSVersion, tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE)) as at:
        client = await at.connect(version=version)
        assert client.version == version.name.replace("_", ".")
        assert client.protocol == "http/1.1"
        assert await client.ask() == (200, "anonymous None default loopback")


async def test_old_ciphers_are_not_spoken(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE)) as at:
        for ciphers in ("AES128-GCM-SHA256", "ECDHE+AES128+SHA256:@SECLEVEL=0"):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await at.connect(version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)


# -- files that change


@pytest.mark.parametrize("name", [None, "one.test", "127.0.0.1"])
async def test_new_connections_get_a_new_certificate_and_old_ones_go_on(name: str | None, tmp_path: Path) -> None:
    tls = place(tmp_path, ONE)
    async with listening(tls) as at:
        old = await at.connect()
        assert "one.test" in old.names
        assert at.certificates.reload() is None
        place(tmp_path, HUB.issue_cert("127.0.0.1", "one.test", "new.test"))
        told = await asyncio.to_thread(at.certificates.reload)
        assert told is not None
        assert str(tls.cert) in told
        assert at.certificates.reload() is None
        new = await at.connect(name=name)
        assert "new.test" in new.names
        assert new.protocol == "http/1.1"
        assert (await new.ask())[0] == (await old.ask())[0] == 200


async def test_a_certificate_can_change_any_number_of_times(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE)) as at:
        for leaf, name in ((TWO, "two.test"), (ONE, "one.test"), (TWO, "two.test")):
            place(tmp_path, leaf)
            assert at.certificates.reload() is not None
            assert name in (await at.connect()).names


async def test_a_link_that_is_turned_is_seen(tmp_path: Path) -> None:
    """As a mounted secret of Kubernetes is exchanged: neither the files' paths nor what they link to is written."""
    for name, leaf in (("v1", ONE), ("v2", TWO)):
        (tmp_path / name).mkdir()
        place(tmp_path / name, leaf)
    current = tmp_path / "current"
    current.symlink_to("v1")
    async with listening(Tls(current / "hub.crt", current / "hub.key")) as at:
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(current)
        assert at.certificates.reload() is not None
        assert "two.test" in (await at.connect()).names


async def test_a_pair_that_does_not_fit_leaves_the_one_before_and_is_told_once(tmp_path: Path) -> None:
    tls = place(tmp_path, ONE)
    async with listening(tls) as at:
        tls.cert.write_bytes(TWO.cert_chain_pems[0].bytes())
        told = at.certificates.reload()
        assert told is not None
        assert "does not belong to" in told
        assert "stays in use" in told
        assert at.certificates.reload() is None
        tls.cert.write_bytes(TWO.cert_chain_pems[0].bytes() + b"\n")
        assert at.certificates.reload() is None
        assert "one.test" in (await at.connect()).names
        tls.key.write_bytes(TWO.private_key_pem.bytes())
        assert at.certificates.reload() is not None
        assert "two.test" in (await at.connect()).names


async def test_files_that_are_gone_for_a_moment_do_no_harm(tmp_path: Path) -> None:
    tls = place(tmp_path, ONE)
    async with listening(tls) as at:
        tls.key.unlink()
        told = at.certificates.reload()
        assert told is not None
        assert "hub.key" in told
        assert "one.test" in (await at.connect()).names
        place(tmp_path, TWO)
        assert at.certificates.reload() is not None
        assert "two.test" in (await at.connect()).names


# -- client certificates


async def test_a_client_certificate_says_who_calls(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE, AGENTS), Auth(certificates=RULES)) as at:
        client = await at.connect(BOT)
        assert await client.ask() == (200, "bot.agents.test bot.agents.test acme mtls")
        assert (await (await at.connect()).ask())[0] == 401
        assert (await (await at.connect(GUEST)).ask())[0] == 401  # no rule knows its names


async def test_a_certificate_of_other_authorities_does_not_connect(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE, AGENTS), Auth(certificates=RULES)) as at:
        assert await at.is_refused(STRANGER)
        assert not await at.is_refused(BOT)


async def test_where_a_certificate_is_required_nobody_connects_without(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE, AGENTS, required=True), Auth(certificates=RULES)) as at:
        assert await at.is_refused()
        assert await at.is_refused(STRANGER)
        assert not await at.is_refused(BOT)


async def test_authorities_that_are_exchanged_are_no_longer_taken(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE, AGENTS), Auth(certificates=RULES)) as at:
        old = await at.connect(BOT)
        assert (await old.ask())[0] == 200
        place(tmp_path, ONE, OTHERS)
        assert at.certificates.reload() is not None
        assert await at.is_refused(BOT)
        assert await (await at.connect(STRANGER)).ask() == (200, "bot.agents.test bot.agents.test acme mtls")
        assert (await old.ask())[0] == 200


async def test_a_session_is_not_resumed_past_authorities_that_were_exchanged(tmp_path: Path) -> None:
    async with listening(place(tmp_path, ONE, AGENTS), Auth(certificates=RULES)) as at:
        context = ssl.create_default_context()
        HUB.configure_trust(context)
        BOT.configure_cert(context)

        def visit(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
            with (
                socket.create_connection((at.address.host, at.address.port), WAIT_S) as plug,
                context.wrap_socket(plug, server_hostname="127.0.0.1", session=session) as tls,
            ):
                tls.sendall(b"GET /mcp HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert tls.recv(4096).startswith(b"HTTP/1.1 200")
                return bool(tls.session_reused), tls.session

        _, session = await asyncio.to_thread(visit, None)
        is_resumed, _ = await asyncio.to_thread(visit, session)
        assert not is_resumed


async def test_where_certificates_are_asked_for_only_tls_1_3_is_spoken(tmp_path: Path) -> None:
    """In TLS 1.2 a session can be resumed by its id, and nothing here could forbid it."""
    async with listening(place(tmp_path, ONE, AGENTS), Auth(certificates=RULES)) as at:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await at.connect(BOT, version=ssl.TLSVersion.TLSv1_2)


# -- files that can't be used


def test_what_is_wrong_with_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    def told(tls: Tls) -> str:
        with pytest.raises(StartError) as caught:
            server_context(tls)
        return str(caught.value)

    good = place(tmp_path, ONE, AGENTS)
    server_context(good)
    missing, empty, garbage, large = (tmp_path / name for name in ("missing", "empty", "garbage", "large"))
    empty.touch()
    garbage.write_text("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n?\n")
    large.write_bytes(b"-----BEGIN CERTIFICATE-----" + b" " * 5_000_000)
    locked = tmp_path / "locked.key"
    key = serialization.load_pem_private_key(ONE.private_key_pem.bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked.write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"x")))

    assert told(Tls(missing, good.key)) == f"there is no file {missing}, which `tls` names"
    assert str(missing) in told(Tls(good.cert, missing))
    assert str(missing) in told(Tls(good.cert, good.key, missing))
    assert "can't be read" in told(Tls(tmp_path, good.key))
    assert told(Tls(empty, good.key)) == f"{empty} holds no certificate in PEM"
    assert told(Tls(good.cert, empty)) == f"{empty} holds no private key in PEM"
    assert told(Tls(good.cert, good.cert)) == f"{good.cert} holds no private key in PEM"
    assert told(Tls(good.key, good.cert)) == f"{good.key} holds no certificate in PEM"
    assert str(empty) in told(Tls(good.cert, good.key, empty))
    assert str(garbage) in told(Tls(garbage, good.key))
    assert str(garbage) in told(Tls(good.cert, garbage))
    assert str(garbage) in told(Tls(good.cert, good.key, garbage))
    assert told(Tls(large, good.key)) == f"{large} is larger than 4 MiB"
    assert "without a passphrase" in told(Tls(good.cert, locked))
    shutil.copy(good.cert, tmp_path / "other.crt")
    place(tmp_path, TWO)
    assert told(Tls(tmp_path / "other.crt", good.key)).startswith(f"the key {good.key} does not belong")


def test_authorities_may_have_words_beside_them_and_be_several(tmp_path: Path) -> None:
    tls = place(tmp_path, ONE, AGENTS)
    assert tls.client_ca is not None
    both = [AGENTS.cert_pem.bytes(), OTHERS.cert_pem.bytes()]
    tls.client_ca.write_bytes("# Übersicht\n".encode() + b"\n# the other\n".join(both))
    context = server_context(tls)
    assert len(context.get_ca_certs()) == 2
