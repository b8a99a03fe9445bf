"""Answers to peers' questions that may take long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

ANSWER_SECONDS = 300.0
"""An answer that its asker has not taken by then is given up; it asks again."""

PAUSE_SECONDS = 2.0
"""After an answer, until the same peer gets another: who needs one asks every ten seconds."""

Answer = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class Answers:
    """Works beside everything else on one answer for each peer at a time.

    Meanwhile that peer's newest question waits, and older ones are forgotten: whoever needs an answer asks
    until it comes.
    """

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self._next: dict[int, Answer | None] = {}

    async def run(self) -> None:
        """Answer until cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def ask(self, contact: int, answer: Answer) -> None:
        """A peer has a question; `answer` finds the answer and sends it."""
        if contact in self._next:
            self._next[contact] = answer
        elif self._nursery is not None:
            self._next[contact] = None
            self._nursery.start_soon(self._work, contact, answer)

    async def _work(self, contact: int, answer: Answer | None) -> None:
        while answer is not None:
            try:
                with trio.fail_after(ANSWER_SECONDS):
                    await answer()
            except Exception as error:
                log.info("AnswerFailed", contact=contact, reason=f"{type(error).__name__}: {error}"[:300])
            await trio.sleep(PAUSE_SECONDS)
            answer, self._next[contact] = self._next[contact], None
        del self._next[contact]
