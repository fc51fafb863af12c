"""One function a parser: it takes any bytes and asserts what must hold of them. Whatever it raises shows a defect.

`TARGETS` has them by name. hypothesis and atheris call them (`test_fuzz.py`), and so may you: `TARGETS["sse"](b"...")`.
"""

import json
import random
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.fuzz import oracles

from concento.catalog.names import Naming, public_name
from concento.catalog.uris import publish_template, publish_uri, resolve_uri
from concento.control.config import read
from concento.front.identity.hosts import Hosts
from concento.front.parser import HttpHead, HttpRequest, Refusal, RequestParser
from concento.model.call import Result
from concento.model.config import Config
from concento.model.errors import BadReply, ConfigError
from concento.protocol.headers import decode_value, encode_value
from concento.protocol.jsonrpc import Message, Push, Rejection, Response, parse, parse_incoming
from concento.protocol.sse import SseParser, encode_event
from concento.transport.reply import ReplyReader

REFUSED = {-32700, -32600, -32602}
ROUTING = {"name", "uri", "arguments", "_meta", "taskid", "ref", "type", "argument", "cursor"}
HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{0,5})?", re.IGNORECASE)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{0,5})?", re.IGNORECASE)
ENV = {"SECRET": "canary-0123456789"}


def cut(data: bytes, stream: bytes) -> list[bytes]:
    """The stream in pieces, at places that `data` decides."""
    dice = random.Random(data)
    places = sorted({0, len(stream), *(dice.randrange(len(stream) + 1) for _ in range(dice.randrange(8)))})
    return [stream[start:end] for start, end in pairwise(places)]


def request(data: bytes) -> None:
    """Requests: the same however they are cut, and the same as h11 reads them."""

    def admit(head: HttpHead) -> Refusal | None:
        return Refusal(404, "nothing here", close=False) if head.path == "/refused" else None

    stream = data[1:]
    whole = RequestParser(admit).feed(stream)
    parser = RequestParser(admit)
    assert [item for piece in cut(data, stream) for item in parser.feed(piece)] == whole
    ours: list[tuple[str, str, bytes]] = []
    for item in whole:
        if not isinstance(item, HttpRequest):
            break
        head = item.head
        ours.append((head.method, head.path, item.body))
    theirs = [(method, target.partition("?")[0], body) for method, target, body in oracles.requests(stream)]
    for mine, other in zip(ours, theirs, strict=False):
        assert mine == other


def reply(data: bytes) -> None:
    """Replies of servers: one, or one error; the same however it is cut."""
    stream = data[1:]
    whole, _ = _read_reply([stream])
    pieces, left = _read_reply(cut(data, stream))
    if whole is not None or not left:  # what comes behind a whole reply may spoil it, and only in the same read
        assert pieces == whole


def _read_reply(pieces: list[bytes]) -> tuple[object, int]:
    """The reply with its events, None if it is bad; and how many bytes were left unread when that was known."""
    heard: list[tuple[str, bytes]] = []
    reader = ReplyReader("s")
    reader.begin(None, lambda event: heard.append((event.event, event.data)))
    left = sum(map(len, pieces))
    try:
        for piece in pieces:
            left -= len(piece)
            response = reader.feed(piece)
            if response is not None:
                return (response, heard), left
        return (reader.end(clean=True), heard), left
    except BadReply:
        return None, left


