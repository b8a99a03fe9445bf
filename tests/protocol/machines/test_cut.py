"""Who is in a sealed sum: decided by nobody, and safe to subtract from the sum before it."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cohort import World, blob, say
from support.manifests import manifest

from protocol import effects, inputs
from protocol.cut import Base
from protocol.history import EVERYBODY, MAX_BURNED, Phase
from protocol.records import Abandon, Attest, Commit, Expire, Seal
from protocol.thresholds import Thresholds

JOB, MODEL = bytes(32), bytes(31) + b"m"


def atoms(*sums: frozenset[int]):
    """Members that are in exactly the same sums."""
    found = {}
    for member in frozenset().union(*sums):
        found.setdefault(tuple(member in members for members in sums), set()).add(member)
    return found.values()


members = st.frozensets(st.integers(1, 12), min_size=1)


@settings(deadline=None)
@given(members, members, st.frozensets(st.integers(1, 12), max_size=2), st.integers(2, 4))
def test_no_atom_of_two_sums_is_small(first, attested, culprits, gap):
    """Whatever is attested: who isolates a group by subtraction isolates at least `gap` of the unproven."""
    base = Base(JOB, MODEL, gap, (first,))
    second = base.next_sum(attested - culprits, culprits, 1)
    if second is None:
        return
    assert second <= attested - culprits
    unproven = first - culprits
    for atom in atoms(unproven, second):
        assert len(atom) >= gap or atom == unproven


@given(members, members, st.integers(2, 4))
def test_the_same_members_can_always_be_summed_again(first, newcomers, gap):
    base = Base(JOB, MODEL, gap, (first,))
    second = base.next_sum(first | newcomers, frozenset(), 1)
    assert second is not None
    assert first <= second
    assert len(second - first) == 0 or len(second - first) >= gap


def test_a_single_member_cannot_be_left_out_of_the_second_sum():
    base = Base(JOB, MODEL, 3, (frozenset({1, 2, 3, 4}),))
    for present in combinations((1, 2, 3, 4), 3):
        assert base.next_sum(frozenset(present), frozenset(), 3) is None


def test_a_proven_culprit_may_be_left_out():
    base = Base(JOB, MODEL, 3, (frozenset({1, 2, 3, 4}),))
    assert base.next_sum(frozenset({1, 2, 3}), frozenset({4}), 3) == {1, 2, 3}


def test_large_cohorts_go_on_without_the_missing_and_some_more():
    everyone = frozenset(range(1, 11))
    base = Base(JOB, MODEL, 4, (everyone,))
    second = base.next_sum(everyone - {7}, frozenset(), 6)
    assert second is not None
    assert len(second) == 6
    assert 7 not in second
    assert second == base.next_sum(everyone - {7}, frozenset(), 6)
    again = Base(JOB, MODEL, 4, (everyone, second))
    assert again.next_sum(everyone, frozenset(), 6) == second
    assert again.next_sum(everyone - second, frozenset(), 4) is None


def test_of_two_sums_one_that_still_reaches_the_quorum_is_summed_again():
    base = Base(JOB, MODEL, 3, (frozenset({1, 2, 3}), frozenset({4, 5, 6})))
    assert base.next_sum(frozenset(range(1, 6)), frozenset({6}), 3) == {1, 2, 3}


def commits_held(count=4):
    """A cohort whose members committed and attest nothing yet."""
    world = World(manifest(count, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.CheckCommit)
    world.start()
    assert len(world.states[1].history.round.commits) == count
    return world


def test_one_member_alone_cannot_cut_a_round():
    """It attests whom it likes and seals at once, after the first honest attestation too."""
    world = commits_held()
    say(world, 1, Attest(1, (1, 2, 3)))
    say(world, 1, Seal(1))
    say(world, 1, Expire(1))
    say(world, 1, Seal(1))
    say(world, 2, Attest(1, (1, 2, 3, 4)))
    say(world, 1, Seal(1))
    assert world.states[3].history.round.sealed is None


def test_a_seal_counts_when_everyone_has_spoken_of_every_commit():
    world = commits_held()
    for member in (1, 2, 3):
        say(world, member, Attest(1, (1, 2, 3)))
        say(world, member, Seal(1))
    say(world, 4, Attest(1, (1, 2, 3, 4)))
    assert world.states[3].history.round.sealed is None
    for member in (1, 2, 3):
        say(world, member, Attest(1, (4,)))
    say(world, 2, Seal(1))
    assert world.states[3].history.round.sealed.members == (1, 2, 3, 4)


def test_a_seal_counts_when_more_than_may_collude_say_that_time_is_up():
    world = commits_held()
    for member in (1, 2):
        say(world, member, Attest(1, (1, 2, 3)))
    say(world, 1, Expire(1))
    say(world, 1, Expire(1))
    say(world, 4, Seal(1))
    assert world.states[3].history.round.sealed is None
    say(world, 2, Expire(1))
    say(world, 4, Seal(1))
    assert world.states[3].history.round.sealed.members == (1, 2, 3)


def test_a_commit_after_the_others_were_attested_has_to_be_settled_too():
    world = World(manifest(4, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.CheckCommit | effects.Contribute)
    world.start()
    for member in (1, 2, 3):
        say(world, member, Commit(1, blob(member)))
    for member in (1, 2, 3, 4):
        say(world, member, Attest(1, (1, 2, 3)))
    say(world, 4, Commit(1, blob(4)))
    say(world, 1, Seal(1))
    assert world.states[3].history.round.sealed is None


def refusing(world, culprit):
    """Every other member finds `culprit`'s update wanting."""
    perform = world.perform

    def checked(member, effect):
        if isinstance(effect, effects.CheckCommit) and effect.member == culprit:
            world.give(member, inputs.CommitChecked(effect.round, culprit, "the proof does not hold"))
        else:
            perform(member, effect)

    world.perform = checked


