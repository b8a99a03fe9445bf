"""HTML that cannot be broken by what is put into it: everything is escaped, unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """An element with escaped content and attributes; `class_` is the attribute class, _ stands for -."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{given}>{joined(*content)}</{tag}>")


def joined(*content: object) -> Markup:
    """Contents one after the other, each escaped unless it is markup."""
    return Markup("".join(each if isinstance(each, Markup) else html.escape(str(each)) for each in content))


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], **attributes: object) -> Markup:
    """A table; in titles that begin with > the column is of numbers."""
    kinds = ["number" if title.startswith(">") else None for title in titles]
    head = [element("th", title.lstrip(">"), class_=kind) for title, kind in zip(titles, kinds, strict=True)]
    body = [
        element("tr", *(element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    filled = element("table", element("thead", element("tr", *head)), element("tbody", *body), **attributes)
    return element("div", filled, class_="wide")
