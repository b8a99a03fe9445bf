"""Errands for peers beside all else: one of a name at a time, each within a time; none ends the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

import structlog
import trio
from trio_typing import TaskStatus

from node.faults import kinds, places

log = structlog.get_logger()


class Background:
    """`run` it in the daemon's nursery; `start` errands from then on."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._names: set[Hashable] = set()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def start(
        self, name: tuple[str, Hashable], seconds: float, errand: Callable[[], Awaitable[None]]
    ) -> None:
        """Do an errand within `seconds`, unless one of its name is under way."""
        if self._nursery is not None and name not in self._names:
            self._names.add(name)
            self._nursery.start_soon(self._do, name, seconds, errand)

    async def _do(
        self, name: tuple[str, Hashable], seconds: float, errand: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            with trio.move_on_after(seconds) as limit:
                await errand()
            if limit.cancelled_caught:
                log.warning("ErrandOverdue", errand=name[0], seconds=seconds)
        except* Exception as group:
            log.error("ErrandFailed", errand=name[0], error=kinds(group), at=places(group))
        finally:
            self._names.discard(name)
