#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512ifma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512ifma")
#endif

#include "ifma.h"
#include "lanes.h"
#include "workspace.h"

/* --- exponents -------------------------------------------------------------------------------------- */

/* The `size` ≤ 16 bits of exponent i from bit `low` on; bits past its end are zero. */
static uint64_t bits_of(const struct exponents *e, size_t i, size_t low, size_t size) {
    const uint8_t *exponent = e->bytes + i * e->width;
    uint64_t word = 0;
    for (size_t k = 0, at = low / 8; k < 3 && at < e->width; k++, at++)
        word |= (uint64_t)exponent[at] << 8 * k;
    return word >> low % 8 & ((UINT64_C(1) << size) - 1);
}

/* digit = those bits of `lanes` exponents from the `first` on. */
static void digits_of(const struct exponents *e, size_t first, size_t lanes, size_t low, size_t size, vec *digit) {
    for (size_t lane = 0; lane < lanes; lane++)
        words(digit)[lane] = bits_of(e, e->count == 1 ? 0 : first + lane, low, size);
}

/* --- powers ----------------------------------------------------------------------------------------- */

/* The window with the fewest products: 2^w to prepare, one per digit. Beyond 5 the table leaves the cache. */
static size_t exponent_window(size_t bits) {
    size_t best = 1;
    for (size_t w = 2; w <= 5; w++)
        if (((size_t)1 << w) + bits / w < ((size_t)1 << best) + bits / best)
            best = w;
    return best;
}

/* result = elements[digit of each lane], reading every one. */
static void select_element(const struct workspace *w, size_t entries, vec digit, vec *result) {
    for (size_t e = 0; e < entries; e++) {
        const __mmask8 here = _mm512_cmpeq_epi64_mask(digit, _mm512_set1_epi64((long long)e));
        const vec *entry = element(w, e);
        for (size_t k = 0; k < w->stride; k++)
            result[k] = _mm512_mask_mov_epi64(result[k], here, entry[k]);
    }
}

int ifma_powers(const struct ring *ring, const uint8_t *bases, size_t count, const struct exponents *exponents,
                size_t exponent_bits, uint8_t *out) {
    const size_t window = exponent_window(exponent_bits), entries = (size_t)1 << window;
    struct workspace w;
    if (workspace_open(&w, ring, entries) != 0)
        return -1;
    for (size_t first = 0; first < count; first += LANES) {
        const size_t lanes = lanes_left(count, first);
        if (first == 0 || ring->moduli_count != 1)
            take_moduli(&w, ring, first, lanes);
        copy(&w, w.one, element(&w, 0));
        enter(&w, bases + first * ring->width, lanes, element(&w, 1));
        for (size_t e = 2; e < entries; e++)
            multiply(&w, element(&w, e - 1), element(&w, 1), element(&w, e));
        copy(&w, w.one, w.x);
        for (size_t left = (exponent_bits + window - 1) / window; left-- > 0;) {
            for (size_t i = 0; i < window; i++)
                square(&w, w.x, w.x);
            digits_of(exponents, first, lanes, left * window, window, w.digit);
            select_element(&w, entries, *w.digit, w.y);
            multiply(&w, w.x, w.y, w.x);
        }
        leave(&w, w.x, lanes, out + first * ring->width);
    }
    workspace_close(&w);
    return 0;
}

/* --- products --------------------------------------------------------------------------------------- */

int ifma_columns(const struct ring *ring, const uint8_t *correction, const uint8_t *lists, size_t rows,
                 size_t count, uint8_t *out) {
    struct workspace w;
    if (workspace_open(&w, ring, 1) != 0)
        return -1;
    take_moduli(&w, ring, 0, 1);
    load(&w, correction, 1, w.digits, element(&w, 0));
    for (size_t first = 0; first < count; first += LANES) {
        const size_t lanes = lanes_left(count, first);
        copy(&w, element(&w, 0), w.x);
        for (size_t row = 0; row < rows; row++) {
            load(&w, lists + (row * count + first) * ring->width, lanes, w.digits, w.y);
            multiply(&w, w.x, w.y, w.x);
        }
        store(&w, w.x, lanes, out + first * ring->width);
    }
    workspace_close(&w);
    return 0;
}

/* --- many bases with short public exponents --------------------------------------------------------- */

/* Buckets lie apart by lane: bucket b of a lane is the `stride` words from (lane·2^window + b)·stride on. */
struct buckets {
    uint64_t *words;
    size_t bytes, stride, window;
};

