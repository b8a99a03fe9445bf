"""`starling audit`: what was logged and what was ordered, checked again from the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node.cli.exits import OK, REFUSED
from node.cli.formats import clean, short, value
from node.cli.invocation import Invocation
from node.cli.output import field
from node.cli.parser import PREFIX_HELP, Commands, job_prefix


def register(commands: Commands) -> None:
    group = commands.group("audit", "check logs and order again, from the start")
    trace_parser = group.add(
        "trace",
        trace,
        "check the logs of one cohort against the specification",
        "Needs TLC. The exit code is 1 where they do not fit, or could not be checked.",
        examples=(
            "starling audit trace clinic-a.jsonl clinic-b.jsonl clinic-c.jsonl",
            "starling audit trace --job 3fa1 clinic-a.jsonl clinic-b.jsonl clinic-c.jsonl",
        ),
    )
    trace_parser.add_argument("--job", type=job_prefix, help="of logs with several: " + PREFIX_HELP)
    trace_parser.add_argument("files", nargs="+", metavar="FILE", help="the members' logs")
    head_parser = group.add(
        "head",
        head,
        "read the order of a job's records again, and say what it means",
        "Reads this node's journal; the node must be stopped. With --l1 the exit code is 1 where the chain\n"
        "does not hold what the records say.",
        examples=("starling audit head 3fa1",),
    )
    head_parser.add_argument("job", type=job_prefix, help=PREFIX_HELP)
    head_parser.add_argument("--l1", metavar="URL", help="compare with the settlement on this emulated chain")


def trace(call: Invocation) -> int:
    from node.audit.trace import main

    chosen = [str(Path(file)) for file in call.arguments.files]
    chosen += ["--job", call.arguments.job] if call.arguments.job else []
    chosen += ["--json"] if call.out.as_json else []
    return OK if main(chosen) == 0 else REFUSED


def head(call: Invocation) -> int:
    from node.audit.order import read_order, settlement
    from node.cli.commands.keys import find_job, open_journal

    with open_journal(call) as journal:
        job = find_job(journal, call.arguments.job)
        found = read_order(journal, job.manifest)
    told: dict[str, Any] = found.plain()
    settled = True
    if call.arguments.l1:
        report = settlement(found, job.manifest, call.arguments.l1)
        settled = report.settled
        told["settled"] = settled
        for member, finding in zip(told["members"], report.findings, strict=True):
            member["settlement"] = finding.verdict.value
    call.out.show(told, lambda: _show(call, told))
    return OK if settled else REFUSED


def _show(call: Invocation, told: dict[str, Any]) -> None:
    call.out.pairs(
        [
            ("job", told["job"]),
            ("head", clean(told["head"])),
            ("records", f"{told['records']}, {told['ignored']} of them ignored"),
            ("phase", clean(told["phase"]) + (f": {clean(told['reason'])}" if told["reason"] else "")),
            ("rounds", f"{told['opened']} opened, {told['discarded']} discarded, {told['burned']} burned"),
            ("model", short(told["model"])),
            ("order", short(told["order"])),
        ]
        + ([("settled", value(told["settled"]))] if "settled" in told else [])
    )
    print()
    columns = [
        field("#", "index", right=True),
        field("MEMBER", "name"),
        field("RECORDS", "records", right=True),
        field("IGNORED", "ignored", right=True),
        field("LAST DATUM", "datum", short),
    ]
    if "settled" in told:
        columns.append(field("SETTLEMENT", "settlement"))
    call.out.table(told["members"], columns, "")
