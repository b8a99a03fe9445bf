"""Members that do not follow the protocol: whatever they can say or store in their own name.

They know all that is on the ledger and in any bucket, and act at random moments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from support.manifests import job_secret

from protocol.encoding.errors import EncodingError
from protocol.membership import prove_membership
from protocol.messages import Accept, Message, Vouch
from protocol.records import (
    Abandon,
    Attest,
    Blob,
    Body,
    Commit,
    Expire,
    Join,
    KeyAbandon,
    KeyShare,
    Record,
    Result,
    Seal,
    Share,
    Stop,
)
from protocol.words import KeyReason, Reason
from simulation.cryptography import Cryptography, Made
from simulation.reading import Reading

if TYPE_CHECKING:
    from simulation.world import World

Move = Callable[[], None]


class Byzantine:
    """One Byzantine member. `diligence` is how often it does what an honest one would."""

    def __init__(self, world: World, index: int) -> None:
        self._world = world
        self._me = index
        self._rng = world.rng
        self._pace = self._rng.choice((1.0, 3.0, 10.0))
        self._diligence = self._rng.choice((0.0, 0.5, 0.5, 0.9))
        self._poisons = self._rng.random() < 0.4
        self._seq, self._last = 0, bytes(32)
        self._keyed: set[int] = set()
        self._done: set[tuple[str, int]] = set()

    @property
    def _reading(self) -> Reading:
        return self._world.checks.reading

    @property
    def _cryptography(self) -> Cryptography:
        return self._world.keymaking.keys[self._reading.key]

    def start(self) -> None:
        """Act from time to time until the job is over."""
        self._act()

    def peer_up(self, other: int) -> None:
        """Tell another member that the job is accepted."""
        accept = Message(Accept(self._world.scenario.manifest.job)).to_bytes()
        self._world.network.say(self._me, other, accept)

    def _act(self) -> None:
        if self._world.ledger.closed:
            return
        if self._world.ledger.open:
            self._move()
        else:
            self._take_part()
        self._world.clock.after(self._rng.expovariate(1 / self._pace), self._act)

    def _take_part(self) -> None:
        """Accept the job, again and again: a word may be lost, and without it there is no job to disturb."""
        for other in self._world.members:
            self.peer_up(other)
        if self._me == 1 and all(m.state and m.state.life.accepted for m in self._world.members.values()):
            self._world.open_head()

    def _move(self) -> None:
        if self._world.scenario.silent:
            self._help_to_begin()
            return
        if self._rng.random() < 0.05:
            self._rng.choice((self._junk, self._stranger, self._liar, self._stop))()
            return
        match self._reading.phase:
            case "joining" if "joined" not in {name for name, _ in self._done}:
                self._done.add(("joined", 0))
                self._submit(Join(prove_membership(self._reading.manifest, self._me, job_secret(self._me))))
            case "keying":
                self._make_key(self._reading.attempt)
            case "running" if self._reading.current.sealed is None:
                self._in_open_round()
            case "running":
                self._in_sealed_round()

    def _help_to_begin(self) -> None:
        if self._reading.phase == "joining" and self._once("joined", 0):
            self._submit(Join(prove_membership(self._reading.manifest, self._me, job_secret(self._me))))
        elif self._reading.phase == "keying" and self._once("keyed", self._reading.attempt):
            key, _ = self._world.keymaking.share(self._reading.attempt, self._me)
            self._submit(KeyShare(self._reading.attempt, key))

    # Records

    def _submit(self, body: Body) -> None:
        """Continue the own chain, properly."""
        record = self._record(body)
        self._seq, self._last = record.seq, record.digest()
        self._send(record)

    def _record(self, body: Body) -> Record:
        reading = self._reading
        return Record(
            version=1,
            job=reading.manifest.job,
            member=self._me,
            seq=self._seq + 1,
            prev=self._last,
            seen=len(reading.orders) - 1,
            order=reading.orders[-1],
            body=body,
        )

    def _send(self, record: Record) -> None:
        self._world.ledger.submit(self._me, record.to_bytes())

    def _count(self, what: str) -> None:
        self._world.count(f"Byzantine: {what}")

    def _once(self, what: str, number: int) -> bool:
        """Whether this is the first time in this round."""
        first = (what, number) not in self._done
        self._done.add((what, number))
        return first

    def _junk(self) -> None:
        self._count("junk record")
        self._world.ledger.submit(self._me, self._rng.randbytes(self._rng.randint(0, 300)))

    def _stranger(self) -> None:
        """A record in another's name, of another job, or out of sequence."""
        self._count("record that is not its own")
        record = self._record(Seal(max(1, self._reading.current.number)))
        others = [m for m in self._reading.manifest.roster.indices if m != self._me]
        wrong: dict[str, object] = self._rng.choice(
            (
                {"member": self._rng.choice(others)},
                {"job": bytes(32)},
                {"seq": self._seq + 2},
                {"prev": bytes(32)[1:] + b"x"},
            )
        )
        self._send(msgspec.structs.replace(record, **wrong))

    def _liar(self) -> None:
        """A record that claims another order, or a view of the future."""
        self._count("record with a false view")
        record = self._record(Seal(max(1, self._reading.current.number)))
        wrong: dict[str, object] = self._rng.choice(({"order": b"\1" * 32}, {"seen": record.seen + 100}))
        record = msgspec.structs.replace(record, **wrong)
        self._seq, self._last = record.seq, record.digest()
        self._send(record)

    def _stop(self) -> None:
        self._count("vote to stop")
        self._submit(Stop(Reason.OPERATOR))

    # Key generation

    def _make_key(self, attempt: int) -> None:
        if attempt in self._keyed or self._rng.random() < 0.5:
            return
        self._keyed.add(attempt)
        plan = self._world.keymaking.plan(attempt).plan
        choice = self._rng.random()
        if plan in ("join", "split") and choice < 0.8:
            key, _ = self._world.keymaking.share(attempt, self._me)
            self._submit(KeyShare(attempt, key))
        elif choice < 0.85:
            self._count("false key")
            self._submit(KeyShare(attempt, self._rng.randbytes(32)))
        elif choice < 0.95:
            self._count("false accusation")
            accused = self._rng.choice((0, *self._reading.manifest.roster.indices))
            self._submit(KeyAbandon(attempt, accused, KeyReason.DEVIATION))

    # A round

    def _in_open_round(self) -> None:
        number = self._reading.current.number
        if self._rng.random() < self._diligence:
            if self._once("commit", number):
                (self._commit_poisoned if self._poisons else self._commit_well)()
            else:
                self._attest_all()
            return
        moves: list[Move] = [
            self._commit_well,
            self._commit_spoilt,
            self._commit_copy,
            self._commit_renamed,
            self._commit_withheld,
            self._commit_poisoned,
            self._commit_poisoned_again,
            self._attest_all,
            self._attest_something,
            self._refuse_something,
            self._seal_early,
            self._expire,
            self._abandon,
        ]
        self._rng.choice(moves)()

    def _commit(self, made: Made, *, sound: bool, stored: bool = True) -> None:
        data, blob = made
        if not sound:
            self._world.unsound.add((self._me, blob.object))
        if stored:
            self._world.buckets.put(self._me, blob.object, data)
        self._submit(Commit(self._reading.current.number, blob))

    def _commit_well(self) -> None:
        self._count("commit")
        self._commit(self._contribution(), sound=True)

    def _commit_spoilt(self) -> None:
        self._count("bad proof")
        self._commit(self._cryptography.spoil(*self._contribution()), sound=False)

    def _commit_poisoned(self) -> None:
        """What no honest member would send, and only a proof of range shows."""
        if self._world.scenario.real_crypto or self._reading.ranged:
            self._commit_well()
            return
        self._count("poisoned update")
        self._commit(self._contribution(poisoned=True), sound=True)

    def _commit_poisoned_again(self) -> None:
        """Where updates prove their range, it is refused."""
        if self._reading.ranged and not self._world.scenario.real_crypto:
            self._count("poisoned update without a proof of range")
            self._commit(self._contribution(poisoned=True), sound=False)

    def _contribution(self, *, poisoned: bool = False) -> Made:
        return self._cryptography.contribute(
            self._reading.current.number, self._me, ranged=self._reading.ranged, poisoned=poisoned
        )

    def _commit_withheld(self) -> None:
        self._count("withheld update")
        self._commit(self._contribution(), sound=True, stored=False)

    def _commit_copy(self) -> None:
        found = self._somebodys_update()
        if found is not None:
            self._count("copied update")
            self._commit(found, sound=False)

    def _commit_renamed(self) -> None:
        found = self._somebodys_update()
        if found is not None:
            self._count("mauled update")
            self._commit(self._cryptography.rename(found[0], self._me), sound=False)

    def _somebodys_update(self) -> Made | None:
        for member, blob in self._reading.current.commits.items():
            data = self._world.buckets.peek(member, blob.object)
            if member in self._world.members and data is not None:
                return data, blob
        return None

    def _attest_all(self) -> None:
        unspoken = self._reading.current.commits.keys() - self._reading.current.spoken(self._me)
        if unspoken:
            self._count("attestation")
            self._submit(Attest(self._reading.current.number, tuple(sorted(unspoken))))

    def _attest_something(self) -> None:
        self._count("false attestation")
        self._submit(Attest(self._reading.current.number, self._some()))

    def _refuse_something(self) -> None:
        self._count("false refusal")
        self._submit(Attest(self._reading.current.number, (), self._some()))

    def _some(self) -> tuple[int, ...]:
        commits = sorted(self._reading.current.commits)
        among = (
            commits if commits and self._rng.random() < 0.7 else list(self._reading.manifest.roster.indices)
        )
        return tuple(self._rng.sample(among, self._rng.randint(1, len(among))))

    def _expire(self) -> None:
        self._count("premature expiry")
        self._submit(Expire(self._reading.current.number))

    def _seal_early(self) -> None:
        self._count("early seal")
        self._submit(Seal(self._reading.current.number))

    def _abandon(self) -> None:
        self._count("premature abandon")
        self._submit(Abandon(self._reading.current.number, self._reading.current.opening))

    def _vouch(self) -> None:
        """To everyone: for the order as it is, or for one that nobody was shown."""
        slot = len(self._reading.orders) - 1 - self._rng.randrange(3)
        true = self._rng.random() < 0.5
        order = self._reading.orders[max(slot, 0)] if true else self._rng.randbytes(32)
        self._count("vouch" if true else "false vouch")
        for other in self._world.members:
            vouch = Vouch(self._reading.manifest.job, max(slot, 1), order)
            self._world.network.say(self._me, other, Message(vouch).to_bytes())

    def _in_sealed_round(self) -> None:
        if self._rng.random() < self._diligence:
            self._share_well()
            return
        moves: list[Move] = [
            self._share_well,
            self._share_spoilt,
            self._share_of_another,
            self._result_false,
            self._result_true,
            self._abandon,
            self._withhold,
            self._vouch,
        ]
        self._rng.choice(moves)()

    def _share(self) -> Made | None:
        """A sound share of the sealed sum, if its parts can be had."""
        now = self._reading.current
        updates = []
        for member, blob in (now.sealed or {}).items():
            data = self._find(member, blob)
            if data is None:
                return None
            try:
                updates.append(
                    self._cryptography.check_update(
                        now.number, member, blob, data, ranged=self._reading.ranged
                    )
                )
            except EncodingError:
                return None
        total = self._cryptography.sum(updates)
        return self._cryptography.release(now.number, self._me, self._reading.aggregate_of(now), total)

    def _find(self, owner: int, blob: Blob) -> bytes | None:
        kept = (member.disk.objects.get(blob.object) for member in self._world.members.values())
        return next((data for data in kept if data is not None), None) or self._world.buckets.peek(
            owner, blob.object
        )

    def _give_share(self, made: Made, aggregate: bytes) -> None:
        data, blob = made
        self._world.buckets.put(self._me, blob.object, data)
        self._submit(Share(self._reading.current.number, aggregate, blob))

    def _share_well(self) -> None:
        made = self._share()
        if made is not None and self._once("share", self._reading.current.number):
            self._count("share")
            self._give_share(made, self._reading.aggregate_of(self._reading.current))

    def _share_spoilt(self) -> None:
        made = self._share()
        if made is not None:
            self._count("wrong share")
            self._give_share(
                self._cryptography.spoil(*made), self._reading.aggregate_of(self._reading.current)
            )

    def _share_of_another(self) -> None:
        made = self._share()
        if made is not None:
            self._count("share of another sum")
            self._give_share(made, self._rng.randbytes(32))

    def _result_false(self) -> None:
        self._count("false result")
        self._submit(Result(self._reading.current.number, self._rng.randbytes(32)))

    def _result_true(self) -> None:
        for model, discarded in self._reading.current.results.values():
            self._count("copied result")
            self._submit(Result(self._reading.current.number, model, discarded))
            return

    def _withhold(self) -> None:
        self._count("bucket closed for good")
        self._world.buckets.withheld.add(self._me)
