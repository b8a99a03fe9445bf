"""Two kinds of charts as SVG: curves over rounds, and bars of where the time went."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from node.report.markup import Markup, element

COLOURS = ("#2f6fde", "#e07b39", "#3a9d6a", "#a65bc4", "#c4a02b", "#d1495b", "#5b7c99")
WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
BAR, GAP = 22, 8

Form = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """Values by round."""

    name: str
    points: Mapping[int, float]
    dashed: bool = False


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers whose range holds `low` to `high` (Heckbert, Graphics Gems, 1990)."""
    span = high - low or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def curves(title: str, given: Sequence[Curve], form: Form) -> Markup:
    """Lines with their points over the rounds; values as `form` writes them."""
    lines = [Curve(each.name, _finite(each.points), each.dashed) for each in given]
    numbers = sorted({number for line in lines for number in line.points})
    values = [value for line in lines for value in line.points.values()]
    if not numbers:
        return element("p", "nothing was measured", class_="none")
    marks = ticks(min(values), max(values))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span = max(numbers[-1] - numbers[0], 1)

    def x(number: int) -> float:
        return LEFT + width * ((number - numbers[0]) / span if len(numbers) > 1 else 0.5)

    def y(value: float) -> float:
        return TOP + height * (1 - (value - marks[0]) / (marks[-1] - marks[0]))

    shapes = [shape for mark in marks for shape in _grid_line(y(mark), form(mark))]
    every = math.ceil(len(numbers) / 12)
    for number in numbers[::every]:
        shapes.append(_text(x(number), HEIGHT - 14, str(number), "middle"))
    for line, colour in zip(lines, COLOURS, strict=False):
        shapes += _line(line, colour, x, y, form)
    drawn = element("svg", *shapes, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title)
    return element("figure", element("figcaption", title, _legend_of(lines)), drawn)


def _finite(points: Mapping[int, float]) -> dict[int, float]:
    return {number: value for number, value in points.items() if math.isfinite(value)}


def _grid_line(at: float, label: str) -> list[Markup]:
    line = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{at:.1f}", y2=f"{at:.1f}", class_="grid")
    return [line, _text(LEFT - 8, at + 4, label, "end")]


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _line(
    line: Curve, colour: str, x: Callable[[int], float], y: Callable[[float], float], form: Form
) -> list[Markup]:
    places = [(number, x(number), y(value), value) for number, value in sorted(line.points.items())]
    path = " ".join(f"{across:.1f},{down:.1f}" for _, across, down, _ in places)
    dash = "6 5" if line.dashed else None
    shapes = [
        element("polyline", points=path, fill="none", stroke=colour, stroke_width=2.2, stroke_dasharray=dash)
    ]
    for number, across, down, value in places:
        hint = element("title", f"{line.name}, round {number}: {form(value)}")
        shapes.append(element("circle", hint, cx=f"{across:.1f}", cy=f"{down:.1f}", r=3.2, fill=colour))
    return shapes


def _legend_of(lines: Sequence[Curve]) -> Markup:
    return legend([line.name for line in lines]) if len(lines) > 1 else Markup()


def legend(names: Sequence[str]) -> Markup:
    """Names beside their colours."""
    keys = [
        element("span", element("i", style=f"background:{colour}"), name, class_="key")
        for name, colour in zip(names, COLOURS, strict=False)
    ]
    return element("span", *keys, class_="legend")


def bars(rows: Sequence[tuple[str, Mapping[str, float]]], parts: Sequence[str], form: Form) -> Markup:
    """One bar for each row, made of its parts, all on one scale; the sum stands at its end."""
    longest = max((sum(row.values()) for _, row in rows), default=0.0)
    if longest <= 0:
        return element("p", "nothing was measured", class_="none")
    width, left = 860, 76
    scale = (width - left - 90) / longest
    shapes = []
    for index, (name, row) in enumerate(rows):
        top, at = index * (BAR + GAP) + 2, float(left)
        shapes.append(_text(left - 10, top + BAR - 6, name, "end"))
        for part, colour in zip(parts, COLOURS, strict=False):
            long = row.get(part, 0.0) * scale
            hint = element("title", f"{name}, {part}: {form(row.get(part, 0.0))}")
            shapes.append(
                element("rect", hint, x=f"{at:.1f}", y=top, width=f"{long:.1f}", height=BAR, fill=colour)
            )
            at += long
        shapes.append(_text(at + 8, top + BAR - 6, form(sum(row.values())), "start"))
    height = len(rows) * (BAR + GAP) + 4
    drawn = element("svg", *shapes, viewBox=f"0 0 {width} {height}", role="img", aria_label="times")
    return element("figure", element("figcaption", legend(parts)), drawn)
