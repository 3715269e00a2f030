/* SPDX-License-Identifier: MIT */
/*
 * The cache on disk: bytes under keys of bytes. A value is where the cache has it, and is
 * given back when the last who looks at it is gone: arrays are made of it without a copy.
 * It keeps the handle of the cache alive.
 */
#include "core.h"

#include <errno.h>
#include <string.h>

/* While another process computes: for a signal that comes just before a sleep. */
#define WAIT_SLICE_MS 1000

struct cache {
	PyObject ob_base;
	tine_cache *cache;
};

struct value {
	PyObject ob_base;
	struct cache *of;
	const void *bytes;
	size_t len;
};

struct flight {
	PyObject ob_base;
	struct cache *of;
	tine_flight *flight;
};

static PyTypeObject *value_type, *flight_type;

static PyObject *alloc(PyTypeObject *type)
{
	return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

static void release_object(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* ---- a value ----------------------------------------------------------------------- */

static PyObject *new_value(struct cache *cache, const void *bytes, size_t len)
{
	struct value *value = (struct value *)alloc(value_type);

	if (!value) {
		tine_cache_release(cache->cache, bytes);
		return NULL;
	}
	value->of = (struct cache *)Py_NewRef((PyObject *)cache);
	value->bytes = bytes;
	value->len = len;
	return (PyObject *)value;
}

static void drop_value(PyObject *self)
{
	struct value *value = (struct value *)self;

	if (value->of)
		tine_cache_release(value->of->cache, value->bytes);
	Py_XDECREF((PyObject *)value->of);
	release_object(self);
}

static int look_at_value(PyObject *self, Py_buffer *view, int flags)
{
	struct value *value = (struct value *)self;

	return PyBuffer_FillInfo(view, self, (void *)value->bytes, (Py_ssize_t)value->len,
				 1, flags);
}

static PyType_Slot value_slots[] = {
	{ Py_tp_dealloc, drop_value },
	{ Py_bf_getbuffer, look_at_value },
	{ Py_tp_doc, "The bytes of an entry, where the cache has them" },
	{ 0, NULL },
};

static PyType_Spec value_spec = {
	.name = "tine._core.CacheValue",
	.basicsize = sizeof(struct value),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = value_slots,
};

/* ---- a flight ---------------------------------------------------------------------- */

static PyObject *new_flight(struct cache *cache, tine_flight *begun)
{
	struct flight *flight = (struct flight *)alloc(flight_type);

	if (!flight) {
		tine_flight_free(begun);
		return NULL;
	}
	flight->of = (struct cache *)Py_NewRef((PyObject *)cache);
	flight->flight = begun;
	return (PyObject *)flight;
}

static tine_flight *end_of(PyObject *self)
{
	struct flight *flight = (struct flight *)self;
	tine_flight *begun = flight->flight;

	flight->flight = NULL;
	return begun;
}

static void drop_flight(PyObject *self)
{
	tine_flight_free(end_of(self));
	Py_XDECREF((PyObject *)((struct flight *)self)->of);
	release_object(self);
}

static PyObject *finish_flight(PyObject *self, PyObject *args)
{
	tine_flight *begun;
	long long age_ms = 0;
	Py_buffer bytes;
	int err = 0;

	if (!PyArg_ParseTuple(args, "y*|L", &bytes, &age_ms))
		return NULL;
	begun = end_of(self);
	if (begun) {
		Py_BEGIN_ALLOW_THREADS
		err = tine_flight_finish(begun, bytes.buf, (size_t)bytes.len, age_ms);
		Py_END_ALLOW_THREADS
	}
	PyBuffer_Release(&bytes);
	if (err == -EINVAL)
		tine_flight_free(begun);
	return err ? raise_error(err) : Py_NewRef(Py_None);
}

static PyObject *cancel_flight(PyObject *self, PyObject *none)
{
	(void)none;
	tine_flight_free(end_of(self));
	Py_RETURN_NONE;
}

static PyMethodDef flight_methods[] = {
	{ "finish", finish_flight, METH_VARARGS,
	  "finish(bytes, age_ms=0): keeps the value, for those who wait as well" },
	{ "cancel", cancel_flight, METH_NOARGS,
	  "cancel(): there is no value; the next who asks computes it" },
	{ 0 },
};

static PyType_Slot flight_slots[] = {
	{ Py_tp_dealloc, drop_flight },
	{ Py_tp_methods, flight_methods },
	{ Py_tp_doc, "A value that this process is to compute" },
	{ 0, NULL },
};

static PyType_Spec flight_spec = {
	.name = "tine._core.CacheFlight",
	.basicsize = sizeof(struct flight),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = flight_slots,
};

/* ---- the cache --------------------------------------------------------------------- */

/* With the folder, as of open(). */
static void raise_error_of(int err, PyObject *path)
{
	PyObject *name = PyUnicode_DecodeFSDefault(PyBytes_AsString(path));
	PyObject *args = name ? Py_BuildValue("isO", -err, tine_strerror(err), name)
			      : NULL;

	if (args)
		PyErr_SetObject(PyExc_OSError, args);
	Py_XDECREF(args);
	Py_XDECREF(name);
}

static PyObject *new_cache(PyTypeObject *type, PyObject *args, PyObject *words)
{
	static char *names[] = { "dir",	     "max_bytes", "max_age_ms",
				 "existing", "shared",	  NULL };
	unsigned long long max_bytes = 0;
	long long max_age_ms = 0;
	int existing = 0, shared = 0, err;
	PyObject *dir = NULL;
	struct cache *cache;

	if (!PyArg_ParseTupleAndKeywords(args, words, "O&|KLpp", names,
					 PyUnicode_FSConverter, &dir, &max_bytes,
					 &max_age_ms, &existing, &shared))
		return NULL;
	cache = (struct cache *)alloc(type);
	if (!cache) {
		Py_DECREF(dir);
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	err = tine_cache_open(&cache->cache, PyBytes_AsString(dir),
			      &(tine_cache_opts){ .max_bytes = max_bytes,
						  .max_age_ms = max_age_ms,
						  .existing = existing,
						  .shared = shared });
	Py_END_ALLOW_THREADS
	if (err < 0) {
		Py_DECREF((PyObject *)cache);
		raise_error_of(err, dir);
		cache = NULL;
	}
	Py_DECREF(dir);
	return (PyObject *)cache;
}

static void drop_cache(PyObject *self)
{
	tine_cache_free(((struct cache *)self)->cache);
	release_object(self);
}

static PyObject *get_value(PyObject *self, PyObject *arg)
{
	struct cache *cache = (struct cache *)self;
	const void *bytes;
	size_t len;
	Py_buffer key;
	int err;

	if (PyObject_GetBuffer(arg, &key, PyBUF_SIMPLE) != 0)
		return NULL;
	err = tine_cache_get(cache->cache, key.buf, (size_t)key.len, &bytes, &len);
	PyBuffer_Release(&key);
	if (err == -ENOENT)
		Py_RETURN_NONE;
	return err ? raise_error(err) : new_value(cache, bytes, len);
}

static PyObject *put_value(PyObject *self, PyObject *args)
{
	struct cache *cache = (struct cache *)self;
	long long age_ms = 0;
	Py_buffer key, bytes;
	int err;

	if (!PyArg_ParseTuple(args, "y*y*|L", &key, &bytes, &age_ms))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = tine_cache_put_for(cache->cache, key.buf, (size_t)key.len, bytes.buf,
				 (size_t)bytes.len, age_ms);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&key);
	PyBuffer_Release(&bytes);
	return err ? raise_error(err) : Py_NewRef(Py_None);
}

/* Waits in slices, for Ctrl-C. */
static PyObject *begin_value(PyObject *self, PyObject *arg)
{
	struct cache *cache = (struct cache *)self;
	tine_flight *flight;
	const void *bytes;
	size_t len;
	Py_buffer key;
	int err;

	if (PyObject_GetBuffer(arg, &key, PyBUF_SIMPLE) != 0)
		return NULL;
	do {
		bool was;

		Py_BEGIN_ALLOW_THREADS
		was = tine_interruptible(true);
		err = tine_cache_begin(cache->cache, key.buf, (size_t)key.len, &bytes,
				       &len, &flight, tine_after(WAIT_SLICE_MS));
		tine_interruptible(was);
		Py_END_ALLOW_THREADS
	} while ((err == -EINTR || err == -ETIMEDOUT) && PyErr_CheckSignals() == 0);
	PyBuffer_Release(&key);
	if (PyErr_Occurred())
		return NULL;
	if (err < 0)
		return raise_error(err);
	return err == 1 ? new_value(cache, bytes, len) : new_flight(cache, flight);
}

static PyObject *del_entries(PyObject *self, PyObject *args)
{
	struct cache *cache = (struct cache *)self;
	int prefix = 0, err;
	Py_buffer key;

	if (!PyArg_ParseTuple(args, "y*|p", &key, &prefix))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	err = (prefix ? tine_cache_del_prefix : tine_cache_del)(cache->cache, key.buf,
								(size_t)key.len);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&key);
	if (err && err != -ENOENT)
		return raise_error(err);
	return PyBool_FromLong(err == 0);
}

static int add_entry(void *arg, const tine_cache_entry *entry)
{
	PyObject *item;
	int err;

	if (entry->task)
		return 0;
	item = Py_BuildValue("y#nLL", entry->key, (Py_ssize_t)entry->len,
			     (Py_ssize_t)entry->val_len, (long long)entry->born,
			     (long long)entry->used);
	if (!item)
		return 1;
	err = PyList_Append(arg, item);
	Py_DECREF(item);
	return err ? 1 : 0;
}

static PyObject *list_entries(PyObject *self, PyObject *none)
{
	PyObject *list = PyList_New(0);
	int err;

	(void)none;
	if (!list)
		return NULL;
	err = tine_cache_list(((struct cache *)self)->cache, add_entry, list);
	if (err == 0)
		return list;
	Py_DECREF(list);
	return err < 0 ? raise_error(err) : NULL;
}

static PyObject *count_entries(PyObject *self, PyObject *none)
{
	tine_cache_stats stats;
	int err = tine_cache_stat(((struct cache *)self)->cache, &stats);

	(void)none;
	if (err)
		return raise_error(err);
	return Py_BuildValue("{sKsKsKsKsKsK}", "entries",
			     (unsigned long long)stats.entries, "bytes",
			     (unsigned long long)stats.bytes, "max_bytes",
			     (unsigned long long)stats.max_bytes, "hits",
			     (unsigned long long)stats.hits, "misses",
			     (unsigned long long)stats.misses, "evictions",
			     (unsigned long long)stats.evictions);
}

static PyMethodDef cache_methods[] = {
	{ "get", get_value, METH_O, "get(key): the bytes, or None" },
	{ "put", put_value, METH_VARARGS, "put(key, bytes, age_ms=0)" },
	{ "begin", begin_value, METH_O,
	  "begin(key): the bytes, or a CacheFlight: this caller is to compute them" },
	{ "delete", del_entries, METH_VARARGS, "delete(key, prefix=False)" },
	{ "list", list_entries, METH_NOARGS, "list(): [(key, length, born, used)]" },
	{ "stat", count_entries, METH_NOARGS, "stat(): numbers of the cache" },
	{ 0 },
};

static PyType_Slot cache_slots[] = {
	{ Py_tp_new, new_cache },
	{ Py_tp_dealloc, drop_cache },
	{ Py_tp_methods, cache_methods },
	{ Py_tp_doc,
	  "Cache(dir, max_bytes=0, max_age_ms=0, existing=False, shared=False)" },
	{ 0, NULL },
};

static PyType_Spec cache_spec = {
	.name = "tine._core.Cache",
	.basicsize = sizeof(struct cache),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = cache_slots,
};

int add_cache(PyObject *module)
{
	value_type = (PyTypeObject *)PyType_FromSpec(&value_spec);
	flight_type = (PyTypeObject *)PyType_FromSpec(&flight_spec);
	if (!value_type || !flight_type ||
	    PyModule_AddObjectRef(module, "CacheFlight", (PyObject *)flight_type) != 0)
		return -1;
	return add_type(module, &cache_spec, "Cache");
}
