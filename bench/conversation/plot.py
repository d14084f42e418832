"""The plot: what share of the turns is answered within so many seconds, a line per system."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 360, 50, 40, 20
SECONDS = 4.0
COLOURS = ("#0b6e99", "#c2571a", "#5b8c2a", "#7b4ea3", "#a33b4e", "#666666")


def gaps_svg(gaps: Mapping[str, Sequence[float]]) -> str:
    """An SVG document of the distributions of response gaps (seconds)."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for second in range(int(SECONDS) + 1):
        x = _x(second)
        parts.append(f'<path d="M{x} {TOP}V{_y(0)}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_y(0) + 16}" text-anchor="middle">{second} s</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _y(share)
        parts.append(f'<path d="M{LEFT} {y}H{_x(SECONDS)}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    middle = (LEFT + _x(SECONDS)) / 2
    label = "from the caller's last voiced 20 ms to the agent's first"
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    for number, (name, values) in enumerate(gaps.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = f"M{_x(0)} {_y(0)}"
        for place, value in enumerate(sorted(values), 1):
            path += f"H{_x(value)}V{_y(place / len(values))}"
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _y(0) - 12 - 18 * (len(gaps) - 1 - number)
        text = f"{escape(name)} ({len(values)})"
        x = _x(SECONDS) - 8
        parts.append(f'<text x="{x}" y="{y}" text-anchor="end" fill="{colour}">{text}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(value: float) -> float:
    return round(LEFT + min(value, SECONDS) / SECONDS * (WIDTH - LEFT - 20), 1)


def _y(share: float) -> float:
    return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)