def test_who_commits_to_what_is_no_update_is_out_for_good():
    world = World(manifest(4, rounds=2))
    refusing(world, 3)
    world.start()
    for member in (1, 2, 4):
        history = world.states[member].history
        assert (history.out, history.phase) == ({3}, Phase.FINISHED)
        assert [ended.sealed.members for ended in history.past] == [(1, 2, 4), (1, 2, 4)]
        out = [event.arguments for event in world.events[member] if event.event == "MemberOut"]
        assert out == [{"other": 3}]


def test_the_word_of_as_many_as_may_collude_puts_nobody_out():
    world = commits_held()
    say(world, 1, Attest(1, (1, 2, 3), (4,)))
    assert world.states[2].history.out == frozenset()
    for member in (2, 3, 4):
        say(world, member, Attest(1, (1, 2, 3, 4)))
    say(world, 2, Seal(1))
    assert world.states[2].history.round.sealed.members == (1, 2, 3, 4)


def test_a_job_that_loses_too_many_names_them():
    world = World(manifest(3, rounds=1))
    refusing(world, 3)
    world.start()
    history = world.states[1].history
    assert history.phase is Phase.ABORTED
    assert "member 3 sent updates that are no updates" in history.reason


@pytest.mark.parametrize(("verified", "refused"), [((), ()), ((1,), (1,)), ((5,), ()), ((), (5,))], ids=str)
def test_attestations_that_say_nothing_or_two_things_are_ignored(verified, refused):
    world = commits_held()
    before = world.states[2].history.round
    say(world, 1, Attest(1, verified, refused))
    assert world.states[2].history.round == before


def test_what_a_member_said_of_a_commit_stands():
    world = commits_held()
    say(world, 1, Attest(1, (2,)))
    say(world, 1, Attest(1, (), (2,)))
    say(world, 1, Attest(1, (2, 3)))
    assert world.states[2].history.round.settled(1) == {2}


# Whom the rounds wait for


