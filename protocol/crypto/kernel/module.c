/* The Python module `_ifma`: unpacks bytes, lets go of the GIL, calls ifma.h.
 *
 * Arguments that would make the arithmetic read or write out of bounds raise ValueError; whether numbers
 * are reduced is checked by the Python side, protocol.crypto.kernel.ifma.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "ifma.h"

#define MAX_DIGITS 336   /* columns of the arithmetic cannot overflow below 340 */
#define MAX_BUCKET_WINDOW 12 /* bits; memory doubles with each */
#define MAX_TABLE_WINDOW 8   /* as many as ifma.c can select among */
#define MAX_SUMMED_ROWS 2048 /* digits of so many entries add up in 63 bits */
#define TABLE "protocol.crypto.kernel._ifma.table"

/* The arguments that every function begins with. */
struct call {
    Py_buffer moduli, constants;
    Py_ssize_t width, digits;
    int pairs;
    struct ring ring;
};

static int fail(const char *why) {
    PyErr_SetString(PyExc_ValueError, why);
    return 0;
}

/* The number of `width`-byte elements in a buffer, −1 if they do not come out even. */
static Py_ssize_t elements(const Py_buffer *buffer, Py_ssize_t width) {
    return width > 0 && buffer->len % width == 0 ? buffer->len / width : -1;
}

static int check_ring(struct call *call) {
    if (call->digits < 4 || call->digits > MAX_DIGITS || call->digits % 4 != 0)
        return fail("digits: not a multiple of four in range");
    if (call->width < 1 || call->width > 16 * MAX_DIGITS)
        return fail("width: out of range");
    const Py_ssize_t count = elements(&call->moduli, call->width);
    if (count < 1 || (call->pairs && count != 1) ||
        elements(&call->constants, call->width) != (call->pairs ? PAIR_CONSTANTS : count))
        return fail("moduli and their constants do not match");
    call->ring = (struct ring){
        .moduli = call->moduli.buf,
        .constants = call->constants.buf,
        .moduli_count = (size_t)count,
        .width = (size_t)call->width,
        .digits = (size_t)call->digits,
        .pairs = call->pairs != 0,
    };
    return 1;
}

static int check_exponents(const Py_buffer *buffer, Py_ssize_t width, Py_ssize_t count, struct exponents *e) {
    const Py_ssize_t given = elements(buffer, width);
    if (given < 1 || (given != 1 && given != count))
        return fail("exponents: not one, nor one for each element");
    *e = (struct exponents){.bytes = buffer->buf, .width = (size_t)width, .count = (size_t)given};
    return 1;
}

static PyObject *new_list(Py_ssize_t count, Py_ssize_t width, uint8_t **out) {
    PyObject *result = PyBytes_FromStringAndSize(NULL, count * width);
    if (result)
        *out = (uint8_t *)PyBytes_AsString(result);
    return result;
}

/* `result` of a computation that returned `status`. */
static PyObject *finish(PyObject *result, int status) {
    if (status == 0)
        return result;
    Py_DECREF(result);
    return PyErr_NoMemory();
}

static void release(struct call *call, Py_buffer *a, Py_buffer *b) {
    PyBuffer_Release(&call->moduli);
    PyBuffer_Release(&call->constants);
    if (a)
        PyBuffer_Release(a);
    if (b)
        PyBuffer_Release(b);
}

static PyObject *supported(PyObject *self, PyObject *args) {
    (void)self, (void)args;
    /* Asks the CPU and, through XGETBV, whether the operating system keeps the wide registers. This file is
     * compiled for any x86-64, unlike ifma.c. */
    __builtin_cpu_init();
    return PyBool_FromLong(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma"));
}

static PyObject *powers(PyObject *self, PyObject *args) {
    (void)self;
    struct call call;
    Py_buffer bases, packed;
    Py_ssize_t exponent_width, bits;
    struct exponents exponents;
    PyObject *result = NULL;
    uint8_t *out;
    if (!PyArg_ParseTuple(args, "y*y*nnpy*y*nn", &call.moduli, &call.constants, &call.width, &call.digits, &call.pairs, &bases,
                          &packed, &exponent_width, &bits))
        return NULL;
    const Py_ssize_t count = elements(&bases, call.width);
    if (!check_ring(&call) || !check_exponents(&packed, exponent_width, count, &exponents))
        goto done;
    if (bits < 0 || bits > 8 * exponent_width || (call.ring.moduli_count != 1 && (Py_ssize_t)call.ring.moduli_count != count)) {
        fail("moduli or exponents do not fit the bases");
        goto done;
    }
    result = new_list(count, call.width, &out);
    if (result) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = ifma_powers(&call.ring, bases.buf, (size_t)count, &exponents, (size_t)bits, out);
        Py_END_ALLOW_THREADS
        result = finish(result, status);
    }
done:
    release(&call, &bases, &packed);
    return result;
}

static PyObject *columns(PyObject *self, PyObject *args) {
    (void)self;
    struct call call;
    Py_buffer correction, lists;
    Py_ssize_t rows;
    PyObject *result = NULL;
    uint8_t *out;
    if (!PyArg_ParseTuple(args, "y*y*nnpy*y*n", &call.moduli, &call.constants, &call.width, &call.digits, &call.pairs, &correction,
                          &lists, &rows))
        return NULL;
    const Py_ssize_t numbers = elements(&lists, call.width);
    if (!check_ring(&call))
        goto done;
    if (call.pairs || correction.len != call.width || rows < 1 || numbers < 0 || numbers % rows != 0) {
        fail("the lists are not a rectangle of numbers");
        goto done;
    }
    result = new_list(numbers / rows, call.width, &out);
    if (result) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = ifma_columns(&call.ring, correction.buf, lists.buf, (size_t)rows, (size_t)(numbers / rows), out);
        Py_END_ALLOW_THREADS
        result = finish(result, status);
    }
