"""What channels carry, to real receivers: form, signature, encryption, and what a receiver that is not well says."""

import json
import ssl
from dataclasses import replace
from typing import Any

import pytest
import trustme
from tests.observe.alerts.kit import DOWN, Bench, alerting, receiver
from tests.observe.alerts.mail import mail_server

from concento.model.alerting import EmailChannel, Step, WebhookChannel
from concento.observe.alerts import NotDelivered
from concento.observe.alerts.channels import Channels
from concento.observe.alerts.messages import clean, lines, summary, webhook_body
from concento.observe.alerts.notify import Delivery, Item

RULES = {
    "server_down": replace(DOWN, remedy="`concento servers` says why.", runbook="docs/reference/alerts.md#server_down")
}
AT_S = 1_800_000_000.0


def item(server: str = "time", **more: Any) -> Item:
    labels = (("server", server),)
    return Item("0a1b2c3d4e", "0a1b2c3d4e-f", "server_down", "critical", labels, 0.0, "it is not ready", AT_S, **more)


def delivery(*items: Item, **more: Any) -> Delivery:
    made = {"what": "firing", "incident": "incident-1", "step": 0, "at_s": AT_S, "open": len(items), **more}
    return Delivery("delivery-1", "ops", items=items or (item(),), **made)


def body(preset: str, told: Delivery, **more: Any) -> dict[str, Any]:
    channel = WebhookChannel("ops", "https://example.com", preset, **more)  # type: ignore[arg-type]
    return dict(json.loads(webhook_body(channel, told, RULES)))


# -- forms

HOSTILE = (
    "x\r\nBcc: a@b.c\x1b[31m <!channel> *bold* <https://evil.example|click> https://evil.example \u202egnp.exe\u200b"
)


def test_names_of_others_are_no_markup_links_or_mentions_to_slack() -> None:
    told = body("slack", delivery(item(HOSTILE)))
    assert told["mrkdwn"] is False
    assert [part for part in ("<", "://") if part in told["text"]] == []
    for block in told["blocks"]:
        assert block["text"]["type"] == "plain_text", "nothing in it is read as markup"
        assert "://evil" not in block["text"]["text"]
        assert all(char.isprintable() or char == "\n" for char in block["text"]["text"])


def test_a_name_is_one_line_and_short() -> None:
    assert clean("a\nb\x00c\u202e") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    assert len(clean("x" * 10_000)) == 120


def test_slack_gets_no_more_than_it_takes() -> None:
    told = body("slack", delivery(*(item("s" * 200 + str(number)) for number in range(20)), more=400))
    assert len(told["blocks"][0]["text"]["text"]) <= 150
    assert len(told["blocks"][1]["text"]["text"]) <= 3000


def test_pagerduty_has_one_incident_that_is_resolved_when_nothing_fires_any_more() -> None:
    fired = body("pagerduty", delivery(item("a"), item("b")), routing_key="key")
    assert (fired["event_action"], fired["dedup_key"], fired["routing_key"]) == ("trigger", "incident-1", "key")
    assert fired["payload"]["severity"] == "critical"
    one_over = body("pagerduty", delivery(item("a", over_s=AT_S + 60), what="over", open=1), routing_key="key")
    assert one_over["event_action"] == "trigger", "b still fires"
    both = body("pagerduty", delivery(item("b", over_s=AT_S + 60), what="over", open=0), routing_key="key")
    assert both == {**{key: fired[key] for key in ("routing_key", "dedup_key", "client")}, "event_action": "resolve"}


def test_a_message_says_what_to_do_and_how_to_say_that_one_does() -> None:
    told = lines(delivery(item(), more=3), RULES)
    assert told[0].startswith("server_down time (0a1b2c3d4e): it is not ready; since 2027-01-15T08:00:00Z")
    assert told[1] == "and 3 more: concento alerts"
    assert told[2:] == [
        "What to do about server_down: `concento servers` says why.",
        "More: docs/reference/alerts.md#server_down",
        "It is taken care of: concento alerts ack 0a1b2c3d4e",
    ]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (delivery(), "[critical] server_down time"),
        (delivery(again=True), "[critical, still] server_down time"),
        (delivery(what="over"), "[over] server_down time"),
        (delivery(item("a"), item("b"), more=2), "[critical] server_down: 4 alerts: a, b"),
        (delivery(what="test"), "Test of this channel: nothing is wrong"),
    ],
)
def test_a_summary_says_it_in_one_line(told: Delivery, text: str) -> None:
    assert summary(told) == text


# -- webhooks


