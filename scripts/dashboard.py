"""Write the Grafana dashboard: its panels are a table here, its JSON in `packaging/monitoring/` follows from that.

python -m scripts.dashboard
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).parent.parent / "packaging" / "monitoring" / "grafana-dashboard.json"
WIDTH: Final = 24
HEIGHT: Final = 8

_OF: Final = 'job=~"$job",server=~"$server",tenant=~"$tenant"'
_AT: Final = 'job=~"$job",server=~"$server"'
_HUB: Final = 'job=~"$job"'
_RATE: Final = "[$__rate_interval]"


class Panel(NamedTuple):
    """One panel: what it shows, in which unit, by which legend. `kind` is Grafana's own word."""

    title: str
    query: str
    unit: str = "short"
    legend: str = ""
    kind: str = "timeseries"
    width: int = 8
    about: str = ""


def _p(share: float, name: str, by: str, where: str) -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({name}_bucket{{{where}}}{_RATE})))"


_SERVED: Final = "mcp_server_operation_duration_seconds"
_ASKED: Final = "mcp_client_operation_duration_seconds"
_CALLS: Final = "concento_calls_total"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Overview": (
        Panel("Hubs", f"count(concento_info{{{_HUB}}})", kind="stat", width=4),
        Panel("Calls a second", f"sum(rate({_CALLS}{{{_OF}}}{_RATE}))", "reqps", kind="stat", width=4),
        Panel(
            "Calls without a result",
            f'sum(rate({_CALLS}{{{_OF},outcome="error"}}{_RATE})) / sum(rate({_CALLS}{{{_OF}}}{_RATE}))',
            *("percentunit", "", "stat", 4, "Errors, not what a tool calls one, and not what was refused."),
        ),
        Panel("95 % end within", _p(0.95, _SERVED, "", f'{_OF},mcp_method_name="tools/call"'), "s", "", "stat", 4),
        Panel("Calls in flight", f"sum(concento_calls_in_flight{{{_HUB}}})", kind="stat", width=4),
        Panel("Servers not connected", f"count(concento_server_up{{{_AT}}} == 0) or vector(0)", kind="stat", width=4),
    ),
    "Servers": (
        Panel("Calls", f"sum by (server) (rate({_CALLS}{{{_OF}}}{_RATE}))", "reqps", "{{server}}"),
        Panel(
            "Calls without a result",
            f'sum by (server) (rate({_CALLS}{{{_OF},outcome="error"}}{_RATE}))'
            f" / sum by (server) (rate({_CALLS}{{{_OF}}}{_RATE}))",
            *("percentunit", "{{server}}"),
        ),
        Panel("How calls ended", f"sum by (outcome) (rate({_CALLS}{{{_OF}}}{_RATE}))", "reqps", "{{outcome}}"),
        Panel(
            "Tool calls: 95 % end within",
            _p(0.95, _SERVED, ", server", f'{_OF},mcp_method_name="tools/call"'),
            *("s", "{{server}}"),
        ),
        Panel(
            "Attempts at replicas: 95 % end within",
            _p(0.95, _ASKED, ", server, replica", _OF),
            *("s", "{{server}} {{replica}}"),
        ),
        Panel(
            "What went wrong at servers",
            f'sum by (server, error_type) (rate({_ASKED}_count{{{_OF},error_type!=""}}{_RATE}))',
            *("reqps", "{{server}} {{error_type}}"),
        ),
    ),
    "Tools": (
        Panel(
            "Most called",
            f'topk(10, sum by (server, tool) (rate({_CALLS}{{{_OF},tool!=""}}{_RATE})))',
            *("reqps", "{{server}} {{tool}}"),
        ),
        Panel(
            "Slowest: 95 % end within",
            "topk(10, " + _p(0.95, _SERVED, ", server, gen_ai_tool_name", f'{_OF},gen_ai_tool_name!=""') + ")",
            *("s", "{{server}} {{gen_ai_tool_name}}"),
        ),
        Panel(
            "Most errors of tools' own",
            f'topk(10, sum by (server, tool) (rate({_CALLS}{{{_OF},outcome="tool_error"}}{_RATE})))',
            *("reqps", "{{server}} {{tool}}"),
        ),
    ),
    "Tenants and policy": (
        Panel("Calls", f"sum by (tenant) (rate({_CALLS}{{{_OF}}}{_RATE}))", "reqps", "{{tenant}}"),
        Panel(
            "Refused calls",
            f'sum by (tenant, error_type) (rate({_SERVED}_count{{{_OF},error_type!~"|tool_error|cancelled"}}{_RATE}))',
            *("reqps", "{{tenant}} {{error_type}}"),
        ),
        Panel(
            "Refused by limits",
            f"sum by (limit, tenant) (rate(concento_limit_refused_total{{{_HUB}}}{_RATE}))",
            *("reqps", "{{limit}} {{tenant}}"),
        ),
        Panel(
            "What guards did",
            f"sum by (guard, did) (rate(concento_guard_acts_total{{{_HUB}}}{_RATE}))",
            *("reqps", "{{guard}} {{did}}"),
        ),
        Panel(
            "Requests refused on their head",
            f"sum by (status) (rate(concento_refused_total{{{_HUB}}}{_RATE}))",
            *("reqps", "{{status}}"),
        ),
    ),
    "Replicas": (
        Panel(
            "Breakers: open 1, half open 0.5",
            f'sum by (server, replica) (concento_breaker_state{{{_AT},state="open"}}'
            f' + ignoring (state) concento_breaker_state{{{_AT},state="half_open"}} * 0.5)',
            *("short", "{{server}} {{replica}}"),
        ),
        Panel("Connected", f"concento_replica_up{{{_AT}}}", "short", "{{server}} {{replica}}"),
        Panel("Calls in flight", f"concento_replica_in_flight{{{_AT}}}", "short", "{{server}} {{replica}}"),
        Panel(
            "Connected anew",
            f"sum by (server, replica) (increase(concento_replica_connects_total{{{_AT}}}{_RATE}))",
            *("short", "{{server}} {{replica}}"),
        ),
        Panel("Memory of children", f"concento_child_resident_bytes{{{_AT}}}", "bytes", "{{server}} {{process}}"),
        Panel(
            "Processors that children use",
            f"rate(concento_child_cpu_seconds_total{{{_AT}}}{_RATE})",
            *("short", "{{server}} {{process}}"),
        ),
    ),
    "Saturation": (
        Panel(
            "Places taken at servers",
            f"concento_server_in_flight{{{_AT}}} / concento_server_places{{{_AT}}}",
            *("percentunit", "{{server}}"),
        ),
        Panel("Calls that wait for a place", f"concento_server_waiting{{{_AT}}}", "short", "{{server}}"),
        Panel(
            "Connections to servers",
            f"sum by (server, state) (concento_pool_connections{{{_AT}}})",
            *("short", "{{server}} {{state}}"),
        ),
        Panel("The event loop is late by", f"concento_event_loop_lag_seconds{{{_HUB}}}", "s", "{{instance}}"),
        Panel(
            "Processors that hubs use",
            f"rate(process_cpu_seconds_total{{{_HUB}}}{_RATE}) and on (job, instance) concento_info",
            *("short", "{{instance}}"),
        ),
        Panel(
            "Memory of hubs",
            f"process_resident_memory_bytes{{{_HUB}}} and on (job, instance) concento_info",
            *("bytes", "{{instance}}"),
        ),
        Panel(
            "Open files",
            f"process_open_fds{{{_HUB}}} / process_max_fds{{{_HUB}}} and on (job, instance) concento_info",
            *("percentunit", "{{instance}}"),
        ),
        Panel("Agents' connections", f"concento_connections{{{_HUB}}}", "short", "{{instance}}"),
        Panel(
            "Sessions, streams, tasks, parked calls",
            f'{{__name__=~"concento_(sessions|streams|tasks|parked)",{_HUB}}}',
            *("short", "{{__name__}}"),
        ),
        Panel("Entries of caches", f"concento_cache_entries{{{_HUB}}}", "short", "{{cache}}"),
    ),
    "Records": (
        Panel("Audit entries that wait", f"concento_audit_waiting{{{_HUB}}}", "short", "{{instance}}"),
        Panel(
            "Audit entries lost",
            f"increase(concento_audit_dropped_total{{{_HUB}}}{_RATE})",
            *("short", "{{instance}}"),
        ),
        Panel(
            "Traces kept", f"sum by (reason) (rate(concento_traces_kept_total{{{_HUB}}}{_RATE}))", "reqps", "{{reason}}"
        ),
        Panel(
            "Spans exported and lost",
            f'sum by (__name__) ({{__name__=~"concento_spans_(exported|failed|dropped)_total",{_HUB}}})',
            *("short", "{{__name__}}"),
        ),
    ),
}

