"""The post of one job: messages to its members, each by its roster index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
import trio

from node.envelope import Core, Envelope, Grant, KeyRound, Label, OrderPart, OrderWanted
from node.network import Mesh, NotConnected

log = structlog.get_logger()


class Post:
    """`contacts` maps the other members' roster indices to the mesh's contact numbers."""

    def __init__(self, job: bytes, mesh: Mesh, contacts: Mapping[int, int]) -> None:
        self._job = job
        self._mesh = mesh
        self._contacts = contacts

    @property
    def others(self) -> list[int]:
        """The other members, in their order."""
        return sorted(self._contacts)

    def member_of(self, contact: int) -> int | None:
        """The member that a contact is in this job."""
        return next((member for member, number in self._contacts.items() if number == contact), None)

    async def tell(self, members: Iterable[int], content: Core) -> None:
        """Send to several; one whose line is slow keeps none of the others waiting."""
        async with trio.open_nursery() as nursery:
            for member in members:
                nursery.start_soon(self.say, member, content)

    async def say(self, member: int, content: Core | Grant) -> None:
        """Send once; a member that is away hears it again when it is up."""
        try:
            await self._mesh.send(self._contacts[member], Envelope(self._job, content).to_bytes())
        except NotConnected:
            log.debug("PeerAway", other=member)

    async def ask(self, member: int, content: OrderWanted) -> None:
        """Send once; raises `NotConnected` where the member is away."""
        await self._mesh.send(self._contacts[member], Envelope(self._job, content).to_bytes())

    async def send(self, member: int, what: KeyRound | OrderPart, content: bytes) -> None:
        """Send what may be large, beside the stream that carries the small; raises as `Mesh.send_bulk`."""
        await self._mesh.send_bulk(self._contacts[member], Label(self._job, what).to_bytes(), content)
