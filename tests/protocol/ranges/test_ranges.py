"""Range proofs: honest ones pass, and each equation, bound and absorbed field stops a forger."""

from dataclasses import replace

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dealer import deal
from support.forger import forge, values_of

from protocol.crypto.integers import MalformedInteger, WrongCount
from protocol.crypto.paillier import Encryptor, Exponent
from protocol.crypto.profiles import insecure_test_profile
from protocol.crypto.ranges import DigitsInRange, Shape, prove_digits, rows, verify_digits
from protocol.crypto.ranges.digits import challenge
from protocol.crypto.ranges.equations import Weights
from protocol.crypto.ranges.parts import Parts
from protocol.crypto.ranges.rows import Rows, block_limit, reach
from protocol.crypto.ranges.squares import three_squares
from protocol.crypto.sigma import ProofRejected
from protocol.crypto.transcript import Context
from protocol.errors import MemberFault, OwnFault

KEY = deal(3, 2).key.public
OTHER_KEY = deal(3, 2, insecure_test_profile(514)).key.public
ENCRYPTOR = Encryptor(KEY)
CONTEXT = Context(b"j" * 32, 4, 2, b"r" * 32, b"k" * 32)
RNG = np.random.default_rng(5)
PEAK = 1000


def shape_of(count, slots=12, largest=0, peak=PEAK, members=3):
    offset = reach(count, peak)
    return Shape(count, slots, (2 * members * offset).bit_length(), offset, peak, largest)


def packed(shape, digits, weight=0):
    """Plaintexts modulo n with these digits, whatever they are."""
    plaintexts = [sum((shape.offset + int(v)) << shape.width * j for j, v in enumerate(r)) for r in digits]
    return [mpz(plaintext) % KEY.n for plaintext in plaintexts + [weight] * shape.weighted]


def made_of(shape, digits, weight=0):
    made = ENCRYPTOR.encrypt(packed(shape, digits, weight))
    return DigitsInRange(KEY, shape, made.ciphertexts), made


def honest(shape, weight=0):
    digits = RNG.integers(-shape.peak, shape.peak + 1, (shape.count, shape.slots))
    statement, made = made_of(shape, digits, weight)
    proof = prove_digits(statement, digits, weight, made, CONTEXT)
    assert proof is not None
    return statement, digits, made, proof


SMALL = shape_of(3, largest=300)
STATEMENT, DIGITS, MADE, PROOF = honest(SMALL, 17)
MANY = shape_of(rows.ROWS + 5, slots=2)


