/* Batched modular arithmetic in AVX-512 IFMA: what the Python module calls.
 *
 * Numbers are little-endian, each in `width` bytes; lists are numbers one after another. Results are
 * reduced. Functions return 0, or −1 when memory runs out. They may run on many threads at once. Working
 * memory is wiped before it is freed. Nothing here checks ranges: the Python side does.
 */
#ifndef STARLING_IFMA_H
#define STARLING_IFMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A ring in which to compute: modulo each of a list of moduli (a list of one serves all elements of a call),
 * or, with `pairs`, modulo the square of one m. With R = 2^(52·digits) ≥ 64m, `constants` are: R² mod each
 * modulus; for pairs the five numbers m, a, b, c, d for which R² = a + b·m and R³ = c + d·m modulo m². */
struct ring {
    const uint8_t *moduli; /* for pairs, m² */
    const uint8_t *constants;
    size_t moduli_count;
    size_t width, digits;
    bool pairs;
};

#define PAIR_CONSTANTS 5

/* A list of exponents; a list of one serves all elements of a call. */
struct exponents {
    const uint8_t *bytes;
    size_t width, count;
};

struct table;

/* out[i] = bases[i]^exponents[i]. Exponents are below 2^exponent_bits, which alone of them shows in time or
 * addresses. */
int ifma_powers(const struct ring *ring, const uint8_t *bases, size_t count, const struct exponents *exponents,
                size_t exponent_bits, uint8_t *out);

/* out[i] = correction · R^−rows · ∏ lists[row·count + i]: a plain product when correction = R^rows. Not for
 * pairs: entering the ring costs more than one product. */
int ifma_columns(const struct ring *ring, const uint8_t *correction, const uint8_t *lists, size_t rows,
                 size_t count, uint8_t *out);

/* out[w] = ∏ bases[i]^d where d is the w-th digit of `window` bits of exponents[i], for each w below
 * `windows`, a multiple of eight; an exponent for each base. Exponents are public here. */
int ifma_windows(const struct ring *ring, const uint8_t *bases, size_t count, const struct exponents *exponents,
                 size_t window, size_t windows, uint8_t *out);

/* A table of starts[row]^d for each row and each d below 2^window; NULL when memory runs out. For pairs,
 * `inverses` may be R/starts[row] mod m instead of NULL, if rows·2m ≤ R and rows ≤ 2048: faster to use. */
struct table *ifma_table_new(const struct ring *ring, const uint8_t *starts, const uint8_t *inverses, size_t rows,
                             size_t window);
void ifma_table_free(struct table *table);
/* Whether a table was made under as many digits and has `rows` rows. */
int ifma_table_fits(const struct table *table, const struct ring *ring, size_t rows);

/* out[i] = ∏ over the first `rows` rows of the entry that the row's digit of exponents[i] selects, found by
 * reading the whole row. */
int ifma_table_powers(const struct ring *ring, const struct table *table, size_t rows,
                      const struct exponents *exponents, size_t count, uint8_t *out);
#endif
