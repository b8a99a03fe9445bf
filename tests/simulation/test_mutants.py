"""Teeth: cores that are broken on purpose, each of which a named checker must catch within some seeds."""

from dataclasses import replace

from protocol import core, cut, effects, history, lifecycle, opening, round, vouching
from protocol.journal import OwnRecord, Released
from protocol.state import Action, Turn
from simulation.runs import run
from simulation.scenario import Wishes

SEEDS = range(1, 60)


def caught(wishes=None, seeds=SEEDS):
    """The invariants that seeds break, up to the first."""
    for seed in seeds:
        report = run(seed, wishes or Wishes(rounds=3))
        if report.broken:
            return report.broken
    return ""


def without_journalling(monkeypatch, kind):
    """Entries of a kind are forgotten: asked for, but never written."""
    finish = Turn.finish

    def forgetful(turn):
        state, asked = finish(turn)
        kept = [
            replace(effect, entries=tuple(e for e in effect.entries if not isinstance(e, kind)))
            if isinstance(effect, effects.Append)
            else effect
            for effect in asked
        ]
        return state, tuple(kept)

    monkeypatch.setattr(Turn, "finish", forgetful)


def with_action(monkeypatch, name, **changes):  # noqa: ANN003
    """An action of the table is another one."""
    actions = tuple(replace(a, **changes) if a.name == name else a for a in core.ACTIONS)
    monkeypatch.setattr(core, "ACTIONS", actions)


def test_a_release_that_is_not_journalled(monkeypatch):
    without_journalling(monkeypatch, Released)
    assert caught() == "Durability"


def test_a_record_that_is_not_journalled(monkeypatch):
    without_journalling(monkeypatch, OwnRecord)
    assert caught() == "Durability"


def test_effects_that_do_not_wait_for_the_journal(monkeypatch):
    def hasty(turn):
        held, turn._held = turn._held, []
        state, asked = finish(turn)
        return state, (*held, *asked)

    finish = Turn.finish
    monkeypatch.setattr(Turn, "finish", hasty)
    assert caught() == "Durability"


def test_a_share_of_the_own_update_alone(monkeypatch):
    def lonely(turn):
        sealed = vouching.sealed_here(turn.state)
        turn.round(summing=True)
        own = tuple(each for each in sealed.contributions if each[0] == turn.state.me)
        turn.do(effects.SumSealed(turn.state.round.number, own or sealed.contributions))

    with_action(monkeypatch, "Aggregate", perform=lonely)
    assert caught() in ("NoDifferencing", "NoLoneUpdate")


def test_sums_of_too_few(monkeypatch):
    """All members leave out the same contribution: one sum per round, but not the sealed one."""

    def short(turn):
        turn.round(summing=True)
        contributions = vouching.sealed_here(turn.state).contributions
        turn.do(effects.SumSealed(turn.state.round.number, contributions[:1]))

    with_action(monkeypatch, "Aggregate", perform=short)
    assert caught() in ("NoLoneUpdate", "NoDifferencing")


def test_another_sum_after_a_restart(monkeypatch):
    """A member that is back sums what it likes: the shares of its two lives differ."""

    def changing(turn):
        turn.round(summing=True)
        contributions = vouching.sealed_here(turn.state).contributions
        cut = contributions[1:] if turn.state.incarnation > 1 else contributions
        turn.do(effects.SumSealed(turn.state.round.number, cut))

    with_action(monkeypatch, "Aggregate", perform=changing)
    seen = {run(seed, Wishes(rounds=3)).broken for seed in SEEDS}
    assert seen & {"ShareOnce", "NoDifferencing"}


def test_a_quorum_that_is_ignored(monkeypatch):
    def eager(now):
        thresholds = replace_quorum(now.manifest)
        return honest(replace(now, manifest=thresholds))

    def replace_quorum(manifest):
        import msgspec

        lower = msgspec.structs.replace(manifest.thresholds, quorum=1)
        return msgspec.structs.replace(manifest, thresholds=lower)

    honest = history.History.cut
    monkeypatch.setattr(history.History, "cut", eager)
    assert caught() == "Agreement"


def closed_at_once(now):
    return now.round is not None and now.round.sealed is None and len(now.attested) >= now.needed


