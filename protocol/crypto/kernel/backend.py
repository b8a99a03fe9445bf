"""Which implementation computes: the IFMA kernel where CPU and installation have it, else GMP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from gmpy2 import mpz

from protocol.crypto.kernel import gmp
from protocol.crypto.kernel.errors import BackendUnavailable


class Backend(Protocol):
    """The operations both implementations offer, on operands already checked; see `gmp` for each."""

    NAME: str

    def powers(self, bases: Sequence[mpz], exponent: mpz, m: mpz, secret: bool) -> list[mpz]: ...
    def powers_each(
        self, bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz, secret: bool
    ) -> list[mpz]: ...
    def powers_under(
        self, bases: Sequence[mpz], exponents: Sequence[mpz], moduli: Sequence[mpz], secret: bool
    ) -> list[mpz]: ...
    def multiply(self, xs: Sequence[mpz], ys: Sequence[mpz], m: mpz) -> list[mpz]: ...
    def columns(self, rows: Sequence[Sequence[mpz]], m: mpz) -> list[mpz]: ...
    def product(self, xs: Sequence[mpz], m: mpz) -> mpz: ...
    def multiexp(self, bases: Sequence[mpz], exponents: Sequence[mpz], m: mpz) -> mpz: ...
    def build_table(self, base: mpz, bits: int, window: int, m: mpz) -> Any: ...  # noqa: ANN401  the backend's own
    def table_powers(self, table: Any, exponents: Sequence[mpz], bits: int, m: mpz) -> list[mpz]: ...  # noqa: ANN401


_AVAILABLE: dict[str, Backend] = {gmp.NAME: gmp}
_MISSING: dict[str, str] = {}  # why a known backend cannot run here

try:
    from protocol.crypto.kernel import ifma
except ImportError as error:
    _MISSING["ifma"] = str(error)
else:
    _AVAILABLE = {ifma.NAME: ifma, **_AVAILABLE}

_chosen: Backend = next(iter(_AVAILABLE.values()))


def available() -> tuple[str, ...]:
    """Names of the backends this process can use, the fastest first; always ends in "gmp"."""
    return tuple(_AVAILABLE)


def backend() -> str:
    """The name of the backend in use: "ifma", "gmp", or that of one given to `choose`."""
    return _chosen.NAME


def choose(which: str | Backend) -> None:
    """Use a backend in this whole process from now on; BackendUnavailable if it cannot run here.

    `which` is the name of one of those available, or a backend of the caller's own, such as one that splits
    the lists over several cores before it hands them on.
    """
    global _chosen
    if not isinstance(which, str):
        _chosen = which
    elif which in _AVAILABLE:
        _chosen = _AVAILABLE[which]
    else:
        raise BackendUnavailable(
            f"arithmetic backend {which!r} is not available: {_MISSING.get(which, 'no such backend')}",
            remedy=f"choose one of: {', '.join(_AVAILABLE)}",
        )


@contextmanager
def using(which: str | Backend) -> Iterator[None]:
    """Use a backend inside the block, in this whole process, and then the one before."""
    before = _chosen
    choose(which)
    try:
        yield
    finally:
        choose(before)


def current() -> Backend:
    """The backend in use."""
    return _chosen
