"""The full-screen view of a job, drawn with rich."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from node.cli.formats import clean, duration, metric, short, size, sparkline, value
from node.cli.view import Event, JobView, Stage

STEPS = ("joined", "keyed", "committed", "attested", "shared", "reported")
DONE, OPEN = Text("●", style="green"), Text("·", style="dim")
BAR_WIDTH = 40


def draw(view: JobView) -> RenderableType:
    """The whole screen."""
    parts: list[RenderableType] = [_header(view)]
    if view.trouble:
        parts.append(Text(clean(view.trouble), style="bold red"))
    if view.job:
        parts += [Panel(_members(view), title="members", title_align="left")]
        parts += [Panel(_work(view), title="at work here", title_align="left")]
        parts += [Panel(_curves(view), title="joint model", title_align="left")]
    parts.append(Panel(_events(view), title="events", title_align="left"))
    return Group(*parts)


def _header(view: JobView) -> RenderableType:
    status, job = view.status, view.job
    grid = Table.grid(padding=(0, 2))
    grid.add_row("node", Text(f"{clean(status.get('name', '–'))}  {_up(view)}"))
    if not job:
        grid.add_row("job", Text("none yet"))
        return grid
    grid.add_row("job", Text(f"{clean(job['name'])}  {short(job['job'])}", style="bold"))
    grid.add_row("phase", Text(f"{clean(job['phase'])}, {job['opened']} of {job['rounds']} rounds opened"))
    grid.add_row("waits for", Text(value(job["waits_for"]), style="yellow"))
    head = clean(job["head"])
    grid.add_row("head", Text(f"{head}, {job['slots']} records{', settled' if job['settled'] else ''}"))
    return grid


def _up(view: JobView) -> str:
    status = view.status
    if not status:
        return ""
    return (
        f"up {duration(status['uptime_seconds'])}, {status['peers_up']} of {status['peers']} peers connected"
    )


def _members(view: JobView) -> RenderableType:
    table = Table(box=None, header_style="dim")
    for title in ("#", "member", "link", *STEPS):
        table.add_column(title, justify="left" if title == "member" else "center")
    links = {peer["name"]: peer.get("connected", False) for peer in view.peers}
    for member in view.job["roster"]:
        mine = member["index"] == view.job["me"]
        link = Text("here") if mine else DONE if links.get(member["name"]) else Text("○", style="red")
        name = Text(clean(member["name"]), style="bold" if mine else "")
        table.add_row(
            str(member["index"]), name, link, *(DONE if member.get(step) else OPEN for step in STEPS)
        )
    return table


def _work(view: JobView) -> RenderableType:
    now = time.monotonic()
    stages, moving = view.working(now), view.job["transfers"]
    if not stages and not moving:
        return Text("nothing", style="dim")
    grid = Table.grid(padding=(0, 2))
    for stage in stages:
        bar = ProgressBar(total=max(stage.total, 1), completed=stage.done, width=BAR_WIDTH)
        grid.add_row(Text(clean(stage.name)), bar, Text(f"{stage.done} of {stage.total}"), _took(stage, now))
    for each in moving:
        whole, moved = max(each["size_bytes"], 1), each["moved_bytes"]
        bar = ProgressBar(total=whole, completed=moved, width=BAR_WIDTH)
        name = Text(clean(f"{each['direction']}, {each['place']}"))
        took = Text(duration(each["seconds"]), style="dim")
        grid.add_row(name, bar, Text(f"{size(moved)} of {size(whole)}, {size(each['rate'])}/s"), took)
    return grid


def _took(stage: Stage, now: float) -> Text:
    until = stage.changed if stage.over else now
    return Text(duration(until - stage.started), style="dim")


def _curves(view: JobView) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for name in view.metrics:
        curve = view.curve(name)
        if curve:
            grid.add_row(Text(clean(name)), Text(sparkline(curve), style="cyan"), metric(name, curve[-1]))
    return grid if grid.row_count else Text("no round is over yet", style="dim")


def _events(view: JobView) -> RenderableType:
    lines = [_event(event) for event in view.events]
    return Group(*lines) if lines else Text("none yet", style="dim")


def _event(event: Event) -> Text:
    line = Text(f"{clean(event.get('event', '')):<18}", style="bold")
    fields = [f"{clean(name)}={clean(value(each), 20)}" for name, each in event.items() if name != "event"]
    return line.append(" ".join(fields), style="not bold dim")
