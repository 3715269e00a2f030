/* SPDX-License-Identifier: MIT */
/*
 * A bit generator as numpy wants it: a capsule of five functions and a lock. It needs no
 * numpy to be built. The numbers are those of C's tine_rng_u32() and its kin for the seed
 * and the stream, in any mixture of calls.
 *
 * Words are computed many at a time. The state is that of the generator before the words
 * that are buffered, and how many of them are used.
 */
#include "core.h"

#include <string.h>

#define WORDS 1024

/* numpy/random/bitgen.h */
struct bitgen {
	void *state;
	uint64_t (*next_uint64)(void *state);
	uint32_t (*next_uint32)(void *state);
	double (*next_double)(void *state);
	uint64_t (*next_raw)(void *state);
};

struct generator {
	PyObject ob_base;
	struct bitgen calls;
	uint64_t seed, stream, position; /* of before, in words */
	tine_rng before;		 /* the words that are buffered */
	bool filled;
	unsigned used; /* of them */
	uint32_t words[WORDS];
	PyObject *capsule, *lock;
};

/* Forgets the words that are buffered. */
static void settle(struct generator *generator)
{
	if (!generator->filled)
		return;
	tine_rng_skip(&generator->before, generator->used);
	generator->position += generator->used;
	generator->filled = false;
}

static void refill(struct generator *generator)
{
	uint64_t pairs[WORDS / 2];
	tine_rng ahead;

	settle(generator);
	ahead = generator->before;
	tine_rng_fill_u64(&ahead, pairs, WORDS / 2);
	for (unsigned i = 0; i < WORDS; i += 2) {
		generator->words[i] = (uint32_t)pairs[i / 2];
		generator->words[i + 1] = (uint32_t)(pairs[i / 2] >> 32);
	}
	generator->used = 0;
	generator->filled = true;
}

static uint32_t next_word(void *state)
{
	struct generator *generator = state;

	if (!generator->filled || generator->used == WORDS)
		refill(generator);
	return generator->words[generator->used++];
}

static uint64_t next_pair(void *state)
{
	uint64_t low = next_word(state);

	return (uint64_t)next_word(state) << 32 | low;
}

static double next_real(void *state)
{
	return (double)(next_pair(state) >> 11) * 0x1p-53;
}

static void put_at(struct generator *generator, uint64_t position)
{
	tine_rng_init(&generator->before, generator->seed, generator->stream);
	tine_rng_skip(&generator->before, position);
	generator->position = position;
	generator->filled = false;
}

static PyObject *new_lock(void)
{
	PyObject *threading = PyImport_ImportModule("threading"), *lock;

	if (!threading)
		return NULL;
	lock = PyObject_CallMethod(threading, "Lock", NULL);
	Py_DECREF(threading);
	return lock;
}

static PyObject *new_generator(PyTypeObject *type, PyObject *args, PyObject *words)
{
	static char *names[] = { "seed", "stream", NULL };
	unsigned long long seed, stream = 0;
	struct generator *generator;

	if (!PyArg_ParseTupleAndKeywords(args, words, "K|K", names, &seed, &stream))
		return NULL;
	generator = (struct generator *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(
		type, 0);
	if (!generator)
		return NULL;
	generator->seed = seed;
	generator->stream = stream;
	put_at(generator, 0);
	generator->calls = (struct bitgen){ generator, next_pair, next_word, next_real,
					    next_pair };
	generator->capsule = PyCapsule_New(&generator->calls, "BitGenerator", NULL);
	generator->lock = new_lock();
	if (generator->capsule && generator->lock)
		return (PyObject *)generator;
	Py_DECREF((PyObject *)generator);
	return NULL;
}

static void drop_generator(PyObject *self)
{
	struct generator *generator = (struct generator *)self;
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(generator->capsule);
	Py_XDECREF(generator->lock);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *get_capsule(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef(((struct generator *)self)->capsule);
}

static PyObject *get_lock(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef(((struct generator *)self)->lock);
}

/* The seed, the stream and the position, in words. */
static PyObject *get_where(PyObject *self, PyObject *none)
{
	struct generator *generator = (struct generator *)self;

	(void)none;
	settle(generator);
	return Py_BuildValue("KKK", (unsigned long long)generator->seed,
			     (unsigned long long)generator->stream,
			     (unsigned long long)generator->position);
}

static PyObject *set_where(PyObject *self, PyObject *args)
{
	struct generator *generator = (struct generator *)self;
	unsigned long long seed, stream, position;

	if (!PyArg_ParseTuple(args, "KKK", &seed, &stream, &position))
		return NULL;
	generator->seed = seed;
	generator->stream = stream;
	put_at(generator, position);
	Py_RETURN_NONE;
}

/* Numbers into a writable buffer of 8 bytes each: doubles, or whole 64 bits. */
static PyObject *fill_buffer(PyObject *self, PyObject *args)
{
	struct generator *generator = (struct generator *)self;
	Py_buffer out;
	int raw = 0;
	size_t n;

	if (!PyArg_ParseTuple(args, "w*|p", &out, &raw))
		return NULL;
	n = (size_t)out.len / sizeof(uint64_t);
	settle(generator);
	Py_BEGIN_ALLOW_THREADS
	if (raw)
		tine_rng_fill_u64(&generator->before, out.buf, n);
	else
		tine_rng_fill(&generator->before, out.buf, n);
	Py_END_ALLOW_THREADS
	generator->position += 2 * n;
	PyBuffer_Release(&out);
	Py_RETURN_NONE;
}

static PyMethodDef generator_methods[] = {
	{ "where", get_where, METH_NOARGS, "where(): seed, stream and position" },
	{ "put", set_where, METH_VARARGS, "put(seed, stream, position)" },
	{ "fill", fill_buffer, METH_VARARGS, "fill(buffer, raw=False)" },
	{ 0 },
};

static PyGetSetDef generator_values[] = {
	{ "capsule", get_capsule, NULL, "the functions, for numpy", NULL },
	{ "lock", get_lock, NULL, "held by who draws numbers", NULL },
	{ 0 },
};

static PyType_Slot generator_slots[] = {
	{ Py_tp_new, new_generator },
	{ Py_tp_dealloc, drop_generator },
	{ Py_tp_methods, generator_methods },
	{ Py_tp_getset, generator_values },
	{ Py_tp_doc, "The numbers of C for a seed and a stream" },
	{ 0, NULL },
};

static PyType_Spec generator_spec = {
	.name = "tine._core.BitGenerator",
	.basicsize = sizeof(struct generator),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = generator_slots,
};

int add_rng(PyObject *module)
{
	return add_type(module, &generator_spec, "BitGenerator");
}