/* Turns eight words of each of eight lanes into eight vectors with a word of each lane, and back. */
static void transpose(vec r[LANES]) {
    vec pairs[LANES], fours[LANES];
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        for (int half = 0; half < LANES; half += 4) {
            fours[half + i] = _mm512_shuffle_i64x2(pairs[half + i], pairs[half + 2 + i], 0x88);
            fours[half + 2 + i] = _mm512_shuffle_i64x2(pairs[half + i], pairs[half + 2 + i], 0xdd);
        }
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i64x2(fours[i], fours[4 + i], 0x88);
        r[4 + i] = _mm512_shuffle_i64x2(fours[i], fours[4 + i], 0xdd);
    }
}

static uint64_t *bucket(const struct buckets *b, size_t lane, uint64_t digit) {
    return b->words + (lane << b->window | digit) * b->stride;
}

/* x = the bucket that each lane's digit names. */
static void read_buckets(const struct buckets *b, const uint64_t digit[LANES], vec *x) {
    for (size_t k = 0; k < b->stride; k += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            x[k + lane] = _mm512_load_si512(bucket(b, lane, digit[lane]) + k);
        transpose(x + k);
    }
}

static void write_buckets(struct buckets *b, const uint64_t digit[LANES], const vec *x) {
    for (size_t k = 0; k < b->stride; k += LANES) {
        vec r[LANES];
        memcpy(r, x + k, sizeof r);
        transpose(r);
        for (size_t lane = 0; lane < LANES; lane++)
            _mm512_store_si512(bucket(b, lane, digit[lane]) + k, r[lane]);
    }
}

static const uint64_t *same_digit(struct workspace *w, uint64_t digit) {
    *w->digit = _mm512_set1_epi64((long long)digit);
    return words(w->digit);
}

/* Multiplies each base into eight windows' buckets, one window in each lane. */
static void fill_buckets(struct workspace *w, struct buckets *b, const uint8_t *bases, size_t count,
                         const struct exponents *exponents, size_t first_window) {
    vec *eight = element(w, 0);
    for (size_t i = 0; i < count; i++) {
        if (i % LANES == 0)
            enter(w, bases + i * w->width, lanes_left(count, i), eight);
        for (size_t k = 0; k < w->stride; k++)
            w->y[k] = _mm512_set1_epi64((long long)words(eight)[k * LANES + i % LANES]);
        for (size_t lane = 0; lane < LANES; lane++)
            words(w->digit)[lane] = bits_of(exponents, i, (first_window + lane) * b->window, b->window);
        read_buckets(b, words(w->digit), w->x);
        multiply(w, w->x, w->y, w->x);
        write_buckets(b, words(w->digit), w->x);
    }
}

/* x = ∏ bucket[d]^d in each lane, as the product of all suffix products. */
static void drain_buckets(struct workspace *w, const struct buckets *b, vec *x) {
    vec *suffix = element(w, 0);
    copy(w, w->one, suffix);
    copy(w, w->one, x);
    for (size_t d = ((size_t)1 << b->window) - 1; d > 0; d--) {
        read_buckets(b, same_digit(w, d), w->y);
        multiply(w, suffix, w->y, suffix);
        multiply(w, x, suffix, x);
    }
}

int ifma_windows(const struct ring *ring, const uint8_t *bases, size_t count, const struct exponents *exponents,
                 size_t window, size_t windows, uint8_t *out) {
    struct workspace w;
    if (workspace_open(&w, ring, 1) != 0)
        return -1;
    struct buckets b = {NULL, ((size_t)LANES << window) * w.stride * 8, w.stride, window};
    b.words = allocate(b.bytes);
    if (!b.words) {
        workspace_close(&w);
        return -1;
    }
    take_moduli(&w, ring, 0, 1);
    for (size_t first = 0; first < windows; first += LANES) {
        for (size_t d = 0; d < (size_t)1 << window; d++)
            write_buckets(&b, same_digit(&w, d), w.one);
        fill_buckets(&w, &b, bases, count, exponents, first);
        drain_buckets(&w, &b, w.x);
        leave(&w, w.x, LANES, out + first * ring->width);
    }
    wipe_and_free(b.words, b.bytes);
    workspace_close(&w);
    return 0;
}

/* --- fixed-base tables ------------------------------------------------------------------------------ */

/* The k-th digits of a row's entries lie side by side, sixteen or more of them (padded with zeros): a
 * permutation picks one of sixteen for each lane from two registers, whatever the lane's digit is. */
