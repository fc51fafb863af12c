"""configuration.md: every key, by its place in the file."""

from collections.abc import Iterator
from typing import Any, Final

from concento.control.config import alerts, auth, guards, keys, prices, references, root
from concento.control.config.kinds import Choice, Entries, Items, Key, Keys, OrOff, OrWord, WithPlace

from .markdown import code, paragraphs, plain, sentences, slug


def page() -> str:
    """The page."""
    parts = [
        "# Configuration",
        "One file, `concento.yaml`: YAML, or the same as JSON. `concento check` tells what is wrong with it, "
        "`concento schema` prints its JSON Schema for an editor.",
        "## References",
        sentences(references.__doc__),
    ]
    for path, table in tables():
        parts.append(f"## {heading(path, table)}")
        inherited = [key.name for key in table.keys.values() if is_inherited(path, key)]
        parts += [entry(path, key) for key in table.keys.values() if key.name not in inherited]
        if inherited:
            linked = [f"[`{name}`](#{slug(f'servers.ALIAS.{name}')})" for name in inherited]
            parts.append(f"As in the server itself: {', '.join(linked)}.")
        if table.later:
            parts.append("### Keys of later versions")
            parts.append(f"Refused by name, since to ignore them could be unsafe: {code(table.later)}.")
    return paragraphs(*parts)


def tables(path: str = "", table: Keys = root.ROOT) -> Iterator[tuple[str, Keys]]:
    """Every mapping with fixed keys, with its place in the file."""
    yield path, table
    for key in table.keys.values():
        step, inner = opened(key)
        if (path, key.name) in SHARED or is_inherited(path, key) or (path == "defaults" and key is keys.SANDBOX):
            continue
        if inner is not None:
            yield from tables(joined(path, step), inner)


def opened(key: Key[Any]) -> tuple[str, Keys | None]:
    """What stands between a key and the keys below it, as in `tools.NAME` or `replicas[]`, and those keys."""
    step, kind = key.name, key.kind
    while True:
        match kind:
            case Keys():
                return step, kind
            case OrOff() | WithPlace():
                kind = kind.kind
            case OrWord():
                kind = kind.keys
            case Items():
                step, kind = f"{step}[]", kind.kind
            case Entries():
                step, kind = f"{step}.{kind.what.split()[-1].upper()}", kind.kind
            case _:
                return step, None


def is_inherited(path: str, key: Key[Any]) -> bool:
    """Whether a key of a replica is one that its server has, too."""
    return path == "servers.ALIAS.replicas[]" and key in keys.SERVER.keys.values()


SHARED: Final = {
    ("tenants.TENANT", "servers"): "servers.ALIAS",
    ("tenants.TENANT", "tools"): "tools.TOOL",
    ("tenants.TENANT", "views"): "views.NAME",
    ("tenants.TENANT", "roles"): "roles.ROLE",
    ("tenants.TENANT", "policies"): "policies[]",
    ("tenants.TENANT", "limits"): "limits.LIMIT",
    ("tenants.TENANT", "guards"): "guards.GUARD",
    ("guards.GUARD", "when"): "policies[].when",
    ("guards.GUARD", "unless"): "policies[].when",
    ("admin", "tls"): "tls",
    ("policies[]", "unless"): "policies[].when",
}
"""Keys whose own keys are told elsewhere, and where."""

SECRET: Final = '"${env:API_KEY}"'
OF_TOKENS: Final = ("token_url", "client_id", "client_secret", "method", "scope", "resource")
WEBHOOK: Final = {"url": guards.URL.example}
TOKENS: Final = {"token_url": '"https://login.example.com/token"', "client_id": "concento"}
OF_EXCHANGE: Final = ("audience", "subject", "at")
MAIL: Final = {name: key.example for name, key in alerts.EMAIL_KEYS.items() if key.required}
HOOK: Final = {"url": alerts.URL.example}
GROWS: Final = {"metric": "concento_limit_refused_total"}
AT: Final = {"client_id": "concento", "client_secret": SECRET}

