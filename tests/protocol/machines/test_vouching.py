"""Shares are released in one order of records only, whatever a hydra-node shows."""

from dataclasses import replace

import pytest
from support.cohort import World, blob, say
from support.manifests import manifest

from protocol import core, effects, inputs
from protocol.history import LOOKBACK, Phase
from protocol.journal import Doubted, Vouched
from protocol.messages import Message, Vouch
from protocol.records import Attest, Expire, Record, Seal, Stop
from protocol.thresholds import Thresholds
from protocol.waits import For, waiting_for
from protocol.words import Reason


def is_vouch(effect):
    return isinstance(effect, effects.Say) and isinstance(effect.message, Vouch)


def sealed_and_silent(count=4, silent=(), *, trusting=True):
    """A cohort that has sealed round 1; what `silent` members say of it, and their shares, gets lost."""
    world = World(manifest(count, rounds=1))
    world.trusting = trusting
    world.mute = lambda member, effect: (
        member in silent
        and (is_vouch(effect) or (isinstance(effect, effects.Submit) and effect.record.kind == "Share"))
    )
    world.start()
    return world


@pytest.mark.parametrize(
    ("members", "trusting", "doubting"),
    [(2, 1, 2), (3, 2, 3), (4, 2, 3), (5, 3, 4), (10, 5, 8)],
)
def test_how_many_vouch(members, trusting, doubting):
    thresholds = Thresholds.default(members)
    assert thresholds.vouchers(members, trusting=True) == trusting
    assert thresholds.vouchers(members, trusting=False) == doubting


@pytest.mark.parametrize("members", [2, 3, 4, 5, 10])
def test_any_two_groups_of_doubting_vouchers_share_an_honest_member(members):
    """A colluder vouches for both of two orders."""
    thresholds = Thresholds.default(members)
    assert 2 * thresholds.vouchers(members, trusting=False) - members > thresholds.colluders


def test_nothing_is_released_before_enough_members_vouch():
    world = sealed_and_silent(silent=(1, 2, 3, 4))
    for member, state in world.states.items():
        assert state.own.released == {}
        assert waiting_for(state).reason is For.VOUCHERS
        assert waiting_for(state).members == tuple(other for other in (1, 2, 3, 4) if other != member)


def test_a_vouch_for_another_order_does_not_count():
    world = sealed_and_silent(silent=(1, 2, 3, 4))
    sealed = world.states[1].history.round.sealed
    job = world.manifest.job
    for wrong in (
        Vouch(job, sealed.slot, bytes(32)),
        Vouch(job, sealed.slot, sealed.order[:-1] + bytes([sealed.order[-1] ^ 1])),
        Vouch(bytes(32), sealed.slot, sealed.order),
    ):
        world.give(1, inputs.Heard(2, Message(wrong).to_bytes()))
    world.run()
    assert world.states[1].own.released == {}
    world.give(1, inputs.Heard(3, Message(Vouch(job, sealed.slot, sealed.order)).to_bytes()))
    world.run()
    assert world.states[1].own.released == {1: sealed.aggregate}


def test_a_member_counts_once_and_for_its_last_word():
    world = sealed_and_silent(5, silent=(1, 2, 3, 4, 5))
    sealed = world.states[1].history.round.sealed
    job = world.manifest.job
    for slot in (sealed.slot, sealed.slot, sealed.slot - 1):
        order = sealed.order if slot == sealed.slot else bytes(32)
        world.give(1, inputs.Heard(2, Message(Vouch(job, slot, order)).to_bytes()))
    world.run()
    assert world.states[1].round.vouchers == {2}
    assert world.states[1].own.released == {}


def test_a_later_record_shows_that_its_author_had_read_the_seal():
    world = sealed_and_silent(silent=(1, 2, 3, 4))
    say(world, 2, Stop(Reason.OPERATOR))
    assert world.states[1].own.released.keys() == {1}


def test_a_vouch_is_written_down_before_it_is_said():
    world = World(manifest(3, rounds=1))
    perform = world.perform

    def watching(member, effect):
        if is_vouch(effect):
            assert Vouched(effect.message.slot, effect.message.order) in world.journals[member]
        perform(member, effect)

    world.perform = watching
    world.start()
    assert world.states[1].history.phase is Phase.FINISHED


def test_a_vouch_that_got_lost_is_said_again():
    world = sealed_and_silent(3, silent=(1, 2, 3))
    world.mute = lambda member, effect: False
    for member in (1, 2, 3):
        world.elapse(member)
    world.run()
    assert world.states[1].history.phase is Phase.FINISHED


def test_a_peer_that_was_away_is_told_again():
    world = sealed_and_silent(3, silent=(1, 2, 3))
    world.mute = lambda member, effect: False
    world.give(1, inputs.PeerUp(2))
    world.run()
    assert world.states[2].own.released.keys() == {1}


def forked(world, member):
    """The order as a lying hydra-node shows it to `member` after a restart: the last two records swapped."""
    world.crash(member)
    world.states[member] = core.restore(world.manifest, member, world.journals[member])
    world.give(member, inputs.Wake())
    *start, last, seal = world.order
    assert Record.from_bytes(seal.data).kind == "Seal"
    swapped = [
        inputs.Confirmed(last.slot, seal.author, seal.data),
        inputs.Confirmed(seal.slot, last.author, last.data),
    ]
    world.give(member, inputs.Read((*start, *swapped)))
    world.run()


