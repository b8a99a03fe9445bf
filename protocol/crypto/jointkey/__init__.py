"""A joint Paillier key without a dealer: nobody ever holds p, q, φ(n) or the decryption exponent.

`party` is the interface that every generation has: a party takes the messages it received and returns those
to send. For N ≥ 3, `honest_majority` takes `batch` after `batch` of candidates through the `sieve`, the
`product` and the tests of `biprimality` (`fulltest` for one that passed base 2), with a `replay` of all that
failed; `pair` makes the key of two. Whatever is opened on the way was committed to before (`commitment`).
`derive` turns additive shares of a multiple of φ(n) into the T-of-N threshold key.
"""
