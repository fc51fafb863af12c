"""Charts as SVG: horizontal bars on a logarithmic axis, in the colours that the reader's browser prefers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES, ROW, BAR, HEAD, GAP = 800, 130, 200, 26, 16, 72, 34
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 } .muted { fill: #59636e } .axis { font-size: 11px; fill: #59636e }
  .group { font-weight: 600 } .grid { stroke: #d1d9e0 } .range { stroke: #1f2328; stroke-width: 1.5 }
  .bar { fill: #afb8c1 } .ours { fill: #0969da } .ours-text { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .muted, .axis { fill: #9198a1 } .grid { stroke: #3d444d } .range { stroke: #f0f6fc }
    .bar { fill: #656c76 } .ours { fill: #4493f8 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One bar: how long, how far the rounds spread, and what stands beside it. `ours` stands out."""

    label: str
    value: float
    low: float
    high: float
    text: str
    more: str = ""
    ours: bool = False


@dataclass(frozen=True)
class Group:
    """Bars that are compared with one another."""

    title: str
    bars: Sequence[Bar]


def chart(title: str, subtitle: str, groups: Sequence[Group], units: Sequence[tuple[float, str]]) -> str:
    """The whole picture. `units`: what a gridline's value is divided by and called, smallest first."""
    values = [value for group in groups for bar in group.bars for value in (bar.low, bar.high)]
    low = math.floor(math.log10(min(values)) - 0.3)
    high = max(math.ceil(math.log10(max(values))), low + 1)
    height = HEAD + sum(GAP + ROW * len(group.bars) for group in groups) + 8

    def x(value: float) -> float:
        return LABELS + (WIDTH - LABELS - VALUES) * (math.log10(value) - low) / (high - low)

    parts = [_text(0, 18, title, "title"), _text(0, 38, subtitle, "muted")]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{HEAD}" x2="{at:.1f}" y2="{height - 4}"/>')
        parts.append(_text(at, HEAD - 8, human(10.0**power, units), "axis", "middle"))
    y = HEAD
    for group in groups:
        y += GAP
        parts.append(_text(0, y - 9, group.title, "group"))
        for bar in group.bars:
            parts += _bar(bar, x, y)
            y += ROW
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">\n'
        f"  <style>{STYLE}  </style>\n{body}\n</svg>\n"
    )


def _bar(bar: Bar, x: Callable[[float], float], y: float) -> list[str]:
    top, middle, end = y + (ROW - BAR) / 2, y + ROW / 2, x(bar.value)
    beside = max(end, x(bar.high)) + 8
    more = f'<tspan class="muted" dx="8">{escape(bar.more)}</tspan>' if bar.more else ""
    weight = "ours-text" if bar.ours else ""
    return [
        _text(LABELS - 10, middle + 4, bar.label, weight, "end"),
        f'<rect class="{"ours" if bar.ours else "bar"}" x="{LABELS}" y="{top:.1f}" width="{end - LABELS:.1f}" '
        f'height="{BAR}" rx="2"/>',
        f'<line class="range" x1="{x(bar.low):.1f}" y1="{middle:.1f}" x2="{x(bar.high):.1f}" y2="{middle:.1f}"/>',
        f'<text x="{beside:.1f}" y="{middle + 4:.1f}" class="{weight}">{escape(bar.text)}{more}</text>',
    ]


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def human(value: float, units: Sequence[tuple[float, str]]) -> str:
    """A value in the largest unit that leaves at least one of it, to three digits."""
    size, name = max((unit for unit in units if unit[0] <= value), default=units[0])
    scaled = value / size
    digits = f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.3g}"
    return f"{digits} {name}".strip()
