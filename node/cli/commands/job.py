"""`starling job` and `starling rounds`: propose, look at, decide about and take the results of jobs."""

from __future__ import annotations

import json
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from node.cli.commands.status import JOB_COLUMNS, rounds_of
from node.cli.formats import clean, duration, metric, short, size, value
from node.cli.invocation import Invocation
from node.cli.output import Column, Record, field
from node.cli.parser import OR_FOREMOST_HELP, PREFIX_HELP, Commands, job_prefix
from node.control.client import Client
from node.files import private_directory
from node.stages import ROUND_STAGES
from protocol.errors import OperatorFault
from protocol.words import OPERATORS, Reason

MAX_JOB_FILE = 128 * 1024
"""Bytes; half of what the control socket takes."""


def register(commands: Commands) -> None:
    group = commands.group("job", "jobs: propose, accept, look at", list_jobs)
    proposal = group.add(
        "propose",
        propose,
        "propose a job to its members, and accept it here",
        "Every key of a job file is documented in config/job.example.toml.",
        examples=("starling job propose job.toml",),
    )
    proposal.add_argument("file", type=Path, help="the job file (TOML)")
    _reuse(proposal)
    group.add("list", list_jobs, "list the jobs of this node")
    _job(group.add("show", show, "everything about a job"), required=False)
    accepting = group.add(
        "accept",
        accept,
        "take part in a proposed job, if this node can",
        "Look at it first: `starling job show` says who would learn what. It begins when all its members\n"
        "have accepted. A node takes part in one job at a time, as its hydra-node has one head at a time.\n"
        "A job that lets somebody learn more than its thresholds should is accepted only by who says so.",
        examples=("starling job accept 3fa1",),
    )
    _job(accepting)
    accepting.add_argument(
        "--acknowledge-leaks",
        action="store_true",
        help='agree to all that `starling job show` names under "learnt"',
    )
    _reuse(accepting)
    _reason(
        group.add(
            "decline",
            decline,
            "do not take part in a proposed job",
            "An accepted job can be declined until there is a head for it; from then on it can be stopped.\n"
            "A job that one member declines takes place for nobody.",
            examples=('starling job decline 3fa1 --reason approval --note "no ethics vote"',),
        )
    )
    _job(
        group.add(
            "pause",
            pause,
            "take no part in a job until `resume`, also across restarts",
            "To the others it is as if this node were down: rounds go on without it where enough others\n"
            "contribute, and wait for it elsewhere. Learner and crypto worker end; objects and records that\n"
            "others ask for are still served. Keep the hydra-node running: it signs for the whole head.\n"
            "Nothing is given up, and no vote is cast: to end a job, see `starling job stop`.",
            examples=("starling job pause 3fa1", "starling job resume 3fa1"),
        )
    )
    _job(group.add("resume", resume, "go on with a paused job where the others are"))
    _reason(
        group.add(
            "stop",
            stop,
            "vote to end a job: it ends when as many vote as decryption needs",
            "The vote stands in the order of the head and cannot be taken back; a job that has ended\n"
            "settles, and its model stays. To take no part for a while, see `starling job pause`.",
            examples=("starling job stop 3fa1 --reason consent",),
        )
    )
    export = group.add(
        "export",
        export_model,
        "write the current joint model as a NumPy archive",
        "The node writes the file: name a place where its user may, and its unit lets it. --adapter makes\n"
        "what other programs load with peft, of a job with a language model; it needs the extra qlora and\n"
        "the base model that the node's configuration names.",
        examples=(
            "starling job export 3fa1 /var/lib/starling/model.npz",
            "starling job export 3fa1 /var/lib/starling/model.npz --adapter ward-notes/",
        ),
    )
    _job(export)
    export.add_argument("file", type=Path, help="where to; the node writes it")
    export.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="also write a language model's adapter for peft"
    )
    _job(
        group.add(
            "clean",
            clean_up,
            "remove a settled job's objects from the node's own bucket and state",
            "Needs the credential that may delete. Others may still have to fetch: clean when their nodes\n"
            "say that the job is over, too. The joint model stays. After storage.retention_days Storj\n"
            "removes objects by itself; a directory gives them to nobody any more, but keeps them.",
            examples=("starling job clean 3fa1",),
        )
    )
    listing = commands.add(
        "rounds",
        rounds,
        "the rounds of a job: outcome, metrics, and how long each stage took here",
        examples=("starling rounds", "starling rounds 3fa1 --json"),
    )
    _job(listing, required=False)


