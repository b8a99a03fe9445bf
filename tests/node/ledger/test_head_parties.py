"""A head is the members' own: each of their hydra-nodes signs it, and nobody else."""

from __future__ import annotations

import json

import msgspec
import pytest
import trio
from nacl.signing import SigningKey
from support.manifests import manifest

from node.card import own_card
from node.config import Config, Ledger, parse_config
from node.keys import create_keys
from node.ledger.interface import LedgerState, StallReason
from node.parties import own_hydra_key, parties_of
from node.peers import Card, PeerBook
from protocol.errors import OperatorFault

KEYS = [bytes([n]) * 32 for n in (1, 2, 3)]
ROSTER = manifest(3, rounds=1).roster


def _hydra_keys(cohort):
    return [bytes(SigningKey(seed).verify_key) for seed in cohort.genesis.hydra_seeds]


async def _stalls(cohort, ledger):
    cohort.nursery.start_soon(ledger.run)
    with trio.fail_after(120):
        while ledger._session.stall is None:
            await trio.sleep(0.01)
    return ledger._session.stall.reason


async def test_the_parties_of_the_cards_are_followed_and_this_nodes_own_key_is_what_it_says(cohort, take):
    keys = _hydra_keys(cohort)
    ledger, _ = await cohort.follow(1, parties=[b"", *keys[1:]])
    await cohort.fund(ledger)
    await ledger.submit(b"signed by all")
    await take(ledger, 1)
    assert ledger._session.parties == tuple(keys)


@pytest.mark.parametrize("kind", ["a subset", "one more", "a stranger", "one twice", "another own key"])
async def test_a_head_of_any_other_parties_is_not_followed(cohort, kind):
    keys, stranger = _hydra_keys(cohort), bytes(SigningKey(b"\x09" * 32).verify_key)
    parties = {
        "a subset": keys[:2],
        "one more": [*keys, stranger],
        "a stranger": [*keys[:2], stranger],
        "one twice": [keys[0], keys[1], keys[1]],
        "another own key": [stranger, *keys[1:]],
    }[kind]
    honest, _ = await cohort.follow(2)
    await cohort.fund(honest)
    wary = cohort.ledger(1, parties=parties)
    assert await _stalls(cohort, wary) is StallReason.UNVERIFIED
    assert wary.status().state is LedgerState.STALLED
    assert wary.status().slot == 0


def _book(tmp_path, *hydra: str):
    book = PeerBook(tmp_path / "peers.json")
    for member, key in zip(ROSTER.members[1:], hydra, strict=True):
        fields = {"payment": member.payment.hex(), "job_key": member.job_key.hex(), "bucket": member.bucket}
        book._cards[len(book._cards) + 1] = Card(name=member.name, peer=member.peer, **fields, hydra=key)
    return book


def test_the_keys_come_with_the_cards(tmp_path):
    book = _book(tmp_path, KEYS[1].hex(), KEYS[2].hex())
    found = book.hydra_keys(ROSTER)
    assert parties_of(ROSTER, 1, found, Ledger()) == (b"", KEYS[1], KEYS[2])
    assert parties_of(ROSTER, 1, found, Ledger(hydra_key=KEYS[0].hex())) == tuple(KEYS)


def test_a_member_whose_key_is_unknown_is_named_with_what_helps(tmp_path):
    found = _book(tmp_path, "", KEYS[2].hex()).hydra_keys(ROSTER)
    with pytest.raises(OperatorFault, match=ROSTER.member(2).name) as refused:
        parties_of(ROSTER, 1, found, Ledger())
    assert "starling card" in refused.value.remedy
    named = Ledger(parties=tuple(key.hex() for key in KEYS))
    assert parties_of(ROSTER, 1, found, named) == tuple(KEYS)
    with pytest.raises(OperatorFault, match=ROSTER.member(2).name):
        parties_of(ROSTER, 1, found, Ledger(parties=(KEYS[0].hex(),)))


def test_keys_that_contradict_each_other_are_refused(tmp_path):
    found = _book(tmp_path, KEYS[1].hex(), KEYS[2].hex()).hydra_keys(ROSTER)
    swapped = Ledger(parties=(KEYS[0].hex(), KEYS[2].hex(), KEYS[1].hex()))
    with pytest.raises(OperatorFault, match="different"):
        parties_of(ROSTER, 1, found, swapped)
    with pytest.raises(OperatorFault, match="same"):
        parties_of(ROSTER, 1, found, Ledger(hydra_key=KEYS[2].hex()))
    twice = _book(tmp_path, KEYS[1].hex(), KEYS[1].hex()).hydra_keys(ROSTER)
    with pytest.raises(OperatorFault, match="same"):
        parties_of(ROSTER, 1, twice, Ledger())


def test_a_card_of_an_older_release_is_read(tmp_path):
    card = _book(tmp_path, KEYS[1].hex(), KEYS[2].hex()).cards[1]
    old = json.loads(card.to_json())
    del old["hydra"]
    assert Card.of(old) == msgspec.structs.replace(card, hydra="")
    assert Card.from_json(card.to_json()) == card
    with pytest.raises(OperatorFault):
        Card.of({**old, "hydra": "zz"})


async def test_this_nodes_card_has_the_key_that_its_hydra_node_says(cohort, tmp_path):
    config = parse_config({"node": {"name": "a", "state": str(tmp_path)}}, "x", tmp_path)
    assert isinstance(config, Config)
    keys = create_keys(tmp_path)
    here = Ledger(url=cohort.url(2))
    said = await own_hydra_key(here)
    assert said == _hydra_keys(cohort)[1].hex()
    assert own_card(config, keys, (), said).hydra == said
    assert await own_hydra_key(msgspec.structs.replace(here, hydra_key=KEYS[0].hex())) == KEYS[0].hex()
    await cohort.stop()
    assert await own_hydra_key(here) == ""