#define PERMUTED 16

/* Modulo m² and for a unit, an entry y₀ + y₁·m = y₀·(1 + λ·m) is kept as y₀ and λ = y₁/y₀: in a product the λ
 * of all factors just add up, and what remains are products by the numbers y₀. */
struct table {
    size_t stride, rows, window, entries;
    bool logarithms;
    vec *vectors;
};

static uint64_t *table_row(const struct table *t, size_t row, size_t k) {
    return words(t->vectors) + (row * t->stride + k) * t->entries;
}

/* Writes the element x of each lane into the place of entry e in the rows from the `first` on. */
static void put_entries(struct table *t, size_t first, size_t lanes, size_t e, vec *x) {
    for (size_t k = 0; k < t->stride; k++)
        for (size_t lane = 0; lane < lanes; lane++)
            table_row(t, first + lane, k)[e] = words(x)[k * LANES + lane];
}

/* Fills the rows from the `first` on. With x = start^e·R, the number `inverse` is start^-e: λ = x₁·inverse/R. */
static void fill_rows(struct workspace *w, struct table *t, size_t first, size_t lanes) {
    const size_t high = pair_stride(&w->modulus);
    vec *start = element(w, 0), *inverse = element(w, 1), *inverse_of_start = element(w, 2);
    copy(w, w->one, w->x);
    copy(w, w->unit, inverse);
    for (size_t e = 0; e < (size_t)1 << t->window; e++) {
        copy(w, w->x, w->y);
        if (t->logarithms) {
            multiply_numbers(&w->modulus, w->x + high, inverse, w->columns, w->y + high);
            multiply_numbers(&w->modulus, inverse, inverse_of_start, w->columns, inverse);
        }
        put_entries(t, first, lanes, e, w->y);
        multiply(w, w->x, start, w->x);
    }
}

struct table *ifma_table_new(const struct ring *ring, const uint8_t *starts, const uint8_t *inverses, size_t rows,
                             size_t window) {
    struct workspace w;
    if (workspace_open(&w, ring, 3) != 0)
        return NULL;
    struct table *t = malloc(sizeof *t);
    if (!t)
        goto done;
    *t = (struct table){.stride = w.stride, .rows = rows, .window = window, .logarithms = inverses != NULL};
    t->entries = window < 4 ? PERMUTED : (size_t)1 << window;
    t->vectors = allocate(rows * t->stride * t->entries * sizeof(uint64_t));
    if (!t->vectors) {
        free(t);
        t = NULL;
        goto done;
    }
    take_moduli(&w, ring, 0, 1);
    for (size_t first = 0; first < rows; first += LANES) {
        const size_t lanes = lanes_left(rows, first);
        enter(&w, starts + first * ring->width, lanes, element(&w, 0));
        if (inverses)
            load(&w, inverses + first * ring->width, lanes, w.digits, element(&w, 2));
        fill_rows(&w, t, first, lanes);
    }
done:
    workspace_close(&w);
    return t;
}

void ifma_table_free(struct table *t) {
    if (t)
        free(t->vectors);
    free(t);
}

int ifma_table_fits(const struct table *t, const struct ring *ring, size_t rows) {
    return t->stride == element_stride(ring) && rows <= t->rows && (ring->pairs || !t->logarithms);
}

INLINE vec either(vec digit, long long bit, vec if_clear, vec if_set) {
    return _mm512_mask_mov_epi64(if_clear, _mm512_test_epi64_mask(digit, _mm512_set1_epi64(bit)), if_set);
}

/* select_N: the word that each lane's digit selects among N, reading all of them. */
INLINE vec select_16(const uint64_t *entries, vec digit) {
    return _mm512_permutex2var_epi64(_mm512_load_si512(entries), digit, _mm512_load_si512(entries + LANES));
}
INLINE vec select_32(const uint64_t *entries, vec digit) {
    return either(digit, 16, select_16(entries, digit), select_16(entries + 16, digit));
}
INLINE vec select_64(const uint64_t *entries, vec digit) {
    return either(digit, 32, select_32(entries, digit), select_32(entries + 32, digit));
}
INLINE vec select_128(const uint64_t *entries, vec digit) {
    return either(digit, 64, select_64(entries, digit), select_64(entries + 64, digit));
}
INLINE vec select_256(const uint64_t *entries, vec digit) {
    return either(digit, 128, select_128(entries, digit), select_128(entries + 128, digit));
}

