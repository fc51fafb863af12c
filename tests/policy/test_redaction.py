"""JSON without what detectors find in it: everything else stays, equal as JSON values. Source: hardening T34."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from concento.policy.detectors import DETECTORS
from concento.policy.redaction import Search, Unreadable

EMAIL = "alice@example.com"
GONE = "[redacted: email]"


def redacted(value: Any, *names: str, is_result: bool = True) -> tuple[Any, dict[str, int]]:
    raw, found = Search(names or ("email",)).redacted(Raw(json.dumps(value).encode()), is_result=is_result)
    return json.loads(bytes(raw)), dict(found)


def test_text_is_found_at_any_depth_and_the_rest_stays() -> None:
    value = {
        "content": [{"type": "text", "text": f"Ask {EMAIL} or bob@example.com"}],
        "structuredContent": {"a": [1, 2.50, None, True, {"mail": [EMAIL, "x"]}], "big": 10**30},
        "isError": False,
    }
    kept, found = redacted(value)
    assert found == {"email": 3}
    value["content"][0]["text"] = "Ask [redacted: email] or [redacted: email]"  # type: ignore[index]
    value["structuredContent"]["a"][4]["mail"][0] = "[redacted: email]"  # type: ignore[index]
    assert kept == value


def test_what_has_nothing_comes_back_as_the_very_bytes() -> None:
    raw = Raw(b'{"content": [ {"type":"text","text":"nothing"} ], "n": 1e2}')
    kept, found = Search(("email", "jwt")).redacted(raw, is_result=True)
    assert kept is raw
    assert not found


def test_numbers_stay_as_they_are_written() -> None:
    kept, _ = Search(("email",)).redacted(
        Raw(b'{"n":[1e2,1.50,123456789012345678901234567890],"m":"%s"}' % EMAIL.encode())
    )
    assert bytes(kept) == b'{"n":[1e2,1.50,123456789012345678901234567890],"m":"[redacted: email]"}'


@pytest.mark.parametrize("written", [r"alice\u0040example.com", r"\u0061lice@example.com"])
def test_escapes_hide_nothing(written: str) -> None:
    kept, found = Search(("email",)).redacted(Raw(b'{"a":"%s"}' % written.encode()))
    assert (bytes(kept), found["email"]) == (b'{"a":"[redacted: email]"}', 1)


def test_a_member_that_is_there_twice_hides_nothing() -> None:
    kept, _ = Search(("email",)).redacted(Raw(b'{"a":"alice@example.com","a":"x@y"}'))
    assert bytes(kept) == b'{"a":"x@y"}'


def test_names_of_members_are_searched_and_stay_apart() -> None:
    kept, found = redacted({"alice@example.com": 1, "bob@example.com": 2, "eve@example.com": 3})
    assert kept == {"[redacted: email]": 1, "[redacted: email] 2": 2, "[redacted: email] 3": 3}
    assert found == {"email": 3}


def test_a_number_may_be_that_of_a_card() -> None:
    card = int("45320151128" + "30366")
    kept, found = redacted({"card": card, "other": card + 1}, "credit-card")
    assert kept == {"card": "[redacted: credit-card]", "other": card + 1}
    assert found == {"credit-card": 1}


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "clientSecret", "api-key", "userAccessToken"])
def test_a_member_is_known_by_its_name(name: str) -> None:
    kept, found = redacted({name: "correct horse", "user": "correct horse"}, "password")
    assert kept == {name: "[redacted: password]", "user": "correct horse"}
    assert found == {"password": 1}


@pytest.mark.parametrize("value", [{"password": ""}, {"password": "********"}, {"password": None}, {"password": True}])
def test_a_member_without_a_secret_stays(value: dict[str, Any]) -> None:
    assert redacted(value, "password") == (value, {})


def test_what_only_machines_read_stays_as_it_is() -> None:
    value = {"requestState": EMAIL, "taskId": EMAIL, "inputRequests": {"q": {"params": {"message": EMAIL}}}}
    kept, found = redacted(value)
    assert (kept["requestState"], kept["taskId"]) == (EMAIL, EMAIL)
    assert kept["inputRequests"]["q"]["params"]["message"] == "[redacted: email]"
    assert found == {"email": 1}


def test_the_bytes_of_files_are_left_alone_and_what_only_pretends_to_be_one_is_not() -> None:
    data = "QUtJQUlPU0ZPRE5ON0VYQU1QTEU="
    value = {"content": [{"type": "image", "data": data}, {"type": "image", "data": EMAIL}, {"data": EMAIL}]}
    kept, found = redacted(value)
    assert [part["data"] for part in kept["content"]] == [data, "[redacted: email]", "[redacted: email]"]
    assert found == {"email": 2}
    blob = {"contents": [{"uri": "s://x", "blob": data}, {"uri": "s://x", "blob": EMAIL}]}
    assert [part["blob"] for part in redacted(blob)[0]["contents"]] == [data, "[redacted: email]"]


def test_a_uri_stays_one() -> None:
    kept, _ = redacted({"type": "resource_link", "uri": f"https://x.example/?to={EMAIL}"})
    assert kept["uri"] == "https://x.example/?to=%5Bredacted%3A%20email%5D"


def test_of_two_finds_that_overlap_one_stands_for_both() -> None:
    text = "postgres://app:s3cr" + "3t@db/x?notify=" + EMAIL
    told = "postgres://app:[redacted: url-password]@db/x?notify=[redacted: email]"
    assert redacted(text, "email", "url-password") == (told, {"email": 1, "url-password": 1})
    mixed = "password=alice@example.com"
    kept, found = redacted(mixed, *DETECTORS)
    assert "alice" not in kept
    assert sum(found.values()) == 1


def test_expressions_of_the_operators_own_are_searched_beside_detectors() -> None:
    search = Search(("email",), (("customer number", "CUST-[0-9]{4}"),))
    kept, found = search.redacted(Raw(b'{"a":"CUST-1234 is alice@example.com","CUST-9999":1}'))
    assert json.loads(bytes(kept)) == {
        "a": "[redacted: customer number] is [redacted: email]",
        "[redacted: customer number]": 1,
    }
    assert found == {"customer number": 2, "email": 1}


PLAIN = st.text(alphabet=st.characters(exclude_characters="@", exclude_categories=("Cs", "Nd")), max_size=20)
VALUES = st.recursive(
    PLAIN | st.integers(-1000, 1000) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4),
    max_leaves=20,
)


def planted(value: Any, text: str, draw: Any) -> Any:
    """The same with a text put somewhere among its own, or around it."""
    if isinstance(value, str):
        return f"{value} {text} {value}"
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        return [planted(one, text, draw) if number == place else one for number, one in enumerate(value)]
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        return {key: planted(one, text, draw) if key == name else one for key, one in value.items()}
    return [value, text]


@given(VALUES, st.data())
def test_whatever_the_value_only_what_is_found_changes(value: Any, data: Any) -> None:
    """A value with a mark in it and the same with an address there come to the same."""
    assert redacted(value) == (value, {})
    with_mark = planted(value, GONE, data.draw)
    with_mail = json.loads(json.dumps(with_mark).replace(GONE, EMAIL))
    kept, found = redacted(with_mail)
    assert (kept, found) == (with_mark, {"email": 1})


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a@b":', b'{"a@b":"\xff"}', b""])
def test_what_nobody_can_read_is_an_error(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        Search(("email", "phone")).redacted(Raw(raw))