BESIDE: Final[dict[str, dict[str, str]]] = {
    "tls": {"cert": "hub.crt", "key": "hub.key", "client_ca": "agents-ca.crt"},
    "tls.cert": {"key": "hub.key"},
    "tls.key": {"cert": "hub.crt"},
    "tls.ca": {},
    **{f"credentials.basic.{name}": {"user": "hub", "password": SECRET} for name in ("user", "password")},
    **{f"credentials.oauth.{name}": {**TOKENS, "client_secret": SECRET} for name in OF_TOKENS},
    "credentials.oauth.private_key": TOKENS,
    "credentials.oauth.issuer": {**TOKENS, "private_key": '"${file:secrets/client.pem}"'},
    **{f"credentials.exchange.{name}": {**TOKENS, "client_secret": SECRET} for name in (*OF_TOKENS, *OF_EXCHANGE)},
    **{f"credentials.exchange.{name}": TOKENS for name in ("private_key",)},
    "credentials.exchange.issuer": {**TOKENS, "private_key": '"${file:secrets/client.pem}"'},
    **{f"credentials.exchange.at.{name}": AT for name in ("client_id", "client_secret", "method")},
    "credentials.exchange.at.private_key": {"client_id": "concento"},
    "credentials.user.client_secret": {"client_id": "concento", "issuer": '"https://login.example.com"'},
    "credentials.user.method": {
        "client_id": "concento",
        "client_secret": SECRET,
        "issuer": '"https://login.example.com"',
    },
    "auth.jwt[]": {
        "name": "company",
        "issuer": "https://login.example.com",
        "audience": "[api://concento]",
        "claims": "{tenant: org_id, roles: groups}",
    },
    "auth.mtls[]": {"match": '"dns:*.agents.example.com"'},
    "policies[]": {"deny": '["time.*"]'},
    "policies[].advertise": {"allow": '["time.*"]', "when": "{scopes: [time:read]}"},
    "policies[].allow": {},
    "policies[].options": {"deny": '["time.*"]', "engine": "acme-risk"},
    "auth.api_keys": {"mtls": '[{match: "dns:*.agents.example.com"}]'},
    "limits.LIMIT": {"rate": "10/s", "day": "10000"},
    "guards.GUARD": {"redact": "[secrets]"},
    "guards.GUARD.webhook": {},
    **{f"guards.GUARD.webhook.{key.name}": WEBHOOK for key in guards.WEBHOOK_KEYS},
    "alerts.rules.RULE": {"ratio": "{above: 0.2}"},
    **{f"alerts.rules.RULE.{key.name}": {} for key in alerts.CONDITIONS},
    "alerts.rules.RULE.threshold.metric": {"above": "1000"},
    "alerts.rules.RULE.threshold.above": {"metric": "concento_sessions"},
    "alerts.rules.RULE.threshold.below": {"metric": "concento_sessions"},
    **{f"alerts.rules.RULE.increase.{name}": GROWS for name in ("above", "within_s")},
    **{f"alerts.rules.RULE.ratio.{name}": {"above": "0.2"} for name in ("within_s", "of", "by", "calls_min")},
    **{f"alerts.rules.RULE.burn.{name}": {"objective": "0.99"} for name in ("factor", "of", "by", "calls_min")},
    "alerts.rules.RULE.burn.short_s": {"objective": "0.99", "long_s": "21600"},
    "alerts.rules.RULE.burn.long_s": {"objective": "0.99", "short_s": "1800"},
    **{f"alerts.rules.RULE.slow.{name}": {"over_s": "5"} for name in ("share", "within_s", "by", "calls_min")},
    "alerts.channels.CHANNEL": {},
    **{f"alerts.channels.CHANNEL.webhook.{name}": HOOK for name in ("preset", "secret", "bearer", "timeout_s")},
    "alerts.channels.CHANNEL.webhook.routing_key": {"preset": "pagerduty"},
    **{f"alerts.channels.CHANNEL.email.{name}": MAIL for name in alerts.EMAIL_KEYS},
    "alerts.channels.CHANNEL.email.user": {**MAIL, "password": SECRET},
    "alerts.channels.CHANNEL.email.password": {**MAIL, "user": "concento"},
    "alerts.routes": {"channels": alerts.CHANNELS.example},
    "alerts.routes[]": {"channels": "[ops]"},
    "alerts.routes[].steps": {},
    "alerts.routes[].steps[]": {"channels": "[ops]"},
    "alerts.maintenance.WINDOW": {"from": '"02:00"', "to": '"04:00"'},
    "tools.TOOL": {"bind": "[brave.search, tavily.search]"},
    "tools.TOOL.bind": {"strategy": "balance"},
    "tools.TOOL.sticky": {"bind": "[brave.search, tavily.search]", "strategy": "split"},
    "tools.TOOL.feedback": {"bind": "[brave.search, tavily.search]", "strategy": "split"},
    "search.embeddings.url": {"model": "small"},
    "search.embeddings.model": {"url": "https://models.example.com/v1/embeddings"},
    "search.embeddings.bearer": {"url": "https://models.example.com/v1/embeddings", "model": "small"},
    "tools.TOOL.bind[]": {"tool": "tavily.search"},
    "tools.TOOL.fanout": {"bind": "[brave.search, tavily.search]", "strategy": "fanout"},
    **{f"tools.TOOL.fanout.{name}": {} for name in ("enough", "fail", "branch_s", "merge")},
    "prices.BOOK": {"currency": "EUR", "valid_from": "2026-11-01", "tools": prices.OF_TOOLS.example},
    "prices.BOOK.tools.PATTERN.UNIT.free": {"price": "0.002"},
    "prices.BOOK.tools.PATTERN.UNIT.tiers[]": {"upto": "10000", "price": "0.002"},
    "budgets.BUDGET": {"amount": "50.00"},
    "tools.TOOL.fanout.merge.by": {"path": "results", "key": "url"},
    "tools.TOOL.fanout.merge.path": {},
    "tools.TOOL.fanout.merge.key": {"by": "union", "path": "results"},
}
"""What a table has to say besides, for a key of its to be right there."""


