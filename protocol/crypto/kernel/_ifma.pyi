"""The C module; every argument and result is described in ifma.h."""

def supported() -> bool: ...
def powers(
    moduli: bytes,
    constants: bytes,
    width: int,
    digits: int,
    pairs: bool,
    bases: bytes,
    exponents: bytes,
    exponent_width: int,
    exponent_bits: int,
    /,
) -> bytes: ...
def columns(
    moduli: bytes,
    constants: bytes,
    width: int,
    digits: int,
    pairs: bool,
    correction: bytes,
    lists: bytes,
    rows: int,
    /,
) -> bytes: ...
def windows(
    moduli: bytes,
    constants: bytes,
    width: int,
    digits: int,
    pairs: bool,
    bases: bytes,
    exponents: bytes,
    exponent_width: int,
    window: int,
    windows: int,
    /,
) -> bytes: ...
def table(
    moduli: bytes,
    constants: bytes,
    width: int,
    digits: int,
    pairs: bool,
    starts: bytes,
    inverses: bytes,
    window: int,
    /,
) -> object: ...
def table_powers(
    moduli: bytes,
    constants: bytes,
    width: int,
    digits: int,
    pairs: bool,
    table: object,
    rows: int,
    exponents: bytes,
    exponent_width: int,
    /,
) -> bytes: ...
