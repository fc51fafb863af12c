"""metrics.md: what a scraper sees, and what a line of the access log holds."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from msgspec import Raw
from prometheus_client.parser import text_string_to_metric_families

from concento.app import Hub
from concento.front.parser import Refusal
from concento.model.auditing import Audit
from concento.model.call import ALL, NO_ABILITIES, Call, Result
from concento.model.config import Address, ChildReplica, Config, Server, UrlReplica
from concento.model.limiting import LimitRule
from concento.model.prices import PARTS, Book, Budget, Charge, Price, Tier
from concento.model.principal import ANONYMOUS
from concento.model.usage import Metering
from concento.observe.access_log import Line
from concento.observe.metrics import LABELS
from concento.observe.record import Record

from .markdown import code, paragraphs, table
from .source import attribute_docs


def page() -> str:
    """The page."""
    fields = attribute_docs("observe/access_log.py")
    return paragraphs(
        "# Metrics and the access log",
        "Prometheus metrics are at `/metrics` of the admin listener, by default `http://127.0.0.1:7401/metrics`. A "
        "histogram has the usual `_bucket`, `_sum` and `_count`.",
        "## Metrics",
        table(("name", "type", "labels", "meaning"), families(asyncio.run(scraped()))),
        "## Labels",
        table(("label", "meaning"), [(code([label]), meaning) for label, meaning in LABELS.items()]),
        "## The access log",
        "One JSON line a call, where [`telemetry.access_log`](configuration.md#telemetryaccess_log) says. Names only: "
        "no arguments, no results, no credentials. A field that has its usual value is left out.",
        table(("field", "meaning"), [(code([name]), fields[name]) for name in Line.__struct_fields__]),
    )


def families(text: str) -> list[tuple[str, str, str, str]]:
    """Name, type, labels and meaning of each metric in a scrape."""
    rows = []
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        ordered = sorted(labels, key=list(LABELS).index)
        rows.append((code([name]), family.type, code(ordered), family.documentation))
    return rows


async def scraped() -> str:
    """The metrics of a hub that has two servers, had one call, which a guard changed, and refused one request."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            servers={
                "time": Server("time", (ChildReplica((sys.executable, "-c", "")),)),
                "docs": Server("docs", (UrlReplica("http://127.0.0.1:9/mcp"),)),
            },
            limits=(LimitRule("each user", rate=10.0, day=1000),),
            usage=Metering(path=Path(folder, "usage.db")),
            prices=(Book("b", 0, "EUR", (Price("p", "*", "EUR", (Charge("call", (Tier(1),)),)),)),),
            budgets=(Budget("all", PARTS, "EUR", "global"),),
            audit=Audit(path=Path(folder, "audit.db"), stream=f"file:{folder}/audit.jsonl"),
        )
        return await _scraped(config)


def priced() -> Record:
    """The record of a call that costs something."""
    record = Record(Call("tools/call", {}, {}, "now", ALL, ANONYMOUS, NO_ABILITIES), 0.0, time.time())
    record.server, record.tool, record.end = "time", "now", "ok"
    return record


async def _scraped(config: Config) -> str:
    hub = await Hub.create(config, keep=False, audit=True)
    try:
        await hub.listen(Address("127.0.0.1", 0))
        assert hub.listener is not None
        hub.listener.refused(Refusal(404, ""))
        record = hub.records.open(Call("tools/call", {}, {}, "now", ALL, ANONYMOUS, NO_ABILITIES))
        record.attempt(config.servers["docs"], 0, hub.records.now()).replied(Result(Raw(b"{}")), hub.records.now())
        record.guarded("no secrets out", "redacted", "result", {"jwt": 1})
        if hub.usage is not None:
            hub.usage(priced())
        hub.records.close(record)
        return hub.metrics.text().decode()
    finally:
        await hub.close(drain_s=0)
