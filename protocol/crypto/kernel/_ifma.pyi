"""The C module; every argument and result is described in ifma.h."""

def supported() -> bool: ...
def powers(
    moduli: bytes,
    r_squared: bytes,
    width: int,
    digits: int,
    bases: bytes,
    exponents: bytes,
    exponent_width: int,
    exponent_bits: int,
    /,
) -> bytes: ...
def columns(
    moduli: bytes, r_squared: bytes, width: int, digits: int, correction: bytes, lists: bytes, rows: int, /
) -> bytes: ...
def windows(
    moduli: bytes,
    r_squared: bytes,
    width: int,
    digits: int,
    bases: bytes,
    exponents: bytes,
    exponent_width: int,
    window: int,
    windows: int,
    /,
) -> bytes: ...
def table(
    moduli: bytes, r_squared: bytes, width: int, digits: int, starts: bytes, window: int, /
) -> object: ...
def table_powers(
    moduli: bytes,
    r_squared: bytes,
    width: int,
    digits: int,
    table: object,
    rows: int,
    exponents: bytes,
    exponent_width: int,
    /,
) -> bytes: ...
