"""A joint Paillier key without a dealer: nobody ever holds p, q, φ(n) or the decryption exponent.

`party` is the interface every generation has; `honest_majority` makes keys for N ≥ 3 members, `pair` for
two; `derive` turns additive shares of φ(n) into the T-of-N threshold key.
"""
