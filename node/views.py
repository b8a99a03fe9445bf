"""What operators see of jobs, rounds and peers: plain values for the control socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from node.consent import mark
from node.engine.bulletin import Figures
from node.engine.job import JobNode
from node.engine.traffic import Total
from node.ledger.interface import LedgerState, LedgerStatus
from node.network import PeerStatus
from node.peers import Card
from protocol.history import EndedRound
from protocol.lifecycle import mismatches
from protocol.waits import waiting_for

PAUSED = "its operator here, who has paused it: starling job resume"
SET_ASIDE = "its operator here, since it failed too often: starling job resume"


NOT_SEEN = LedgerStatus(LedgerState.CONNECTING, "", 0.0, None, 0, 0, 0, None)
"""Of a job that could not be opened: nobody looks at its head."""


def peer_view(card: Card, standing: PeerStatus | None) -> dict[str, Any]:
    """A peer of the book and its connection."""
    view: dict[str, Any] = {"name": card.name, "peer": card.peer, "addresses": list(card.addresses)}
    if standing is not None:
        view |= {
            "connected": standing.connected_since is not None,
            "connected_since": standing.connected_since,
            "round_trip_seconds": standing.round_trip,
            "bytes_in": standing.bytes_in,
            "bytes_out": standing.bytes_out,
            "clock_ahead_seconds": standing.clock_ahead,
            "last_error": standing.last_error,
        }
    return view


def job_summary(job: JobNode) -> dict[str, Any]:
    """A job in one line."""
    state = job.engine.state
    current = state.history.round
    return {
        "job": job.job.hex(),
        "name": job.manifest.name,
        "me": job.me,
        "members": job.manifest.roster.size,
        "phase": _phase(job),
        "head": state.life.head.value,
        "accepted": state.life.accepted,
        "round": current.number if current is not None else len(state.history.past),
        "rounds": job.manifest.rounds,
        "opened": state.history.opened,
        "waits_for": _waits_for(job),
        "paused": job.paused,
        "trouble": job.trouble,
        "over": job.over,
        "learnt": mark(job.manifest),
    }


def _waits_for(job: JobNode) -> str:
    if job.aside:
        return SET_ASIDE
    if job.paused:
        return PAUSED
    return "a new attempt after a failure here" if job.trouble else str(waiting_for(job.engine.state))


def _phase(job: JobNode) -> str:
    """Where the job is, or how it ended."""
    state = job.engine.state
    if job.aside:
        return "set aside"
    if state.life.declined:
        return "declined"
    return "cut short" if job.settled and not state.history.over else state.history.phase.value


def job_view(job: JobNode) -> dict[str, Any]:
    """A job with its manifest, members and progress."""
    state, manifest = job.engine.state, job.manifest
    return job_summary(job) | {
        "reason": state.history.reason or _decline_of(job),
        "task": manifest.task,
        "parameters": dict(manifest.parameters),
        "key_profile": manifest.key_profile,
        "key": state.history.key.hex() if state.history.key else None,
        "model": state.history.model.hex(),
        "thresholds": {
            "colluders": manifest.thresholds.colluders,
            "shares": manifest.thresholds.shares,
            "quorum": manifest.thresholds.quorum,
        },
        "terms": manifest.thresholds.in_words(manifest.roster.size),
        "disclosed": manifest.learnt,
        "roster": [
            {"index": index, "name": manifest.roster.member(index).name, **_part(job, index)}
            for index in manifest.roster.indices
        ],
        "slots": state.history.slots,
        "settled": state.life.final is not None,
        "progress": {
            name: {"done": shown.done, "total": shown.total, "metrics": dict(shown.metrics)}
            for name, shown in job.bulletin.progress.items()
        },
        "transfers": job.objects.traffic.view(),
        "folder": str(job.folder),
    }


def _decline_of(job: JobNode) -> str:
    declined = job.engine.state.life.declined
    if declined is None:
        return ""
    return f"{job.manifest.roster.member(declined.member).name}: {declined.reason.text}"


def _part(job: JobNode, index: int) -> dict[str, Any]:
    """What a member has done in the current round, as the ledger has it."""
    history = job.engine.state.history
    current = history.round
    part: dict[str, Any] = {
        "joined": index in history.joined,
        "keyed": index in history.key_shares,
        "out": index in history.out,
    }
    if current is not None:
        part |= {
            "waited_for": index in current.waited,
            "committed": index in current.commits,
            "attested": bool(current.settled(index)),
            "shared": index in current.shares,
            "reported": index in current.results,
        }
    return part


def _outcome(ended: EndedRound) -> str:
    if ended.model is None:
        return "burned"
    return "discarded" if ended.discarded else "opened"


def round_views(job: JobNode) -> list[dict[str, Any]]:
    """All rounds that are over, with what was measured in them, and the seconds of each stage here."""
    told = job.bulletin.rounds
    return [
        {
            "round": ended.number,
            "outcome": _outcome(ended),
            "model": ended.model.hex() if ended.model else None,
            "members": list(ended.sealed.members) if ended.sealed else [],
            "metrics": dict(told.get(ended.number, Figures()).metrics),
            "seconds": {
                name: round(seconds, 3) for name, seconds in told.get(ended.number, Figures()).seconds.items()
            },
        }
        for ended in job.engine.state.history.past
    ]


def head_view(job: JobNode) -> dict[str, Any]:
    """The head of a job as operators see it, also when it is closed for long."""
    status, life = job.head_status or NOT_SEEN, job.engine.state.life
    # A job that was settled before this start has not looked at its head since.
    seen = not job.settled or status.state is LedgerState.FINALISED
    view: dict[str, Any] = {
        "job": job.job.hex(),
        "state": _head_state(job, status.state if seen else LedgerState.FINALISED),
        "waits_for": "" if job.over else status.waits_for,
        "since": status.since if seen else None,
        "head_id": status.head_id or job.head_id,
        "slot": job.engine.state.history.slots if job.over else status.slot,
        "snapshot": status.snapshot,
        "unsent": status.unsent,
        "submitted": job.submitted,
    }
    if life.final is not None:
        wrong = mismatches(job.engine.state)
        view["settlement"] = [
            {
                "member": job.manifest.roster.member(index).name,
                "last_record": chain.digest.hex(),
                "on_chain": index not in wrong and index not in life.lost,
            }
            for index, chain in sorted(job.engine.state.history.chains.items())
        ]
    return view


def _head_state(job: JobNode, state: LedgerState) -> str:
    if job.paused or job.aside:
        return "paused here" if job.paused else "set aside here"
    return state.value if job.engine.state.life.accepted else "not accepted here"


def storage_view(job: JobNode) -> dict[str, Any]:
    """What was moved for a job since the node began, and whose buckets it may read."""
    down, up = job.objects.traffic.total("down"), job.objects.traffic.total("up")
    return {
        "job": job.job.hex(),
        "fetched_bytes": down.bytes,
        "fetch_rate": _rate(down),
        "sent_bytes": up.bytes,
        "send_rate": _rate(up),
        "grants": sorted(job.objects.grants),
    }


def _rate(total: Total) -> int | None:
    """Bytes per second while something moved."""
    return round(total.bytes / total.seconds) if total.seconds else None


def transfer_views(jobs: Iterable[JobNode]) -> list[dict[str, Any]]:
    """What is moving now, of all jobs."""
    return [{"job": job.job.hex(), **moving} for job in jobs for moving in job.objects.traffic.view()]
