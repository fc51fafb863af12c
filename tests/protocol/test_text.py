"""Which texts pass before anything is parsed. Source: hardening T11, T26; dependencies traps 1 and 2."""

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from concento.model.errors import CallError, InvalidRequest, ParseError
from concento.model.limits import BODY_BYTES_MAX, CONTAINERS_MAX, DEPTH_MAX, KEYS_MAX
from concento.protocol.text import check_repeats, check_text, is_plain


def refused(text: bytes) -> int | None:
    """The code `check_text` refuses with; None if it lets the text pass."""
    try:
        check_text(text)
    except CallError as error:
        return error.code
    return None


def arrays(depth: int, core: bytes = b"") -> bytes:
    return b"[" * depth + core + b"]" * depth


def objects(depth: int, core: bytes = b"1") -> bytes:
    return b'{"a":' * depth + core + b"}" * depth


def members(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(count)) + b"}"


PASSED = {
    "empty": b"",
    "depth at the limit, arrays": arrays(DEPTH_MAX),
    "depth at the limit, objects": objects(DEPTH_MAX),
    "depth at the limit, beside wide siblings": b"[" + arrays(DEPTH_MAX - 1) + b",[]" * 5000 + b"]",
    "depth at the limit, with white space": b"[ " * DEPTH_MAX + b" ]" * DEPTH_MAX,
    "brackets in a string": b'["' + b"[" * 100_000 + b'"]',
    "brackets after an escaped quote": b'["\\"' + b"[" * 1000 + b'"]',
    "brackets after escaped backslashes and a quote": b'["\\\\\\"' + b"{" * 1000 + b'"]',
    "brackets in a key": b'{"' + b"{" * 1000 + b'":1}',
    "as many arrays as are taken": b"[" + b"[]," * (CONTAINERS_MAX - 2) + b"[]]",
    "keys at the limit": members(KEYS_MAX),
    "colons in a string": b'{"a":"' + b":" * 20_000 + b'"}',
    "colons after an escaped quote": b'{"a":"\\"' + b":" * 20_000 + b'"}',
    "every plane of UTF-8": '["é", "漢", "😀", "\x7f"]'.encode(),
    "byte order mark": b"\xef\xbb\xbf{}",  # UTF-8 all right; the JSON parser refuses it
}

REFUSED = {
    "depth one over, arrays": (arrays(DEPTH_MAX + 1), -32600),
    "depth one over, objects": (objects(DEPTH_MAX + 1), -32600),
    "depth one over, mixed": (b'[{"a":' * 32 + b"[]" + b"}]" * 32, -32600),
    "depth one over, after a string that ends in a backslash": (
        b'["\\\\",' + arrays(DEPTH_MAX) + b"]",
        -32600,
    ),
    "depth one over, between strings with brackets": (b'["]",' + arrays(DEPTH_MAX, b'"]"') + b"]", -32600),
    "depth one over, after a long string": (b'["' + b"[" * 70_000 + b'",' + arrays(DEPTH_MAX) + b"]", -32600),
    "depth one over, after many strings": (b'["",' + b'"[",' * 50_000 + arrays(DEPTH_MAX) + b"]", -32600),
    "100,000 deep": (arrays(100_000), -32600),
    "keys one over": (members(KEYS_MAX + 1), -32600),
    "arrays one over": (b"[" + b"[]," * (CONTAINERS_MAX - 1) + b"[]]", -32600),
    "keys one over, spread": (
        b"[" + b",".join([b'{"a":1}'] * (KEYS_MAX + 1)) + b"]",
        -32600,
    ),
    "not UTF-8": (b'["\xff"]', -32700),
    "overlong": (b'["\xc0\xaf"]', -32700),
    "an encoded surrogate": (b'["\xed\xa0\x80"]', -32700),
    "beyond Unicode": (b'["\xf4\x90\x80\x80"]', -32700),
    "cut in a character": (b'["\xe2\x82', -32700),
    "UTF-16 with a mark": ("{}".encode("utf-16"), -32700),
}


@pytest.mark.parametrize("text", PASSED.values(), ids=PASSED)
def test_a_text_within_the_limits_passes(text: bytes) -> None:
    check_text(text)


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_a_text_beyond_a_limit_is_refused(text: bytes, code: int) -> None:
    assert refused(text) == code


