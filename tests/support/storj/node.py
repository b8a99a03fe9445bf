"""The storage node: takes pieces by order limit, signs their hashes, and gives them back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from support.storj.drpc import Handler, RpcError, Status, Stream
from support.storj.identity import Identity
from support.storj.protobuf import Message, encode, timestamp

_CHUNK = 1 << 18


class Node:
    """Keeps each piece as a file named by its id.

    `interfere` is called with the size so far whenever a part of a piece has arrived.
    """

    def __init__(self, identity: Identity, directory: Path) -> None:
        self.identity = identity
        self._directory = directory
        self.interfere = _nothing

    @property
    def methods(self) -> Mapping[str, Handler]:
        """What it serves."""
        return {
            "/piecestore.Piecestore/Upload": self._upload,
            "/piecestore.Piecestore/Download": self._download,
        }

    def piece(self, identifier: bytes) -> Path:
        """Where a piece is."""
        return self._directory / identifier.hex()

    async def _upload(self, stream: Stream) -> None:
        limit, done, size = Message(b""), None, 0
        partial = self.piece(secrets.token_bytes(16))
        try:
            with partial.open("wb") as file:
                while done is None and (data := await stream.receive()) is not None:
                    request = Message(data)
                    limit = request.message(1) if 1 in request else limit
                    size += file.write(request.message(3).raw(2))
                    done = request.message(4) if 4 in request else None
                    await self.interfere(size)
            if done is None or done.integer(4) != size:
                raise RpcError(Status.INVALID_ARGUMENT, "the piece does not have the announced size")
            _check_signature(limit.raw(13), done)
            partial.rename(self.piece(limit.raw(5)))
        finally:
            partial.unlink(missing_ok=True)
        signed = {
            1: limit.raw(5),
            2: done.raw(2),  # BLAKE3, which Python lacks: the client's word is taken
            4: size,
            5: timestamp(time.time()),
            6: done.integer(6),
        }
        await stream.send(encode({1: signed | {3: self.identity.sign(encode(signed))}}))

    async def _download(self, stream: Stream) -> None:
        first = await stream.receive()
        if first is None:
            return
        request = Message(first)
        path = self.piece(request.message(1).raw(5))
        if not path.exists():
            raise RpcError(Status.NOT_FOUND, "no such piece")
        start = at = request.message(3).integer(1)
        end = at + request.message(3).integer(2)
        allowed = at + request.message(2).integer(2)
        with path.open("rb") as file:
            file.seek(at)
            while at < end:
                while at >= allowed:
                    data = await stream.receive()
                    if data is None:
                        return
                    allowed = start + Message(data).message(2).integer(2)
                chunk = file.read(min(_CHUNK, allowed - at, end - at))
                if not chunk:
                    raise RpcError(Status.INVALID_ARGUMENT, "beyond the piece's end")
                await stream.send(encode({1: {1: at, 2: chunk}}))
                at += len(chunk)


def _check_signature(public: bytes, done: Message) -> None:
    """The client signs the piece's hash with the key that the satellite made for this order limit."""
    signed = encode({1: done.raw(1), 2: done.raw(2), 4: done.integer(4), 5: done.raw(5), 6: done.integer(6)})
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(done.raw(3), signed)
    except (InvalidSignature, ValueError):
        raise RpcError(Status.PERMISSION_DENIED, "the piece's hash is not signed by the client") from None


async def _nothing(size: int) -> None:
    """Let the upload go on."""