def sse(data: bytes) -> None:
    """Event streams: the same however they are cut, and what the specification says they hold."""
    stream = data[1:]
    parser = SseParser(1 << 20)
    found = [event for piece in cut(data, stream) for event in parser.feed(piece)]
    assert [(event.event, event.data, event.id) for event in found] == oracles.events(stream)
    written = encode_event(stream)
    (event,) = SseParser(1 << 20).feed(written)
    assert event.data == stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def jsonrpc(data: bytes) -> None:
    """Messages of agents: what we accept, a strict parser accepts and reads alike."""
    message = parse(data)
    if isinstance(message, Rejection):
        assert message.error.code in REFUSED
        assert message.id is None or isinstance(json.loads(message.id), str | int)
        return
    assert isinstance(message, Message)
    envelope = oracles.json_pairs(data).members
    assert envelope["jsonrpc"] == "2.0"
    assert (message.kind == "response") == ("method" not in envelope)
    assert message.id is None or json_equal(message.id, envelope["id"])
    if message.kind == "response":
        return
    assert message.method == envelope["method"]
    params = dict(envelope["params"].members) if "params" in envelope else {}
    meta = params.pop("_meta", None)
    assert message.params.keys() == params.keys()
    assert all(json_equal(bytes(value), params[name]) for name, value in message.params.items())
    assert (message.meta is None) == (meta is None)
    if message.meta is not None and meta is not None:
        assert message.meta.keys() == meta.members.keys()
    folded = [name for name in message.params if name.casefold() in ROUTING]
    assert len({name.casefold() for name in folded}) == len(folded)


def json_equal(text: bytes, value: object) -> bool:
    return bool(oracles.json_pairs(text) == value)


def incoming(data: bytes) -> None:
    """Messages of servers: a message, or the one error; what is relayed of it is JSON."""
    try:
        message = parse_incoming(data)
    except BadReply:
        return
    if isinstance(message, Push):
        assert isinstance(message.method, str)
    else:
        assert isinstance(message, Response)
        if isinstance(message.reply, Result):
            assert isinstance(oracles.json_pairs(bytes(message.reply.raw)), oracles.Pairs)


def headers(data: bytes) -> None:
    """Header values: any text survives, in a form that no header can be broken with; one text, one reading."""
    text = data.decode(errors="replace")
    written = encode_value(text)
    assert re.fullmatch(r"[\x20-\x7e]*", written)
    assert written == written.strip(" ")
    assert decode_value(written) == text
    decoded = decode_value(data.decode("latin-1"))
    if decoded is not None:
        assert decode_value(encode_value(decoded)) == decoded


def hosts(data: bytes) -> None:
    """Host and Origin: what passes is one of ours and nothing else besides."""
    judge = Hosts(["localhost", "127.0.0.1", "[::1]"])
    host, _, origin = data.decode("latin-1").partition("\n")
    if judge.problem([host], []) is None:
        assert HOST.fullmatch(host)
    if judge.problem([], [origin]) is None:
        assert ORIGIN.fullmatch(origin)


def config(data: bytes) -> None:
    """Configurations: read, or refused with what is wrong, and no secret is shown."""
    try:
        loaded: Config | ConfigError = read(data, Path("/etc/hub/concento.yaml"), ENV)
    except ConfigError as error:
        loaded = error
    assert isinstance(loaded, Config) or loaded.problems
    assert "canary" not in repr(loaded) + str(loaded)


def names(data: bytes) -> None:
    """Public names and URIs: no two things share one, and a URI leads back to its owner."""
    words = [part.decode(errors="surrogateescape") for part in data.split(b"\n")[:8]]
    things = {(alias, word) for alias in ("a", "a-b", "b") for word in words}
    for chars_max in (16, 48):
        naming = Naming(chars_max, frozenset({"a", "a-b", "b"}))
        public = {public_name(alias, word, naming) for alias, word in things}
        assert len(public) == len(things)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) and len(name) <= chars_max for name in public)
    for alias, word in things:
        assert resolve_uri(publish_uri(alias, word)) == (alias, word)
        assert (resolve_uri(publish_template(alias, word)) or ("",))[0] == alias


def every(data: bytes) -> None:
    """Any of them, as the first byte says."""
    targets = list(TARGETS.values())
    if data:
        targets[data[0] % len(targets)](data[1:])


def flawed(data: bytes) -> None:
    """A defect, to see that it would be found."""
    value = decode_value(data.decode("latin-1"))
    assert value is None or value.partition("!")[2][:1] != "?"


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (request, reply, sse, jsonrpc, incoming, headers, hosts, config, names)
}
