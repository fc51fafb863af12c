"""Whose requests are for this hub. Source: hardening T20."""

import pytest

from concento.front.identity.hosts import Hosts
from concento.front.parser import HttpHead, HttpRequest, Refusal, RequestParser

HOSTS = ("localhost", "127.0.0.1", "[::1]", "Hub.Example")


def head_of(*fields: str, version: str = "1.1") -> HttpHead:
    data = "\r\n".join([f"GET /mcp HTTP/{version}", *fields, "", ""]).encode("latin-1")
    (item,) = RequestParser(lambda head: None).feed(data)
    assert isinstance(item, HttpRequest)
    return item.head


def status(*fields: str, version: str = "1.1", hosts: Hosts | None = None) -> int | None:
    refusal: Refusal | None = (hosts or Hosts(HOSTS)).refusal(head_of(*fields, version=version))
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7400", "LOCALHOST", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:7400", "hub.example:80"],
)
def test_a_host_of_ours_passes(host: str) -> None:
    assert status(f"Host: {host}") is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7400",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.2",
        "127.1",
        "0x7f000001",
        "2130706433",
        "::1",
        "[::2]",
        "[::1",
        "[::ffff:127.0.0.1]",
        "",
        ":7400",
        "localhost, evil.example",
        "localhost evil.example",
        "evil.example@localhost",
        "localhost.",
        "localhost:80@evil.example",
        "localhost:evil",
        "[::1]evil.example",
        "[::1].evil.example:80",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    assert status(f"Host: {host}") == 403


def test_http_1_1_needs_a_host_and_1_0_does_not() -> None:
    assert status() == 400
    assert status(version="1.0") is None
    assert status("Host: evil.example", version="1.0") == 403


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "https://localhost:3000", "http://127.0.0.1:7400", "http://[::1]:7400", "HTTP://LOCALHOST"],
)
def test_a_page_of_ours_passes(origin: str) -> None:
    assert status("Host: localhost", f"Origin: {origin}") is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://evil.example#localhost",
        "http://evil.example?localhost",
        "localhost",
        "//evil.example",
        "http://",
        "http://[::1",
        "http://[::2]",
        "http://localhost http://evil.example",
        "http://evil.example, http://localhost",
        "ht\ttp://localhost",
        "http://local\thost",
        "http://evil@localhost",
        "http://localhost/page",
        "//localhost",
    ],
)
def test_any_other_page_is_refused(origin: str) -> None:
    assert status("Host: localhost", f"Origin: {origin}") == 403


@pytest.mark.parametrize("second", ["http://localhost", "http://evil.example"])
def test_an_origin_that_comes_twice_is_refused(second: str) -> None:
    assert status("Host: localhost", "Origin: http://localhost", f"Origin: {second}") == 403


def test_a_host_is_judged_anew_when_the_names_change() -> None:
    hosts = Hosts(["a"])
    assert status("Host: a", hosts=hosts) is None
    assert status("Host: a", hosts=hosts) is None
    hosts.allow(["b"])
    assert status("Host: a", hosts=hosts) == 403
    assert status("Host: b", hosts=hosts) is None


def test_names_that_passed_are_not_collected_without_bound() -> None:
    hosts = Hosts(["a"])
    for port in range(1000):
        assert status(f"Host: a:{port}", hosts=hosts) is None
    assert status("Host: b:1", hosts=hosts) == 403
