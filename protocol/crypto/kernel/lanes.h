/* Montgomery arithmetic on eight numbers at once, one in each 64-bit lane of a vector.
 *
 * A number is an array of vectors, the k-th holding the k-th 52-bit digit of all eight. With m the modulus
 * and R = 2^(52·digits) ≥ 64m, every routine takes numbers below 4m and returns numbers below 2m, so that no
 * product needs a final subtraction (Walter, Electronics Letters 35, 1999). No branch and no address depends
 * on the value of a number.
 *
 * Products are formed by columns, four at a time; a column is a signed 64-bit sum. The largest, in
 * `multiply_pairs`, is a sum of at most 6·digits halves of digit products, each below 2^52, and a few
 * carries: no overflow while digits < 340.
 */
#ifndef STARLING_LANES_H
#define STARLING_LANES_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANES 8
#define DIGIT_BITS 52
#define DIGIT_MASK ((UINT64_C(1) << DIGIT_BITS) - 1)

/* Zero vectors before and after each number, which the columns at either end read over. */
#define PADDING 4

typedef __m512i vec;

struct modulus {
    size_t digits;        /* a multiple of four */
    const vec *m;         /* padded; a modulus for each lane */
    vec negative_inverse; /* −1/m mod 2^52 */
};

#define INLINE static inline __attribute__((always_inline))

INLINE vec add(vec a, vec b) { return _mm512_add_epi64(a, b); }
INLINE vec subtract(vec a, vec b) { return _mm512_sub_epi64(a, b); }
INLINE vec carry_of(vec a) { return _mm512_srai_epi64(a, DIGIT_BITS); }
INLINE vec digit_of(vec a) { return _mm512_and_si512(a, _mm512_set1_epi64((long long)DIGIT_MASK)); }
INLINE vec add_low(vec sum, vec a, vec b) { return _mm512_madd52lo_epu64(sum, a, b); }
INLINE vec add_high(vec sum, vec a, vec b) { return _mm512_madd52hi_epu64(sum, a, b); }

/* Four neighbouring columns: low[c] counts for column c, high[c] for column c + 1. */
struct columns {
    vec low[4], high[4];
};

/* Adds x[i]·y[k + c − i] to columns c = 0…3 for from ≤ i < to. */
INLINE void add_products(struct columns *s, const vec *x, const vec *y, size_t from, size_t to, size_t k) {
    struct columns t = *s;
    for (size_t i = from; i < to; i++) {
        const vec a = x[i], *b = y + k - i;
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            t.low[c] = add_low(t.low[c], a, b[c]);
            t.high[c] = add_high(t.high[c], a, b[c]);
        }
    }
    *s = t;
}

INLINE struct columns no_columns(void) {
    const vec zero = _mm512_setzero_si512();
    return (struct columns){{zero, zero, zero, zero}, {zero, zero, zero, zero}};
}

INLINE struct columns columns_from(const vec *t) {
    const vec zero = _mm512_setzero_si512();
    return (struct columns){{t[0], t[1], t[2], t[3]}, {zero, zero, zero, zero}};
}

/* Writes four columns to t and hands the excess of the last to the next block through `pending`. */
INLINE void write_columns(vec *t, const struct columns *s, vec *pending) {
    t[0] = add(s->low[0], *pending);
    t[1] = add(s->low[1], s->high[0]);
    t[2] = add(s->low[2], s->high[1]);
    t[3] = add(s->low[3], s->high[2]);
    *pending = s->high[3];
}

/* t[0 … 2·digits) = the columns of x·y, not carried, added to what t holds where `onto`. */
INLINE void product_columns(size_t digits, const vec *x, const vec *y, vec *t, bool onto) {
    vec pending = _mm512_setzero_si512();
    for (size_t k = 0; k < 2 * digits; k += 4) {
        struct columns s = onto ? columns_from(t + k) : no_columns();
        const size_t from = k < digits ? 0 : k - digits + 1, to = k + 4 < digits ? k + 4 : digits;
        add_products(&s, x, y, from, to, k);
        write_columns(t + k, &s, &pending);
    }
}

