"""Clients hold a head through a day of broken connections, in simulated time, nothing lost or doubled."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager

import pytest
import trio

from node.ledger.client.deposit import EMULATED_SCRIPT
from node.ledger.client.ledger import HydraLedger
from node.ledger.client.session import Timing
from node.ledger.emulator import inputs
from node.ledger.emulator.head import Head
from node.ledger.emulator.hub import Hub, without_utxo
from node.ledger.emulator.routes import Routes
from node.ledger.emulator.state import Genesis
from node.ledger.emulator.views import Views
from node.ledger.errors import NodeUnavailable
from node.ledger.wallet import Wallet

WALLETS = [Wallet(bytes([n]) * 32) for n in (1, 2, 3)]
PATIENT = Timing(poll=60, confirm=120, unreachable=300)


async def _remember(events):
    await trio.lowlevel.checkpoint()


class BadWeather:
    """A node of the emulated head behind a line that breaks, loses what was sent, repeats and corrupts."""

    def __init__(self, hub, party, seed, mean) -> None:
        self._hub = hub
        self._party = party
        self._random = random.Random(seed)  # noqa: S311
        self._mean = mean
        self._routes = Routes(hub, party)
        self.broken = 0

    @asynccontextmanager
    async def connect(self, *, history, utxo=True):
        if self._random.random() < 0.2:
            raise NodeUnavailable("refused")
        limit = trio.current_time() + self._random.expovariate(1 / self._mean)
        self.broken += 1
        with self._hub.listen(self._party) as live:
            yield _Line(self, live, limit, self._first(history))

    def _first(self, history):
        if history:
            yield from (m.text(with_utxo=False) for m in self._hub.replay(self._party))
        yield json.dumps(without_utxo(self._hub.views.greetings(self._party, 0)))

    async def request(self, method, path, body=None):
        if self._random.random() < 0.02:
            raise NodeUnavailable("no answer")
        content = b"" if body is None else json.dumps(body).encode()
        return await self._routes(method, path, {}, content)

    async def aclose(self):
        await trio.lowlevel.checkpoint()

    def noise(self):
        return self._random.random()

    def say(self, text):
        tag, subject = inputs.client_input(json.loads(text))
        self._hub.command(self._party, tag, subject, json.loads(text))


class _Line:
    def __init__(self, weather, live, limit, first) -> None:
        self._weather, self._live, self._limit, self._first = weather, live, limit, first
        self._again = None

    async def receive(self):
        for text in self._first:
            return text
        if self._again is not None:
            text, self._again = self._again, None
            return text
        with trio.move_on_at(self._limit):
            try:
                message = await self._live.receive()
            except trio.EndOfChannel:
                raise NodeUnavailable("dropped") from None
            text = message.text(with_utxo=True)
            if self._weather.noise() < 0.1:
                self._again = text
            return "}junk{" if self._weather.noise() < 0.02 else text
        raise NodeUnavailable("the line broke")

    async def send(self, text):
        await trio.lowlevel.checkpoint()
        if trio.current_time() > self._limit:
            raise NodeUnavailable("the line broke")
        if self._weather.noise() < 0.1:
            return
        self._weather.say(text)


async def _hold(hours, seed, mean, pause):
    genesis = Genesis(
        hydra_seeds=tuple(bytes([0x40 + n]) * 32 for n in range(3)),
        participants=tuple(w.key_hash for w in WALLETS),
        funds=tuple((w.address, 50_000_000) for w in WALLETS),
        deposit_period=7 * 24 * 3600,
    )
    head = Head(genesis)
    hub = Hub(head, Views(head, [("host", n) for n in range(3)]), _remember, trio.current_time)
    lines = [BadWeather(hub, n, f"{seed}/{n}", mean) for n in range(3)]
    members = [w.key_hash for w in WALLETS]
    ledgers = [
        HydraLedger(
            line,
            wallet,
            members,
            timing=PATIENT,
            clock=trio.current_time,
            deposit_scripts={EMULATED_SCRIPT},
        )
        for line, wallet in zip(lines, WALLETS, strict=True)
    ]
    each = int(hours * 3600 / pause)
    orders = [[], [], []]

    async def follow(ledger, order):
        async for record in ledger.confirmed(0):
            order.append(record)
            if len(order) == 3 * each:
                return

    async def write(member, ledger):
        for n in range(each):
            await ledger.submit(b"%d:%d" % (member, n))
            await trio.sleep(pause)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        for ledger in ledgers:
            await nursery.start(ledger.run)
        await ledgers[0].open_head()
        for wallet, ledger in zip(WALLETS, ledgers, strict=True):
            await _deposit(head, wallet, ledger)
        with trio.fail_after(2 * hours * 3600 + 3600):
            async with trio.open_nursery() as writers:
                for member, ledger in enumerate(ledgers, start=1):
                    writers.start_soon(write, member, ledger)
                    writers.start_soon(follow, ledger, orders[member - 1])
        nursery.cancel_scope.cancel()
    assert orders[0] == orders[1] == orders[2]
    assert [r.slot for r in orders[0]] == list(range(1, 3 * each + 1))
    for member in (1, 2, 3):
        written = [r.datum for r in orders[0] if r.member == member]
        assert written == [b"%d:%d" % (member, n) for n in range(each)]
    return sum(line.broken for line in lines)


async def _deposit(head, wallet, ledger):
    utxo = {at: out for at, out in head.state.chain.items() if out.address == wallet.address}
    while True:
        try:
            await ledger.deposit(utxo)
            return
        except NodeUnavailable:
            await trio.sleep(1)


@pytest.mark.parametrize("seed", [1, 2])
async def test_an_hour_of_constant_breaks(autojump_clock, seed):
    assert await _hold(hours=1, seed=seed, mean=30, pause=60) > 100


@pytest.mark.slow
async def test_a_day_of_breaks(autojump_clock):
    assert await _hold(hours=24, seed=7, mean=300, pause=120) > 500
