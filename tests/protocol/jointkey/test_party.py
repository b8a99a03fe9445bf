"""The frame around every key generation: order, lengths, echoes and digests, whatever the protocol inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.jointkey.errors import (
    Equivocation,
    MalformedMessage,
    Unproven,
    WrongSenders,
)
from protocol.crypto.jointkey.party import Finished, Incoming, Outgoing, Party, Round, Setup, Shape, Steps
from protocol.crypto.profiles import insecure_test_profile
from protocol.errors import MemberFault, OwnFault

SETUP = Setup(b"j" * 32, b"r" * 32, 3, 2, insecure_test_profile(512))


class Chatter(Party):
    """Says something in each of three rounds, and finishes with what it heard in the last."""

    def _steps(self) -> Steps:
        shape = Shape(range(1, 6), 2, 4)
        for text in (b"one", b"two", b"three"):
            self.report(text.decode())
            private = {i: [b"%04d" % i, b"%04d" % self.me] for i in self.setup.indices}
            received = yield Round(shape, text, private)
        return Finished(received, None)


def outgoing(number: int = 1) -> tuple[list[Chatter], dict[int, Outgoing]]:
    """Three parties after `number` rounds, and what they send next."""
    parties = [Chatter(SETUP, i) for i in SETUP.indices]
    sent = {party.me: party.start() for party in parties}
    for _ in range(number):
        sent = {party.me: party.advance(inbox(sent, party.me)) for party in parties}
    return parties, sent


def inbox(sent: dict[int, Outgoing], me: int) -> dict[int, Incoming]:
    return {i: Incoming(o.broadcast, o.private[me]) for i, o in sent.items() if i != me}


def test_parties_hear_each_other_and_themselves():
    parties, sent = outgoing(2)
    received = parties[0].advance(inbox(sent, 1)).key
    assert dict(received.bodies) == {1: b"three", 2: b"three", 3: b"three"}
    assert {i: list(parts) for i, parts in received.private.items()} == {
        i: [b"0001", b"%04d" % i] for i in SETUP.indices
    }


def test_progress_is_readable_and_reported():
    stages = []
    party = Chatter(SETUP, 1, lambda progress: stages.append(progress.stage))
    assert party.progress.stage == "waiting to start"
    party.start()
    assert stages == ["one"] == [party.progress.stage]


@given(st.data())
def test_no_alteration_of_a_message_passes_or_changes_anything(data):
    parties, sent = outgoing()
    message = inbox(sent, 1)[2]
    broadcast = data.draw(st.booleans(), label="alter the broadcast")
    original = message.broadcast if broadcast else message.private
    changed = data.draw(
        st.one_of(
            st.binary(max_size=400),
            st.integers(0, len(original)).map(lambda n: original[:n]),
            st.binary(min_size=1, max_size=9).map(lambda more: original + more),
            st.tuples(st.integers(0, len(original) - 1), st.integers(1, 255)).map(
                lambda at: original[: at[0]] + bytes([original[at[0]] ^ at[1]]) + original[at[0] + 1 :]
            ),
        )
    )
    received = inbox(sent, 1)
    received[2] = Incoming(changed, message.private) if broadcast else Incoming(message.broadcast, changed)
    if changed == original or (broadcast and concerns_others(original, changed)):
        return  # shows in the next round's echo, or is for the protocol inside to judge
    with pytest.raises((MalformedMessage, Equivocation, Unproven)) as caught:
        parties[0].advance(received)
    assert getattr(caught.value, "member", 2) == 2
    assert isinstance(parties[0].advance(inbox(sent, 1)), Outgoing)


def concerns_others(original: bytes, changed: bytes) -> bool:
    """Whether header, echo and the digest for member 1 are intact and the body has an allowed length."""
    header, span, digest = 1 + 32 + 2, 3 * 32, 32
    intact = changed[: header + span + digest] == original[: header + span + digest]
    return intact and len(changed) - header - 2 * span in range(1, 6)


def test_another_round_or_version_is_refused():
    parties, first = outgoing(0)
    parties_later, second = outgoing(1)
    with pytest.raises(MalformedMessage, match="round 1"):
        parties_later[0].advance({**inbox(second, 1), 2: inbox(first, 1)[2]})
    old = bytes([0]) + first[3].broadcast[1:]
    with pytest.raises(MalformedMessage, match="version"):
        parties[0].advance({**inbox(first, 1), 3: Incoming(old, first[3].private[1])})


@pytest.mark.parametrize(
    "other",
    [
        Setup(b"k" * 32, b"r" * 32, 3, 2, insecure_test_profile(512)),
        Setup(b"j" * 32, b"s" * 32, 3, 2, insecure_test_profile(512)),
        Setup(b"j" * 32, b"r" * 32, 3, 3, insecure_test_profile(512)),
        Setup(b"j" * 32, b"r" * 32, 3, 2, insecure_test_profile(510)),
        Setup(b"j" * 32, b"r" * 32, 3, 2, insecure_test_profile(512), attempt=1),
    ],
)
def test_a_message_of_another_generation_is_refused(other):
    parties, sent = outgoing(0)
    stranger = Chatter(other, 2).start()
    with pytest.raises(MalformedMessage) as caught:
        parties[0].advance({**inbox(sent, 1), 2: Incoming(stranger.broadcast, stranger.private[1])})
    assert caught.value.member == 2


def test_silence_makes_no_culprit_and_strangers_are_refused():
    parties, sent = outgoing()
    received = inbox(sent, 1)
    for senders in ({2: received[2]}, *({**received, stranger: received[2]} for stranger in (0, 1, 4))):
        with pytest.raises(WrongSenders):
            parties[0].advance(senders)
    assert isinstance(parties[0].advance(received), Outgoing)


def test_a_private_message_other_than_announced_is_refused():
    parties, sent = outgoing()
    with pytest.raises(Unproven, match="digest"):
        parties[0].advance({**inbox(sent, 1), 2: Incoming(sent[2].broadcast, b"00010003")})


def test_different_broadcasts_to_different_members_show_in_the_next_round():
    parties, sent = outgoing()
    forked = Outgoing(sent[1].broadcast[:-3] + b"TWO", sent[1].private)
    following = {
        party.me: party.advance(inbox({**sent, 1: forked} if party.me == 2 else sent, party.me))
        for party in parties
    }
    for party in parties:
        with pytest.raises(Equivocation):
            party.advance(inbox(following, party.me))


@pytest.mark.parametrize("witness", [2, 3])
@pytest.mark.parametrize("author", [1, 2, 3])
def test_a_false_echo_makes_nobody_accuse_anybody(witness, author):
    """Neither the author nor the witness nor a third can show who lies, so none of them is named."""
    parties, sent = outgoing(1)
    at = 1 + 32 + 2 + 32 * (author - 1)
    broadcast = bytearray(sent[witness].broadcast)
    broadcast[at] ^= 1
    sent[witness] = Outgoing(bytes(broadcast), sent[witness].private)
    for party in parties:
        if party.me != witness:
            with pytest.raises(Equivocation) as caught:
                party.advance(inbox(sent, party.me))
            assert not isinstance(caught.value, MemberFault)


class Follower(Party):
    """What it says in the second round is as long as what member 1 said in the first."""

    def _steps(self) -> Steps:
        received = yield Round(Shape(range(1, 6)), b"one" if self.me == 1 else b"two")
        length = len(received.bodies[1])
        received = yield Round(Shape.exactly(length), bytes(length))
        return Finished(received, None)


def test_who_was_told_something_else_is_not_blamed_for_what_follows_from_it():
    parties = [Follower(SETUP, i) for i in SETUP.indices]
    sent = {party.me: party.start() for party in parties}
    forked = {**sent, 1: Outgoing(sent[1].broadcast[:-1], sent[1].private)}
    following = {
        party.me: party.advance(inbox(forked if party.me == 2 else sent, party.me)) for party in parties
    }
    for party in parties:
        with pytest.raises(Equivocation):
            party.advance(inbox(following, party.me))


def test_a_party_runs_once_and_not_after_its_end():
    parties, sent = outgoing(2)
    with pytest.raises(OwnFault):
        parties[0].start()
    parties[0].advance(inbox(sent, 1))
    with pytest.raises(OwnFault):
        parties[0].advance(inbox(sent, 1))
    with pytest.raises(OwnFault):
        Chatter(SETUP, 1).advance({})


def test_setups_and_indices_out_of_range_are_refused():
    with pytest.raises(OwnFault):
        Chatter(SETUP, 0)
    for members, threshold in ((1, 1), (33, 2), (3, 1), (3, 4)):
        with pytest.raises(OwnFault):
            Setup(b"j" * 32, b"r" * 32, members, threshold, insecure_test_profile(512))
