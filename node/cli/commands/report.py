"""`starling report`: one HTML page that tells a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from node.cli.invocation import Invocation
from node.cli.parser import PREFIX_HELP, Commands, job_prefix
from protocol.errors import OperatorFault

if TYPE_CHECKING:
    from node.report.page import Checked


def register(commands: Commands) -> None:
    parser = commands.add(
        "report",
        run,
        "one self-contained HTML page of a job",
        "Plots, times, who took part, anchors and verification, from the running node and its log.",
        examples=(
            "starling report 3fa1 --out job.html",
            "journalctl -u starlingd -o cat | starling report 3fa1 --log /dev/stdin",
            "starling report 3fa1 --trace clinic-a.jsonl clinic-b.jsonl clinic-c.jsonl",
        ),
    )
    parser.add_argument("job", type=job_prefix, help=PREFIX_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: starling-JOB.html)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="the node's log (default: as configured)")
    parser.add_argument(
        "--trace",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="check these logs, one of each member, against the specification, and say so in the page",
    )


def run(call: Invocation) -> None:
    from node.demo.stages import read_events
    from node.report.page import page
    from node.report.story import tell

    asked = call.arguments
    with call.node() as node:
        job = node.call("job", job=asked.job)
        rounds, head = node.call("rounds", job=asked.job), node.call("head", job=asked.job)
        name = node.call("status")["name"]
    log = asked.log or call.config().log.file
    if log is None:
        raise OperatorFault(
            "this node writes its events to standard output",
            remedy="journalctl -u starlingd -o cat | starling report JOB --log /dev/stdin",
        )
    try:
        story = tell(job, rounds, head, read_events(log))
        text = page(story, name, _checked(asked.trace, job["job"]) if asked.trace else None)
        out: Path = asked.out or Path(f"starling-{job['job'][:8]}.html")
        out.write_text(text)
    except OSError as error:
        raise OperatorFault(f"{error.filename}: {error.strerror}", remedy="name another file") from error
    call.out.show({"file": str(out)}, lambda: print(f"written to {out}"))


def _checked(logs: list[Path], job: str) -> Checked:
    from node.audit.tlc import TlcUnavailable
    from node.audit.trace import check_files
    from node.audit.trace_log import Misfit
    from node.report.page import Checked

    try:
        found = check_files(logs, job=job)
    except (TlcUnavailable, Misfit) as error:
        raise OperatorFault(
            f"the logs cannot be checked: {error}", remedy="see `starling audit trace`"
        ) from error
    if found.misfit is None:
        return Checked(
            True, f"All {found.events} events in the logs of {len(logs)} members fit the specification."
        )
    return Checked(False, f"The logs do not fit the specification: {found.misfit}")