def entry(path: str, key: Key[Any]) -> str:
    """One key: what it is for, what it accepts, an example."""
    facts = [f"*Accepts* {plain(key.kind.accepts())}."]
    _, defaults = opened(keys.DEFAULTS)
    if path == "servers.ALIAS" and defaults is not None and key in defaults.keys.values():
        facts.append(f"*Default* what [`defaults.{key.name}`](#{slug(f'defaults.{key.name}')}) says.")
    elif key.default is not None:
        facts.append(f"*Default* `{written(key.default)}`.")
    if key.required:
        facts.append("*Required.*")
    if isinstance(key.kind, Choice) and key.kind.later:
        facts.append(f"*In a later version* {code(key.kind.later)}.")
    step, inner = opened(key)
    if inner is not None:
        place = SHARED.get((path, key.name)) or joined("servers.ALIAS" if key is keys.SANDBOX else path, step)
        facts.append(f"*Its keys* [below](#{slug(heading(place, inner))}).")
    return "\n\n".join(
        (
            f"### `{joined(path, key.name)}`",
            plain(key.doc),
            " ".join(facts),
            f"```yaml\n{example_of(path, key)}```",
        )
    )


def example_of(path: str, key: Key[Any]) -> str:
    """A configuration that shows the key, or the part of one that it needs."""
    steps = path.split(".") if path else []
    if steps[:2] != ["servers", "ALIAS"]:
        first = (*steps, key.name)[0]
        needed = [f"servers: {keys.SERVERS.example}\n"] if first in ("views", "tenants") else []
        if "tools" in (*steps, key.name) and first != "prices":
            needed = [SEARCHING]
        if first == "budgets":
            needed.append(f"prices: {prices.PRICES.example}\n")
        if first == "auth" and (*steps, key.name)[1:2] in (("mtls",), ("mtls[]",), ("api_keys",)):
            needed.append("tls: {cert: hub.crt, key: hub.key, client_ca: agents-ca.crt}\n")
        if (key.name == "tenant" or key is prices.FOR_TENANTS) and "acme" in key.example:
            needed.append("tenants: {acme: {}}\n")
        if "[reader]" in key.example:
            needed.append('roles: {reader: {allow: ["time.*"]}}\n' if first != "roles" else "")
        return "".join((nested(steps, key), "\n", *needed))
    lines = [f"    {name}: {value}\n" for name, value in beside(steps[2:], key).items()]
    signing_in = f"auth: {{jwt: {auth.JWT.example}}}\n" if "exchange" in (*steps, key.name) else ""
    return "".join(("servers:\n  example:\n", *lines, f"    {nested(steps[2:], key)}\n", signing_in))


