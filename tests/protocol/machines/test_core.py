"""The machines in a perfect world, with dropouts, crashes and illegal inputs."""

import hashlib

import pytest
from support.cohort import World, blob, say
from support.manifests import manifest

from protocol import core, effects, inputs
from protocol.errors import MemberFault, OwnFault
from protocol.history import MAX_OPENINGS, Phase
from protocol.journal import HeldShare, OwnRecord, Released
from protocol.messages import Accept, Message
from protocol.records import MAX_RECORD_BYTES, Abandon, Record
from protocol.state import Head
from protocol.waits import For, waiting_for
from protocol.words import KeyReason

WHOLE_JOB = ["Start", "AcceptJob", "SubmitJoin", "BeginKey", "HoldShare", "SubmitKeyShare", "AdoptKey"]
WHOLE_ROUND = [
    "Train",
    "Upload",
    "SubmitCommit",
    "SubmitAttest",
    "Vouch",
    "Aggregate",
    "Release",
    "SubmitShare",
    "Combine",
    "SubmitResult",
    "EndRound",
]


@pytest.mark.parametrize("members", [2, 3, 4, 5, 10])
def test_a_job_runs_from_proposal_to_settlement(members):
    world = World(manifest(members, rounds=3))
    world.start()
    models = set()
    for member, state in world.states.items():
        assert state.history.phase is Phase.FINISHED
        assert state.life.head is Head.SETTLED
        assert state.ended == 3
        assert waiting_for(state).reason is For.NOTHING
        models.add(state.history.model)
        names = world.names(member)
        steps = [name.replace("ProposeJob", "AcceptJob") for name in names]
        steps = [name for name in steps if name in WHOLE_JOB + WHOLE_ROUND]
        assert steps == WHOLE_JOB + 3 * WHOLE_ROUND
        assert [event.seq for event in world.events[member]] == list(range(1, len(world.events[member]) + 1))
    assert len(models) == 1
    settled = [event for event in world.events[1] if event.event == "SettleJob"]
    assert settled[0].arguments == {"mismatches": (), "lost": ()}


def test_records_are_small_and_chained():
    world = World(manifest(10, rounds=1))
    world.start()
    last = {}
    for slot in world.order:
        record = Record.from_bytes(slot.data)
        assert len(slot.data) <= MAX_RECORD_BYTES
        assert record.prev == last.get(slot.author, bytes(32))
        last[slot.author] = record.digest()


def test_everything_released_was_journalled_first():
    """Whatever is submitted or stored for others to see is in the journal before it leaves the core."""
    world = World(manifest(3, rounds=2))
    perform = world.perform

    def watching(member, effect):
        journal = world.journals[member]
        if isinstance(effect, effects.Submit):
            assert OwnRecord(effect.record) in journal
        if isinstance(effect, effects.ReleaseShare):
            assert Released(effect.round, effect.aggregate) in journal
        if isinstance(effect, effects.Emit) and effect.event == "SubmitKeyShare":
            assert any(isinstance(entry, HeldShare) for entry in journal)
        perform(member, effect)

    world.perform = watching
    world.start()
    assert world.states[1].history.phase is Phase.FINISHED


def test_a_round_goes_on_without_a_member_that_is_late():
    world = World(manifest(4, rounds=1))
    world.mute = lambda member, effect: member == 4 and isinstance(effect, effects.Contribute)
    world.start()
    assert waiting_for(world.states[1]).members == (4,)
    assert waiting_for(world.states[1]).reason is For.COMMITS
    for member in (1, 2, 3):
        world.elapse(member)
    world.run()
    assert all(state.history.phase is Phase.RUNNING for state in world.states.values())
    for member in (1, 2, 3):
        world.elapse(member)
    world.run()
    for state in world.states.values():
        assert state.history.phase is Phase.FINISHED
        assert state.history.past[0].sealed.members == (1, 2, 3)


def test_a_round_with_too_few_contributions_is_burned_and_the_next_trains_afresh():
    world = World(manifest(3, rounds=1))
    silent = {3}
    world.mute = lambda member, effect: member in silent and isinstance(effect, effects.Contribute)
    world.start()
    silent.clear()
    for _ in range(2):
        for member in (1, 2, 3):
            world.elapse(member)
        world.run()
    for state in world.states.values():
        assert [ended.model is None for ended in state.history.past] == [True, False]
        assert state.history.phase is Phase.FINISHED


def test_a_job_without_contributions_ends_at_its_round_limit():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    for _ in range(20):
        for member in (1, 2, 3):
            world.elapse(member)
        world.run()
    assert {state.history.phase for state in world.states.values()} == {Phase.FINISHED}
    assert world.states[1].history.opened == 0
    assert world.states[1].life.head is Head.SETTLED