def silent_member(count, rounds=9, silent=None):
    """Member `count` contributes nothing; the rounds are driven by the others' deadlines."""
    world = World(manifest(count, rounds=rounds, round_limit=20))
    muted = {count} if silent is None else silent
    world.mute = lambda member, effect: member in muted and isinstance(effect, effects.Contribute)
    world.start()
    return world


def elapse(world):
    for member in world.states:
        world.elapse(member)
    world.run()


def test_who_missed_two_rounds_is_waited_for_in_every_fourth_only():
    world = silent_member(4)
    waits = {}
    for _ in range(60):
        current = world.states[1].history.round
        if current is None:
            break
        waits[current.number] = waits.get(current.number, 0) + 1
        elapse(world)
    history = world.states[1].history
    assert (history.phase, history.opened) == (Phase.FINISHED, 9)
    assert sorted(waits) == [1, 2, 4, 8]
    assert all(ended.sealed.members == (1, 2, 3) for ended in history.past)


def test_who_comes_back_is_waited_for_again():
    silent = {4}
    world = silent_member(4, rounds=7, silent=silent)
    for _ in range(20):
        current = world.states[1].history.round
        if current is None or current.number == EVERYBODY:
            break
        elapse(world)
    silent.clear()
    world.crash(4)
    world.wake(4)
    world.run()
    history = world.states[1].history
    assert history.phase is Phase.FINISHED
    members = [ended.sealed.members for ended in history.past]
    assert members == 3 * [(1, 2, 3)] + 4 * [(1, 2, 3, 4)]


def test_a_contribution_that_is_not_waited_for_does_not_count():
    """Or its author would have everybody wait for what it does not serve."""
    world = silent_member(4)
    world.mute = lambda member, effect: (
        isinstance(effect, effects.Contribute) and (member == 4 or effect.round == 3)
    )
    while world.states[1].history.round.number < 3:
        elapse(world)
    assert 4 not in world.states[1].history.round.waited
    say(world, 4, Commit(3, blob("late")))
    assert 4 not in world.states[1].history.round.commits
    assert world.states[4].own.committed == 0


def test_everybody_is_waited_for_where_the_others_are_too_few():
    world = silent_member(3, rounds=2)
    while world.states[1].history.round.number < 3:
        elapse(world)
    assert world.states[1].history.round.waited == {1, 2, 3}


def test_rounds_that_never_fill_end_the_job_and_name_who_is_missing():
    world = silent_member(3, rounds=2)
    for _ in range(3 * MAX_BURNED):
        elapse(world)
    history = world.states[1].history
    assert (history.phase, len(history.past)) == (Phase.ABORTED, MAX_BURNED)
    assert "6 rounds in a row could not be sealed; member 3 sent nothing" in history.reason


def test_a_round_that_is_opened_ends_the_row_of_burned_ones():
    silent = {3}
    world = silent_member(3, rounds=2, silent=silent)
    while len(world.states[1].history.past) < MAX_BURNED - 2:
        elapse(world)
    silent.clear()
    for _ in range(9):
        elapse(world)
    history = world.states[1].history
    assert history.phase is Phase.FINISHED
    assert [ended.model is None for ended in history.past] == (MAX_BURNED - 1) * [True] + 2 * [False]


def test_an_update_that_its_author_shows_to_some_only_makes_nobody_else_look_absent():
    """Member 4 serves its update to member 1 only: T members attest it, and the others cannot."""
    world = World(manifest(4, rounds=1))
    world.mute = lambda member, effect: (
        isinstance(effect, effects.CheckCommit) and effect.member == 4 and member in (2, 3)
    )
    world.start()
    for _ in range(4):
        elapse(world)
    history = world.states[1].history
    assert history.past[0].sealed.members == (1, 2, 3, 4)
    assert (history.missed[2], history.missed[3]) == (0, 0)


