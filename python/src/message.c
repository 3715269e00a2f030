/* SPDX-License-Identifier: MIT */
/* See message.h. */
#include "message.h"

#include <string.h>

#define LINE  64
#define LOOKS 200 /* at objects, to see whether they need more than a plain pickle */

enum { INT = 1, FLOAT, NONE, TRUE, FALSE, BYTES, STR, PICKLE, PARTS };

/* Before a pickle and its buffers, each of which begins at a line. */
struct parts {
	uint8_t kind;
	uint32_t count;
	uint64_t pickle;
	uint64_t len[];
};

static PyObject *dump, *dumps, *protocol, *loads, *buffers_word;

static size_t lines(size_t n)
{
	return (n + LINE - 1) / LINE * LINE;
}

static void be_number(struct message *message, uint8_t kind, const void *number)
{
	message->kind = kind;
	message->size = 1;
	if (!number)
		return;
	memcpy(message->number, number, sizeof(message->number));
	message->bytes = message->number;
	message->len = sizeof(message->number);
	message->size += message->len;
}

/* Whether it is one of the kinds that need no pickle. */
static bool be_plain(struct message *message, PyObject *object)
{
	int overflow = 0;
	Py_ssize_t len;
	int64_t whole;
	double number;
	char *bytes;

	if (object == Py_None || object == Py_True || object == Py_False) {
		be_number(message,
			  object == Py_None   ? NONE
			  : object == Py_True ? TRUE
					      : FALSE,
			  NULL);
		return true;
	}
	if (PyLong_CheckExact(object)) {
		whole = PyLong_AsLongLongAndOverflow(object, &overflow);
		if (!overflow)
			be_number(message, INT, &whole);
		return !overflow;
	}
	if (PyFloat_CheckExact(object)) {
		number = PyFloat_AsDouble(object);
		be_number(message, FLOAT, &number);
		return true;
	}
	if (PyBytes_CheckExact(object)) {
		PyBytes_AsStringAndSize(object, &bytes, &len);
		message->bytes = bytes;
		message->kind = BYTES;
	} else if (PyUnicode_CheckExact(object)) {
		message->bytes = PyUnicode_AsUTF8AndSize(object, &len);
		message->kind = STR;
		if (!message->bytes) /* a lone surrogate: a pickle can */
			PyErr_Clear();
	}
	if (!message->bytes)
		return false;
	message->len = (size_t)len;
	message->size = 1 + message->len;
	message->owner = Py_NewRef(object);
	return true;
}

static int be_buffers(struct message *message, PyObject *list)
{
	Py_ssize_t count = PyList_Size(list);

	message->size = lines(sizeof(struct parts) + (size_t)count * sizeof(uint64_t) +
			      message->len);
	message->buffers = PyMem_Calloc((size_t)count, sizeof(*message->buffers));
	if (!message->buffers) {
		PyErr_NoMemory();
		return -1;
	}
	message->kind = PARTS;
	message->holder = Py_NewRef(list);
	for (; message->count < count; message->count++) {
		PyObject *raw = PyObject_CallMethod(PyList_GetItem(list, message->count),
						    "raw", NULL);
		Py_buffer *buffer = &message->buffers[message->count];
		int err = raw ? PyObject_GetBuffer(raw, buffer, PyBUF_SIMPLE) : -1;

		Py_XDECREF(raw);
		if (err != 0)
			return -1;
		message->size += lines((size_t)buffer->len);
	}
	return 0;
}

static bool are_bare(PyObject *container, unsigned *looks);

/*
 * Of a type that each pickler writes in the same way, whatever is registered. It looks so
 * often and no more: one container may be in others again and again.
 */
static bool is_bare(PyObject *object, unsigned *looks)
{
	if (*looks == 0)
		return false;
	--*looks;
	if (object == Py_None || PyLong_CheckExact(object) ||
	    PyFloat_CheckExact(object) || PyUnicode_CheckExact(object) ||
	    PyBytes_CheckExact(object) || PyBool_Check(object))
		return true;
	return are_bare(object, looks);
}