/* t[0 … 2·digits) = the columns of x², each product of different digits formed once and doubled. */
static void square_columns(size_t digits, const vec *x, vec *t) {
    vec pending = _mm512_setzero_si512();
    for (size_t k = 0; k < 2 * digits; k += 4) {
        struct columns s = no_columns();
        const size_t from = k < digits ? 0 : k - digits + 1, half = k / 2;
        if (from < half)
            add_products(&s, x, x, from, half, k);
        const vec a = x[half], b = x[half + 1], c = x[half + 2], d = x[half + 3];
        s.low[1] = add_low(s.low[1], a, b), s.high[1] = add_high(s.high[1], a, b);
        s.low[2] = add_low(s.low[2], a, c), s.high[2] = add_high(s.high[2], a, c);
        s.low[3] = add_low(s.low[3], a, d), s.high[3] = add_high(s.high[3], a, d);
        s.low[3] = add_low(s.low[3], b, c), s.high[3] = add_high(s.high[3], b, c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            s.low[i] = add(s.low[i], s.low[i]), s.high[i] = add(s.high[i], s.high[i]);
        s.low[0] = add_low(s.low[0], a, a), s.high[0] = add_high(s.high[0], a, a);
        s.low[2] = add_low(s.low[2], b, b), s.high[2] = add_high(s.high[2], b, b);
        write_columns(t + k, &s, &pending);
    }
}

/* The lowest digit of the quotient that makes column c divisible by 2^52. */
INLINE vec quotient(const struct modulus *f, vec c) {
    return add_low(_mm512_setzero_si512(), c, f->negative_inverse);
}

/* r = t/R mod m for the 2·digits columns t. The lower half of t becomes the digits of the q for which
 * t + q·m = r·R; the upper half is left as it was. */
static void reduce(const struct modulus *f, vec *t, vec *r) {
    const size_t digits = f->digits;
    const vec *m = f->m, m0 = m[0], m1 = m[1], m2 = m[2], m3 = m[3];
    vec *q = t;
    vec carry = _mm512_setzero_si512(), pending = carry, c[4];
    for (size_t k = 0; k < digits; k += 4) {
        struct columns s = columns_from(t + k);
        add_products(&s, q, m, 0, k, k);
        write_columns(c, &s, &pending);
        c[0] = add(c[0], carry);

        vec d = quotient(f, c[0]);
        q[k] = d;
        c[1] = add(c[1], carry_of(add_low(c[0], d, m0)));
        c[1] = add_low(add_high(c[1], d, m0), d, m1);
        c[2] = add_low(add_high(c[2], d, m1), d, m2);
        c[3] = add_low(add_high(c[3], d, m2), d, m3);
        pending = add_high(pending, d, m3);

        d = quotient(f, c[1]);
        q[k + 1] = d;
        c[2] = add(c[2], carry_of(add_low(c[1], d, m0)));
        c[2] = add_low(add_high(c[2], d, m0), d, m1);
        c[3] = add_low(add_high(c[3], d, m1), d, m2);
        pending = add_high(pending, d, m2);

        d = quotient(f, c[2]);
        q[k + 2] = d;
        c[3] = add(c[3], carry_of(add_low(c[2], d, m0)));
        c[3] = add_low(add_high(c[3], d, m0), d, m1);
        pending = add_high(pending, d, m1);

        d = quotient(f, c[3]);
        q[k + 3] = d;
        carry = carry_of(add_low(c[3], d, m0));
        pending = add_high(pending, d, m0);
    }
    for (size_t k = digits; k < 2 * digits; k += 4) {
        struct columns s = columns_from(t + k);
        add_products(&s, q, m, k - digits + 1, digits, k);
        write_columns(c, &s, &pending);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            c[i] = add(c[i], carry);
            r[k - digits + i] = digit_of(c[i]);
            carry = carry_of(c[i]);
        }
    }
}

/* r = x·y/R mod m; t is room for 2·digits columns. */
static void multiply_numbers(const struct modulus *f, const vec *x, const vec *y, vec *t, vec *r) {
    product_columns(f->digits, x, y, t, false);
    reduce(f, t, r);
}

static void square_number(const struct modulus *f, const vec *x, vec *t, vec *r) {
    square_columns(f->digits, x, t);
    reduce(f, t, r);
}

/* --- modulo m² --------------------------------------------------------------------------------------
 *
 * x modulo m² as the pair (x₀, x₁) with x ≡ x₀ + x₁·m. Reducing x₀·y₀ gives r and q with
 * x₀·y₀ = r·R − q·m, hence x·y/R ≡ r + m·((x₀·y₁ + x₁·y₀ − q)/R mod m): five products of half the length
 * where the plain way takes eight, and for a square 3½ for six. */

/* The numbers of a pair lie this many vectors apart. */
INLINE size_t pair_stride(const struct modulus *f) { return f->digits + PADDING; }

/* (r₀, r₁) = (x₀·y₀ + cross·m)/R mod m² for the columns of cross at t + 2·digits. */
static void finish_pair(const struct modulus *f, const vec *x, const vec *y, vec *t, vec *r) {
    const size_t digits = f->digits;
    vec *cross = t + 2 * digits;
    multiply_numbers(f, x, y, t, r);
    for (size_t k = 0; k < digits; k++)
        cross[k] = subtract(cross[k], t[k]);
    reduce(f, cross, r + pair_stride(f));
}

/* (r₀, r₁) = x·y/R mod m²; t is room for 4·digits columns. r may be x or y. */
static void multiply_pairs(const struct modulus *f, const vec *x, const vec *y, vec *t, vec *r) {
    const size_t digits = f->digits, high = pair_stride(f);
    product_columns(digits, x, y + high, t + 2 * digits, false);
    product_columns(digits, x + high, y, t + 2 * digits, true);
    finish_pair(f, x, y, t, r);
}

/* The same for a number y, the pair (y, 0): four products of half the length. */
static void multiply_pair_by_number(const struct modulus *f, const vec *x, const vec *y, vec *t, vec *r) {
    product_columns(f->digits, x + pair_stride(f), y, t + 2 * f->digits, false);
    finish_pair(f, x, y, t, r);
}

/* Spreads digits that have grown beyond 52 bits; the number itself must fit. */
static void carry_through(vec *x, size_t digits) {
    vec carry = _mm512_setzero_si512();
    for (size_t k = 0; k < digits; k++) {
        const vec sum = add(x[k], carry);
        x[k] = digit_of(sum);
        carry = carry_of(sum);
    }
}

static void square_pair(const struct modulus *f, const vec *x, vec *t, vec *r) {
    const size_t digits = f->digits, high = pair_stride(f);
    vec *cross = t + 2 * digits;
    product_columns(digits, x, x + high, cross, false);
    square_number(f, x, t, r);
    for (size_t k = 0; k < digits; k++) {
        cross[k] = subtract(add(cross[k], cross[k]), t[k]);
        cross[k + digits] = add(cross[k + digits], cross[k + digits]);
    }
    reduce(f, cross, r + high);
}
#endif
