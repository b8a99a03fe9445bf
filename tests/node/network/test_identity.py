"""The identity file: private, stable, and clear about what is wrong with it."""

import os
import stat

import pytest

from node.network import Identity
from protocol.errors import OperatorFault


def test_created_once_and_private(tmp_path):
    path = tmp_path / "state" / "identity"
    created = Identity.load_or_create(path)
    assert Identity.load_or_create(path).peer_id == created.peer_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["identity"]


def test_credential_bytes_give_the_same_identity():
    identity = Identity.generate()
    assert Identity.from_bytes(identity.to_bytes()).peer_id == identity.peer_id


@pytest.mark.parametrize("content", [b"", b"junk", bytes(36), b"\x08\x00\x12\x03abc"])
def test_corrupt_file_names_itself_and_stays(tmp_path, content):
    path = tmp_path / "identity"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(OperatorFault, match=str(path)) as caught:
        Identity.load_or_create(path)
    assert "backup" in caught.value.remedy
    assert path.read_bytes() == content


def test_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "identity"
    Identity.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(OperatorFault, match="readable by other users"):
        Identity.load_or_create(path)


def test_unusable_directory_is_the_operators_fault(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperatorFault, match="cannot use the identity file"):
        Identity.load_or_create(tmp_path / "file" / "identity")


def test_secret_is_not_shown():
    identity = Identity.generate()
    assert identity.to_bytes().hex()[8:40] not in repr(identity)
    assert "key_pair" not in repr(identity)