static bool are_bare(PyObject *container, unsigned *looks)
{
	PyObject *key, *value;
	Py_ssize_t at = 0;
	bool bare = true;

	if (PyTuple_CheckExact(container)) {
		for (; bare && at < PyTuple_Size(container); at++)
			bare = is_bare(PyTuple_GetItem(container, at), looks);
	} else if (PyList_CheckExact(container)) {
		for (; bare && at < PyList_Size(container); at++)
			bare = is_bare(PyList_GetItem(container, at), looks);
	} else if (PyDict_CheckExact(container)) {
		while (bare && PyDict_Next(container, &at, &key, &value))
			bare = is_bare(key, looks) && is_bare(value, looks);
	} else {
		bare = false;
	}
	return bare;
}

/* Whether it is made of such alone, and small. */
static bool is_simple(PyObject *object)
{
	unsigned looks = LOOKS;

	return is_bare(object, &looks);
}

/* Without what the program may have registered, which takes longer. */
static int be_bare(struct message *message, PyObject *object)
{
	Py_ssize_t len;
	char *bytes;

	message->owner = PyObject_CallFunctionObjArgs(dumps, object, protocol, NULL);
	if (!message->owner || PyBytes_AsStringAndSize(message->owner, &bytes, &len) != 0)
		return -1;
	message->kind = PICKLE;
	message->bytes = bytes;
	message->len = (size_t)len;
	message->size = 1 + message->len;
	return 0;
}

/* dump(object) returns the pickle and None, or a list of buffers. */
static int be_pickle(struct message *message, PyObject *object)
{
	PyObject *both, *list;

	if (is_simple(object))
		return be_bare(message, object);
	both = PyObject_CallFunctionObjArgs(dump, object, NULL);
	if (!both)
		return -1;
	message->kind = PICKLE;
	message->owner = both;
	if (PyObject_GetBuffer(PyTuple_GetItem(both, 0), &message->whole, PyBUF_SIMPLE) !=
	    0)
		return -1;
	message->bytes = message->whole.buf;
	message->len = (size_t)message->whole.len;
	message->size = 1 + message->len;
	list = PyTuple_GetItem(both, 1);
	return list == Py_None ? 0 : be_buffers(message, list);
}

int message_of(struct message *message, PyObject *object)
{
	memset(message, 0, sizeof(*message));
	if (be_plain(message, object))
		return 0;
	if (be_pickle(message, object) == 0)
		return 0;
	message_clear(message);
	return -1;
}

static void write_parts(const struct message *message, char *to)
{
	struct parts *parts = (struct parts *)to;
	size_t at = sizeof(*parts) + (size_t)message->count * sizeof(parts->len[0]);

	parts->kind = PARTS;
	parts->count = (uint32_t)message->count;
	parts->pickle = message->len;
	memcpy(to + at, message->bytes, message->len);
	at = lines(at + message->len);
	for (Py_ssize_t i = 0; i < message->count; i++) {
		const Py_buffer *buffer = &message->buffers[i];

		parts->len[i] = (uint64_t)buffer->len;
		memcpy(to + at, buffer->buf, (size_t)buffer->len);
		at += lines((size_t)buffer->len);
	}
}

void message_write(const struct message *message, void *to)
{
	uint8_t *bytes = to;

	if (message->kind == PARTS) {
		write_parts(message, to);
		return;
	}
	bytes[0] = message->kind;
	if (message->len > 0)
		memcpy(bytes + 1, message->bytes, message->len);
}

void message_clear(struct message *message)
{
	for (Py_ssize_t i = 0; i < message->count; i++)
		PyBuffer_Release(&message->buffers[i]);
	PyMem_Free(message->buffers);
	if (message->whole.obj)
		PyBuffer_Release(&message->whole);
	Py_CLEAR(message->owner);
	Py_CLEAR(message->holder);
	message->buffers = NULL;
	message->count = 0;
}

static PyObject *load_pickle(const char *bytes, size_t len, PyObject *words)
{
	PyObject *view = PyMemoryView_FromMemory((char *)bytes, (Py_ssize_t)len,
						 PyBUF_READ);
	PyObject *args = view ? PyTuple_Pack(1, view) : NULL;
	PyObject *object = args ? PyObject_Call(loads, args, words) : NULL;

	Py_XDECREF(args);
	Py_XDECREF(view);
	return object;
}

