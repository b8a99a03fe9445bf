/* One thread's working memory for a ring, and the way of numbers into it and out of it.
 *
 * An element is one number, or the pair of numbers that stands for it modulo m² (see lanes.h): `stride`
 * vectors in either case. Elements in Montgomery form are multiplied by R; `enter` and `leave` convert.
 */
#ifndef STARLING_WORKSPACE_H
#define STARLING_WORKSPACE_H

#include "ifma.h"
#include "lanes.h"

#include <stdlib.h>
#include <string.h>

/* Groups of eight lanes that share a pass over a table: a row comes from memory once for all of them, and tables
 * are larger than the caches. More gain little, and each needs some 16 kB. */
#define GROUPS 128

struct workspace {
    struct modulus modulus; /* m, for pairs too */
    bool pairs;
    size_t width, digits, stride, total_digits;
    vec *m, *whole;            /* m, and the ring's modulus as one number: m or m² */
    vec *r_squared, *r_cubed;  /* elements; the second for pairs only */
    vec *unit, *one;           /* 1 plain, and in Montgomery form */
    vec *x, *y;                /* elements for the caller */
    vec *elements;             /* as many more as the caller asked for */
    vec *columns;
    vec *digit;                /* of exponents, one vector for each group */
    uint8_t *staging;          /* `staged` bytes for each lane */
    size_t staged;
    void *block;
    size_t bytes;
};

static void *allocate(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, sizeof(vec), bytes) != 0)
        return NULL;
    return memset(p, 0, bytes);
}

static void wipe_and_free(void *p, size_t bytes) {
    if (!p)
        return;
    memset(p, 0, bytes);
    __asm__ volatile("" : : "r"(p) : "memory"); /* the compiler must not drop the memset */
    free(p);
}

/* Whole blocks of eight vectors, so that an element can be transposed. */
static size_t element_stride(const struct ring *ring) {
    const size_t vectors = (ring->pairs ? 2 : 1) * (ring->digits + PADDING);
    return (vectors + LANES - 1) / LANES * LANES;
}

static int workspace_open(struct workspace *w, const struct ring *ring, size_t elements) {
    const size_t total = (ring->pairs ? 2 : 1) * ring->digits;
    *w = (struct workspace){
        .pairs = ring->pairs,
        .width = ring->width,
        .digits = ring->digits,
        .total_digits = total,
        .stride = element_stride(ring),
        /* Digits are read and written eight bytes at a time, a little past the end. */
        .staged = (total * DIGIT_BITS / 8 > ring->width ? total * DIGIT_BITS / 8 : ring->width) + 16,
    };
    const size_t named = 7, whole = total + PADDING, columns = 4 * ring->digits;
    w->bytes = (PADDING + (named + elements) * w->stride + whole + columns + GROUPS) * sizeof(vec) + LANES * w->staged;
    w->block = allocate(w->bytes);
    if (!w->block)
        return -1;
    vec *next = (vec *)w->block + PADDING;
    vec **const places[] = {&w->m, &w->r_squared, &w->r_cubed, &w->unit, &w->one, &w->x, &w->y};
    for (size_t i = 0; i < named; i++, next += w->stride)
        *places[i] = next;
    w->elements = next, next += elements * w->stride;
    w->whole = next, next += whole;
    w->columns = next, next += columns;
    w->digit = next, next += GROUPS;
    w->staging = (uint8_t *)next;
    w->unit[0] = _mm512_set1_epi64(1);
    w->modulus = (struct modulus){.digits = ring->digits, .m = w->m};
    return 0;
}

static void workspace_close(struct workspace *w) { wipe_and_free(w->block, w->bytes); }

static vec *element(const struct workspace *w, size_t i) { return w->elements + i * w->stride; }

static void copy(const struct workspace *w, const vec *from, vec *to) {
    memcpy(to, from, w->stride * sizeof(vec));
}

/* r = x·y/R; r may be x or y. */
static void multiply(const struct workspace *w, const vec *x, const vec *y, vec *r) {
    if (w->pairs)
        multiply_pairs(&w->modulus, x, y, w->columns, r);
    else
        multiply_numbers(&w->modulus, x, y, w->columns, r);
}

/* r = x²/R; r may be x. */
static void square(const struct workspace *w, const vec *x, vec *r) {
    if (w->pairs)
        square_pair(&w->modulus, x, w->columns, r);
    else
        square_number(&w->modulus, x, w->columns, r);
}

/* --- bytes to lanes and back ------------------------------------------------------------------------ */

static uint64_t *words(vec *x) { return (uint64_t *)x; }

/* x = the `digits` digits of each of the `lanes` numbers at `from`; the other lanes repeat the first. */
static void load(const struct workspace *w, const uint8_t *from, size_t lanes, size_t digits, vec *x) {
    for (size_t lane = 0; lane < LANES; lane++)
        memcpy(w->staging + lane * w->staged, from + (lane < lanes ? lane : 0) * w->width, w->width);
    for (size_t k = 0; k < digits; k++)
        for (size_t lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, w->staging + lane * w->staged + DIGIT_BITS * k / 8, 8);
            words(x)[k * LANES + lane] = word >> DIGIT_BITS * k % 8 & DIGIT_MASK;
        }
}

