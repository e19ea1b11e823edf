"""The picture of the ratios: an SVG, written by hand."""
from html import escape
from pathlib import Path

from measure import Row

ROW, LEFT, WIDTH, TOP = 24, 400, 420, 50
MOST = 1.5  # the ratio at the right edge


def draw(rows: list[Row], subtitle: str, out: Path) -> None:
    """One line per row: the range of the rounds, a dot at the median, and a tick at the goal."""
    height = TOP + ROW * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<text x="12" y="20" font-size="15" font-weight="600">ZeroFS against its references: ratio, '
        'median and range</text>',
        f'<text x="12" y="38" fill="#666">{escape(subtitle)}; black tick: the goal</text>',
    ]
    bottom = TOP + ROW * len(rows)
    for tick in (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5):
        colour = "#888" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{_x(tick)}" x2="{_x(tick)}" y1="{TOP}" y2="{bottom}" stroke="{colour}"/>'
                     f'<text x="{_x(tick)}" y="{bottom + 18}" fill="#666" text-anchor="middle">{tick:g}</text>')
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        colour = "#777777" if row.goal is None else "#1a7f37" if row.is_met else "#cf222e"
        title = escape(row.title) + (" (less is better)" if row.metric == "cpu" else "")
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{title}</text>'
            f'<line x1="{_x(min(row.ratios))}" x2="{_x(max(row.ratios))}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="3" stroke-opacity="0.4"/>'
            f'<circle cx="{_x(row.median)}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}" fill="{colour}">{row.median:.2f}</text>')
        if row.goal is not None:
            parts.append(f'<line x1="{_x(row.goal)}" x2="{_x(row.goal)}" y1="{y - 8}" y2="{y + 8}" '
                         'stroke="#000" stroke-width="2"/>')
    out.write_text("\n".join([*parts, "</svg>", ""]))


def _x(ratio: float) -> float:
    return round(LEFT + WIDTH * min(ratio, MOST) / MOST, 1)