/* Writable, as an unpickled array is. */
static PyObject *part(const char *bytes, size_t at, size_t len, PyObject *whole)
{
	if (!whole)
		return PyByteArray_FromStringAndSize(bytes + at, (Py_ssize_t)len);
	return PySequence_GetSlice(whole, (Py_ssize_t)at, (Py_ssize_t)(at + len));
}

static PyObject *load_parts(const char *bytes, PyObject *parcel)
{
	const struct parts *parts = (const struct parts *)bytes;
	size_t pickle = sizeof(*parts) + parts->count * sizeof(parts->len[0]);
	size_t at = lines(pickle + parts->pickle);
	PyObject *whole = parcel ? PyMemoryView_FromObject(parcel) : NULL;
	PyObject *list = PyList_New(0), *words = PyDict_New(), *object = NULL;
	int err = list && words && (whole || !parcel) ? 0 : -1;

	for (uint32_t i = 0; i < parts->count && err == 0; i++) {
		PyObject *one = part(bytes, at, parts->len[i], whole);

		err = one ? PyList_Append(list, one) : -1;
		Py_XDECREF(one);
		at += lines(parts->len[i]);
	}
	if (err == 0 && PyDict_SetItem(words, buffers_word, list) == 0)
		object = load_pickle(bytes + pickle, parts->pickle, words);
	Py_XDECREF(words);
	Py_XDECREF(list);
	Py_XDECREF(whole);
	return object;
}

PyObject *message_load(const void *bytes, size_t size, PyObject *parcel)
{
	const char *at = (const char *)bytes + 1;
	int64_t whole;
	double number;

	switch (*(const uint8_t *)bytes) {
	case INT:
		memcpy(&whole, at, sizeof(whole));
		return PyLong_FromLongLong(whole);
	case FLOAT:
		memcpy(&number, at, sizeof(number));
		return PyFloat_FromDouble(number);
	case NONE:
		Py_RETURN_NONE;
	case TRUE:
		Py_RETURN_TRUE;
	case FALSE:
		Py_RETURN_FALSE;
	case BYTES:
		return PyBytes_FromStringAndSize(at, (Py_ssize_t)(size - 1));
	case STR:
		return PyUnicode_FromStringAndSize(at, (Py_ssize_t)(size - 1));
	case PARTS:
		return load_parts(bytes, parcel);
	default:
		return load_pickle(at, size - 1, NULL);
	}
}

bool message_has_buffers(const void *bytes)
{
	return *(const uint8_t *)bytes == PARTS;
}

static PyObject *set_dump(PyObject *module, PyObject *function)
{
	(void)module;
	Py_XDECREF(dump);
	dump = Py_NewRef(function);
	Py_RETURN_NONE;
}

static PyObject *dump_bare(PyObject *module, PyObject *object)
{
	(void)module;
	if (!is_simple(object))
		Py_RETURN_NONE;
	return PyObject_CallFunctionObjArgs(dumps, object, protocol, NULL);
}

static PyMethodDef functions[] = {
	{ "dump_bare", dump_bare, METH_O,
	  "dump_bare(object): the pickle of some numbers, strings, and tuples, lists and "
	  "dicts of them; None: it has something else" },
	{ "set_dump", set_dump, METH_O,
	  "set_dump(function): function(object) is a pickle, and None or its buffers" },
	{ 0 },
};

int add_message(PyObject *module)
{
	PyObject *pickle = PyImport_ImportModule("pickle");

	if (!pickle)
		return -1;
	loads = PyObject_GetAttrString(pickle, "loads");
	dumps = PyObject_GetAttrString(pickle, "dumps");
	Py_DECREF(pickle);
	protocol = PyLong_FromLong(5);
	buffers_word = PyUnicode_InternFromString("buffers");
	if (!loads || !dumps || !protocol || !buffers_word)
		return -1;
	return PyModule_AddFunctions(module, functions);
}