@pytest.mark.parametrize(
    "text",
    [
        arrays(65) + b'"' + b'\\"' * (BODY_BYTES_MAX // 2 - 100),  # a string without end, full of quotes
        b'{"a":' + arrays(65) + b',"s":"' + b"a" * (BODY_BYTES_MAX - 300) + b'"}',  # one long string
        arrays(65) + b'"",' * (BODY_BYTES_MAX // 3 - 100),
        b"[" * BODY_BYTES_MAX,
        b"[]" * (BODY_BYTES_MAX // 2),
        arrays(31) * (BODY_BYTES_MAX // 62),
        b"\\" * BODY_BYTES_MAX + arrays(65),
        b'"' * (BODY_BYTES_MAX - 200) + arrays(65),
    ],
    ids=["quotes", "long string", "empty strings", "open", "pairs", "deep pairs", "backslashes", "only quotes"],
)
@pytest.mark.timeout(20)
def test_the_largest_hostile_text_costs_little_time_and_memory(text: bytes) -> None:
    """A pattern for strings took 480 MiB for one of them, and hours for another. T26 allows 64 MiB and a second."""
    tracemalloc.start()
    try:
        refused(text)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(TREES, st.integers(50, 70), st.sampled_from([None, 1]))
def test_depth_is_counted_as_a_parser_counts_it(tree: object, more: int, indent: int | None) -> None:
    for _ in range(more):
        tree = [tree]
    text = json.dumps(tree, indent=indent, ensure_ascii=False).encode()
    assert (refused(text) is None) == (depth_of(tree) <= DEPTH_MAX)


# ---- members named twice


def plain(text: bytes) -> bool:
    members = msgspec.json.decode(text, type=dict[str, Raw])
    return is_plain(members, len(text))


@pytest.mark.parametrize("text", [b"{}", b'{"a":1}', b'{"":1}', b'{"a":1,"b":{"c": [1 ,2]}}', '{"é":1}'.encode()])
def test_a_compact_object_is_plain(text: bytes) -> None:
    assert plain(text)


@pytest.mark.parametrize(
    "text",
    [
        b"{ }",
        b'{"a": 1}',
        b' {"a":1}',
        b'{"a":1}\n',
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"\\u0061":1}',
        b'{"a":1,"a":1}',
        b'{"a":"","":1,"":""}',
    ],
)
def test_an_object_with_white_space_escapes_or_repeats_is_not_plain(text: bytes) -> None:
    assert not plain(text)


KEYS = st.text(st.sampled_from('aé"\\/\n\x01\u2028😀'), max_size=3)


def spell(key: str, how: int) -> str:
    """A key as a JSON string, in one of three spellings."""
    if how == 0:
        return json.dumps(key)
    if how == 1:
        return json.dumps(key, ensure_ascii=False)
    units = key.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'


@given(
    st.lists(st.tuples(KEYS, st.integers(0, 2), st.sampled_from(["1", '""', "{}", "[1, 2]", '{"b":1}'])), max_size=5),
    st.sampled_from(["", " ", "\n"]),
)
def test_no_object_that_names_a_member_twice_is_plain(pairs: list[tuple[str, int, str]], space: str) -> None:
    text = ("{" + f",{space}".join(f"{spell(key, how)}:{value}" for key, how, value in pairs) + "}").encode()
    repeats = len({key for key, _, _ in pairs}) < len(pairs)
    if repeats:
        assert not plain(text)
        with pytest.raises(InvalidRequest):
            check_repeats(text)
    else:
        check_repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'[{"b":{"a":1,"c":2,"a":3}}]',
        b'{"a":1,"\\u0061":2}',
        b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}',
        b'{"":1,"":2}',
    ],
)
def test_a_repeat_anywhere_is_found(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check_repeats(text)


def test_a_case_differing_key_is_another_key() -> None:
    check_repeats(b'{"method":1,"Method":2}')


def test_a_number_of_many_digits_is_not_read() -> None:
    check_repeats(b'{"a":' + b"9" * 100_000 + b',"b":1e' + b"9" * 5000 + b"}")


def test_what_is_no_json_is_a_parse_error() -> None:
    with pytest.raises(ParseError):
        check_repeats(b'{"a":')