def full(shape):
    """The same with as many slots as the modulus holds, and no weight."""
    return replace(shape, slots=(KEY.n.bit_length() - 1) // shape.width, largest_weight=0)


@given(
    st.sampled_from([1, 2, 5, rows.ROWS, rows.ROWS + 1, 150]),
    st.integers(1, 4),
    st.sampled_from([1, 127, 2**15, 2**23]),
    st.sampled_from([0, 1, 300, 2**32 - 1]),
    st.booleans(),
    st.data(),
)
@settings(deadline=None, max_examples=25)
def test_honest_proofs_hold(count, slots, peak, largest, extreme, data):
    shape = shape_of(count, slots, largest, peak)
    weight = data.draw(st.integers(1, largest)) if largest else 0
    digits = np.random.default_rng(count).integers(-peak, peak + 1, (count, slots))
    if extreme:
        digits = np.sign(digits) * peak
    proof = None
    while proof is None:  # coins may make the rows of extreme digits too long: then one encrypts afresh
        statement, made = made_of(shape, digits, weight)
        proof = prove_digits(statement, digits, weight, made, CONTEXT)
    verify_digits(statement, proof, CONTEXT)
    assert len(proof) == statement.sizes.proof


def test_groups_have_rows_of_their_own(monkeypatch):
    """Above 4,096 plaintexts, here above 140: one false digit in any group is refused."""
    monkeypatch.setattr(rows, "GROUP", 140)
    shape = shape_of(300, 1)
    statement, digits, _, proof = honest(shape)
    verify_digits(statement, proof, CONTEXT)
    assert [group.shape for group in Rows.drawn(statement.transcript(CONTEXT), 300).groups] == [
        (128, 100)
    ] * 3
    for place in (0, 150, 299):
        false = digits.copy()
        false[place] = 3 * shape.offset
        refused(shape, false.tolist())


def test_saturated_updates_seldom_need_another_attempt():
    """All digits at their peak, all of one sign, is the worst case: below 1 %."""
    shape = shape_of(200, 12)
    digits = np.full((200, 12), PEAK)
    statement, _ = made_of(shape_of(1, 12), digits[:1])
    tried = [
        Rows.drawn(statement.transcript(replace(CONTEXT, round=number)), 200).of(digits)
        for number in range(300)
    ]
    blocks = (each.reshape(-1, rows.BLOCK) for each in tried)
    assert sum(int((block**2).sum(axis=1).max()) > shape.limit for block in blocks) <= 5


def refused(shape, digits, weight=0, match="out of range"):
    """A member that may encrypt and prove anything about these digits is refused."""
    statement, made = made_of(shape, digits, weight)
    proof = forge(statement, values_of(statement, CONTEXT, digits, weight), made.exponents, CONTEXT)
    with pytest.raises(ProofRejected, match=match):
        verify_digits(statement, proof, CONTEXT)


def test_the_forger_proves_what_is_true():
    """So it is the lie that the tests below refuse."""
    for shape, digits, weight in ((SMALL, DIGITS.tolist(), 300), (MANY, [[PEAK, -PEAK]] * MANY.count, 0)):
        statement, made = made_of(shape, digits, weight)
        values = values_of(statement, CONTEXT, digits, weight)
        verify_digits(statement, forge(statement, values, made.exponents, CONTEXT), CONTEXT)


@pytest.mark.parametrize("shape", [full(SMALL), full(MANY)], ids=["own rows", "coins"])
@pytest.mark.parametrize(
    ("slot", "size"),
    [
        pytest.param(0, lambda s: s.offset + 1, id="just beyond what is proved"),
        pytest.param(0, lambda s: -s.offset - 1, id="just beyond, negative"),
        pytest.param(0, lambda s: 1 << s.width, id="a carry into the neighbour"),
        pytest.param(0, lambda s: -(1 << s.width), id="a borrow from the neighbour"),
        pytest.param(-1, lambda s: 1 << s.width, id="a leftover above the top slot"),
        pytest.param(-1, lambda s: int(KEY.n) >> (s.slots - 1) * s.width, id="a wrap modulo n"),
    ],
)
def test_a_digit_out_of_range_is_refused(shape, slot, size):
    digits = RNG.integers(-10, 11, (shape.count, shape.slots)).tolist()
    digits[shape.count // 2][slot] = size(shape)
    refused(shape, digits)


def test_a_lie_about_the_digits_of_a_row_is_refused():
    """Short integers that are not the digits of the ciphertexts: a carry hidden in the neighbour."""
    shape = replace(SMALL, largest_weight=0)
    true = DIGITS.tolist()
    true[1][4] = 1 << shape.width
    statement, made = made_of(shape, true)
    told = DIGITS.tolist()
    told[1][4] = 0
    proof = forge(statement, values_of(statement, CONTEXT, told), made.exponents, CONTEXT)
    with pytest.raises(ProofRejected, match="other plaintexts"):
        verify_digits(statement, proof, CONTEXT)
    told[1][5] += 1  # the same plaintext with other digits: true, and in range
    verify_digits(
        statement, forge(statement, values_of(statement, CONTEXT, told), made.exponents, CONTEXT), CONTEXT
    )


@pytest.mark.parametrize("weight", [0, -1, 301, 2**40])
def test_a_weight_out_of_range_is_refused(weight):
    refused(SMALL, DIGITS.tolist(), weight)


def test_another_weight_than_the_encrypted_one_is_refused():
    statement, made = made_of(SMALL, DIGITS, 10**6)
    proof = forge(statement, values_of(statement, CONTEXT, DIGITS.tolist(), 5), made.exponents, CONTEXT)
    with pytest.raises(ProofRejected, match="other plaintexts"):
        verify_digits(statement, proof, CONTEXT)


def test_responses_for_other_integers_than_the_committed_are_refused():
    values = values_of(STATEMENT, CONTEXT, DIGITS.tolist(), 17)
    others = [*values[:-1], values[-1] + 1]
    proof = forge(STATEMENT, values, MADE.exponents, CONTEXT, committed=others)
    with pytest.raises(ProofRejected, match="does not open"):
        verify_digits(STATEMENT, proof, CONTEXT)


def test_half_of_the_coins_are_zero_and_no_row_says_what_another_does():
    """A false plaintext of either sign must not be left out of, or hidden in, more than half of the rows."""
    (coins,) = Rows.drawn(STATEMENT.transcript(CONTEXT), 4000).groups
    assert coins.shape == (rows.ROWS, 4000)
    for value, share in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        assert abs((coins == value).mean() - share) < 0.01
        assert np.abs((coins == value).mean(axis=0) - share).max() < 0.25
    assert np.abs(np.corrcoef(coins) - np.eye(rows.ROWS)).max() < 0.12


@pytest.mark.parametrize("count", [1, 128, 129, 4096, 4097, 10_000])
def test_a_bound_grows_with_the_number_of_plaintexts(count):
    assert reach(count, PEAK) <= reach(count + 1, PEAK)
    assert reach(count, PEAK) >= 2 * PEAK
    assert block_limit(count, PEAK) <= (2**15 * PEAK) ** 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"key": OTHER_KEY}, id="modulus"),
        pytest.param({"exponent": Exponent.SHORT}, id="exponent"),
        pytest.param({"ciphertexts": [*MADE.ciphertexts[:-2], *MADE.ciphertexts[:-3:-1]]}, id="order"),
        pytest.param({"ciphertexts": [*MADE.ciphertexts[:-1], MADE.ciphertexts[0]]}, id="ciphertexts"),
        *(
            pytest.param({"shape": replace(SMALL, **{name: getattr(SMALL, name) + 1})}, id=name)
            for name in ("slots", "width", "offset", "peak", "largest_weight")
        ),
    ],
)
def test_the_whole_statement_is_bound(change):
    changed = replace(STATEMENT, **change)
    streams = {each.transcript(CONTEXT).stream("any", 16) for each in (STATEMENT, changed)}
    assert len(streams) == 2
    with pytest.raises(MemberFault):
        verify_digits(changed, PROOF, CONTEXT)