def test_a_member_that_attests_nothing_is_not_waited_for_though_it_contributes():
    world = World(manifest(4, rounds=5))
    world.mute = lambda member, effect: member == 4 and isinstance(effect, effects.CheckCommit)
    world.start()
    for _ in range(6):
        elapse(world)
    assert world.states[1].history.missed[4] > 0


# Sums that no honest updates add up to


def poisoned(count, numbers=(1,), **changes: object):
    """A cohort whose opened sums of some rounds are out of range."""
    world = World(manifest(count, rounds=2, **changes))
    perform = world.perform

    def discarding(member, effect):
        if isinstance(effect, effects.OpenSum) and effect.round in numbers:
            world.give(member, inputs.Opened(effect.round, effect.model, "out of range"))
        else:
            perform(member, effect)

    world.perform = discarding
    return world


def test_a_discarded_sum_is_no_opened_round_and_asks_for_proofs_of_range():
    world = poisoned(4)
    asked = []
    discard = world.perform
    world.perform = lambda member, effect: asked.append(effect) or discard(member, effect)
    world.start()
    history = world.states[1].history
    assert (history.phase, history.opened) == (Phase.FINISHED, 2)
    assert [ended.discarded for ended in history.past] == [True, False, False]
    assert history.past[0].model == world.manifest.model
    kinds = (effects.Contribute, effects.CheckCommit, effects.SumSealed)
    assert {(e.round, e.ranged) for e in asked if isinstance(e, kinds)} == {(1, False), (2, True), (3, True)}


def test_a_job_may_ask_for_proofs_of_range_from_its_first_round_on():
    encoding = msgspec.structs.replace(manifest(4).encoding, ranged=True)
    world, asked = World(manifest(4, rounds=1, encoding=encoding)), []
    perform = world.perform
    world.perform = lambda member, effect: asked.append(effect) or perform(member, effect)
    world.start()
    kinds = (effects.Contribute, effects.CheckCommit, effects.SumSealed)
    assert {(e.round, e.ranged) for e in asked if isinstance(e, kinds)} == {(1, True)}


def test_a_discarded_sum_of_proven_ranges_ends_the_job():
    """Only who knows the factors of the joint key can bring it about: nothing more is encrypted under it."""
    world = poisoned(4, numbers=(1, 2))
    world.start()
    for state in world.states.values():
        history = state.history
        assert history.phase is Phase.ABORTED
        assert "factors of the joint key" in history.reason
        assert [ended.discarded for ended in history.past] == [True, True]
        assert history.model == world.manifest.model


def test_after_a_discarded_sum_nobody_can_be_left_out_of_the_next():
    """The attack: poison a sum, leave the victim out of the next one from the same model, subtract."""
    world = poisoned(4, round_limit=20)
    world.mute = lambda member, effect: (
        member == 4 and isinstance(effect, effects.Contribute) and effect.round > 1
    )
    world.start()
    for _ in range(3 * MAX_BURNED):
        elapse(world)
    history = world.states[1].history
    assert [ended.sealed and ended.sealed.members for ended in history.past[:2]] == [(1, 2, 3, 4), None]
    assert history.phase is Phase.ABORTED
    assert all(ended.sealed is None for ended in history.past[1:])


def test_large_cohorts_go_on_after_a_discarded_sum():
    world = poisoned(10, thresholds=Thresholds(2, 3, 4))
    world.mute = lambda member, effect: (
        member == 4 and isinstance(effect, effects.Contribute) and effect.round > 1
    )
    world.start()
    for _ in range(9):
        elapse(world)
    history = world.states[1].history
    assert history.phase is Phase.FINISHED
    first, second = (set(ended.sealed.members) for ended in history.past[:2])
    assert all(len(atom) >= 4 for atom in atoms(first, second))


def test_a_burned_round_leaves_no_sum_behind():
    world = commits_held()
    for member in (1, 2):
        say(world, member, Abandon(1))
    assert [ended.model for ended in world.states[3].history.past] == [None]
    assert world.states[3].history.spent == {}