@pytest.mark.parametrize("stop_at", range(1, 22))
def test_a_member_that_crashes_anywhere_finishes_with_the_others(stop_at):
    """Member 2 crashes before its `stop_at`-th effect on the world, restarts, and the job ends right."""
    world = World(manifest(3, rounds=2))
    perform, count = world.perform, 0

    def crashing(member, effect):
        nonlocal count
        if member == 2 and not isinstance(effect, effects.Emit | effects.SetTimer):
            count += 1
            if count == stop_at:
                world.crash(2)
                return
        if member in world.states:
            perform(member, effect)

    world.perform = crashing
    world.start()
    if 2 not in world.states:
        world.wake(2)
        world.give(2, inputs.JobAccepted())
        world.give(2, inputs.HeadReady())
        for other in (1, 3):
            world.give(other, inputs.PeerUp(2))
            world.give(2, inputs.PeerUp(other))
        world.run()
    for _ in range(6):
        for member in (1, 2, 3):
            world.elapse(member)
        world.run()
    models = {state.history.model for state in world.states.values()}
    assert {state.history.phase for state in world.states.values()} == {Phase.FINISHED}
    assert len(models) == 1
    assert world.states[2].history.opened == 2


def test_a_restarted_member_never_releases_for_another_aggregate():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.ReleaseShare)
    world.start()
    before = world.states[2].own.released
    world.crash(2)
    world.wake(2)
    world.run()
    assert world.states[2].own.released == before
    asked = []
    world.mute = lambda member, effect: asked.append((member, effect)) or False
    world.crash(2)
    world.wake(2)
    world.run()
    released = [effect for member, effect in asked if isinstance(effect, effects.ReleaseShare)]
    assert [effect.aggregate for effect in released] == [before[1]]


def test_failed_keys_are_tried_again_and_name_the_accused():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: effect == effects.MakeKey(1)
    world.start()
    world.give(2, inputs.KeyFailed(1, 3, KeyReason.DEVIATION))
    world.run()
    assert world.states[1].history.phase is Phase.FINISHED
    accused = [event for event in world.events[1] if event.arguments.get("kind") == "KeyAbandon"]
    assert [event.arguments["accused"] for event in accused] == [3]


def test_keys_that_always_fail_abort_the_job():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.MakeKey)
    world.start()
    for _ in range(3):
        world.elapse(1)
        world.run()
    assert world.states[2].history.phase is Phase.ABORTED
    assert "3 attempts" in world.states[2].history.reason
    assert world.states[2].life.head is Head.SETTLED


def test_results_that_differ_abort_the_job():
    world = World(manifest(2, rounds=1))
    perform = world.perform

    def differing(member, effect):
        if isinstance(effect, effects.OpenSum):
            world.give(member, inputs.Opened(effect.round, hashlib.sha256(bytes([member])).digest()))
        else:
            perform(member, effect)

    world.perform = differing
    world.start()
    assert world.states[1].history.phase is Phase.ABORTED
    assert "disagree" in world.states[1].history.reason


def test_illegal_inputs_are_refused_and_change_nothing():
    state = core.begin(manifest(3), 1)
    with pytest.raises(OwnFault, match="first input"):
        core.update(state, inputs.JobAccepted())
    state, asked = core.update(state, inputs.Wake())
    assert isinstance(asked[-1], effects.Append)
    state, _ = core.update(state, inputs.Persisted())
    for wrong in (
        inputs.Wake(),
        inputs.Persisted(),
        inputs.Read((inputs.Confirmed(2, 1, b""),)),
        inputs.Read((inputs.Confirmed(1, 4, b""),)),
    ):
        with pytest.raises(OwnFault):
            core.update(state, wrong)
    with pytest.raises(MemberFault):
        core.update(state, inputs.Heard(2, b"junk"))
    assert core.update(state, inputs.Heard(2, Message(Accept(bytes(32))).to_bytes())) == (state, ())
    with pytest.raises(OwnFault):
        core.begin(manifest(3), 4)


def test_inputs_wait_while_the_journal_writes():
    state = core.begin(manifest(3), 1)
    state, _ = core.update(state, inputs.Wake())
    state, asked = core.update(state, inputs.JobAccepted())
    assert asked == ()
    assert waiting_for(state).reason is For.DISK
    state, asked = core.update(state, inputs.Persisted())
    assert [type(effect).__name__ for effect in asked] == ["Emit", "Append"]
    state, asked = core.update(state, inputs.Persisted())
    assert [type(effect).__name__ for effect in asked] == ["Emit", "Say"]


