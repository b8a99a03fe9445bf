"""What is sealed to the members: every one of them opens it, nobody else does, and all of them or none."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from support.manifests import job_secret

from protocol.crypto import sealing
from protocol.crypto.sealing import CHUNK, SLOT_SIZE, TAG_SIZE, Addressees, Unsealable, seal, unseal
from protocol.crypto.sigma.schnorr import ORDER, POINT_SIZE, JobSecret, times_generator
from protocol.crypto.transcript import Context

SECRETS = [job_secret(index) for index in range(1, 5)]
CONTEXT = Context(job=b"j" * 32, round=3, sender=2, roster=b"r" * 32, key=b"k" * 32)
TO = Addressees([secret.public() for secret in SECRETS], CONTEXT)
CONTENT = b"partial decryptions " * 40
SEALED = seal(TO, CONTENT)
EVERYONE = list(enumerate(SECRETS))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_every_member_opens_it_whatever_its_size(size: int):
    content = secrets.token_bytes(size)
    sealed = seal(TO, content)
    assert all(unseal(TO, place, secret, sealed) == content for place, secret in EVERYONE)
    assert len(sealed) == TO.head_size + size + TAG_SIZE * max(1, -(-size // CHUNK))


def test_nothing_shows_and_nothing_repeats():
    assert CONTENT[:8] not in SEALED
    assert seal(TO, CONTENT)[: POINT_SIZE + SLOT_SIZE] != SEALED[: POINT_SIZE + SLOT_SIZE]


def test_a_stranger_with_all_public_values_opens_nothing():
    stranger = JobSecret.generate()
    for place in range(len(SECRETS)):
        with pytest.raises(Unsealable, match="not sealed to this member"):
            unseal(TO, place, stranger, SEALED)
    mine = replace(TO, keys=[*TO.keys[:3], stranger.public()])
    for place, secret in ((3, stranger), (0, SECRETS[0])):
        with pytest.raises(Unsealable):
            unseal(mine, place, secret, SEALED)


@pytest.mark.parametrize(
    "change",
    [{"round": 4}, {"sender": 1}, {"job": b"x" * 32}, {"roster": b"x" * 32}, {"key": b"x" * 32}],
    ids=lambda change: next(iter(change)),
)
def test_replayed_elsewhere_it_opens_for_nobody(change: dict[str, object]):
    elsewhere = replace(TO, context=replace(CONTEXT, **change))
    for place, secret in EVERYONE:
        with pytest.raises(Unsealable):
            unseal(elsewhere, place, secret, SEALED)


def slot(place: int) -> slice:
    return slice(POINT_SIZE + place * SLOT_SIZE, POINT_SIZE + (place + 1) * SLOT_SIZE)


def test_a_swapped_or_spoilt_slot_opens_for_nobody_not_only_for_whom_it_was():
    """Otherwise its sender could have some members count its share and others refuse it."""
    swapped = bytearray(SEALED)
    swapped[slot(0)], swapped[slot(1)] = SEALED[slot(1)], SEALED[slot(0)]
    spoilt = bytearray(SEALED)
    spoilt[slot(3)] = secrets.token_bytes(SLOT_SIZE)
    for forged in (swapped, spoilt):
        for place, secret in EVERYONE:
            with pytest.raises(Unsealable):
                unseal(TO, place, secret, bytes(forged))


def test_a_sender_cannot_give_one_member_another_key_than_the_others(monkeypatch: pytest.MonkeyPatch):
    """Made with care: a head whose slots each open, to different content keys."""
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    scalar = 1 + secrets.randbelow(ORDER - 1)
    monkeypatch.setattr(sealing, "times_generator", lambda given: times_generator(scalar))
    monkeypatch.setattr(sealing, "times", lambda given, point, times=sealing.times: times(scalar, point))
    ones, others = TO.head(first), TO.head(second)
    monkeypatch.undo()
    mixed = ones[: slot(2).start] + others[slot(2).start :]
    body = seal(TO, CONTENT)[TO.head_size :]
    for place, secret in EVERYONE:
        with pytest.raises(Unsealable, match="not sealed to all members alike"):
            unseal(TO, place, secret, mixed + body)


CHUNKED = seal(TO, bytes(2 * CHUNK + 5))
BODY = TO.head_size
SPOILT = {
    "empty": b"",
    "no body": SEALED[:BODY],
    "cut": SEALED[:-1],
    "longer": SEALED + b"\0",
    "changed": SEALED[:-20] + bytes([SEALED[-20] ^ 1]) + SEALED[-19:],
    "another point": times_generator(5) + SEALED[POINT_SIZE:],
    "no point": b"\xff" * POINT_SIZE + SEALED[POINT_SIZE:],
    "the identity": bytes(POINT_SIZE) + SEALED[POINT_SIZE:],
    "the last chunk left out": CHUNKED[: BODY + 2 * (CHUNK + TAG_SIZE)],
    "chunks exchanged": CHUNKED[:BODY]
    + CHUNKED[BODY + CHUNK + TAG_SIZE : BODY + 2 * (CHUNK + TAG_SIZE)]
    + CHUNKED[BODY : BODY + CHUNK + TAG_SIZE]
    + CHUNKED[BODY + 2 * (CHUNK + TAG_SIZE) :],
    "another body": SEALED[:BODY] + seal(TO, CONTENT)[BODY:],
}


@pytest.mark.parametrize("sealed", SPOILT.values(), ids=SPOILT)
def test_what_was_changed_is_refused(sealed: bytes):
    with pytest.raises(Unsealable):
        unseal(TO, 1, SECRETS[1], sealed)


def test_keys_of_other_lengths_of_roster_do_not_meet():
    fewer = replace(TO, keys=TO.keys[:3])
    with pytest.raises(Unsealable):
        unseal(fewer, 0, SECRETS[0], SEALED)
