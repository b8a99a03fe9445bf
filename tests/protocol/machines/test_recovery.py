"""Holes that the simulator found, or that a reading of the specification did: each stays closed."""

from support.cohort import World
from support.manifests import manifest

from protocol import effects, inputs
from protocol.history import Phase
from protocol.words import Reason


def elapse(world, times=1):
    for _ in range(times):
        for member in world.states:
            world.elapse(member)
        world.run()


def test_a_restarted_member_never_begins_an_attempt_again():
    """Even if it lost all that it had read: what it said in the attempt is forgotten, and to say something
    else would look like cheating."""
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: effect == effects.MakeKey(1)
    world.start()
    world.crash(2)
    world.wake(2)
    world.run()
    begun = [event.arguments["attempt"] for event in world.events[2] if event.event == "BeginKey"]
    assert begun == [1, 2]
    assert "SubmitKeyAbandon" in world.names(2)


def test_a_key_is_adopted_once_and_used_again_after_a_restart():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    used = []
    world.mute = lambda member, effect: used.append(effect) or False
    world.crash(2)
    world.wake(2)
    world.run()
    assert world.names(2).count("AdoptKey") == 1
    assert [effect for effect in used if isinstance(effect, effects.UseKey)] == [
        effects.UseKey(1, world.states[2].history.key)
    ]


def test_a_share_out_of_reach_holds_nobody_up():
    """Member 1 withholds its share; it comes first, and would be waited for if only T were looked at."""
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.CheckShare) and effect.member == 1
    world.start()
    assert {state.history.phase for state in world.states.values()} == {Phase.FINISHED}
    assert world.states[1].history.opened == 1


def test_one_record_is_in_flight():
    world = World(manifest(3, rounds=1))
    lost = []
    world.mute = lambda member, effect: isinstance(effect, effects.Submit) and not lost.append(effect)
    world.start()
    world.give(1, inputs.StopRequested(Reason.CONSENT))
    world.run()
    assert [effect.record.kind for effect in lost] == ["Join"] * 3
    world.mute = lambda member, effect: False
    for effect in lost:
        world.perform(effect.record.member, effect)
    world.run()
    assert 1 in world.states[2].history.stops


def test_no_part_is_taken_in_a_round_before_the_last_one_is_put_away():
    """Its model is not at hand yet: nothing can be said of what is built on it."""
    world = World(manifest(3, rounds=2))
    away = (effects.OpenSum, effects.FetchModel)
    world.mute = lambda member, effect: member == 3 and isinstance(effect, away)
    world.start()
    assert world.states[1].history.round.number == 2
    assert world.states[3].round.number == 1
    assert not any(event.arguments.get("round") == 2 for event in world.events[3] if event.event == "Verify")
    world.mute = lambda member, effect: False
    world.give(3, inputs.ModelFetched(world.states[3].history.model))
    world.run()
    assert world.states[3].history.phase is Phase.FINISHED


def test_nothing_is_verified_once_the_round_is_sealed():
    world = World(manifest(4, rounds=1))
    world.mute = lambda member, effect: (
        isinstance(effect, effects.SumSealed)
        or (isinstance(effect, effects.CheckCommit) and (member, effect.member) == (1, 4))
    )
    world.start()
    elapse(world, times=2)
    assert world.states[1].history.round.sealed is not None
    before = world.names(1)
    world.give(1, inputs.CommitChecked(1, 4))
    world.run()
    assert world.names(1) == before