/* Stores the ring's plain numbers x < 2·modulus, reduced; overwrites x. */
static void store(const struct workspace *w, vec *x, size_t lanes, uint8_t *to) {
    vec borrow = _mm512_setzero_si512(), *less = w->columns;
    for (size_t k = 0; k < w->total_digits; k++) {
        const vec d = add(subtract(x[k], w->whole[k]), borrow);
        less[k] = digit_of(d);
        borrow = carry_of(d);
    }
    const __mmask8 keep = _mm512_cmplt_epi64_mask(borrow, _mm512_setzero_si512());
    for (size_t k = 0; k < w->total_digits; k++)
        x[k] = _mm512_mask_mov_epi64(less[k], keep, x[k]);
    for (size_t lane = 0; lane < lanes; lane++) {
        uint8_t *bytes = w->staging + lane * w->staged;
        for (size_t k = 0; k < w->total_digits; k += 2) {
            const uint64_t even = words(x)[k * LANES + lane], odd = words(x)[(k + 1) * LANES + lane];
            const uint64_t both[2] = {even | odd << DIGIT_BITS, odd >> (64 - DIGIT_BITS)};
            memcpy(bytes + DIGIT_BITS * k / 8, both, 2 * DIGIT_BITS / 8);
        }
        memcpy(to + lane * w->width, bytes, w->width);
    }
}

/* x = the numbers at `from` in Montgomery form. */
static void enter(const struct workspace *w, const uint8_t *from, size_t lanes, vec *x) {
    if (!w->pairs) {
        load(w, from, lanes, w->digits, x);
        multiply(w, x, w->r_squared, x);
        return;
    }
    /* from = a + b·R, so from·R = (a·R² + b·R³)/R with one reduction for each half of the pair. */
    const size_t digits = w->digits, high = pair_stride(&w->modulus);
    vec *plain = w->columns, *t = plain + 2 * digits;
    vec *a = x, *b = x + high; /* room for the halves, padded; then for the result */
    load(w, from, lanes, 2 * digits, plain);
    memcpy(a, plain, digits * sizeof(vec));
    memcpy(b, plain + digits, digits * sizeof(vec));
    product_columns(digits, a, w->r_squared + high, t, false);
    product_columns(digits, b, w->r_cubed + high, t, true);
    vec *low = w->columns;
    product_columns(digits, a, w->r_squared, low, false);
    product_columns(digits, b, w->r_cubed, low, true);
    reduce(&w->modulus, low, a);
    for (size_t k = 0; k < digits; k++)
        t[k] = subtract(t[k], low[k]);
    reduce(&w->modulus, t, b);
}

/* Stores the elements x, which are in Montgomery form; overwrites x. */
static void leave(const struct workspace *w, vec *x, size_t lanes, uint8_t *to) {
    multiply(w, x, w->unit, x);
    if (!w->pairs) {
        store(w, x, lanes, to);
        return;
    }
    /* x₀ + x₁·m, at most m + m². */
    vec *t = w->columns + 2 * w->digits, carry = _mm512_setzero_si512();
    product_columns(w->digits, x + pair_stride(&w->modulus), w->m, t, false);
    for (size_t k = 0; k < w->total_digits; k++) {
        const vec sum = add(k < w->digits ? add(t[k], x[k]) : t[k], carry);
        t[k] = digit_of(sum);
        carry = carry_of(sum);
    }
    store(w, t, lanes, to);
}

/* --- the ring's constants --------------------------------------------------------------------------- */

/* Prepares the moduli of `lanes` elements from the `first` on, or of all where there is but one. */
static void take_moduli(struct workspace *w, const struct ring *ring, size_t first, size_t lanes) {
    const size_t high = pair_stride(&w->modulus), n = ring->moduli_count == 1 ? 1 : lanes;
    const size_t at = ring->moduli_count == 1 ? 0 : first * ring->width;
    load(w, ring->moduli + at, n, w->total_digits, w->whole);
    if (w->pairs) {
        vec *const places[] = {w->m, w->r_squared, w->r_squared + high, w->r_cubed, w->r_cubed + high};
        for (size_t i = 0; i < PAIR_CONSTANTS; i++)
            load(w, ring->constants + i * ring->width, 1, w->digits, places[i]);
    } else {
        memcpy(w->m, w->whole, w->digits * sizeof(vec));
        load(w, ring->constants + at, n, w->digits, w->r_squared);
    }
    /* Newton's iteration doubles the correct low bits; an odd m is its own inverse modulo 8. */
    const vec two = _mm512_set1_epi64(2), zero = _mm512_setzero_si512();
    vec inverse = w->m[0];
    for (int bits = 3; bits < DIGIT_BITS; bits *= 2)
        inverse = add_low(zero, inverse, subtract(two, add_low(zero, w->m[0], inverse)));
    w->modulus.negative_inverse = subtract(zero, inverse);
    multiply(w, w->unit, w->r_squared, w->one);
}

static size_t lanes_left(size_t count, size_t first) { return count - first < LANES ? count - first : LANES; }
#endif