def _job(parser: ArgumentParser, *, required: bool = True) -> None:
    if required:
        parser.add_argument("job", type=job_prefix, help=PREFIX_HELP)
    else:
        parser.add_argument("job", type=job_prefix, nargs="?", help=OR_FOREMOST_HELP)


def _reuse(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--reuse-data",
        action="store_true",
        help="let it use data that another job uses, or used from the same model: whoever knows both sums "
        "can subtract one from the other, and has your update if the other members are the same",
    )


def _reason(parser: ArgumentParser) -> None:
    _job(parser)
    parser.add_argument(
        "--reason",
        choices=[each.value for each in OPERATORS],
        default=Reason.OPERATOR.value,
        help="what the others are told: " + "; ".join(f"{each.value}: {each.text}" for each in OPERATORS),
    )
    parser.add_argument("--note", default="", help="your own words, for this node's log alone")


def foremost(jobs: Sequence[Mapping[str, Any]]) -> str | None:
    """Which of a node's jobs is meant by who names none: the one that runs, or else the newest."""
    running = [each["job"] for each in jobs if each["accepted"] and not each["over"]]
    return next(iter(running), jobs[-1]["job"] if jobs else None)


def foremost_or(node: Client, given: str | None) -> str:
    """The job that is named, or the foremost; `OperatorFault` where there is none."""
    job = given or foremost(node.call("jobs"))
    if job is None:
        raise OperatorFault("there is no job yet", remedy="propose one with `starling job propose FILE`")
    return job


def propose(call: Invocation) -> None:
    spec = _read_spec(call.arguments.file)
    call.out.say("preparing the task and its initial model …")
    with call.node() as node:
        found = node.call("propose", spec=spec, reuse_data=call.arguments.reuse_data)
        disclosed = node.call("job", job=found["job"])["disclosed"]
    said = f"proposed job {found['job']}; follow it with `starling watch`"
    call.out.show(found, lambda: _say(said, disclosed))


def _say(said: str, disclosed: Sequence[str]) -> None:
    """What was done, and what somebody will learn by it beyond sums."""
    print(said)
    for each in disclosed:
        print(f"learnt   {clean(each)}")


