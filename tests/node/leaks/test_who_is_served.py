"""Objects that a node keeps are served to the members of their job, and to nobody else in the peer book."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from node.engine.objects import Objects
from node.engine.post import Post
from node.jobs import Jobs
from node.storage import Admission

HERE, THERE = bytes([1]) * 32, bytes([2]) * 32
DIGEST = bytes(range(32))
CONTENT = b"a ciphertext"
MEMBER_OF_BOTH, MEMBER_OF_ONE, MEMBER_OF_NONE = 11, 12, 13


def job(folder: Path, digest: bytes, contacts: dict[int, int]) -> SimpleNamespace:
    """A job with one object, and members whose contacts in the peer book are these."""
    folder.mkdir()
    objects = Objects(digest, folder, None, None, contacts, "", Admission(), {}, 1)  # type: ignore[arg-type]
    objects.path(DIGEST).write_bytes(CONTENT)
    return SimpleNamespace(post=Post(digest, None, contacts), objects=objects)  # type: ignore[arg-type]


async def served(jobs: Jobs, contact: int) -> bytes | None:
    pieces = await jobs.blobs(contact, DIGEST, len(CONTENT))
    return None if pieces is None else b"".join([piece async for piece in pieces])


async def test_an_object_goes_to_members_of_its_job_alone(tmp_path: Path):
    jobs = Jobs.__new__(Jobs)
    jobs._jobs = {HERE: job(tmp_path / "here", HERE, {2: MEMBER_OF_BOTH, 3: MEMBER_OF_ONE})}  # type: ignore[dict-item]
    assert await served(jobs, MEMBER_OF_ONE) == CONTENT
    assert await served(jobs, MEMBER_OF_NONE) is None
    jobs._jobs = {THERE: job(tmp_path / "there", THERE, {1: MEMBER_OF_BOTH})}  # type: ignore[dict-item]
    assert await served(jobs, MEMBER_OF_BOTH) == CONTENT
    assert await served(jobs, MEMBER_OF_ONE) is None
