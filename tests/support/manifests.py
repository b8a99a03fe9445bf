"""Small manifests and rosters for tests."""

from __future__ import annotations

import hashlib

from protocol.crypto.sigma.schnorr import JobSecret
from protocol.manifest import Deadlines, Encoding, Manifest, TensorSpec
from protocol.roster import Member, Roster
from protocol.thresholds import Thresholds


def job_secret(index: int) -> JobSecret:
    """The fixed secret of test member `index`."""
    return JobSecret(1000 + index)


def roster(members: int) -> Roster:
    """A roster of test members."""
    return Roster(
        tuple(
            Member(
                name=f"member {i}",
                peer=f"peer-{i}",
                payment=hashlib.blake2b(f"payment {i}".encode(), digest_size=28).digest(),
                job_key=job_secret(i).public(),
                bucket=f"bucket-{i}",
            )
            for i in range(1, members + 1)
        )
    )


def manifest(members: int = 3, rounds: int = 2, **changes: object) -> Manifest:
    """A manifest of a tiny job; keyword arguments replace its fields."""
    fields: dict[str, object] = {
        "version": 1,
        "name": "test",
        "nonce": bytes(16),
        "roster": roster(members),
        "thresholds": Thresholds.default(members),
        "acknowledge_leaks": False,
        "key_profile": "insecure-test-512",
        "allow_insecure_key": True,
        "key_attempts": 3,
        "task": "test",
        "parameters": {},
        "model": hashlib.sha256(b"initial").digest(),
        "encoding": Encoding(
            bits=16,
            tensors=(TensorSpec("w", (5, 7), 1.0), TensorSpec("b", (7,), 0.5)),
            weights=tuple(range(1, members + 1)),
        ),
        "rounds": rounds,
        "round_limit": 2 * rounds + 2,
        "deadlines": Deadlines(key=600, contribute=60, attest=20),
    }
    return Manifest(**(fields | changes))  # type: ignore[arg-type]
