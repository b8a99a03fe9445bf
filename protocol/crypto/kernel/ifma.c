#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512ifma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512ifma")
#endif

#include "ifma.h"
#include "lanes.h"

#include <stdlib.h>
#include <string.h>

int ifma_supported(void) {
    /* Both ask the CPU and, through XGETBV, whether the operating system keeps the wide registers. */
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}

/* --- working memory ------------------------------------------------------------------------------- */

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

/* What one group of eight lanes needs, in one block. */
struct workspace {
    struct modulus field;
    size_t digits, width, bytes;
    void *block;
    vec *m, *r_squared, *one, *x, *y, *columns, *digit;
    vec *numbers;    /* as many more as were asked for, `stride` vectors apart */
    size_t stride;
    uint8_t *staging; /* a row of `staged` bytes for each lane */
    size_t staged;
};

static int workspace_open(struct workspace *w, const struct ring *ring, size_t numbers) {
    memset(w, 0, sizeof *w);
    w->digits = ring->digits;
    w->width = ring->width;
    w->stride = ring->digits + PADDING;
    /* Digits are read and written eight bytes at a time, a little past the end. */
    w->staged = (ring->digits * DIGIT_BITS / 8 > ring->width ? ring->digits * DIGIT_BITS / 8 : ring->width) + 16;
    const size_t vectors = PADDING + (5 + numbers) * w->stride + 2 * ring->digits + 1;
    w->bytes = vectors * sizeof(vec) + LANES * w->staged;
    w->block = allocate(w->bytes);
    if (!w->block)
        return -1;
    w->m = (vec *)w->block + PADDING;
    w->r_squared = w->m + w->stride;
    w->one = w->r_squared + w->stride;
    w->x = w->one + w->stride;
    w->y = w->x + w->stride;
    w->numbers = w->y + w->stride;
    w->columns = w->numbers + numbers * w->stride;
    w->digit = w->columns + 2 * ring->digits;
    w->staging = (uint8_t *)(w->digit + 1);
    w->one[0] = _mm512_set1_epi64(1);
    w->field.digits = ring->digits;
    w->field.m = w->m;
    return 0;
}

static void workspace_close(struct workspace *w) { wipe_and_free(w->block, w->bytes); }

static vec *number(const struct workspace *w, size_t i) { return w->numbers + i * w->stride; }

static void multiply(const struct workspace *w, const vec *x, const vec *y, vec *result) {
    product_columns(w->digits, x, y, w->columns);
    reduce(&w->field, w->columns, result);
}

static void square(const struct workspace *w, const vec *x, vec *result) {
    square_columns(w->digits, x, w->columns);
    reduce(&w->field, w->columns, result);
}

/* --- bytes to lanes and back ------------------------------------------------------------------------ */

static uint64_t *as_words(vec *x) { return (uint64_t *)x; }

/* x = the numbers at from[0 … lanes), each `width` bytes; the other lanes repeat the first. */
static void load(const struct workspace *w, const uint8_t *from, size_t lanes, vec *x) {
    for (size_t lane = 0; lane < LANES; lane++)
        memcpy(w->staging + lane * w->staged, from + (lane < lanes ? lane : 0) * w->width, w->width);
    for (size_t k = 0; k < w->digits; k++)
        for (size_t lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, w->staging + lane * w->staged + (DIGIT_BITS * k) / 8, 8);
            as_words(x)[k * LANES + lane] = (word >> (DIGIT_BITS * k) % 8) & DIGIT_MASK;
        }
}

/* to[0 … lanes) = the numbers in x, which are reduced. */
static void store(const struct workspace *w, const vec *x, size_t lanes, uint8_t *to) {
    const uint64_t *words = (const uint64_t *)x;
    for (size_t lane = 0; lane < lanes; lane++) {
        uint8_t *bytes = w->staging + lane * w->staged;
        for (size_t k = 0; k < w->digits; k += 2) {
            const uint64_t even = words[k * LANES + lane], odd = words[(k + 1) * LANES + lane];
            const uint64_t pair[2] = {even | odd << DIGIT_BITS, odd >> (64 - DIGIT_BITS)};
            memcpy(bytes + k / 2 * (2 * DIGIT_BITS / 8), pair, 2 * DIGIT_BITS / 8);
        }
        memcpy(to + lane * w->width, bytes, w->width);
    }
}

