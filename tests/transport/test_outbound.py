"""HTTP that others have a word in: where it may lead, and what it takes of an answer. T19; the hostile side of it is in
`tests/hostile/test_outbound.py`."""

import gzip
from collections.abc import AsyncIterator

import pytest

from concento.model.outbound import PUBLIC, Reach, reach_of
from concento.testing.http_server import Conn, Hit, ScriptedHttpServer
from concento.transport.outbound import NotFetched, fetch

HERE = "this machine"
NOBODY = "an address of no single machine"
KEYS = "an address where clouds keep their machines' keys"
INSIDE = "an address that is not public"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedHttpServer]:
    async with ScriptedHttpServer(answer) as server:
        yield server


async def answer(hit: Hit, conn: Conn) -> None:
    """Says what its path asks for."""
    match hit.path:
        case "/large":
            await conn.respond(200, b"x" * 1001)
        case "/packed":
            await conn.respond(200, gzip.compress(b"x" * 1000), headers=[("Content-Encoding", "gzip")])
        case "/silent":
            await conn.hang()
        case "/garbage":
            await conn.send(b"SSH-2.0-OpenSSH_9.9\r\n")
            conn.close()
        case _:
            await conn.respond(418, hit.body, headers=[("Cache-Control", "a"), ("X", "1"), ("cache-control", "b")])


# -- where it may lead


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::808:808", None),
        ("127.8.8.8", HERE),
        ("::1", HERE),
        ("::ffff:127.0.0.1", HERE),
        ("64:ff9b::7f00:1", HERE),
        ("0.0.0.0", NOBODY),
        ("::", NOBODY),
        ("224.0.0.1", NOBODY),
        ("ff02::1", NOBODY),
        ("169.254.169.254", KEYS),
        ("64:ff9b::a9fe:a9fe", KEYS),
        ("fe80::1%eth0", KEYS),
        ("100.100.100.200", KEYS),
        ("168.63.129.16", KEYS),
        ("fd00:ec2::254", KEYS),
        ("172.15.255.255", None),
        ("172.16.0.0", INSIDE),
        ("172.31.255.255", INSIDE),
        ("172.32.0.0", None),
        ("100.63.255.255", None),
        ("100.64.0.0", INSIDE),
        ("100.128.0.0", None),
        ("192.0.0.9", INSIDE),
        ("64:ff9b:1::808:808", INSIDE),
        ("2002:808:808::1", INSIDE),
        ("2001::1", INSIDE),
        ("2001:1ff:ffff::1", INSIDE),
        ("2001:200::1", None),
        ("1fff::1", INSIDE),
        ("2000::1", None),
        ("4000::1", INSIDE),
        ("fec0::1", INSIDE),
    ],
)
def test_public_addresses_may_be_asked_and_of_others_it_is_told_why_not(address: str, why: str | None) -> None:
    assert PUBLIC.why_not("example.com", address) == why


@pytest.mark.parametrize(
    ("allowed", "host", "address", "why"),
    [
        (["10.0.0.0/8"], "any.example", "10.1.2.3", None),
        (["10.0.0.0/8"], "any.example", "::ffff:10.1.2.3", None),
        (["10.0.0.0/8"], "any.example", "11.0.0.1", None),
        (["10.0.0.0/8"], "any.example", "192.168.0.1", INSIDE),
        (["192.168.0.7"], "192.168.0.7", "192.168.0.7", None),
        (["192.168.0.7"], "192.168.0.8", "192.168.0.8", INSIDE),
        (["fd00:0::7"], "any.example", "fd00::7", None),
        (["169.254.0.0/16"], "any.example", "169.254.169.254", None),
        (["Keys.Corp."], "keys.corp", "10.0.0.1", None),
        (["keys.corp"], "KEYS.corp.", "10.0.0.1", None),
        (["keys.corp"], "xkeys.corp", "10.0.0.1", INSIDE),
        (["keys.corp"], "a.keys.corp", "10.0.0.1", INSIDE),
        (["keys.corp"], "keys.corp", "127.0.0.1", HERE),
        (["keys.corp"], "keys.corp", "169.254.169.254", KEYS),
        (["keys.corp"], "keys.corp", "fd00:ec2::254", KEYS),
        (["keys.corp"], "keys.corp", "0.0.0.0", NOBODY),
        (["straße.example"], "xn--strae-oqa.example", "10.0.0.1", None),
        (["straße.example"], "strasse.example", "10.0.0.1", INSIDE),
        (["localhost"], "any.example", "127.0.0.1", None),
        (["127.0.0.0/8"], "any.example", "::1", None),
        (["0.0.0.0/0"], "any.example", "127.0.0.1", HERE),
        ([""], ".", "10.0.0.1", INSIDE),
    ],
)
def test_what_the_operator_allows_may_be_asked_and_no_more(
    allowed: list[str], host: str, address: str, why: str | None
) -> None:
    assert reach_of(allowed).why_not(host, address) == why