done:
    release(&call, &correction, &lists);
    return result;
}

static PyObject *windows(PyObject *self, PyObject *args) {
    (void)self;
    struct call call;
    Py_buffer bases, packed;
    Py_ssize_t exponent_width, window, number;
    struct exponents exponents;
    PyObject *result = NULL;
    uint8_t *out;
    if (!PyArg_ParseTuple(args, "y*y*nnpy*y*nnn", &call.moduli, &call.constants, &call.width, &call.digits, &call.pairs, &bases,
                          &packed, &exponent_width, &window, &number))
        return NULL;
    const Py_ssize_t count = elements(&bases, call.width);
    if (!check_ring(&call) || !check_exponents(&packed, exponent_width, count, &exponents))
        goto done;
    if ((Py_ssize_t)exponents.count != count || window < 1 || window > MAX_BUCKET_WINDOW || number < 1 || number % 8 != 0) {
        fail("windows: out of range, or not an exponent for each base");
        goto done;
    }
    result = new_list(number, call.width, &out);
    if (result) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = ifma_windows(&call.ring, bases.buf, (size_t)count, &exponents, (size_t)window, (size_t)number, out);
        Py_END_ALLOW_THREADS
        result = finish(result, status);
    }
done:
    release(&call, &bases, &packed);
    return result;
}

static void free_table(PyObject *capsule) { ifma_table_free(PyCapsule_GetPointer(capsule, TABLE)); }

static PyObject *table(PyObject *self, PyObject *args) {
    (void)self;
    struct call call;
    Py_buffer starts, inverses;
    Py_ssize_t window;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*nnpy*y*n", &call.moduli, &call.constants, &call.width, &call.digits, &call.pairs, &starts,
                          &inverses, &window))
        return NULL;
    const Py_ssize_t rows = elements(&starts, call.width);
    if (!check_ring(&call))
        goto done;
    if (rows < 1 || window < 1 || window > MAX_TABLE_WINDOW) {
        fail("table: no rows, or its window is out of range");
        goto done;
    }
    if (inverses.len != 0 && (!call.pairs || inverses.len != starts.len || rows > MAX_SUMMED_ROWS)) {
        fail("table: inverses without pairs, or not one for each of a moderate number of rows");
        goto done;
    }
    const uint8_t *given = inverses.len ? inverses.buf : NULL;
    struct table *made;
    Py_BEGIN_ALLOW_THREADS
    made = ifma_table_new(&call.ring, starts.buf, given, (size_t)rows, (size_t)window);
    Py_END_ALLOW_THREADS
    result = made ? PyCapsule_New(made, TABLE, free_table) : PyErr_NoMemory();
    if (made && !result)
        ifma_table_free(made);
done:
    release(&call, &starts, &inverses);
    return result;
}

static PyObject *table_powers(PyObject *self, PyObject *args) {
    (void)self;
    struct call call;
    PyObject *capsule, *result = NULL;
    Py_buffer packed;
    Py_ssize_t exponent_width, rows;
    struct exponents exponents;
    uint8_t *out;
    if (!PyArg_ParseTuple(args, "y*y*nnpOny*n", &call.moduli, &call.constants, &call.width, &call.digits, &call.pairs, &capsule, &rows,
                          &packed, &exponent_width))
        return NULL;
    const Py_ssize_t count = elements(&packed, exponent_width);
    if (!check_ring(&call) || !check_exponents(&packed, exponent_width, count, &exponents))
        goto done;
    const struct table *entries = PyCapsule_GetPointer(capsule, TABLE);
    if (!entries)
        goto done;
    if (!ifma_table_fits(entries, &call.ring, (size_t)rows)) {
        fail("table: made for another modulus, or with fewer rows");
        goto done;
    }
    result = new_list(count, call.width, &out);
    if (result) {
        int status;
        Py_BEGIN_ALLOW_THREADS
        status = ifma_table_powers(&call.ring, entries, (size_t)rows, &exponents, (size_t)count, out);
        Py_END_ALLOW_THREADS
        result = finish(result, status);
    }
done:
    release(&call, &packed, NULL);
    return result;
}

static PyMethodDef functions[] = {
    {"supported", supported, METH_NOARGS, "supported() -> bool: whether this CPU and system can run the rest"},
    {"powers", powers, METH_VARARGS,
     "powers(moduli, constants, width, digits, pairs, bases, exponents, exponent_width, exponent_bits) -> bytes"},
    {"columns", columns, METH_VARARGS,
     "columns(moduli, constants, width, digits, pairs, correction, lists, rows) -> bytes"},
    {"windows", windows, METH_VARARGS,
     "windows(moduli, constants, width, digits, pairs, bases, exponents, exponent_width, window, windows) -> bytes"},
    {"table", table, METH_VARARGS, "table(moduli, constants, width, digits, pairs, starts, inverses, window) -> table"},
    {"table_powers", table_powers, METH_VARARGS,
     "table_powers(moduli, constants, width, digits, pairs, table, rows, exponents, exponent_width) -> bytes"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_ifma", "Batched modular arithmetic in AVX-512 IFMA, on packed bytes.", 0, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__ifma(void) { return PyModuleDef_Init(&definition); }
