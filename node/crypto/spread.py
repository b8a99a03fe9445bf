"""Cryptography on several cores: every long list is cut into pieces that are computed side by side.

The pieces are cut below the kernel's interface, so that encryption, decryption and proofs need not know.
The IFMA backend lets go of the interpreter's lock in every call: its pieces run in threads, which share the
large tables. GMP's do not: they run in processes, each with a table of its own. Products of few factors
are too short to be worth carrying anywhere and stay where they are.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gmpy2 import mpz

from protocol.crypto.kernel import gmp, using
from protocol.crypto.kernel.backend import Backend, current

LANES = 8
"""Pieces begin at multiples of this: the IFMA backend computes eight elements in the time of one."""

MAX_CORES = 64
"""A table of 16 MiB for each core, and pieces of a few elements: more gain nothing."""

TABLES = 4
"""Tables that a process keeps: it works for one key, or for two while a key is replaced."""


@contextmanager
def over(cores: int) -> Iterator[None]:
    """Split the work of the backend in use over `cores` cores inside the block; 1 changes nothing."""
    if cores <= 1:
        yield
        return
    inner, count = current(), min(cores, MAX_CORES)
    with workers(inner, count) as executor, using(Spread(inner, executor, count)):
        yield


def workers(inner: Backend, cores: int) -> Executor:
    """What runs the pieces of `inner`: a pool of threads, or of processes for GMP."""
    if inner.NAME == gmp.NAME:
        # Spawned, not forked: this process may have threads, whose locks a fork would copy.
        return ProcessPoolExecutor(cores, multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(cores, "kernel")


@dataclass(frozen=True)
class _Table:
    """What a table is made from, and the table itself where pieces run in threads."""

    base: mpz
    bits: int
    window: int
    made: Any


class Spread:
    """A backend that gives each of `cores` workers a piece of every long list."""

    def __init__(self, inner: Backend, executor: Executor, cores: int) -> None:
        self.NAME = f"{inner.NAME} on {cores} cores"
        self._inner = inner
        self._executor = executor
        self._cores = cores
        self._processes = inner.NAME == gmp.NAME

    def powers(self, bases: Sequence[mpz], exponent: mpz, m: mpz, secret: bool) -> list[mpz]:
        """As the inner backend's, a piece of the bases each."""
        return _joined(
            self._map(self._inner.powers, [(part, exponent, m, secret) for part in self._cut(bases)])
        )

    def powers_each(self, bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz, secret: bool) -> list[mpz]:
        """As the inner backend's, a piece of bases and exponents each."""
        parts = zip(self._cut(bases), self._cut(exponents), strict=True)
        return _joined(self._map(self._inner.powers_each, [(*part, m, secret) for part in parts]))

    def powers_under(
        self, bases: Sequence[mpz], exponents: Sequence[mpz], moduli: Sequence[mpz], secret: bool
    ) -> list[mpz]:
        """As the inner backend's, a piece of all three lists each."""
        parts = zip(self._cut(bases), self._cut(exponents), self._cut(moduli), strict=True)
        return _joined(self._map(self._inner.powers_under, [(*part, secret) for part in parts]))

    def multiply(self, xs: Sequence[mpz], ys: Sequence[mpz], m: mpz) -> list[mpz]:
        """Not split: one product each."""
        return self._inner.multiply(xs, ys, m)

    def columns(self, rows: Sequence[Sequence[mpz]], m: mpz) -> list[mpz]:
        """Not split: a product for each member."""
        return self._inner.columns(rows, m)

    def product(self, xs: Sequence[mpz], m: mpz) -> mpz:
        """Not split: one product each."""
        return self._inner.product(xs, m)

    def multiexp(self, bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz) -> mpz:
        """The product of the pieces' results."""
        parts = zip(self._cut(bases), self._cut(exponents), strict=True)
        return self._inner.product(self._map(self._inner.multiexp, [(*part, m) for part in parts]), m)

    def build_table(self, base: mpz, bits: int, window: int, m: mpz) -> _Table:
        """Made once here for all threads, or by every process when it first needs it."""
        made = None if self._processes else self._inner.build_table(base, bits, window, m)
        return _Table(base, bits, window, made)

    def table_powers(self, table: _Table, exponents: Sequence[mpz], bits: int, m: mpz) -> list[mpz]:
        """As the inner backend's, a piece of the exponents each."""
        parts = self._cut(exponents)
        if self._processes:
            shape = table.base, table.bits, table.window
            return _joined(self._submit(_table_powers, [(*shape, part, bits, m) for part in parts]))
        return _joined(self._map(self._inner.table_powers, [(table.made, part, bits, m) for part in parts]))

    def _cut(self, items: Sequence[mpz]) -> list[Sequence[mpz]]:
        """At most `cores` pieces of nearly equal length, at least one, which may be empty."""
        each = max(-(-len(items) // (self._cores * LANES)), 1) * LANES
        return [items[at : at + each] for at in range(0, len(items), each)] or [items]

    def _map(self, call: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The results of all calls, in order; a single one is made right here."""
        return self._submit(call, calls) if len(calls) > 1 else [call(*calls[0])]

    def _submit(self, call: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [future.result() for future in [self._executor.submit(call, *each) for each in calls]]


def _joined(parts: Sequence[list[mpz]]) -> list[mpz]:
    return [value for part in parts for value in part]


@lru_cache(maxsize=TABLES)
def _own_table(base: mpz, bits: int, window: int, m: mpz) -> gmp.Table:
    return gmp.build_table(base, bits, window, m)


def _table_powers(
    base: mpz, bits: int, window: int, exponents: Sequence[mpz], used: int, m: mpz
) -> list[mpz]:
    """`gmp.table_powers` in a worker process, which keeps the table for the next piece."""
    return gmp.table_powers(_own_table(base, bits, window, m), exponents, used, m)