@pytest.mark.parametrize(
    ("url", "host", "address", "why"),
    [
        ("https://login.corp/realm", "login.corp", "10.0.0.1", None),
        ("https://login.corp:8443", "LOGIN.corp", "fd00::7", None),
        ("https://login.corp", "keys.corp", "10.0.0.1", INSIDE),
        ("https://login.corp", "login.corp", "127.0.0.1", HERE),
        ("https://login.corp@keys.corp", "login.corp", "10.0.0.1", INSIDE),
        ("https://10.0.0.7/", "10.0.0.7", "10.0.0.7", None),
        ("https://[FD00:0::7]/", "fd00::7", "fd00::7", None),
        ("http://localhost:9000", "any.example", "127.0.0.1", None),
        ("http://[::1]:9000", "127.0.0.1", "127.0.0.1", None),
        ("http://127.0.0.1:9000", "any.example", "10.0.0.1", INSIDE),
        ("file:///x", "", "10.0.0.1", INSIDE),
    ],
)
def test_near_a_url_is_its_own_host_and_on_this_machine_all_of_it(
    url: str, host: str, address: str, why: str | None
) -> None:
    assert PUBLIC.near(url).why_not(host, address) == why


def test_what_is_near_is_beside_what_is_allowed() -> None:
    reach = reach_of(["10.0.0.0/8", "keys.corp"]).near("https://login.corp")
    for host, address in (("x", "10.0.0.1"), ("keys.corp", "172.16.0.1"), ("login.corp", "172.16.0.1")):
        assert reach.why_not(host, address) is None
    assert reach.why_not("x", "172.16.0.1") == INSIDE


@pytest.mark.parametrize("allowed", ["10.0.0.1/8", "10.0.0.0/33", "fd00::/129"])
def test_a_network_that_is_none_is_refused(allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed.partition("/")[0]):
        reach_of([allowed])


# -- what it takes of an answer


async def test_an_answer_has_its_status_its_fields_and_its_body_as_sent(server: ScriptedHttpServer) -> None:
    got = await fetch(f"{server.origin}/", Reach(loopback=True), method="POST", form={"a": "1 &", "b": "é"})
    assert (got.status, got.body) == (418, b"a=1+%26&b=%C3%A9")
    assert (got.headers["cache-control"], got.headers["x"]) == ("a, b", "1")
    packed = await fetch(f"{server.origin}/packed", None)
    assert gzip.decompress(packed.body) == b"x" * 1000
    assert [hit.header("Accept-Encoding") for hit in server.hits()] == ["identity", "identity"]


async def test_an_answer_is_bounded_in_size_and_time(server: ScriptedHttpServer) -> None:
    assert len((await fetch(f"{server.origin}/large", None, bytes_max=1001)).body) == 1001
    with pytest.raises(NotFetched, match="more than 1000 bytes"):
        await fetch(f"{server.origin}/large", None, bytes_max=1000)
    with pytest.raises(NotFetched, match=r"within 0.05 s"):
        await fetch(f"{server.origin}/silent", None, wait_s=0.05)


async def test_what_speaks_no_http_is_not_quoted(server: ScriptedHttpServer) -> None:
    with pytest.raises(NotFetched, match=r"^it can't be reached$"):
        await fetch(f"{server.origin}/garbage", None)


async def test_this_machine_is_asked_only_by_those_who_may_and_others_are_told(server: ScriptedHttpServer) -> None:
    with pytest.raises(NotFetched, match=r"it leads to this machine.*`outbound.allow`"):
        await fetch(server.url, PUBLIC)
    assert server.accepted == 0
    assert (await fetch(server.url, PUBLIC.near(server.url))).status == 418