def test_who_is_shown_another_order_after_a_restart_vouches_and_writes_no_more():
    world = sealed_and_silent(4, silent=(1, 2, 3, 4))
    before = world.states[2].own
    forked(world, 2)
    state = world.states[2]
    assert "LogForked" in world.names(2)
    assert state.vouching.forked
    assert (state.own.vouched, state.own.released) == (before.vouched, {})
    world.give(2, inputs.StopRequested(Reason.OPERATOR))
    world.run()
    assert not any(entry for entry in state.own.pending)


def test_a_member_that_has_not_read_again_what_it_vouched_for_writes_nothing():
    world = sealed_and_silent(4, silent=(1, 2, 3, 4))
    world.crash(2)
    world.states[2] = core.restore(world.manifest, 2, world.journals[2])
    world.give(2, inputs.Wake())
    world.give(2, inputs.StopRequested(Reason.OPERATOR))
    world.give(2, inputs.Read(tuple(world.order[:-2])))
    world.run()
    assert "SubmitStop" not in world.names(2)
    world.give(2, inputs.Read(tuple(world.order[-2:])))
    world.run()
    assert "SubmitStop" in world.names(2)


def test_records_bind_their_author_to_the_order_that_they_show():
    """Not only what was vouched for by message: each record names the order that its author had read."""
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    slot, order = world.states[2].own.vouched
    assert order == world.order_at(slot)
    assert slot > 0
    assert not any(isinstance(entry, Vouched) for entry in world.journals[2])


def test_a_log_that_was_recovered_from_others_needs_more_vouchers_for_good():
    world = World(manifest(4, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    world.give(1, inputs.Read((), recovered=True))
    world.run()
    assert Doubted() in world.journals[1]
    assert "DoubtLog" in world.names(1)
    world.mute = lambda member, effect: (
        member in (3, 4) and (is_vouch(effect) or isinstance(effect, effects.ReleaseShare))
    )
    world.crash(1)
    world.wake(1)
    world.run()
    for member in (2, 3, 4):
        world.give(member, inputs.Contributed(1, blob("update", member)))
    world.run()
    state = world.states[1]
    assert state.vouching.doubted
    assert state.history.round.sealed is not None
    assert state.own.released == {}
    assert waiting_for(state).reason is For.VOUCHERS


def test_who_does_not_trust_its_own_node_waits_for_more():
    world = sealed_and_silent(silent=(3, 4), trusting=False)
    assert world.states[1].round.vouchers == {2}
    assert world.states[1].own.released == {}
    assert waiting_for(world.states[1]).reason is For.VOUCHERS


def test_a_view_that_is_too_old_to_compare_is_not_believed_and_does_not_mute_its_author():
    world = World(manifest(3, rounds=1))
    world.mute = lambda member, effect: isinstance(effect, effects.Contribute)
    world.start()
    state = world.states[2]
    chain = state.history.chains[3]
    old = Record(1, state.history.job, 3, chain.seq + 1, chain.digest, 1, bytes(32), Stop(Reason.OPERATOR))
    for _ in range(LOOKBACK):
        world.anchor(1, b"junk")
    world.anchor(3, old.to_bytes())
    world.run()
    assert world.states[2].history.stops == frozenset()
    assert world.states[2].history.chains[3].digest == old.digest()


def test_two_orders_of_the_same_records_open_one_sum_at_most():
    """Hydra-nodes show member 2 the Seal before the last attestation, and members 3 and 4 after it: two cuts.
    Member 1 colludes and vouches for both."""
    world = World(manifest(4, rounds=1))
    world.trusting = False
    world.mute = lambda member, effect: isinstance(effect, effects.CheckCommit)
    world.start()
    base = world.states[2].history
    said = [(1, Attest(1, (1, 2, 3))), (2, Attest(1, (1, 2, 3, 4))), (1, Expire(1)), (2, Expire(1))]
    chains, made = dict(base.chains), []
    for author, body in [*said, (1, Seal(1)), (3, Attest(1, (1, 2, 3, 4)))]:
        chain = chains[author]
        record = Record(1, base.job, author, chain.seq + 1, chain.digest, base.slots, base.order, body)
        chains[author] = replace(chain, seq=record.seq, digest=record.digest())
        made.append((author, record.to_bytes()))
    del world.states[1]
    world.mute = lambda member, effect: isinstance(effect, effects.CheckCommit | effects.Submit)
    for member in (2, 3, 4):
        shown = made if member == 2 else [*made[:-2], made[-1], made[-2]]
        slots = (inputs.Confirmed(base.slots + at, *each) for at, each in enumerate(shown, 1))
        world.give(member, inputs.Read(tuple(slots)))
    world.run()
    sums = {member: world.states[member].history.round.sealed for member in (2, 3, 4)}
    assert sums[2].members == (1, 2, 3)
    assert sums[3].members == sums[4].members == (1, 2, 3, 4)
    for member, sealed in sums.items():
        vouch = Vouch(base.job, sealed.slot, sealed.order)
        world.give(member, inputs.Heard(1, Message(vouch).to_bytes()))
    world.run()
    released = {member: dict(world.states[member].own.released) for member in (2, 3, 4)}
    assert released == {2: {}, 3: {1: sums[3].aggregate}, 4: {1: sums[4].aggregate}}