def test_a_seal_that_counts_as_soon_as_enough_is_attested(monkeypatch):
    """Whoever attests last, or seals first, chooses who is in the sum."""
    monkeypatch.setattr(history.History, "closed", property(closed_at_once))
    monkeypatch.setattr("simulation.reading.Reading.closed", lambda self: True)
    assert caught(Wishes(rounds=3, byzantine=True)) == "NoSingleCut"


def test_a_second_sum_of_whoever_is_there(monkeypatch):
    """After a poisoned sum the next one from the same model leaves somebody out."""

    def forgetful(base, attested, culprits, quorum):
        return attested if len(attested) >= quorum else None

    monkeypatch.setattr(cut.Base, "next_sum", forgetful)
    monkeypatch.setattr("simulation.reading.Reading._allowed", lambda self, attested: attested)
    assert caught(Wishes(members=5, rounds=2, byzantine=True), range(15, 30)) == "NoDifferencing"


def test_one_refusal_that_puts_a_member_out(monkeypatch):
    refusers = history.OpenRound.refusers

    def hasty(current, member):
        return 100 * refusers(current, member)

    monkeypatch.setattr(history.OpenRound, "refusers", hasty)
    assert caught(Wishes(rounds=3, byzantine=True)) in ("Agreement", "NoFraming")


def test_a_history_that_accepts_a_second_commit(monkeypatch):
    def lax(now, author, body):
        current = history._open(now, body.round)
        return replace(now, round=replace(current, commits={**current.commits, author: body.blob}))

    readers = {**history._READERS, history.Commit: lax}
    monkeypatch.setattr(history, "_READERS", readers)
    assert caught(Wishes(rounds=3, byzantine=True)) == "Agreement"


def test_a_member_that_forgets_its_records(monkeypatch):
    def amnesiac(manifest, me, entries, slots=()):
        kept = [entry for entry in entries if not isinstance(entry, OwnRecord)]
        return restore(manifest, me, kept, slots)

    restore = core.restore
    monkeypatch.setattr(core, "restore", amnesiac)
    assert caught() == "Durability"


def test_a_key_attempt_begun_twice(monkeypatch):
    """A restarted member contradicts what it said in the attempt before: an honest one is blamed."""
    begin = Action.possible

    def careless(action, state):
        if action.name == "BeginKey":
            state = replace(state, key=replace(state.key, lost=0))
        return begin(action, state)

    restore = core.restore

    def forgiving(manifest, me, entries, slots=()):
        state = restore(manifest, me, entries, slots)
        return replace(state, key=replace(state.key, lost=0))

    monkeypatch.setattr(Action, "possible", careless)
    monkeypatch.setattr(core, "restore", forgiving)
    assert caught(Wishes(rounds=1, byzantine=False)) == "Accountability"


def test_updates_attested_unseen(monkeypatch):
    def trusting(state):
        current = round._open(state)
        return frozenset() if current is None else frozenset(current.commits) - state.round.settled

    with_action(
        monkeypatch, "SubmitAttest", enabled=lambda s: bool(trusting(s)), perform=attest_all(trusting)
    )
    assert caught(Wishes(rounds=3, byzantine=True)) == "Accountability"


def attest_all(choose):
    def perform(turn):
        verified = choose(turn.state)
        turn.round(settled=turn.state.round.settled | verified)
        turn.submit(round.Attest(turn.state.round.number, tuple(sorted(verified))))

    return perform


def test_rounds_that_nobody_abandons(monkeypatch):
    with_action(monkeypatch, "SubmitAbandon", enabled=lambda state: False)
    assert caught() == "Progress"


def test_shares_awaited_from_whoever_withholds_them(monkeypatch):
    def patient(state):
        enough = opening._accepted_shares(state) or state.round.checking_shares
        return () if len(enough) + 1 >= state.manifest.thresholds.shares else to_check(state)

    to_check = opening._shares_to_check
    monkeypatch.setattr(opening, "_shares_to_check", patient)
    assert caught(Wishes(rounds=3, byzantine=True)) == "Progress"


def test_a_settlement_that_finds_fault_with_honest_members(monkeypatch):
    monkeypatch.setattr(lifecycle, "mismatches", lambda state: state.manifest.roster.indices)
    assert caught() == "Accountability"