def _read_spec(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JOB_FILE + 1)
        if len(data) > MAX_JOB_FILE:
            raise OperatorFault(f"{path} is too large for a job file", remedy="is it the right file?")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise OperatorFault(f"{path} cannot be read: {error.strerror}", remedy="name a job file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorFault(f"{path} is not TOML: {error}", remedy="mend the line it names") from error


def list_jobs(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("jobs")
    empty = "no jobs: propose one with `starling job propose FILE`"
    call.out.show(found, lambda: call.out.table(found, JOB_COLUMNS, empty))


def show(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("job", job=foremost_or(node, call.arguments.job))
    call.out.show(found, lambda: _show_job(call, found))


def _show_job(call: Invocation, found: dict[str, Any]) -> None:
    rows = [
        ("job", found["job"]),
        ("name", clean(found["name"])),
        ("phase", clean(found["phase"]) + (f": {clean(found['reason'])}" if found.get("reason") else "")),
        ("waits for", value(found["waits_for"])),
        *([("trouble", clean(found["trouble"]))] if found["trouble"] else []),
        ("rounds", f"{rounds_of(found)} opened"),
        ("task", f"{clean(found['task'])} ({value(found['parameters'])})"),
        ("key", f"{clean(found['key_profile'])}, {short(found['key'])}"),
        ("model", short(found["model"])),
        ("thresholds", clean(found["terms"])),
        *(("learnt", clean(each)) for each in found["disclosed"]),
        ("head", f"{clean(found['head'])}, {found['slots']} records"),
        ("settled", value(found["settled"])),
        ("files", clean(found["folder"])),
    ]
    call.out.pairs(rows)
    print()
    steps = ("joined", "keyed", "committed", "attested", "shared", "reported")
    columns = [field("#", "index", right=True), field("MEMBER", "name")]
    columns += [field(step.upper(), step, _mark) for step in steps]
    call.out.table(found["roster"], columns, "")


def _mark(done: object) -> str:
    return "yes" if done else "·"


def accept(call: Invocation) -> None:
    call.out.say("checking the task, its data and the initial model …")
    with call.node() as node:
        found = node.call(
            "accept",
            job=call.arguments.job,
            acknowledge_leaks=call.arguments.acknowledge_leaks,
            reuse_data=call.arguments.reuse_data,
        )
        disclosed = node.call("job", job=found["job"])["disclosed"]
    call.out.show(found, lambda: _say(f"accepted job {found['job']}", disclosed))


def decline(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("decline", job=call.arguments.job, **_why(call))
    call.out.show(found, lambda: print(f"declined job {found['job']}"))


def _why(call: Invocation) -> dict[str, str]:
    return {"reason": call.arguments.reason, "note": call.arguments.note}


def pause(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("pause", job=call.arguments.job)
    call.out.show(found, lambda: print(f"paused job {found['job']}; go on with `starling job resume`"))


def resume(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("resume", job=call.arguments.job)
    call.out.show(found, lambda: print(f"job {found['job']} goes on"))


def stop(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("stop", job=call.arguments.job, **_why(call))
    call.out.show(found, lambda: print(f"voted to end job {found['job']}"))


def export_model(call: Invocation) -> None:
    file: Path = call.arguments.file.absolute()
    path = str(file if file.suffix == ".npz" else file.with_name(file.name + ".npz"))
    folder: Path | None = call.arguments.adapter
    with call.node() as node:
        found = node.call("export_model", job=call.arguments.job, path=path)
        job = {} if folder is None else node.call("job", job=call.arguments.job)
    if not Path(path).exists():
        raise OperatorFault(
            f"the node wrote {path}, but only the node sees it there",
            remedy="its unit gives it a /tmp of its own: name a place such as /var/lib/starling/model.npz",
        )
    written = [found.get("path", path)]
    if folder is not None:
        found = {**found, "adapter": _adapter(call, job, path, folder)}
        written.append(found["adapter"])
    call.out.show(found, lambda: print("\n".join(f"wrote {clean(each)}" for each in written)))


def _adapter(call: Invocation, job: Mapping[str, Any], model: str, folder: Path) -> str:
    """Have a process that knows peft write the adapter; where it lies. Raises `OperatorFault`."""
    import trio

    from node.confinement.policy import Confinement, cache
    from node.learning.errand import run_errand

    if job["task"] != "causal-lm":
        raise OperatorFault(
            f"the task {job['task']} of this job has no adapters", remedy="leave --adapter out"
        )
    data = call.config().learning.data.get(job["task"])
    if data is None:
        raise OperatorFault(
            "the base model is not known here", remedy="name the folder of causal-lm under [learning.data]"
        )
    wanted = ["--parameters", json.dumps(job["parameters"]), "--model", model, "--out", str(folder)]
    command = ["node.learning.causal.errands", "adapter", *wanted, str(data)]
    settings = call.config().learning
    confined = Confinement(
        (data, Path(model), *settings.also_read),
        (private_directory(folder), cache()),
        devices=True,
        off=not settings.confine,
    )
    made: dict[str, str] = trio.run(run_errand, command, lambda *_: None, confined)
    return made["adapter"]


def clean_up(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("clean", job=call.arguments.job)
    left = f"; {found['left']} could not be reached, try again" if found["left"] else ""
    objects = f"{found['removed']} objects, {size(found['bytes'])}, from the bucket"
    files = f"{found['files']} files, {size(found['file_bytes'])}, from the node's state"
    call.out.show(found, lambda: print(f"removed {objects}{left}\nremoved {files}"))


def rounds(call: Invocation) -> None:
    with call.node() as node:
        found = node.call("rounds", job=foremost_or(node, call.arguments.job))
    call.out.show(found, lambda: call.out.table(found, _round_columns(found), "no round is over yet"))


def _round_columns(rows: list[dict[str, Any]]) -> list[Column]:
    """The fixed columns, and one for every metric and every stage that any round has."""
    columns = [
        field("ROUND", "round", right=True),
        field("OUTCOME", "outcome"),
        field("IN THE SUM", "members"),
        field("MODEL", "model", short),
    ]
    columns += [_inner("metrics", name, partial(metric, name)) for name in _keys_in(rows, "metrics")]
    timed = _keys_in(rows, "seconds")
    return columns + [_inner("seconds", name, duration) for name, _, _ in ROUND_STAGES if name in timed]


def _inner(table: str, name: str, form: Callable[[Any], str]) -> Column:
    """The column of a value that lies in a table of the row."""

    def text(row: Record) -> str:
        return form(row.get(table, {}).get(name))

    return Column(name.replace("_", " ").upper(), text, right=True)


def _keys_in(rows: list[dict[str, Any]], field_name: str) -> list[str]:
    return sorted({name for row in rows for name in row.get(field_name, {})})
