"""Metrics of a node in the text format of Prometheus, from its control socket's answers and its disk.

Events come in by the counts that `status` has: the same stream that the log is written from.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.control.client import Client
from node.ledger.interface import LedgerState

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One value of a metric."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What a metric is: "gauge" or "counter", and what it tells."""

    kind: str
    help: str


UP = "starling_up"
METRICS: Mapping[str, Known] = {
    UP: Known("gauge", "Whether the node answers at its control socket."),
    "starling_info": Known("gauge", "Always 1; the node's name, version and peer id are its labels."),
    "starling_start_time_seconds": Known("gauge", "When the node started, in POSIX seconds."),
    "starling_peers_known": Known("gauge", "Members in the peer book."),
    "starling_peers_connected": Known("gauge", "Members that are connected."),
    "starling_peer_connected": Known("gauge", "Whether the member `peer` is connected."),
    "starling_peer_round_trip_seconds": Known("gauge", "How long an answer of the member `peer` takes."),
    "starling_peer_clock_ahead_seconds": Known("gauge", "By how much the clock of `peer` was ahead of ours."),
    "starling_peer_received_bytes_total": Known("counter", "Bytes from the member `peer`."),
    "starling_peer_sent_bytes_total": Known("counter", "Bytes to the member `peer`."),
    "starling_job_info": Known("gauge", "1 for each job; its name and phase are labels."),
    "starling_job_over": Known("gauge", "Whether nothing is left to do for the job."),
    "starling_job_waits": Known("gauge", "1 for what the job waits for, which is the label `reason`."),
    "starling_job_rounds": Known("gauge", "Rounds that the job shall have."),
    "starling_job_rounds_opened": Known("gauge", "Rounds whose sum was opened."),
    "starling_job_fetched_bytes_total": Known("counter", "Bytes of objects fetched for the job."),
    "starling_job_sent_bytes_total": Known("counter", "Bytes of objects sent for the job."),
    "starling_model": Known("gauge", "What the newest evaluation of the job's model says, by `metric`."),
    "starling_head_state": Known(
        "gauge", "1 for the state that the foremost job's head is in, 0 for others."
    ),
    "starling_head_waits": Known("gauge", "1 for what the head waits for, which is the label `reason`."),
    "starling_head_state_since_seconds": Known("gauge", "Since when it is in its state, in POSIX seconds."),
    "starling_head_slot": Known("gauge", "Records of the order that the node has read."),
    "starling_head_snapshot": Known("gauge", "The newest confirmed snapshot."),
    "starling_head_unsent": Known("gauge", "Records of this member that are not confirmed yet."),
    "starling_transfer_bytes_per_second": Known("gauge", "How fast objects move now, by `direction`."),
    "starling_events_total": Known("counter", "Events written since the node started, by name."),
    "starling_disk_free_bytes": Known("gauge", "Free on the file system of the state directory."),
    "starling_disk_size_bytes": Known("gauge", "Size of the file system of the state directory."),
}

DOWN = (Sample(UP, 0),)
"""What there is to tell of a node that does not answer."""


def collect(node: Client, state: Path) -> list[Sample]:
    """All samples of the node at the other end; `state` is its state directory on this machine."""
    status = node.call("status")
    samples = [Sample(UP, 1), *_node(status), *_head(status["head"]), *_disk(state)]
    for peer in node.call("peers"):
        samples += _peer(peer)
    for job in status["jobs"]:
        samples += _job(job, node.call("rounds", job=job["job"]))
    for moved in node.call("storage")["jobs"]:
        labels = {"job": moved["job"]}
        samples.append(Sample("starling_job_fetched_bytes_total", moved["fetched_bytes"], labels))
        samples.append(Sample("starling_job_sent_bytes_total", moved["sent_bytes"], labels))
    return samples


def _node(status: Answer) -> Iterator[Sample]:
    labels = {name: status[name] for name in ("name", "version", "peer")}
    yield Sample("starling_info", 1, labels)
    yield Sample("starling_start_time_seconds", round(time.time() - status["uptime_seconds"]))
    yield Sample("starling_peers_known", status["peers"])
    yield Sample("starling_peers_connected", status["peers_up"])
    for direction in ("up", "down"):
        rates = [each["rate"] for each in status["transfers"] if each["direction"] == direction]
        yield Sample("starling_transfer_bytes_per_second", sum(rates), {"direction": direction})
    for event, count in status["events"].items():
        yield Sample("starling_events_total", count, {"event": event})


def _head(head: Answer) -> Iterator[Sample]:
    for state in LedgerState:
        yield Sample("starling_head_state", state.value == head["state"], {"state": state.value})
    if head.get("waits_for"):
        yield Sample("starling_head_waits", 1, {"reason": head["waits_for"]})
    if head.get("since"):
        yield Sample("starling_head_state_since_seconds", head["since"])
    for name in ("slot", "snapshot", "unsent"):
        if head.get(name) is not None:
            yield Sample(f"starling_head_{name}", head[name])


def _disk(state: Path) -> Iterator[Sample]:
    found = os.statvfs(state)
    yield Sample("starling_disk_free_bytes", found.f_bavail * found.f_frsize)
    yield Sample("starling_disk_size_bytes", found.f_blocks * found.f_frsize)


def _peer(peer: Answer) -> Iterator[Sample]:
    labels = {"peer": peer["name"]}
    yield Sample("starling_peer_connected", bool(peer.get("connected")), labels)
    if peer.get("round_trip_seconds") is not None:
        yield Sample("starling_peer_round_trip_seconds", peer["round_trip_seconds"], labels)
    if peer.get("clock_ahead_seconds") is not None:
        yield Sample("starling_peer_clock_ahead_seconds", peer["clock_ahead_seconds"], labels)
    yield Sample("starling_peer_received_bytes_total", peer.get("bytes_in", 0), labels)
    yield Sample("starling_peer_sent_bytes_total", peer.get("bytes_out", 0), labels)


def _job(job: Answer, rounds: Sequence[Answer]) -> Iterator[Sample]:
    labels = {"job": job["job"]}
    yield Sample("starling_job_info", 1, labels | {"name": job["name"], "phase": job["phase"]})
    yield Sample("starling_job_over", job["over"], labels)
    if not job["over"]:
        yield Sample("starling_job_waits", 1, labels | {"reason": job["waits_for"]})
    yield Sample("starling_job_rounds", job["rounds"], labels)
    yield Sample("starling_job_rounds_opened", job["opened"], labels)
    evaluated: Answer = next((each["metrics"] for each in reversed(rounds) if each["metrics"]), {})
    for name, value in evaluated.items():
        if value is None:  # JSON's word for what is no number
            continue
        yield Sample("starling_model", value, labels | {"metric": name})


def text(samples: Sequence[Sample]) -> str:
    """The samples in the text format, version 0.0.4: those of a metric together, after what it is."""
    lines = []
    for name, known in METRICS.items():
        found = [sample for sample in samples if sample.name == name]
        if found:
            lines += [f"# HELP {name} {known.help}", f"# TYPE {name} {known.kind}"]
            lines += [f"{name}{_labels(sample.labels)} {_number(sample.value)}" for sample in found]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value)) if isinstance(value, float) else str(int(value))
    return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
