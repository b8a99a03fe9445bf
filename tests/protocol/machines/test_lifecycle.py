"""A job's life: proposed, declined, stopped, its head closed by whom, and what is settled."""

import pytest
from support.cohort import World
from support.manifests import manifest

from protocol import core, effects, inputs
from protocol.history import Phase
from protocol.journal import Declined, Settled
from protocol.lifecycle import mismatches, over
from protocol.messages import Decline, Message
from protocol.state import Head
from protocol.waits import For, waiting_for
from protocol.words import Reason


def test_a_stop_needs_a_threshold_of_members():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    world.give(1, inputs.StopRequested(Reason.CONSENT))
    world.run()
    assert world.states[3].history.phase is Phase.RUNNING
    world.give(2, inputs.StopRequested(Reason.CONSENT))
    world.run()
    assert world.states[3].history.phase is Phase.ABORTED
    assert Reason.CONSENT.text in world.states[3].history.reason


def test_a_declined_job_goes_nowhere():
    world = World(manifest(3))
    for member in (1, 2, 3):
        world.wake(member)
    world.give(1, inputs.JobAccepted())
    world.give(2, inputs.JobAccepted())
    world.give(3, inputs.JobDeclined(Reason.TERMS))
    world.run()
    assert all(state.life.head is Head.NONE for state in world.states.values())
    assert {state.life.declined for state in world.states.values()} == {Declined(3, Reason.TERMS)}
    assert all(over(state) for state in world.states.values())


def undecided(members=3):
    """A world where everyone but member 2 has accepted."""
    world = World(manifest(members, rounds=1))
    for member in world.manifest.roster.indices:
        world.wake(member)
        if member != 2:
            world.give(member, inputs.JobAccepted(proposing=member == 1))
    world.run()
    return world


def test_who_accepted_may_still_decline_while_there_is_no_head():
    world = undecided()
    world.give(3, inputs.JobDeclined(Reason.APPROVAL))
    world.run()
    world.give(2, inputs.JobAccepted())
    world.run()
    for member, state in world.states.items():
        assert state.life.head is Head.NONE
        woken = core.restore(world.manifest, member, world.journals[member])
        assert woken.life.declined == Declined(3, Reason.APPROVAL)
        assert over(woken)


def test_a_decline_is_repeated_to_who_was_away():
    world = undecided()
    world.mute = lambda member, effect: isinstance(effect, effects.Say)
    world.give(3, inputs.JobDeclined(Reason.APPROVAL))
    world.run()
    world.mute = lambda member, effect: False
    assert world.states[1].life.declined is None
    world.give(3, inputs.PeerUp(1))
    world.run()
    assert world.states[1].life.declined == Declined(3, Reason.APPROVAL)


def test_a_head_that_opens_for_a_declined_job_is_closed_again():
    """Also if the member that asked for it was restarted in between."""
    world = undecided()
    world.mute = lambda member, effect: isinstance(effect, effects.OpenHead)
    world.give(2, inputs.JobAccepted())
    world.run()
    assert world.states[1].life.head is Head.OPENING
    world.give(2, inputs.JobDeclined(Reason.OPERATOR))
    world.run()
    assert not over(world.states[1])
    assert waiting_for(world.states[1]).reason is For.HEAD
    world.crash(1)
    world.mute = lambda member, effect: False
    world.wake(1)
    world.run()
    assert world.states[1].life.head is Head.SETTLED
    assert all(over(state) for state in world.states.values())
    assert not world.order


@pytest.mark.parametrize("slots", [0, None])
def test_nobody_is_talked_out_of_a_job_that_runs_after_a_restart(slots):
    """Also before it has read the order and seen the head again."""
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    for member in (1, 2):
        state = core.restore(world.manifest, member, world.journals[member], world.order[:slots])
        state, _ = core.update(core.update(state, inputs.Wake())[0], inputs.Persisted())
        assert state.life.head is not Head.READY
        heard = inputs.Heard(3, Message(Decline(world.manifest.job, Reason.LATER)).to_bytes())
        for given in (heard, inputs.JobDeclined(Reason.OPERATOR)):
            state, _ = core.update(state, given)
            assert (state.life.declined, state.held_back) == (None, None)


def test_nobody_is_talked_out_of_an_open_head():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.ProveMembership)
    world.start()
    for member in (1, 2):
        world.give(member, inputs.Heard(3, Message(Decline(world.manifest.job, Reason.LATER)).to_bytes()))
        world.give(member, inputs.JobDeclined(Reason.OPERATOR))
    world.run()
    assert all(state.life.declined is None for state in world.states.values())


def test_a_final_datum_that_is_no_record_is_a_mismatch():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.CloseHead)
    world.start()
    final = {slot.author: slot.data for slot in world.order} | {2: b"junk"}
    world.give(1, inputs.HeadFinal(final))
    world.run()
    assert world.events[1][-1].event == "SettleJob"
    assert world.events[1][-1].arguments == {"mismatches": (2,), "lost": ()}


def test_a_head_is_closed_by_the_next_member_where_the_first_is_away():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: member == 1 and isinstance(effect, effects.CloseHead)
    world.start()
    assert {state.history.phase for state in world.states.values()} == {Phase.FINISHED}
    assert "CloseHead" not in world.names(2)
    world.elapse(2)
    world.run()
    assert "CloseHead" in world.names(2)
    assert all(state.life.head is Head.SETTLED for state in world.states.values())
    world.elapse(3)
    world.run()
    assert "CloseHead" not in world.names(3)


def test_a_settlement_is_remembered_without_the_head():
    world = World(manifest(3, rounds=1))
    world.start()
    lived = world.states[2]
    woken = core.restore(world.manifest, 2, world.journals[2], world.order)
    assert over(lived)
    assert over(woken)
    assert mismatches(woken) == mismatches(lived) == ()
    assert waiting_for(woken).reason is For.NOTHING
    for lost in (1, len(world.order)):
        assert not over(core.restore(world.manifest, 2, world.journals[2], world.order[:-lost]))
    before_it_was_written = [entry for entry in world.journals[2] if not isinstance(entry, Settled)]
    assert not over(core.restore(world.manifest, 2, before_it_was_written, world.order))


def test_a_head_that_was_closed_early_ends_the_job():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    world.give(1, inputs.HeadClosed())
    world.run()
    assert waiting_for(world.states[1]).reason is For.SETTLEMENT
    assert not over(world.states[1])
    world.give(1, inputs.HeadFinal({slot.author: slot.data for slot in world.order}))
    world.run()
    assert waiting_for(world.states[1]).reason is For.NOTHING
    assert over(world.states[1])
    assert world.states[1].history.phase is Phase.RUNNING


def test_records_that_the_settlement_lost_are_not_held_against_their_author():
    """A head that was closed with an older snapshot: also after a restart."""
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.CloseHead)
    world.start()
    written = [slot.data for slot in world.order if slot.author == 2]
    final = {slot.author: slot.data for slot in world.order} | {2: written[-2]}
    world.give(1, inputs.HeadClosed())
    world.give(1, inputs.HeadFinal(final, frozenset([2])))
    world.run()
    assert world.events[1][-1].arguments == {"mismatches": (), "lost": (2,)}
    again = core.restore(world.manifest, 1, world.journals[1], world.order)
    assert again.life.lost == {2}
    assert mismatches(again) == ()
