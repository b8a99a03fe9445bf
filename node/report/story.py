"""What happened in a job, gathered from this member's log and from its control socket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from node.stages import ROUND_STAGES

Event = Mapping[str, Any]

STEPS = {"Commit": "update", "Attest": "verified", "Share": "decrypted", "Result": "reported"}
"""Kinds of records by which a member takes part in a round, with what they say in a word."""

COSTS = ("_seconds", "_bytes", "_rate")
"""Endings of metrics that tell what work cost, not how good the model is."""

NOTES_LIMIT = 200
"""Warnings that a page shows; the log has all."""


@dataclass(frozen=True)
class Anchor:
    """A record of the order: its slot, POSIX seconds at which this member read it, and what it is."""

    slot: int
    moment: float
    author: int
    kind: str
    round: int | None
    digest: str
    counts: bool


@dataclass
class RoundStory:
    """A round: metrics of its model, seconds of each stage here, and who did what.

    `part` has for each member the kinds of its records, and whether they counted: one that comes when the
    round is over does not.
    """

    number: int
    outcome: str = "running"
    sealed: tuple[int, ...] = ()
    model: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, float] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    part: dict[int, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))


@dataclass
class Story:
    """Everything that the page tells. `began` and `ended` are POSIX seconds."""

    job: Mapping[str, Any]
    head: Mapping[str, Any]
    rounds: list[RoundStory]
    anchors: list[Anchor]
    notes: list[Event]
    began: float | None = None
    ended: float | None = None
    mismatches: tuple[int, ...] | None = None
    accused: list[Event] = field(default_factory=list)

    def metric_names(self) -> list[str]:
        """Metrics of the models, as the task names them; what work cost is none."""
        names = {name: None for each in self.rounds for name in each.metrics if not name.endswith(COSTS)}
        return sorted(names, key=lambda name: (not name.startswith("accuracy"), name))


ALARMS = ("ResultDiffers", "LogForked", "Refuse", "RefuseShare", "AnchorChainBroken", "IdentityShared")
"""Events that accuse somebody, or this node."""


def tell(
    job: Mapping[str, Any],
    rounds: Iterable[Mapping[str, Any]],
    head: Mapping[str, Any],
    log: Iterable[tuple[float, Event]],
) -> Story:
    """The story of a job from its control views and its log, as times (POSIX seconds) and events."""
    events = [(moment, each) for moment, each in log if each.get("job", job["job"]) == job["job"]]
    told = _rounds(events)
    for view in rounds:
        one = told.setdefault(view["round"], RoundStory(view["round"]))
        one.outcome, one.sealed = view["outcome"], tuple(view["members"])
        one.model = view["model"] or ""
        one.metrics |= {name: figure for name, figure in view["metrics"].items() if figure is not None}
        one.stages = dict(view["seconds"]) | one.stages
    own = [(moment, each) for moment, each in events if "job" in each]
    settled = [each for _, each in own if each["event"] == "SettleJob"]
    over = [moment for moment, each in own if each["event"] in ("SettleJob", "AbortJob")]
    return Story(
        job=job,
        head=head,
        rounds=[told[number] for number in sorted(told)],
        anchors=_anchors(own),
        notes=[each for _, each in events if each.get("level") in ("warning", "error")][-NOTES_LIMIT:],
        began=own[0][0] if own else None,
        ended=over[0] if over else None,
        mismatches=tuple(settled[-1].get("mismatches", ())) if settled else None,
        accused=[each for _, each in events if each["event"] in ALARMS],
    )


def _rounds(events: Iterable[tuple[float, Event]]) -> dict[int, RoundStory]:
    told: dict[int, RoundStory] = {}
    moments: dict[tuple[int, str], float] = {}
    for moment, each in events:
        number = each.get("round")
        if not isinstance(number, int) or "job" not in each:
            continue
        one = told.setdefault(number, RoundStory(number))
        moments.setdefault((number, each["event"]), moment)
        if each["event"] == "Observe" and each.get("kind") in STEPS:
            one.part[each["author"]].setdefault(each["kind"], not each.get("ignored"))
        elif each["event"] == "Trained":
            one.training = _figures(each)
        elif each["event"] == "Evaluated":
            one.metrics = _figures(each)
    for one in told.values():
        for stage, begin, end in ROUND_STAGES:
            first, last = moments.get((one.number, begin)), moments.get((one.number, end))
            if first is not None and last is not None and last >= first:
                one.stages[stage] = last - first
    return told


NOT_METRICS = frozenset({"member", "round", "samples", "v", "seq", "slot", "incarnation"})


def _figures(event: Event) -> dict[str, float]:
    """The task's own figures in an event."""
    return {
        name: float(figure)
        for name, figure in event.items()
        if name not in NOT_METRICS and isinstance(figure, int | float) and not isinstance(figure, bool)
    }


def _anchors(events: Iterable[tuple[float, Event]]) -> list[Anchor]:
    """The order as this member read it; what was read again after a restart counts once."""
    found: dict[int, Anchor] = {}
    for moment, each in events:
        if each["event"] == "Observe" and isinstance(each.get("slot"), int):
            found.setdefault(
                each["slot"],
                Anchor(
                    slot=each["slot"],
                    moment=moment,
                    author=each["author"],
                    kind=each["kind"],
                    round=each.get("round"),
                    digest=each.get("digest", ""),
                    counts=bool(each.get("valid")) and not each.get("ignored"),
                ),
            )
    return [found[slot] for slot in sorted(found)]
