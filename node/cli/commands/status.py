"""`starling status`, `head`, `storage`, `shutdown`: the node at a glance."""

from __future__ import annotations

from typing import Any

from node.cli.formats import clean, duration, moment, short, size, value
from node.cli.invocation import Invocation
from node.cli.output import Column, Record, field
from node.cli.parser import OR_FOREMOST_HELP, Commands, job_prefix


def register(commands: Commands) -> None:
    commands.add(
        "status",
        status,
        "the node at a glance: jobs, what they wait for, peers, head",
        "With what is moving to and from buckets and peers, and warnings: the conditions of the alert rules\n"
        "(config/alerts.yml) that the node sees in itself, each with what helps.",
        examples=("starling status", "starling status --json"),
    )
    parser = commands.add(
        "head",
        head,
        "the Hydra head that orders a job",
        "Of a job that is settled: whether each member's last record is on L1.",
        examples=("starling head", "starling head 3fa1 --json"),
    )
    parser.add_argument("job", type=job_prefix, nargs="?", help=OR_FOREMOST_HELP)
    commands.add("storage", storage, "the node's own bucket, what is moving, and what was moved")
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
            ("learner", clean(found["learner"])),
        ]
    )
    for warned in found["warnings"]:
        print(f"\nwarning  {clean(warned['text'])}\n       → {clean(warned['remedy'])}")
    print()
    if found["transfers"]:
        call.out.table(found["transfers"], TRANSFER_COLUMNS, "")
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
    field("LEARNT", "learnt"),
    field("WAITS FOR", "waits_for"),
]


def _progress(row: Record) -> str:
    whole = row["size_bytes"]
    share = f"{100 * row['moved_bytes'] / whole:.0f} %" if whole else "100 %"
    return f"{size(row['moved_bytes'])} of {size(whole)}, {share}"


def _rate(bytes_per_second: float | None) -> str:
    return "–" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


WHERE = {"up": "to", "down": "from", "check": "checking"}

TRANSFER_COLUMNS = [
    field("JOB", "job", short),
    field("OBJECT", "object", short),
    Column("MOVING", lambda row: f"{WHERE.get(row['direction'], '')} {clean(row['place'])}".strip()),
    Column("PROGRESS", _progress, right=True),
    field("RATE", "rate", _rate, right=True),
    field("FOR", "seconds", duration, right=True),
]


def head(call: Invocation) -> None:
    asked = {} if call.arguments.job is None else {"job": call.arguments.job}
    with call.node() as node:
        found = node.call("head", **asked)
    call.out.show(found, lambda: _show_head(call, found))


def _show_head(call: Invocation, found: dict[str, Any]) -> None:
    shown = found | {"since": moment(found.get("since"))}
    settlement = shown.pop("settlement", None)
    call.out.pairs(named(shown))
    if settlement is not None:
        print()
        columns = [field("MEMBER", "member"), field("LAST RECORD", "last_record", short)]
        call.out.table(settlement, [*columns, field("ON L1", "on_chain")], "no member has written anything")


def named(record: Record) -> list[tuple[str, str]]:
    """All fields of a record with their names as people write them."""
    return [(name.replace("_", " "), value(each)) for name, each in record.items()]


def storage(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("storage")
    call.out.show(found, lambda: _show_storage(call, found))


def _show_storage(call: Invocation, found: dict[str, Any]) -> None:
    jobs, transfers = found.pop("jobs"), found.pop("transfers")
    call.out.pairs(named(found))
    print()
    call.out.table(transfers, TRANSFER_COLUMNS, "nothing is moving")
    print()
    columns = [
        field("JOB", "job", short),
        field("FETCHED", "fetched_bytes", size, right=True),
        field("RATE", "fetch_rate", _rate, right=True),
        field("SENT", "sent_bytes", size, right=True),
        field("RATE", "send_rate", _rate, right=True),
        field("GRANTS FROM", "grants"),
    ]
    call.out.table(jobs, columns, "nothing was moved yet")


def shutdown(call: Invocation) -> None:
    with call.node() as node:
        node.call("shutdown")
    call.out.show({"stopped": True}, lambda: print("the node is stopping"))