/* Subtracts the modulus where x ≥ m, without a branch; x < 2m. */
static void make_canonical(const struct workspace *w, vec *x) {
    vec borrow = _mm512_setzero_si512(), *less = w->columns;
    for (size_t k = 0; k < w->digits; k++) {
        const vec d = add(_mm512_sub_epi64(x[k], w->m[k]), borrow);
        less[k] = digit_of(d);
        borrow = _mm512_srai_epi64(d, 63);
    }
    const __mmask8 keep = _mm512_cmplt_epi64_mask(borrow, _mm512_setzero_si512());
    for (size_t k = 0; k < w->digits; k++)
        x[k] = _mm512_mask_mov_epi64(less[k], keep, x[k]);
}

static void take_moduli(struct workspace *w, const struct ring *ring, size_t first, size_t lanes) {
    const size_t at = ring->moduli_count == 1 ? 0 : first * ring->width;
    const size_t n = ring->moduli_count == 1 ? 1 : lanes;
    load(w, ring->moduli + at, n, w->m);
    load(w, ring->r_squared + at, n, w->r_squared);
    /* Newton's iteration doubles the correct low bits; an odd m0 is its own inverse modulo 8. */
    const vec two = _mm512_set1_epi64(2), m0 = w->m[0], zero = _mm512_setzero_si512();
    vec inverse = m0;
    for (int bits = 3; bits < DIGIT_BITS; bits *= 2) {
        const vec product = add_low(zero, m0, inverse);
        inverse = add_low(zero, inverse, digit_of(_mm512_sub_epi64(two, product)));
    }
    w->field.negative_inverse = digit_of(_mm512_sub_epi64(zero, inverse));
}

static size_t lanes_left(size_t count, size_t first) { return count - first < LANES ? count - first : LANES; }

/* The `size` ≤ 16 bits of exponent i from bit `low` on; bits past its end are zero. */
static uint64_t bits_of(const struct exponents *e, size_t i, size_t low, size_t size) {
    const uint8_t *exponent = e->bytes + i * e->width;
    uint64_t word = 0;
    for (size_t k = 0, at = low / 8; k < 3 && at < e->width; k++, at++)
        word |= (uint64_t)exponent[at] << 8 * k;
    return word >> low % 8 & ((UINT64_C(1) << size) - 1);
}

