"""A toy cohort that emits legal event lines: members follow the protocol over a list of records.

It knows no cryptography and no files; digests are made-up strings. Every choice comes from one seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reading:
    """What a prefix of the order means (no Byzantine members, honest keys)."""

    toy: ToyCohort
    phase: str = "joining"
    joined: set[int] = field(default_factory=set)
    keys: dict[int, str] = field(default_factory=dict)
    key: str | None = None
    round: int = 1
    models: list[str | None] = field(default_factory=list)
    stage: str = "open"
    waited: set[int] = field(default_factory=set)
    missed: dict[int, int] = field(default_factory=dict)
    commits: dict[int, str] = field(default_factory=dict)
    settled: dict[int, set[int]] = field(default_factory=dict)
    expired: set[int] = field(default_factory=set)
    votes: set[int] = field(default_factory=set)
    shares: set[int] = field(default_factory=set)
    results: dict[int, str] = field(default_factory=dict)
    sealed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.waited = set(range(1, self.toy.members + 1))

    def attested(self) -> set[int]:
        """Nobody is Byzantine, so who settles a commit attests it."""
        everyone = range(1, self.toy.members + 1)
        return {o for o in everyone if sum(o in seen for seen in self.settled.values()) >= self.toy.threshold}

    def closed(self) -> bool:
        all_said = all(self.commits.keys() <= self.settled.get(m, set()) for m in self.waited)
        return (bool(self.commits) and all_said) or len(self.expired) > self.toy.colluders

    def cut(self) -> tuple[int, ...]:
        attested = self.attested()
        return tuple(sorted(attested)) if self.closed() and len(attested) >= self.toy.quorum else ()

    def aggregate(self) -> str:
        return f"a{self.round}-" + "-".join(self.commits[o] for o in self.sealed)

    def valid(self, x: dict[str, Any]) -> bool:
        m, kind = x["author"], x["kind"]
        if kind == "Join":
            return self.phase == "joining" and m not in self.joined
        if kind == "KeyShare":
            return self.phase == "keying" and m not in self.keys
        if self.phase != "running" or x["round"] != self.round:
            return False
        if self.stage == "open":
            return {
                "Commit": lambda: m in self.waited and m not in self.commits,
                "Attest": lambda: (
                    set(x["verified"]) <= self.commits.keys()
                    and not set(x["verified"]) & self.settled.get(m, set())
                ),
                "Expire": lambda: m not in self.expired,
                "Seal": lambda: bool(self.cut()),
                "Abandon": lambda: m not in self.votes and x["opening"] == 0,
            }.get(kind, lambda: False)()
        return {
            "Abandon": lambda: m not in self.votes and x["opening"] == 1,
            "Share": lambda: m not in self.shares and x["aggregate"] == self.aggregate(),
            "Result": lambda: m not in self.results and len(self.shares) >= self.toy.threshold,
        }.get(kind, lambda: False)()

    def read(self, x: dict[str, Any]) -> bool:
        if not self.valid(x):
            return False
        m = x["author"]
        match x["kind"]:
            case "Join":
                self.joined.add(m)
                if len(self.joined) == self.toy.members:
                    self.phase = "keying"
            case "KeyShare":
                self.keys[m] = x["key"]
                if len(self.keys) == self.toy.members:
                    self.phase, self.key = "running", x["key"]
            case "Commit":
                self.commits[m] = x["root"]
            case "Attest":
                self.settled.setdefault(m, set()).update(x["verified"])
            case "Expire":
                self.expired.add(m)
            case "Seal":
                self.sealed, self.stage, self.votes = self.cut(), "sealed", set()
            case "Abandon":
                self.votes.add(m)
                if len(self.votes) > self.toy.colluders:
                    self.end(None)
            case "Share":
                self.shares.add(m)
            case "Result":
                self.results[m] = x["model"]
                if len(self.results) >= self.toy.threshold:
                    self.end(x["model"])
        return True

    def end(self, model: str | None) -> None:
        self.models.append(model)
        opened = sum(one is not None for one in self.models)
        if opened == self.toy.rounds or self.round == self.toy.round_limit:
            self.phase = "finished"
        self.attend()
        self.round, self.stage, self.sealed = self.round + 1, "open", ()
        self.commits, self.settled, self.expired, self.votes = {}, {}, set(), set()
        self.shares, self.results = set(), {}
        everyone = set(range(1, self.toy.members + 1))
        there = {m for m in everyone if self.missed.get(m, 0) < 2}
        enough = self.round % 4 and len(there) >= max(self.toy.quorum, self.toy.threshold)
        self.waited = there if enough else everyone

    def attend(self) -> None:
        attested, said = self.attested(), self.settled
        enough = len(self.waited) - self.toy.colluders
        could = {o for o in attested if sum(o in said.get(m, set()) for m in self.waited) >= enough}
        for m in range(1, self.toy.members + 1):
            there = m in attested and (m not in self.waited or could <= said.get(m, set()))
            self.missed[m] = 0 if there else self.missed.get(m, 0) + 1


class ToyMember:
    """One member: a step at a time, each an event line."""

    def __init__(self, toy: ToyCohort, me: int) -> None:
        self.toy, self.me = toy, me
        self.lines: list[dict[str, Any]] = []
        self.incarnation = self.seq = self.slot = 0
        self.view = Reading(toy)
        self.round, self.begun, self.held, self.keyed = 1, False, False, False
        self.done: set[str] = set()
        self.own: list[dict[str, Any]] = []
        self.confirmed = 0
        self.released: dict[int, str] = {}
        self.uploads = 0
        self.begin()

    def begin(self) -> None:
        """(Re)starts: everything volatile is gone."""
        self.incarnation, self.seq = self.incarnation + 1, 0
        self.pc = "Idle"
        self.upload: str | None = None
        self.verified: set[int] = set()
        self.accepted: set[int] = set()
        self.heard: set[int] = set()
        kinds = {x["kind"] for x in self.own if x.get("round") == self.round}
        if "Share" in kinds:
            self.pc = "Sharing"
        elif self.round in self.released:
            self.pc = "Releasing"
        elif "Commit" in kinds:
            self.pc = "Committed"
        self.emit("Start" if self.incarnation == 1 else "Restart")

    def emit(self, event: str, **arguments: Any) -> None:
        self.seq += 1
        place = {
            "v": 1,
            "member": self.me,
            "incarnation": self.incarnation,
            "seq": self.seq,
            "slot": self.slot,
        }
        self.lines.append({"event": event, **place, **arguments})

    def submit(self, kind: str, **body: Any) -> None:
        record = {"kind": kind, "author": self.me, "digest": f"d{self.me}-{len(self.own)}", **body}
        self.emit(f"Submit{kind}", **body)
        self.own.append(record)
        self.toy.flight.append(record)

    def read(self) -> bool:
        if self.slot == len(self.toy.order):
            return False
        record = self.toy.order[self.slot]
        self.slot += 1
        self.emit("Observe", valid=self.view.read(record), **record)
        self.confirmed += record["author"] == self.me
        return True

    def once(self, event: str) -> bool:
        if event in self.done:
            return False
        self.done.add(event)
        self.emit(event)
        return True

    def step(self) -> bool:
        """One event; False when there is nothing to do but read on."""
        idle = self.confirmed == len(self.own)
        if self.me == 1 and self.once("ProposeJob"):
            self.toy.proposed = True
            return True
        if self.toy.proposed and self.me != 1 and self.once("AcceptJob"):
            return True
        if not all({"ProposeJob", "AcceptJob"} & member.done for member in self.toy.cohort):
            return False
        if self.once("OpenHead"):
            return True
        if self.view.phase == "joining" and not self.own:
            self.submit("Join")
            return True
        if self.view.phase == "keying":
            return self.key_step(idle)
        if self.view.key and not self.keyed:
            self.keyed = True
            self.emit("AdoptKey", key=self.view.key)
            return True
        if self.keyed and self.round < self.view.round:
            return self.leave(self.view.models[self.round - 1])
        if self.view.phase == "finished":
            return self.once("FinishJob") or self.once("CloseHead") or self.settle()
        return self.view.phase == "running" and (
            self.open_step(idle) if self.view.stage == "open" else self.sealed_step(idle)
        )

    def settle(self) -> bool:
        everyone_read = self.slot == len(self.toy.order) and not self.toy.flight
        return everyone_read and self.once("SettleJob")

    def key_step(self, idle: bool) -> bool:
        if not self.begun:
            self.begun = True
            self.emit("BeginKey", attempt=1)
        elif not self.held:
            self.held = True
            self.emit("HoldShare", attempt=1, key="k1")
        elif idle and len(self.own) == 1:
            self.submit("KeyShare", attempt=1, key="k1")
        else:
            return False
        return True

    def leave(self, model: str | None) -> bool:
        if model is None:
            self.emit("BurnRound", round=self.round)
        elif self.pc != "Combined":
            self.pc = "Combined"
            self.emit("CatchUp", round=self.round, model=model)
            return True
        else:
            self.emit("EndRound", round=self.round, model=model, discarded=False)
        self.round, self.pc, self.upload, self.uploads = self.round + 1, "Idle", None, 0
        self.verified, self.accepted, self.heard = set(), set(), set()
        return True

    def open_step(self, idle: bool) -> bool:
        number, view = self.round, self.view
        for other in sorted(view.commits.keys() - self.verified - {self.me}):
            self.verified.add(other)
            self.emit("Verify", round=number, other=other)
            return True
        settled = view.settled.get(self.me, set())
        burns = self.toy.burns(number)
        if self.pc == "Idle" and self.me in view.waited:
            self.pc = "Training"
            self.emit("Train", round=number)
        elif self.pc == "Training":
            self.pc, self.upload = "Uploaded", f"r{self.me}-{number}-{self.uploads}"
            self.uploads += 1
            self.emit("Upload", round=number, root=self.upload)
        elif self.pc == "Uploaded" and idle and self.me in view.waited:
            self.pc = "Committed"
            self.submit("Commit", round=number, root=self.upload)
        elif not idle:
            return False
        elif view.cut() and self.toy.seals():
            self.submit("Seal", round=number)
        elif view.closed() and not view.cut() and self.me not in view.votes:
            self.submit("Abandon", round=number, opening=0)
        elif self.me not in view.expired and (burns or self.toy.loses_patience(view)):
            self.submit("Expire", round=number)
        elif not burns and (fresh := (self.verified | view.commits.keys() & {self.me}) - settled):
            self.submit("Attest", round=number, verified=sorted(fresh), refused=[])
        else:
            return False
        return True

    def sealed_step(self, idle: bool) -> bool:
        number, view = self.round, self.view
        if self.pc in {"Idle", "Training", "Uploaded", "Committed"}:
            self.pc = "Aggregating"
            self.emit("Aggregate", round=number, aggregate=view.aggregate())
            return True
        for other in sorted(view.shares - self.accepted - {self.me}):
            self.accepted.add(other)
            self.emit("AcceptShare", round=number, other=other)
            return True
        model = f"m{number}"
        if (self.me, number) not in self.toy.vouched:
            self.toy.vouched.add((self.me, number))
            self.emit("Vouch", round=number)
            return True
        for other, _ in sorted(one for one in self.toy.vouched if one[1] == number):
            if other not in self.heard | {self.me}:
                self.heard.add(other)
                self.emit("HearVouch", round=number, other=other)
                return True
        if self.pc == "Aggregating" and len(self.heard) >= self.toy.colluders:
            self.pc = "Releasing"
            self.released[number] = view.aggregate()
            self.emit("Release", round=number, aggregate=view.aggregate())
        elif self.pc == "Releasing" and idle:
            self.pc = "Sharing"
            self.submit("Share", round=number, aggregate=self.released[number])
        elif self.pc == "Sharing" and len(self.accepted | {self.me}) >= self.toy.threshold:
            self.pc = "Combined"
            self.emit("Combine", round=number, model=model)
        elif (
            self.pc == "Combined" and idle and len(view.shares) >= self.toy.threshold and self.fresh("Result")
        ):
            self.submit("Result", round=number, model=model, discarded=False)
        else:
            return False
        return True

    def fresh(self, kind: str) -> bool:
        return all((x["kind"], x.get("round")) != (kind, self.round) for x in self.own)


@dataclass
class ToyCohort:
    """`members` of them; `play` returns the run's lines, the roster first, each member's in its order."""

    members: int = 3
    colluders: int = 0
    threshold: int = 2
    quorum: int = 2
    rounds: int = 2
    round_limit: int = 3
    seed: int = 1
    crashes: float = 0.01
    burned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - a schedule, no secret
        self.order: list[dict[str, Any]] = []
        self.flight: list[dict[str, Any]] = []
        self.proposed = False
        self.vouched: set[tuple[int, int]] = set()
        self.cohort: list[ToyMember] = []
        self.cohort.extend(ToyMember(self, me) for me in range(1, self.members + 1))

    def seals(self) -> bool:
        return self.random.random() < 0.5

    def loses_patience(self, view: Reading) -> bool:
        """Sometimes, once enough is attested."""
        return len(view.attested()) >= self.quorum and self.random.random() < 0.1

    def burns(self, number: int) -> bool:
        return number in self.burned

    def roster(self) -> dict[str, Any]:
        return {
            "event": "Roster",
            "v": 1,
            "job": "10b5" * 16,
            "model": "0de1" * 16,
            "members": self.members,
            "colluders": self.colluders,
            "threshold": self.threshold,
            "quorum": self.quorum,
            "rounds": self.rounds,
            "round_limit": self.round_limit,
            "key_attempts": 2,
            "byzantine": [],
        }

    def play(self, steps: int = 200_000) -> list[dict[str, Any]]:
        for _ in range(steps):
            if all("SettleJob" in member.done for member in self.cohort):
                break
            if self.flight and self.random.random() < 0.2:
                self.order.append(self.flight.pop(self.random.randrange(len(self.flight))))
                continue
            member = self.random.choice(self.cohort)
            if self.random.random() < self.crashes and "SettleJob" not in member.done:
                member.begin()
            elif self.random.random() < 0.5:
                member.step() or member.read()
            else:
                member.read() or member.step()
        else:
            raise AssertionError("the toy cohort did not finish")
        return [self.roster(), *(line for member in self.cohort for line in member.lines)]