def test_stale_work_is_ignored():
    world = World(manifest(3, rounds=1))
    world.start()
    state = world.states[1]
    for late in (
        inputs.Contributed(1, blob("late")),
        inputs.CommitChecked(1, 2),
        inputs.ShareChecked(1, 2, "no"),
        inputs.Summed(1),
        inputs.KeyMade(1, bytes(32), b""),
        inputs.KeyFailed(1, 2, KeyReason.DEVIATION),
        inputs.ContributeDeadline(1),
        inputs.AttestDeadline(1),
    ):
        assert core.update(state, late) == (state, ())


def test_unreadable_and_foreign_records_are_ignored_by_everyone():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    good = Record.from_bytes(world.order[0].data)
    for data in (b"", b"junk", good.to_bytes(), good.to_bytes() + b"x"):
        world.anchor(2, data)
    world.run()
    assert len({state.history.order for state in world.states.values()}) == 1
    last = [event for event in world.events[1] if event.event == "Observe"][-4:]
    assert [event.arguments["valid"] for event in last] == [False] * 4


def stuck_after_seal(members=3):
    """A cohort whose members cannot get hold of the sealed sum of round 1."""
    world = World(manifest(members, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.SumSealed)
    world.start()
    assert waiting_for(world.states[1]).reason is For.SUM
    return world


def elapse(world, times=1):
    for _ in range(times):
        for member in world.states:
            world.elapse(member)
        world.run()


def test_a_sealed_sum_is_tried_again_with_the_same_contributions():
    world = stuck_after_seal()
    sealed = world.states[1].history.round.sealed
    elapse(world)
    for member, state in world.states.items():
        assert (state.history.round.opening, state.history.round.sealed) == (2, sealed)
        assert state.history.past == ()
        assert "Reopen" in world.names(member)
        world.give(member, inputs.Summed(1))
    world.run()
    assert {state.history.phase for state in world.states.values()} == {Phase.FINISHED}
    assert world.states[2].history.past[0].sealed == sealed


def test_a_sealed_sum_that_nobody_can_open_ends_the_job_and_names_who_gave_no_share():
    world = stuck_after_seal()
    patience = []
    perform = world.perform

    def watching(member, effect):
        if member == 1 and isinstance(effect, effects.SetTimer):
            patience.append(effect.seconds)
        perform(member, effect)

    world.perform = watching
    elapse(world, MAX_OPENINGS)
    for state in world.states.values():
        assert state.history.phase is Phase.ABORTED
        assert "round 1 could not be opened; members 1, 2, 3 gave no share" in state.history.reason
    opening = manifest(3).deadlines.open
    assert [s for s in patience if s >= opening] == [2 * opening, 4 * opening, 4 * opening]


def test_votes_for_an_open_round_do_not_count_once_it_is_sealed():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.SumSealed)
    world.start()
    for member in (1, 2):
        say(world, member, Abandon(1, 0))
    assert world.states[3].history.round.opening == 1
    for member in (1, 2):
        say(world, member, Abandon(1, 1))
    assert world.states[3].history.round.opening == 2


def test_ended_rounds_are_not_ended_again_after_a_restart():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    for _ in range(2):
        for member in (1, 2, 3):
            world.elapse(member)
        world.run()
    assert world.names(2).count("BurnRound") == 1
    before = world.states[2].ended
    world.crash(2)
    world.wake(2)
    world.run()
    assert world.states[2].ended == before == 1
    assert world.names(2).count("BurnRound") == 1


def test_a_sum_opened_after_the_round_ended_is_only_a_model_at_hand():
    world = World(manifest(3, rounds=1))
    late = []
    perform = world.perform

    def slow(member, effect):
        if member == 3 and isinstance(effect, effects.OpenSum | effects.FetchModel):
            late.append(effect)
        else:
            perform(member, effect)

    world.perform = slow
    world.start()
    assert world.states[3].history.phase is Phase.FINISHED
    assert waiting_for(world.states[1]).reason is For.NOTHING
    world.perform = perform
    perform(3, late[0])
    world.run()
    names = world.names(3)
    assert "Combine" not in names
    assert names[-3:] == ["CatchUp", "EndRound", "FinishJob"]


def test_deadlines_double_with_every_round_burned_in_a_row():
    world = World(manifest(3, rounds=1))
    silent = {1, 2}
    waits = []
    perform = world.perform

    def watching(member, effect):
        if member == 1 and isinstance(effect, effects.SetTimer):
            waits.append((type(effect.timer).__name__, effect.seconds))
        if not (isinstance(effect, effects.Contribute) and effect.round in silent):
            perform(member, effect)

    world.perform = watching
    world.start()
    for _ in range(4):
        for member in (1, 2, 3):
            world.elapse(member)
        world.run()
    assert world.states[1].history.phase is Phase.FINISHED
    assert [seconds for name, seconds in waits if name == "ContributeDeadline"] == [60, 120, 240]
    assert [seconds for name, seconds in waits if name == "AttestDeadline"] == [20, 40]
