"""The satellite: buckets, objects and segments; who may do what; order limits for the node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.storj.drpc import Handler, RpcError, Status, Stream
from support.storj.identity import Identity
from support.storj.macaroon import Action, ApiKey
from support.storj.protobuf import BYTES, Message, Value, encode, read_timestamp, timestamp, varint

Reply = Mapping[int, Value]

_PUT, _GET = 1, 2
_COMMITTED = 3
_SHARE = 7424  # bytes; also the library's encryption block, so that one stripe is one block
_REDUNDANCY = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: _SHARE}  # Reed-Solomon, one of one


@dataclass
class Segment:
    """An inline or remote part of an object, encrypted by the client."""

    position: tuple[int, int] = (0, 0)
    key: bytes = b""
    nonce: bytes = b""
    plain_size: int = 0
    size: int = 0
    inline: bytes = b""
    piece: bytes = b""


@dataclass
class Object:
    """An object, pending until it is committed."""

    stream: bytes
    bucket: bytes
    key: bytes
    created: float
    expires: float | None
    parameters: Mapping[int, Value]
    metadata: Mapping[int, bytes] = field(default_factory=dict)  # nonce, metadata, encrypted key
    segments: list[Segment] = field(default_factory=list)


@dataclass
class _Batch:
    """The requests of one batch may refer to the stream or segment of the one before."""

    key: ApiKey
    stream: bytes = b""
    segment: bytes = b""


class Satellite:
    """One project. `now` is its clock; `refusals` are errors that the next calls get instead of a reply."""

    def __init__(self, identity: Identity, node: Identity) -> None:
        self.identity = identity
        self._node = node
        self.node_address = ""
        self.secret = secrets.token_bytes(32)
        self.root = ApiKey.unrestricted(secrets.token_bytes(32), self.secret)
        self.skew = 0.0
        self.refusals: list[RpcError] = []
        self.calls: list[str] = []
        self.page = 1000
        self.buckets: set[bytes] = set()
        self.objects: dict[tuple[bytes, bytes], Object] = {}
        self.pending: dict[bytes, Object] = {}
        self._segments: dict[bytes, tuple[Object, Segment]] = {}
        self._revoked: set[bytes] = set()
        self._items: dict[int, tuple[str, Callable[[_Batch, Message], Reply]]] = {
            1: ("CreateBucket", self._create_bucket),
            2: ("GetBucket", self._get_bucket),
            6: ("BeginObject", self._begin_object),
            7: ("CommitObject", self._commit_object),
            8: ("GetObject", self._get_object),
            9: ("ListObjects", self._list_objects),
            10: ("BeginDeleteObject", self._delete_object),
            12: ("BeginSegment", self._begin_segment),
            13: ("CommitSegment", self._commit_segment),
            14: ("MakeInlineSegment", self._make_inline),
            18: ("DownloadSegment", self._download_segment),
            19: ("RevokeAPIKey", self._revoke),
            23: ("DownloadObject", self._download_object),
        }

    def now(self) -> float:
        """Unix seconds by its clock, which tests may put forward."""
        return time.time() + self.skew

    @property
    def methods(self) -> Mapping[str, Handler]:
        """What it serves."""
        service = "/metainfo.Metainfo/"
        return {
            f"{service}CompressedBatch": self._compressed_batch,
            f"{service}ProjectInfo": self._project_info,
        } | {f"{service}{name}": self._unary(tag) for tag, (name, _) in self._items.items()}

    async def _project_info(self, stream: Stream) -> None:
        request = Message(await stream.receive() or b"")
        self._key(request.message(15).raw(1))
        await stream.send(encode({1: bytes(32)}))

    async def _compressed_batch(self, stream: Stream) -> None:
        batch = Message(Message(await stream.receive() or b"").raw(3))
        state = _Batch(self._key(batch.message(15).raw(1)))
        responses = []
        for item in batch.messages(1):
            [tag] = item.tags()
            body = encode(self._handle(tag, state, item.message(tag)))
            # Written by hand: an empty reply must still say which request it answers.
            responses.append(varint(tag << 3 | BYTES) + varint(len(body)) + body)
        await stream.send(encode({3: encode({1: responses})}))

    def _unary(self, tag: int) -> Handler:
        async def call(stream: Stream) -> None:
            request = Message(await stream.receive() or b"")
            reply = self._handle(tag, _Batch(self._key(request.message(15).raw(1))), request)
            await stream.send(encode(reply))

        return call

    def _handle(self, tag: int, state: _Batch, request: Message) -> Reply:
        name, handle = self._items[tag]
        self.calls.append(name)
        if self.refusals:
            raise self.refusals.pop(0)
        return handle(state, request)

    def _key(self, raw: bytes) -> ApiKey:
        try:
            key = ApiKey.parse(raw)
        except (IndexError, ValueError, KeyError):
            raise RpcError(Status.INVALID_ARGUMENT, "Invalid API credentials") from None
        tails = key.tails(self.secret)
        if tails[-1] != key.tail or self._revoked.intersection(tails):
            raise RpcError(Status.PERMISSION_DENIED, "Unauthorized API credentials")
        return key

    def _allow(self, state: _Batch, action: Action, bucket: bytes, path: bytes = b"") -> None:
        if not state.key.allows(action, bucket, path, self.now()):
            raise RpcError(Status.PERMISSION_DENIED, "Unauthorized API credentials")

    def _create_bucket(self, state: _Batch, request: Message) -> Reply:
        name = request.raw(1)
        self._allow(state, Action.WRITE, name)
        if name in self.buckets:
            raise RpcError(Status.ALREADY_EXISTS, "bucket already exists")
        self.buckets.add(name)
        return {1: {1: name, 3: timestamp(self.now())}}

    def _get_bucket(self, state: _Batch, request: Message) -> Reply:
        name = request.raw(1)
        self._allow(state, Action.READ, name)
        if name not in self.buckets:
            raise RpcError(Status.NOT_FOUND, f"bucket not found: {name.decode()}")
        return {1: {1: name, 3: timestamp(self.now())}}

    def _begin_object(self, state: _Batch, request: Message) -> Reply:
        bucket, key = request.raw(1), request.raw(2)
        self._allow(state, Action.WRITE, bucket, key)
        if bucket not in self.buckets:
            raise RpcError(Status.NOT_FOUND, f"bucket not found: {bucket.decode()}")
        parameters = {1: request.message(8).integer(1), 2: request.message(8).integer(2)}
        stream = state.stream = secrets.token_bytes(16)
        expires = read_timestamp(request.message(4))
        self.pending[stream] = Object(stream, bucket, key, self.now(), expires, parameters)
        return {1: bucket, 2: key, 4: stream, 5: _REDUNDANCY, 6: parameters}

    def _of(self, state: _Batch, stream: bytes) -> Object:
        found = self.pending.get(stream or state.stream)
        if found is None:
            raise RpcError(Status.NOT_FOUND, "object not found: no such upload")
        self._allow(state, Action.WRITE, found.bucket, found.key)
        return found

    def _begin_segment(self, state: _Batch, request: Message) -> Reply:
        owner = self._of(state, request.raw(1))
        position = request.message(2).integer(1), request.message(2).integer(2)
        segment = Segment(position, piece=secrets.token_bytes(32))
        identifier = state.segment = secrets.token_bytes(16)
        self._segments[identifier] = owner, segment
        limits, private = self._limits(segment, _PUT, request.integer(3))
        return {1: identifier, 2: limits, 3: private, 4: _REDUNDANCY}

    def _commit_segment(self, state: _Batch, request: Message) -> Reply:
        owner, segment = self._segments.pop(request.raw(1) or state.segment)
        self._allow(state, Action.WRITE, owner.bucket, owner.key)
        segment.nonce, segment.key = request.raw(2), request.raw(3)
        segment.size, segment.plain_size = request.integer(4), request.integer(6)
        owner.segments.append(segment)
        return {1: len(request.messages(5))}

    def _make_inline(self, state: _Batch, request: Message) -> Reply:
        owner = self._of(state, request.raw(1))
        position = request.message(2).integer(1), request.message(2).integer(2)
        content = request.raw(5)
        owner.segments.append(
            Segment(position, request.raw(4), request.raw(3), request.integer(6), len(content), content)
        )
        return {}

    def _commit_object(self, state: _Batch, request: Message) -> Reply:
        done = self._of(state, request.raw(1))
        if self._live(done.bucket, done.key) is not None:
            self._allow(state, Action.DELETE, done.bucket, done.key)  # overwriting deletes
        done.segments.sort(key=lambda segment: segment.position)
        encrypted = {1: Message(request.raw(3)).raw(1)}
        filled_in = {2: done.parameters[1], 3: done.parameters[2], 5: len(done.segments)}
        done.metadata = {9: request.raw(2), 10: encode(encrypted | filled_in), 17: request.raw(4)}
        self.objects[done.bucket, done.key] = self.pending.pop(done.stream)
        return {1: _described(done)}

    def _live(self, bucket: bytes, key: bytes) -> Object | None:
        found = self.objects.get((bucket, key))
        return None if found is None or (found.expires or self.now() + 1) <= self.now() else found

    def _found(self, bucket: bytes, key: bytes) -> Object:
        found = self._live(bucket, key)
        if found is None:
            raise RpcError(Status.NOT_FOUND, "object not found")
        return found

    def _get_object(self, state: _Batch, request: Message) -> Reply:
        bucket, key = request.raw(1), request.raw(2)
        self._allow(state, Action.READ, bucket, key)
        return {1: _described(self._found(bucket, key))}

    def _download_object(self, state: _Batch, request: Message) -> Reply:
        bucket, key = request.raw(1), request.raw(2)
        self._allow(state, Action.READ, bucket, key)
        if request.message(3).tags() != [2] or request.message(3).message(2).integer(1):
            raise RpcError(Status.UNIMPLEMENTED, "only whole objects are emulated")
        found = self._found(bucket, key)
        items, offset = [], 0
        for segment in found.segments:
            items.append(
                {
                    1: {1: segment.position[0], 2: segment.position[1]},
                    2: segment.plain_size,
                    4: offset,
                    6: segment.nonce,
                    7: segment.key,
                }
            )
            offset += segment.plain_size
        first = [self._given(found.segments[0], 0)] if found.segments else []
        return {1: _described(found), 2: {1: items, 3: found.parameters}, 3: first}

    def _download_segment(self, state: _Batch, request: Message) -> Reply:
        position = request.message(2).integer(1), request.message(2).integer(2)
        for found in self.objects.values():
            if found.stream == request.raw(1):
                self._allow(state, Action.READ, found.bucket, found.key)
                offset = 0
                for segment in found.segments:
                    if segment.position == position:
                        return self._given(segment, offset)
                    offset += segment.plain_size
        raise RpcError(Status.NOT_FOUND, "segment not found")

    def _given(self, segment: Segment, offset: int) -> Reply:
        reply: dict[int, Value] = {
            1: secrets.token_bytes(16),
            5: segment.size,
            6: segment.nonce,
            7: segment.key,
            10: {1: segment.position[0], 2: segment.position[1]},
            11: offset,
            12: segment.plain_size,
        }
        if not segment.piece:
            return reply | {4: segment.inline}
        limits, private = self._limits(segment, _GET, 1 << 40)
        return reply | {2: limits, 3: private, 9: _REDUNDANCY}

    def _limits(self, segment: Segment, action: int, limit: int) -> tuple[list[Reply], bytes]:
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        order = {
            1: secrets.token_bytes(16),
            2: self.identity.node_id,
            4: self._node.node_id,
            5: segment.piece,
            6: limit,
            7: action,
            9: timestamp(self.now() + 86400),
            10: secrets.token_bytes(64),  # the satellite's signature: nobody here checks it
            12: timestamp(self.now()),
            13: public,
        }
        return [{1: order, 2: {2: self.node_address}}], private.private_bytes_raw() + public

    def _list_objects(self, state: _Batch, request: Message) -> Reply:
        bucket, prefix = request.raw(1), request.raw(2)
        self._allow(state, Action.LIST, bucket, prefix)
        if bucket not in self.buckets:
            raise RpcError(Status.NOT_FOUND, f"bucket not found: {bucket.decode()}")
        if prefix and not prefix.endswith(b"/"):
            prefix += b"/"
        names = sorted(
            key[len(prefix) :]
            for where, key in self.objects
            if where == bucket and key.startswith(prefix) and self._live(bucket, key) is not None
        )
        names = [name for name in names if name > request.raw(3)]
        limit = min(request.integer(5) or self.page, self.page)
        items = []
        for name in names[:limit]:
            found = self.objects[bucket, prefix + name]
            items.append(
                {
                    1: name,
                    3: _COMMITTED,
                    4: timestamp(found.created),
                    6: timestamp(found.expires),
                    7: found.metadata[9],
                    8: found.metadata[10],
                    10: sum(segment.plain_size for segment in found.segments),
                    11: found.metadata[17],
                }
            )
        return {1: items, 2: len(names) > limit}

    def _delete_object(self, state: _Batch, request: Message) -> Reply:
        bucket, key = request.raw(1), request.raw(2)
        if stream := request.raw(5):  # an upload that was broken off
            self._allow(state, Action.WRITE, bucket, key)
            self.pending.pop(stream, None)
            return {}
        self._allow(state, Action.DELETE, bucket, key)
        found = self.objects.pop((bucket, key), None)
        return {} if found is None else {2: _described(found)}

    def _revoke(self, state: _Batch, request: Message) -> Reply:
        self._revoked.add(self._key(request.raw(1)).tail)
        return {}


def _described(found: Object) -> Reply:
    size = sum(segment.plain_size for segment in found.segments)
    return {
        1: found.bucket,
        2: found.key,
        4: _COMMITTED,
        5: found.stream,
        6: timestamp(found.created),
        8: timestamp(found.expires),
        11: -1,
        13: found.parameters,
        14: sum(segment.size for segment in found.segments),
        18: size,
        **found.metadata,
    }