_VARIABLES: Final = {
    "job": "label_values(concento_info, job)",
    "server": 'label_values(concento_server_up{job=~"$job"}, server)',
    "tenant": 'label_values(concento_calls_total{job=~"$job"}, tenant)',
}
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def queries() -> dict[str, str]:
    """Each panel's query, by its row and title."""
    return {f"{row}: {panel.title}": panel.query for row, panels in ROWS.items() for panel in panels}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    shown: list[dict[str, Any]] = []
    y = 0
    for row, panels in ROWS.items():
        shown.append({"type": "row", "title": row, "id": len(shown) + 1, "gridPos": _place(0, y, WIDTH, 1)})
        y, x = y + 1, 0
        for panel in panels:
            height = 4 if panel.kind == "stat" else HEIGHT
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            shown.append(_shown(panel, len(shown) + 1, _place(x, y, panel.width, height)))
            x += panel.width
        y += 4 if panels[-1].kind == "stat" else HEIGHT
    choices = [
        {
            **{"name": name, "label": name.capitalize(), "type": "query", "query": query, "datasource": _SOURCE},
            **{"multi": True, "includeAll": True, "allValue": ".*", "refresh": 2, "sort": 1},
            "current": {"text": "All", "value": "$__all"},
        }
        for name, query in _VARIABLES.items()
    ]
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        **{"uid": "concento", "title": "Concento", "tags": ["mcp"], "editable": True, "schemaVersion": 39},
        **{"refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "timezone": "browser"},
        "templating": {"list": [source, *choices]},
        "panels": shown,
    }


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _shown(panel: Panel, id: int, place: dict[str, int]) -> dict[str, Any]:
    target = {"refId": "A", "expr": panel.query, "legendFormat": panel.legend or "__auto", "datasource": _SOURCE}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return {
        **{"id": id, "type": panel.kind, "title": panel.title, "description": panel.about, "gridPos": place},
        **{"datasource": _SOURCE, "targets": [target], "options": options},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
    }


def text() -> str:
    """What is in the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