async def test_a_receiver_that_says_when_to_come_back_is_heard() -> None:
    async with receiver() as hook:
        hook.statuses = [429]
        hook.headers = {"Retry-After": "77"}
        with pytest.raises(NotDelivered, match="status 429") as caught:
            await Channels(lambda: AT_S).carry(WebhookChannel("ops", hook.url), delivery(), RULES)
    assert caught.value.pause_s == 77.0


async def test_a_receiver_that_is_not_there_is_said_without_its_url() -> None:
    channel = WebhookChannel("ops", "http://127.0.0.1:1/hook/T0KEN")
    with pytest.raises(NotDelivered) as caught:
        await Channels(lambda: AT_S).carry(channel, delivery(), RULES)
    assert str(caught.value) == "it can't be reached"
    assert "T0KEN" not in repr(channel)


# -- mail


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


def mail(port: int, **more: Any) -> EmailChannel:
    return EmailChannel("mail", "localhost", "hub@example.com", ("ops@example.com", "lead@example.com"), port, **more)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.usefixtures("trusted")
async def test_mail_is_encrypted_and_signed_in(server_tls: ssl.SSLContext, implicit: bool) -> None:
    with mail_server(server_tls, implicit=implicit) as box:
        tls = "implicit" if implicit else "starttls"
        channel = mail(box.port, tls=tls, user="concento", password="letmein")
        said = await Channels(lambda: AT_S).carry(channel, delivery(item(HOSTILE)), RULES)
    assert said == "the mail server took it"
    ((to, message),) = box.got
    assert to == ["ops@example.com", "lead@example.com"]
    assert message["Message-ID"] == "<delivery-1@example.com>"
    assert message["References"] == "<incident-1@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Bcc"] is None, "a name of somebody else's makes no header"
    assert box.was_encrypted or implicit


async def test_a_mail_server_without_starttls_gets_nothing() -> None:
    with mail_server() as box, pytest.raises(NotDelivered, match="does not offer what is asked for"):
        await Channels(lambda: AT_S).carry(mail(box.port), delivery(), RULES)
    assert box.got == []


async def test_a_mail_server_whose_certificate_nobody_trusts_gets_nothing(server_tls: ssl.SSLContext) -> None:
    with mail_server(server_tls) as box, pytest.raises(NotDelivered, match="TLS failed"):
        await Channels(lambda: AT_S).carry(mail(box.port, user="concento", password="letmein"), delivery(), RULES)
    assert box.got == []


@pytest.mark.usefixtures("trusted")
async def test_a_wrong_password_is_said_without_it(server_tls: ssl.SSLContext) -> None:
    with mail_server(server_tls) as box, pytest.raises(NotDelivered, match="does not take the user") as caught:
        await Channels(lambda: AT_S).carry(mail(box.port, user="concento", password="wr0ng"), delivery(), RULES)
    assert "wr0ng" not in str(caught.value)


async def test_a_mail_server_that_refuses_for_now_is_tried_again() -> None:
    with mail_server() as box:
        box.answer = "451 try later"
        with pytest.raises(NotDelivered, match="answered with 451"):
            await Channels(lambda: AT_S).carry(mail(box.port, tls="none"), delivery(), RULES)
        box.answer = "250 OK"
        await Channels(lambda: AT_S).carry(mail(box.port, tls="none"), delivery(), RULES)
    assert len(box.got) == 1


async def test_a_mail_server_that_is_not_there_is_said() -> None:
    with pytest.raises(NotDelivered, match="the mail server localhost:1 can't be reached"):
        await Channels(lambda: AT_S).carry(mail(1, tls="none"), delivery(), RULES)


async def test_a_webhook_is_told_first_and_who_is_mailed_next_hears_the_end_too() -> None:
    with mail_server() as box:
        async with receiver() as hook:
            channels = {"ops": WebhookChannel("ops", hook.url), "lead": mail(box.port, tls="none")}
            made = Bench(alerting(DOWN, steps=(Step(("ops",)), Step(("lead",), 900.0)), channels=channels))
            made.received = Channels(made.clock.wall)
            await made.restart()
            made.up = {"time": 0.0}
            await made.pass_s(1000)
            assert (len(hook.got), box.got) == (1, [])
            await made.pass_s(100)
            made.up = {"time": 1.0}
            await made.pass_s(100)
    assert [json.loads(body)["what"] for _, body in hook.got] == ["firing", "over"]
    subjects = [message["Subject"] for _, message in box.got]
    assert subjects == ["[critical] server_down time", "[over] server_down time"]
    assert len({message["References"] for _, message in box.got}) == 1, "one thread"
