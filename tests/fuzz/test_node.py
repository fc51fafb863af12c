"""What the hub accepts and acts upon, the JSON parser of Node.js reads alike.

Source: hardening T11. Names are compared, not numbers: JavaScript rounds integers beyond 2^53, and the hub relays them
as they are.
"""

import base64
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz import seeds
from tests.node import node

from concento.protocol.jsonrpc import Message, parse, read_string

MUTANTS = 30_000
SCRIPT = Path(__file__).with_name("parse.mjs")


def mutants(count: int) -> Iterator[bytes]:
    """The messages that fuzzing begins with, and each of them damaged again and again, by words of the format too."""
    dice = random.Random(1)
    whole = [data for data in seeds.of("jsonrpc") if len(data) < 1000]
    words = seeds.words("jsonrpc")
    yield from whole
    for _ in range(count):
        text = bytearray(dice.choice(whole))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(text) + 1)
            what = dice.randrange(4)
            if what == 0:
                del text[at : at + dice.randrange(1, 4)]
            elif what == 1:
                text[at : at + 1] = bytes([dice.randrange(256)])
            else:
                text[at:at] = dice.choice(words)
        yield bytes(text)


def node_reads(texts: list[bytes]) -> list[Any]:
    lines = b"".join(base64.b64encode(text) + b"\n" for text in texts)
    done = subprocess.run([node(), str(SCRIPT)], input=lines, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_node_reads_what_we_accept_and_reads_the_same() -> None:
    texts = list(mutants(MUTANTS))
    accepted = 0
    for text, told in zip(texts, node_reads(texts), strict=True):
        message = parse(text)
        if not isinstance(message, Message) or message.kind == "response":
            continue
        accepted += 1
        assert told is not None, text
        assert told["method"] == message.method, text
        assert (told.get("id") is None) == (message.id is None), text
        for name in ("name", "uri"):
            if (ours := read_string(message.params.get(name))) is not None:
                assert told[name] == ours, text
        members = set(message.params) | ({"_meta"} if message.meta is not None else set())
        assert set(told["members"]) == members, text
    assert accepted > MUTANTS // 100, "too few were messages: the comparison says nothing"
    print(f"{len(texts)} texts, {accepted} of them accepted and read alike")


def test_the_parsers_do_differ_where_a_member_comes_twice() -> None:
    """Which is why the hub refuses it: each of them takes the last, and says nothing."""
    text = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name":"delete_all"}}'
    (told,) = node_reads([text])
    assert told["name"] == "delete_all"
    assert not isinstance(parse(text), Message)