@pytest.mark.parametrize(
    "change",
    [{"job": b"x" * 32}, {"round": 5}, {"sender": 3}, {"roster": b"x" * 32}, {"key": b"x" * 32}],
    ids=lambda change: next(iter(change)),
)
def test_a_copied_proof_is_refused(change):
    with pytest.raises(ProofRejected):
        verify_digits(STATEMENT, PROOF, replace(CONTEXT, **change))


def test_weights_and_challenge_follow_from_everything_announced():
    """Otherwise a commitment could be chosen after the weights that it must not know."""

    def drawn(numbers):
        transcript = STATEMENT.transcript(CONTEXT)
        weights = Weights.drawn(transcript, SMALL, *map(mpz, numbers[:2]))
        return weights, challenge(transcript, *map(mpz, numbers[2:]))

    weights, e = drawn([1, 2, 3, 4, 5])
    for place in range(5):
        numbers = [1, 2, 3, 4, 5]
        numbers[place] = 9
        other_weights, other_e = drawn(numbers)
        assert other_e != e
        assert (other_weights.equations != weights.equations) == (place < 2)
        assert (other_weights.rows != weights.rows) == (place < 2)
        assert (other_weights.weight != weights.weight) == (place < 2)


def test_every_part_of_a_proof_matters():
    sizes, at = STATEMENT.sizes, 0
    places = []
    for width in sizes.fields:
        places.append((at, at + width))
        at += width
    for start, end in [*places[:10], places[SMALL.digits + 8], places[-1]]:
        value = int.from_bytes(PROOF[start:end], "big") ^ 2
        changed = PROOF[:start] + value.to_bytes(end - start, "big") + PROOF[end:]
        with pytest.raises(MemberFault):
            verify_digits(STATEMENT, changed, CONTEXT)


@pytest.mark.parametrize("damaged", [b"", PROOF[:-1], PROOF + b"\0", PROOF[: len(PROOF) // 2], PROOF * 2])
def test_a_proof_has_one_length(damaged):
    with pytest.raises(ProofRejected, match="bytes"):
        verify_digits(STATEMENT, damaged, CONTEXT)


@pytest.mark.parametrize("part", ["committed", "mask", "linear", "constant", "folded"])
@pytest.mark.parametrize("value", [0, KEY.n, deal(3, 2).p], ids=["zero", "n", "a factor of n"])
def test_what_is_no_unit_is_refused(part, value):
    changed = replace(Parts.from_bytes(PROOF, KEY, STATEMENT.sizes), **{part: mpz(value)})
    with pytest.raises(MalformedInteger):
        verify_digits(STATEMENT, changed.to_bytes(STATEMENT.sizes), CONTEXT)


def test_a_ciphertext_that_is_no_unit_or_one_too_many_is_refused():
    with pytest.raises(MalformedInteger):
        verify_digits(replace(STATEMENT, ciphertexts=[*MADE.ciphertexts[:-1], KEY.n]), PROOF, CONTEXT)
    for ciphertexts in ([], MADE.ciphertexts[:-1], [*MADE.ciphertexts, MADE.ciphertexts[0]]):
        with pytest.raises(WrongCount):
            verify_digits(replace(STATEMENT, ciphertexts=ciphertexts), PROOF, CONTEXT)


def test_nothing_of_the_witness_repeats_between_proofs():
    """Fresh masks: two proofs of one update share no response and no commitment."""
    again = prove_digits(STATEMENT, DIGITS, 17, MADE, CONTEXT)
    one, other = (Parts.from_bytes(proof, KEY, STATEMENT.sizes) for proof in (PROOF, again))
    assert not set(one.responses) & set(other.responses)
    assert one.committed != other.committed
    assert one.folded != other.folded


def test_a_prover_refuses_to_prove_what_is_false():
    for digits, weight in ((DIGITS + PEAK * 3, 17), (DIGITS, 301), (DIGITS, 0), (DIGITS[:2], 17)):
        with pytest.raises(OwnFault):
            prove_digits(STATEMENT, digits, weight, MADE, CONTEXT)


@given(st.integers(0, 2**80))
@settings(deadline=None)
def test_what_is_one_modulo_four_has_three_squares(quarter):
    number = 4 * quarter + 1
    assert sum(root * root for root in three_squares(number)) == number


def test_small_numbers_have_three_squares_too():
    for number in range(1, 20_000, 4):
        assert sum(root * root for root in three_squares(number)) == number


@pytest.mark.parametrize("number", [-3, 0, 3, 4, 6, 7])
def test_other_numbers_are_not_split(number):
    with pytest.raises(OwnFault):
        three_squares(number)
