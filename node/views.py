"""What operators see of jobs, rounds and peers: plain values for the control socket."""

from __future__ import annotations

from typing import Any

from node.engine.job import JobNode
from node.network import PeerStatus
from node.peers import Card
from protocol.waits import waiting_for


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
        "phase": "declined" if state.life.declined else state.history.phase.value,
        "head": state.life.head.value,
        "accepted": state.life.accepted,
        "round": current.number if current is not None else len(state.history.past),
        "rounds": job.manifest.rounds,
        "opened": state.history.opened,
        "waits_for": str(waiting_for(state)),
        "over": job.over,
    }


def job_view(job: JobNode) -> dict[str, Any]:
    """A job with its manifest, members and progress."""
    state, manifest = job.engine.state, job.manifest
    return job_summary(job) | {
        "reason": state.history.reason or state.life.declined,
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
        "roster": [
            {"index": index, "name": manifest.roster.member(index).name, **_part(job, index)}
            for index in manifest.roster.indices
        ],
        "slots": state.history.slots,
        "settled": state.life.final is not None,
        "progress": {
            name: {"done": shown.done, "total": shown.total, "metrics": dict(shown.metrics)}
            for name, shown in job.shown.progress.items()
        },
        "folder": str(job.folder),
    }


def _part(job: JobNode, index: int) -> dict[str, Any]:
    """What a member has done in the current round, as the ledger has it."""
    history = job.engine.state.history
    current = history.round
    part: dict[str, Any] = {"joined": index in history.joined, "keyed": index in history.key_shares}
    if current is not None:
        part |= {
            "committed": index in current.commits,
            "attested": index in current.attested,
            "shared": index in current.shares,
            "reported": index in current.results,
        }
    return part


def round_views(job: JobNode) -> list[dict[str, Any]]:
    """All rounds that are over, with what was measured in them."""
    return [
        {
            "round": ended.number,
            "outcome": "burned" if ended.model is None else "opened",
            "model": ended.model.hex() if ended.model else None,
            "members": list(ended.sealed.members) if ended.sealed else [],
            "metrics": dict(job.shown.rounds.get(ended.number, {})),
        }
        for ended in job.engine.state.history.past
    ]
