"""One run of a cohort, from an empty folder to the outcome."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from rich.console import Console

from node.audit.tlc import TlcUnavailable
from node.audit.trace import check_files
from node.demo import cohort
from node.demo.outcome import REPORT, Outcome
from node.demo.stages import learner_peak, read_events, stage_seconds, trained_loss
from node.demo.view import LiveView
from node.demo.watching import Seen, Told, export_model, follow, propose_to_all, tell_all, until_over
from node.demo.wish import Wish
from node.report.page import Checked, page
from node.report.story import tell

LIMIT_SECONDS = 4 * 3600.0


async def run_cohort(wish: Wish, console: Console) -> Outcome:
    """Run the cohort as wished, showing it all the time. Raises `StarlingError` where it cannot be."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_on_terminate)
        outcome = await _run(wish, console)
        nursery.cancel_scope.cancel()
    return outcome


async def _run(wish: Wish, console: Console) -> Outcome:
    subject = wish.subject
    shards = await subject.shards(wish, console)
    plan = cohort.prepare(
        wish.folder, subject.task, shards, wish.threads, nice=5, accept="ask", also_read=subject.also_read
    )
    seen = Seen()
    title = f"{wish.members} members · {wish.rounds} rounds · {wish.key_profile} key · {subject.division}"
    outcome = Outcome(wish.members, wish.rounds, subject.division, wish.key_profile, subject.metric)
    begun = time.monotonic()
    async with cohort.running(plan, keep=wish.keep) as running, trio.open_nursery() as nursery:
        nursery.start_soon(follow, running, seen)
        async with _shown(LiveView(plan, seen, title, subject.metric, console)):
            await propose_to_all(plan.members, wish.spec)
            await until_over(seen, LIMIT_SECONDS)
        outcome.seconds = time.monotonic() - begun
        outcome.memory = running.memory()
        outcome.running = running.pids if wish.keep else []
        await export_model(plan.members[0], wish.model)
        told = await tell_all(plan.members[0])
        nursery.cancel_scope.cancel()
    _collect(outcome, plan, seen)
    checked = await _check_trace(outcome, plan, console)
    _write_report(plan, told, checked)
    await subject.compare(wish, shards, outcome, console)
    outcome.write(wish.folder / "report.json")
    return outcome


async def _interrupt_on_terminate() -> None:
    """Being terminated is like Ctrl-C: what was started is stopped."""
    with trio.open_signal_receiver(signal.SIGTERM) as received:
        async for _ in received:
            raise KeyboardInterrupt


@asynccontextmanager
async def _shown(view: LiveView) -> AsyncIterator[None]:
    """The live view on a terminal, plain lines elsewhere, while the body runs."""
    if view.on_terminal:
        with view.live():
            yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_print_lines, view)
        yield
        view.print_changes(final=True)
        nursery.cancel_scope.cancel()


async def _print_lines(view: LiveView) -> None:
    while True:
        view.print_changes()
        await trio.sleep(0.5)


def _collect(outcome: Outcome, plan: cohort.Plan, seen: Seen) -> None:
    """What the members said last, and what their logs hold."""
    outcome.folder = str(plan.folder)
    outcome.joint = {number: metrics for number in seen.opened() if (metrics := seen.metrics(number))}
    names = {member.index: member.name for member in plan.members}
    outcome.by_member = {
        number: {names[index]: metrics for index, metrics in seen.by_member(number).items()}
        for number in outcome.joint
    }
    logs = [member.log for member in plan.members]
    outcome.stages = stage_seconds(logs)
    outcome.training = trained_loss(logs)
    outcome.learner_peak = {member.name: learner_peak(member.log) for member in plan.members}
    outcome.anchors = max(job["slots"] for job in seen.jobs.values())
    for member in plan.members:
        moved = seen.storage[member.index]["jobs"][-1]
        outcome.bytes_in[member.name] = moved["fetched_bytes"]
        outcome.bytes_out[member.name] = moved["sent_bytes"]
    settled = [
        entry
        for member in plan.members
        for _, entry in read_events(member.log)
        if entry["event"] == "SettleJob"
    ]
    outcome.settled = len(settled) == len(plan.members)
    outcome.mismatches = sorted({index for entry in settled for index in entry["mismatches"]})


def _write_report(plan: cohort.Plan, told: Told, checked: Checked | None) -> None:
    """The page that `starling report` makes, as the first member sees the job."""
    first = plan.members[0]
    story = tell(told.job, told.rounds, told.head, read_events(first.log))
    (plan.folder / REPORT).write_text(page(story, first.name, checked))


async def _check_trace(outcome: Outcome, plan: cohort.Plan, console: Console) -> Checked | None:
    """Have TLC check the members' logs against the specification; None where it cannot be had."""
    logs = [member.log for member in plan.members]
    with console.status("checking the members' logs against the TLA+ specification"):
        try:
            found = await trio.to_thread.run_sync(check_files, logs)
        except TlcUnavailable as error:
            outcome.trace = f"not checked: {error}"
            return None
    outcome.trace_fits = found.accepted
    outcome.trace = f"{found.events} events of all members fit the specification"
    if found.misfit is not None:
        outcome.trace = f"does NOT fit: {found.misfit}"
    return Checked(outcome.trace_fits, outcome.trace)