def nested(steps: list[str], key: Key[Any]) -> str:
    """The key with its example, below those steps, on one line."""
    text = f"{key.name}: {key.example}"
    if key is keys.SANDBOX_COMMAND:
        text = f"kind: container, {text}"
    for depth, step in reversed([*enumerate(steps, start=1)]):
        place = ".".join(steps[:depth])
        own = text.partition(":")[0]
        companions = BESIDE.get(f"{place}.{own}", BESIDE.get(place, {}))
        text = ", ".join([*(f"{name}: {value}" for name, value in companions.items() if name != own), text])
        if step.isupper():
            text = f"{NAMES.get(place, 'get_current_time' if 'tools' in steps else 'clock')}: {{{text}}}"
        elif place == "tools.TOOL.bind[]":  # one of them has to be a name alone
            text = f"bind: [brave.search, {{{text}}}]"
        elif place.endswith(".tiers[]"):
            text = f"tiers: [{{{text}}}, {{price: 0.001}}]"
        elif step.endswith("[]") and steps[0] != "servers" and "replicas[]" not in steps:
            text = f"{step[:-2]}: [{{{text}}}]"
        elif step.endswith("[]"):
            text = f"{step[:-2]}: [{{url: http://10.0.0.1:9000/mcp, {text}}}, {{url: http://10.0.0.2:9000/mcp}}]"
        else:
            text = f"{step}: {{{text}}}"
    return text


NAMES: Final = {
    "tenants.TENANT": "acme",
    "roles.ROLE": "reader",
    "limits.LIMIT": "each user",
    "guards.GUARD": "no secrets out",
    "tools.TOOL": "web_search",
    "alerts.rules.RULE": "search_errors",
    "alerts.channels.CHANNEL": "ops",
    "alerts.maintenance.WINDOW": "nightly",
    "prices.BOOK": "standard",
    "prices.BOOK.tools.PATTERN": '"time.*"',
    "prices.BOOK.tools.PATTERN.UNIT": "call",
    "budgets.BUDGET": "each tenant",
}


SEARCHING: Final = (
    "servers: {brave: {url: https://brave.example.com/mcp}, tavily: {url: https://tavily.example.com/mcp}}\n"
)


def beside(steps: list[str], key: Key[Any]) -> dict[str, str]:
    """What a server has to say besides, for the key to be right there."""
    if steps == ["replicas[]"] or key in (keys.COMMAND, keys.URL, keys.REPLICAS):
        return {}
    if key is keys.BALANCE:
        return {"replicas": keys.REPLICAS.example}
    if key is keys.HASH_BY:
        return {"replicas": keys.REPLICAS.example, "balance": "hash"}
    if key in keys.ONLY_WITH_URL or steps[:1] in ([keys.CREDENTIALS.name], [keys.SERVER_TLS.name]):
        return {"url": keys.URL.example}
    return {"command": keys.COMMAND.example}


def heading(path: str, table: Keys) -> str:
    """The title of a table's section."""
    if not path:
        return "At the top"
    return f"`{path}`" if path.endswith(table.what) else f"`{path}`: {table.what}"


def written(value: object) -> str:
    """A default as the file would have it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            items = [f'"{item}"' if "[" in str(item) else str(item) for item in value]
            return f"[{', '.join(items)}]"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def joined(path: str, step: str) -> str:
    """One step further down in the file."""
    return f"{path}.{step}" if path else step