/* A group's elements: the product so far, the entry to multiply by, and the sum of the λ, digit by digit. */
INLINE vec *product_of(const struct workspace *w, size_t group) { return element(w, 3 * group); }
INLINE vec *entry_of(const struct workspace *w, size_t group) { return element(w, 3 * group + 1); }
INLINE vec *sum_of(const struct workspace *w, size_t group) { return element(w, 3 * group + 2); }

/* Takes each group's entry from the row; where the table keeps λ, that goes straight to the sum. */
INLINE void select_from_row(const struct workspace *w, const struct table *t, size_t row, size_t groups,
                            vec (*select)(const uint64_t *, vec)) {
    const size_t high = pair_stride(&w->modulus);
    for (size_t k = 0; k < w->digits; k++)
        for (size_t g = 0; g < groups; g++)
            entry_of(w, g)[k] = select(table_row(t, row, k), w->digit[g]);
    if (!w->pairs)
        return;
    for (size_t k = 0; k < w->digits; k++) {
        for (size_t g = 0; g < groups; g++) {
            const vec chosen = select(table_row(t, row, high + k), w->digit[g]);
            if (t->logarithms)
                sum_of(w, g)[k] = add(sum_of(w, g)[k], chosen);
            else
                entry_of(w, g)[high + k] = chosen;
        }
    }
}

/* The row's entry that digit[g] of the workspace selects in each lane. */
static void select_entries(const struct workspace *w, const struct table *t, size_t row, size_t groups) {
    switch (t->entries) {
    case 16:
        select_from_row(w, t, row, groups, select_16);
        break;
    case 32:
        select_from_row(w, t, row, groups, select_32);
        break;
    case 64:
        select_from_row(w, t, row, groups, select_64);
        break;
    case 128:
        select_from_row(w, t, row, groups, select_128);
        break;
    default:
        select_from_row(w, t, row, groups, select_256);
    }
}

static void multiply_by_entry(const struct workspace *w, const struct table *t, const vec *entry, vec *x) {
    if (t->logarithms)
        multiply_pair_by_number(&w->modulus, x, entry, w->columns, x);
    else
        multiply(w, x, entry, x);
}

/* Multiplies x by 1 + sum·m, that is by R·(1 + sum·m)/R. Overwrites the sum, which is below R. */
static void multiply_by_logarithms(const struct workspace *w, vec *x, vec *sum) {
    vec *y = w->y, *y1 = y + pair_stride(&w->modulus);
    copy(w, w->one, y);
    carry_through(sum, w->digits);
    multiply_numbers(&w->modulus, sum, w->r_squared, w->columns, sum);
    for (size_t k = 0; k < w->digits; k++)
        y1[k] = add(y1[k], sum[k]);
    carry_through(y1, w->digits);
    multiply(w, x, y, x);
}

int ifma_table_powers(const struct ring *ring, const struct table *table, size_t rows,
                      const struct exponents *exponents, size_t count, uint8_t *out) {
    struct workspace w;
    const size_t all = (count + LANES - 1) / LANES, together = all < GROUPS ? all : GROUPS;
    if (workspace_open(&w, ring, 3 * together) != 0)
        return -1;
    take_moduli(&w, ring, 0, 1);
    for (size_t batch = 0; batch < count; batch += GROUPS * LANES) {
        const size_t left = count - batch, groups = left < GROUPS * LANES ? (left + LANES - 1) / LANES : GROUPS;
        for (size_t g = 0; g < groups; g++) {
            copy(&w, w.one, product_of(&w, g));
            memset(sum_of(&w, g), 0, w.stride * sizeof(vec));
        }
        for (size_t row = 0; row < rows; row++) {
            for (size_t g = 0; g < groups; g++)
                digits_of(exponents, batch + g * LANES, lanes_left(left, g * LANES), row * table->window,
                          table->window, &w.digit[g]);
            select_entries(&w, table, row, groups);
            for (size_t g = 0; g < groups; g++)
                multiply_by_entry(&w, table, entry_of(&w, g), product_of(&w, g));
        }
        for (size_t g = 0; g < groups; g++) {
            if (table->logarithms)
                multiply_by_logarithms(&w, product_of(&w, g), sum_of(&w, g));
            leave(&w, product_of(&w, g), lanes_left(left, g * LANES), out + (batch + g * LANES) * ring->width);
        }
    }
    workspace_close(&w);
    return 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