/* Those bits of `lanes` exponents from the `first` on. */
static vec digits_of(struct workspace *w, const struct exponents *e, size_t first, size_t lanes, size_t low,
                     size_t size) {
    for (size_t lane = 0; lane < lanes; lane++)
        as_words(w->digit)[lane] = bits_of(e, e->count == 1 ? 0 : first + lane, low, size);
    return *w->digit;
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

/* result = powers[digit of each lane], reading every entry. */
static void select_power(const struct workspace *w, size_t entries, vec digit, vec *result) {
    for (size_t e = 0; e < entries; e++) {
        const __mmask8 here = _mm512_cmpeq_epi64_mask(digit, _mm512_set1_epi64((long long)e));
        const vec *entry = number(w, e);
        for (size_t k = 0; k < w->digits; k++)
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
        load(&w, bases + first * ring->width, lanes, w.x);
        multiply(&w, w.one, w.r_squared, number(&w, 0));
        multiply(&w, w.x, w.r_squared, number(&w, 1));
        for (size_t e = 2; e < entries; e++)
            multiply(&w, number(&w, e - 1), number(&w, 1), number(&w, e));

        memcpy(w.x, number(&w, 0), w.digits * sizeof(vec));
        for (size_t left = (exponent_bits + window - 1) / window; left-- > 0;) {
            for (size_t i = 0; i < window; i++)
                square(&w, w.x, w.x);
            select_power(&w, entries, digits_of(&w, exponents, first, lanes, left * window, window), w.y);
            multiply(&w, w.x, w.y, w.x);
        }
        multiply(&w, w.x, w.one, w.x);
        make_canonical(&w, w.x);
        store(&w, w.x, lanes, out + first * ring->width);
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
    load(&w, correction, 1, number(&w, 0));
    for (size_t first = 0; first < count; first += LANES) {
        const size_t lanes = lanes_left(count, first);
        memcpy(w.x, number(&w, 0), w.digits * sizeof(vec));
        for (size_t row = 0; row < rows; row++) {
            load(&w, lists + (row * count + first) * ring->width, lanes, w.y);
            multiply(&w, w.x, w.y, w.x);
        }
        make_canonical(&w, w.x);
        store(&w, w.x, lanes, out + first * ring->width);
    }
    workspace_close(&w);
    return 0;
}

/* --- many bases with short public exponents --------------------------------------------------------- */

/* Buckets lie apart by lane: the number of bucket b in a lane is `digits` words from lane·2^w + b on. */
struct buckets {
    uint64_t *words;
    size_t bytes, digits, window;
};

static vec bucket_offsets(const struct buckets *b, vec digit) {
    const vec lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const vec index = add(_mm512_slli_epi64(lane, (unsigned)b->window), digit);
    return _mm512_mul_epu32(index, _mm512_set1_epi64((long long)b->digits));
}

static void read_buckets(const struct buckets *b, vec offsets, vec *x) {
    for (size_t k = 0; k < b->digits; k++)
        x[k] = _mm512_i64gather_epi64(offsets, b->words + k, 8);
}

static void write_buckets(struct buckets *b, vec offsets, const vec *x) {
    for (size_t k = 0; k < b->digits; k++)
        _mm512_i64scatter_epi64(b->words + k, offsets, x[k], 8);
}

/* Multiplies each base into eight windows' buckets, one window in each lane. */
static void fill_buckets(struct workspace *w, struct buckets *b, const uint8_t *bases, size_t count,
                         const struct exponents *exponents, size_t first_window) {
    vec *montgomery = number(w, 0);
    for (size_t i = 0; i < count; i++) {
        if (i % LANES == 0) {
            load(w, bases + i * w->width, lanes_left(count, i), montgomery);
            multiply(w, montgomery, w->r_squared, montgomery);
        }
        for (size_t k = 0; k < w->digits; k++)
            w->y[k] = _mm512_set1_epi64((long long)as_words(montgomery)[k * LANES + i % LANES]);
        for (size_t lane = 0; lane < LANES; lane++)
            as_words(w->digit)[lane] = bits_of(exponents, i, (first_window + lane) * b->window, b->window);
        const vec offsets = bucket_offsets(b, *w->digit);
        read_buckets(b, offsets, w->x);
        multiply(w, w->x, w->y, w->x);
        write_buckets(b, offsets, w->x);
    }
}

/* x = ∏ bucket[d]^d in each lane, as the product of all suffix products. */
static void drain_buckets(struct workspace *w, const struct buckets *b, const vec *one, vec *x) {
    vec *suffix = number(w, 0);
    memcpy(suffix, one, w->digits * sizeof(vec));
    memcpy(x, one, w->digits * sizeof(vec));
    for (size_t d = ((size_t)1 << b->window) - 1; d > 0; d--) {
        read_buckets(b, bucket_offsets(b, _mm512_set1_epi64((long long)d)), w->y);
        multiply(w, suffix, w->y, suffix);
        multiply(w, x, suffix, x);
    }
}

int ifma_windows(const struct ring *ring, const uint8_t *bases, size_t count, const struct exponents *exponents,
                 size_t window, size_t windows, uint8_t *out) {
    struct workspace w;
    struct buckets b = {NULL, ((size_t)LANES << window) * ring->digits * 8, ring->digits, window};
    if (workspace_open(&w, ring, 2) != 0)
        return -1;
    b.words = allocate(b.bytes);
    if (!b.words) {
        workspace_close(&w);
        return -1;
    }
    take_moduli(&w, ring, 0, 1);
    vec *one = number(&w, 1);
    multiply(&w, w.one, w.r_squared, one);
    for (size_t first = 0; first < windows; first += LANES) {
        for (size_t d = 0; d < (size_t)1 << window; d++)
            write_buckets(&b, bucket_offsets(&b, _mm512_set1_epi64((long long)d)), one);
        fill_buckets(&w, &b, bases, count, exponents, first);
        drain_buckets(&w, &b, one, w.x);
        multiply(&w, w.x, w.one, w.x);
        make_canonical(&w, w.x);
        store(&w, w.x, LANES, out + first * ring->width);
    }
    wipe_and_free(b.words, b.bytes);
    workspace_close(&w);
    return 0;
}

/* --- fixed-base tables ------------------------------------------------------------------------------ */

/* The k-th digits of a row's entries lie side by side, sixteen or more of them (padded with zeros): a
 * permutation picks one of sixteen for each lane from two registers, whatever the lane's digit is. */
#define PERMUTED 16

struct table {
    size_t digits, rows, window, entries, bytes;
    vec *words;
};

static uint64_t *table_row(const struct table *t, size_t row, size_t k) {
    return as_words(t->words) + (row * t->digits + k) * t->entries;
}

struct table *ifma_table_new(const struct ring *ring, const uint8_t *starts, size_t rows, size_t window) {
    struct workspace w;
    struct table *t = malloc(sizeof *t);
    if (!t || workspace_open(&w, ring, 1) != 0) {
        free(t);
        return NULL;
    }
    *t = (struct table){.digits = ring->digits, .rows = rows, .window = window};
    t->entries = window < 4 ? PERMUTED : (size_t)1 << window;
    t->bytes = rows * t->digits * t->entries * sizeof(uint64_t);
    t->words = allocate(t->bytes);
    if (!t->words) {
        workspace_close(&w);
        free(t);
        return NULL;
    }
    take_moduli(&w, ring, 0, 1);
    for (size_t first = 0; first < rows; first += LANES) {
        const size_t lanes = lanes_left(rows, first);
        vec *start = number(&w, 0);
        load(&w, starts + first * ring->width, lanes, start);
        multiply(&w, start, w.r_squared, start);
        multiply(&w, w.one, w.r_squared, w.x);
        for (size_t e = 0; e < (size_t)1 << window; e++) {
            for (size_t k = 0; k < t->digits; k++)
                for (size_t lane = 0; lane < lanes; lane++)
                    table_row(t, first + lane, k)[e] = as_words(w.x)[k * LANES + lane];
            multiply(&w, w.x, start, w.x);
        }
    }
    workspace_close(&w);
    return t;
}

void ifma_table_free(struct table *t) {
    if (t)
        free(t->words);
    free(t);
}

int ifma_table_fits(const struct table *t, const struct ring *ring, size_t rows) {
    return t->digits == ring->digits && rows <= t->rows;
}

/* x = row[digit of each lane], reading the whole row. */
static void select_entry(const struct table *t, size_t row, vec digit, vec *x) {
    const vec block = _mm512_srli_epi64(digit, 4);
    for (size_t k = 0; k < t->digits; k++) {
        const uint64_t *words = table_row(t, row, k);
        vec found = _mm512_setzero_si512();
        for (size_t b = 0; b < t->entries / PERMUTED; b++) {
            const __mmask8 here = _mm512_cmpeq_epi64_mask(block, _mm512_set1_epi64((long long)b));
            const vec low = _mm512_load_si512(words + b * PERMUTED);
            const vec high = _mm512_load_si512(words + b * PERMUTED + LANES);
            found = _mm512_mask_mov_epi64(found, here, _mm512_permutex2var_epi64(low, digit, high));
        }
        x[k] = found;
    }
}

/* Groups of eight that share a pass over the table: a row is read from memory once for all of them. */
#define GROUPS 16

int ifma_table_powers(const struct ring *ring, const struct table *table, size_t rows,
                      const struct exponents *exponents, size_t count, uint8_t *out) {
    struct workspace w;
    if (workspace_open(&w, ring, GROUPS) != 0)
        return -1;
    take_moduli(&w, ring, 0, 1);
    for (size_t batch = 0; batch < count; batch += GROUPS * LANES) {
        const size_t end = count - batch < GROUPS * LANES ? count : batch + GROUPS * LANES;
        for (size_t first = batch, g = 0; first < end; first += LANES, g++)
            multiply(&w, w.one, w.r_squared, number(&w, g));
        for (size_t row = 0; row < rows; row++)
            for (size_t first = batch, g = 0; first < end; first += LANES, g++) {
                const vec digit = digits_of(&w, exponents, first, lanes_left(end, first),
                                            row * table->window, table->window);
                select_entry(table, row, digit, w.y);
                multiply(&w, number(&w, g), w.y, number(&w, g));
            }
        for (size_t first = batch, g = 0; first < end; first += LANES, g++) {
            multiply(&w, number(&w, g), w.one, w.x);
            make_canonical(&w, w.x);
            store(&w, w.x, lanes_left(end, first), out + first * ring->width);
        }
    }
    workspace_close(&w);
    return 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
