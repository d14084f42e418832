"""The plot: calls against the 95th percentile of the added time, a line per system."""

from collections.abc import Mapping, Sequence
from html import escape

from bench.conversation.plot import BOTTOM, COLOURS, HEIGHT, LEFT, TOP, WIDTH

MOST_MS = 400.0
TARGET_MS = 100.0


def added_svg(lines: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """An SVG document of (calls, p95 of the added ms) per system."""
    most = max((calls for points in lines.values() for calls, _ in points), default=100)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for calls in range(0, most + 1, 25):
        x = _x(calls, most)
        parts.append(f'<path d="M{x} {TOP}V{_y(0)}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{_y(0) + 16}" text-anchor="middle">{calls}</text>')
    for ms in (0, 100, 200, 300, 400):
        y, stroke = _y(ms), "#999" if ms == TARGET_MS else "#ddd"
        parts.append(f'<path d="M{LEFT} {y}H{_x(most, most)}" stroke="{stroke}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{ms}</text>')
    middle = (LEFT + _x(most, most)) / 2
    label = "calls on one core; ms added to the end of a turn, p95"
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{_x(calls, most)},{_y(ms)}" for calls, ms in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 14 + 18 * number
        parts.append(f'<text x="{LEFT + 8}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(calls: float, most: int) -> float:
    return round(LEFT + calls / most * (WIDTH - LEFT - 20), 1)


def _y(ms: float) -> float:
    return round(TOP + (1 - min(ms, MOST_MS) / MOST_MS) * (HEIGHT - TOP - BOTTOM), 1)
