"""`starling status`, `head`, `storage`, `shutdown`: the node at a glance."""

from __future__ import annotations

from typing import Any

from node.cli.formats import clean, duration, moment, short, size, value
from node.cli.invocation import Invocation
from node.cli.output import Column, Record, field
from node.cli.parser import Commands


def register(commands: Commands) -> None:
    commands.add("status", status, "the node at a glance: jobs, what they wait for, peers, head")
    commands.add("head", head, "the Hydra head that orders the newest job")
    commands.add("storage", storage, "the node's own bucket, and what was moved")
    commands.add("shutdown", shutdown, "stop the node; jobs go on where they are when it is started again")


def status(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("status")
    call.out.show(found, lambda: _show_status(call, found))


def _show_status(call: Invocation, found: dict[str, Any]) -> None:
    call.out.pairs(
        [
            ("node", f"{clean(found['name'])}, Starling {found['version']}"),
            ("up", duration(found["uptime_seconds"])),
            ("peer id", found["peer"]),
            ("listens at", value(found["addresses"])),
            ("peers", f"{found['peers_up']} of {found['peers']} connected"),
            ("head", _head_line(found["head"])),
        ]
        + [("warning", clean(warning)) for warning in found.get("warnings", [])]
    )
    print()
    call.out.table(found["jobs"], JOB_COLUMNS, "no jobs: propose one with `starling job propose FILE`")


def _head_line(head: Record) -> str:
    waits = head.get("waits_for")
    return clean(head.get("state", "–")) + (f", waits for {clean(waits)}" if waits else "")


def rounds_of(row: Record) -> str:
    """How far a job is."""
    return f"{row['opened']} of {row['rounds']}"


JOB_COLUMNS = [
    field("JOB", "job", short),
    field("NAME", "name"),
    field("PHASE", "phase"),
    Column("ROUNDS", rounds_of, right=True),
    field("MEMBERS", "members", right=True),
    field("WAITS FOR", "waits_for"),
]


def head(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("head")
    shown = found | {"since": moment(found.get("since"))}
    call.out.show(found, lambda: call.out.pairs(named(shown)))


def named(record: Record) -> list[tuple[str, str]]:
    """All fields of a record with their names as people write them."""
    return [(name.replace("_", " "), value(each)) for name, each in record.items()]


def storage(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("storage")
    call.out.show(found, lambda: _show_storage(call, found))


def _show_storage(call: Invocation, found: dict[str, Any]) -> None:
    jobs = found.pop("jobs", [])
    call.out.pairs(named(found))
    print()
    columns = [
        field("JOB", "job", short),
        field("FETCHED", "fetched_bytes", size, right=True),
        field("SENT", "sent_bytes", size, right=True),
        field("GRANTS FROM", "grants"),
    ]
    call.out.table(jobs, columns, "nothing was moved yet")


def shutdown(call: Invocation) -> None:
    with call.node() as node:
        node.call("shutdown")
    call.out.show({"stopped": True}, lambda: print("the node is stopping"))
