/* SPDX-License-Identifier: MIT */
/*
 * Queues. put() copies its message at once, and so no thread feeds a pipe, and a process
 * that ends after a put has put.
 *
 * What the processes share is a box, which each of them keeps; the library's queue is the
 * box's estate (handle.h). A queue that can be joined counts its tasks in one word, under
 * a lock, from before a put on: whoever has taken a task finds it counted. A process that
 * dies between a count and its put, or a get and its task_done(), leaves the count too
 * high, as the standard library's does.
 */
#include "handle.h"
#include "message.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define LARGEST_MAXIMUM 1000000 /* above it there is none, as it would be memory */

struct box {
	tine_queue *queue;
	struct estate *estate;
	uint64_t maximum; /* 0: none */
	bool joinable, simple;
	tine_lock lock; /* over what follows */
	tine_cond all_done;
	uint64_t unfinished;
};

struct queue {
	struct handle handle;
	tine_waiter *waiter; /* of the process maker; NULL: nobody has polled it */
	pid_t maker;
};

/* ---- a message in place, and who uses it ------------------------------------------- */

/*
 * Of an array whose bytes lie in the message that it came in. A child that is forked
 * meanwhile has the array too, and nothing tells how long: then the message stays.
 */
struct parcel {
	PyObject ob_base;
	PyObject *queue;
	const void *bytes;
	size_t len;
	uint64_t forks;
};

static PyTypeObject *parcel_type;

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
	struct parcel *parcel = (struct parcel *)self;

	return PyBuffer_FillInfo(view, self, (void *)parcel->bytes,
				 (Py_ssize_t)parcel->len, 0, flags);
}

static void drop_parcel(PyObject *self)
{
	struct parcel *parcel = (struct parcel *)self;
	struct box *box = ((struct handle *)parcel->queue)->mem;

	if (box && parcel->forks == handle_forks())
		tine_queue_release(box->queue, parcel->bytes);
	Py_DECREF(parcel->queue);
	((freefunc)PyType_GetSlot(parcel_type, Py_tp_free))(self);
	Py_DECREF(parcel_type);
}

static PyType_Slot parcel_slots[] = {
	{ Py_bf_getbuffer, get_buffer },
	{ Py_tp_dealloc, drop_parcel },
	{ Py_tp_doc, "A message, where it lies" },
	{ 0, NULL },
};

static PyType_Spec parcel_spec = {
	.name = "tine._core.Parcel",
	.basicsize = sizeof(struct parcel),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = parcel_slots,
};

/* Of a message that was taken: it is the parcel's, or given back, in any case. */
static PyObject *load_taken(PyObject *self, struct box *box, const void *bytes,
			    size_t len)
{
	struct parcel *parcel = NULL;
	PyObject *object;

	if (len >= LONG_COPY && message_has_buffers(bytes))
		parcel = (struct parcel *)((allocfunc)PyType_GetSlot(
			parcel_type, Py_tp_alloc))(parcel_type, 0);
	if (parcel) {
		parcel->queue = Py_NewRef(self);
		parcel->bytes = bytes;
		parcel->len = len;
		parcel->forks = handle_forks();
	}
	object = message_load(bytes, len, (PyObject *)parcel);
	if (parcel)
		Py_DECREF(parcel);
	else
		tine_queue_release(box->queue, bytes);
	return object;
}

/* ---- queue ------------------------------------------------------------------------- */

static int init_queue(PyObject *self, PyObject *args, PyObject *words)
{
	static char *names[] = { "maxsize", "joinable", "simple", NULL };
	struct handle *handle = (struct handle *)self;
	int joinable = 0, simple = 0, err;
	Py_ssize_t maximum = 0;
	struct box *box;

	if (!PyArg_ParseTupleAndKeywords(args, words, "|npp", names, &maximum, &joinable,
					 &simple) ||
	    handle_init(self, sizeof(*box)) != 0)
		return -1;
	box = handle->mem;
	box->maximum = maximum > 0 && maximum <= LARGEST_MAXIMUM ? (uint64_t)maximum : 0;
	box->joinable = joinable;
	box->simple = simple;
	err = tine_queue_new(&box->queue, 0,
			     &(tine_queue_opts){ .capacity = box->maximum
								     ? box->maximum
								     : TINE_UNBOUNDED,
						 .producers = TINE_OPEN });
	if (err == 0) {
		err = estate_new(handle, ESTATE_QUEUE, box->queue);
		box->estate = handle->estate;
	}
	if (err == 0)
		return 0;
	tine_queue_free(box->queue);
	box->queue = NULL;
	raise_error(err);
	return -1;
}

static PyObject *attach_queue(PyObject *type, PyObject *name)
{
	struct handle *handle = handle_attach((PyTypeObject *)type, name);

	if (handle)
		estate_known(handle, ((struct box *)handle->mem)->estate);
	return (PyObject *)handle;
}

static struct box *open_box(PyObject *self)
{
	struct box *box = handle_mem(self);

	if (!box || !((struct handle *)self)->closed)
		return box;
	if (box->simple)
		PyErr_SetString(PyExc_OSError, "handle is closed");
	else
		PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
	return NULL;
}

/* timed_out: the name of what is raised then, of the module queue. */
static PyObject *raise_queue_error(ssize_t err, const char *timed_out)
{
	PyObject *module, *error;

	if (err == -EINTR && PyErr_Occurred())
		return NULL;
	if (err != -ETIMEDOUT)
		return raise_error((int)err);
	module = PyImport_ImportModule("queue");
	error = module ? PyObject_GetAttrString(module, timed_out) : NULL;
	if (error)
		PyErr_SetNone(error);
	Py_XDECREF(error);
	Py_XDECREF(module);
	return NULL;
}

/* ---- put --------------------------------------------------------------------------- */

struct letter {
	tine_queue *queue;
	void *bytes;
	size_t len;
	bool reserved;
};

static ssize_t send_letter(void *arg, int64_t deadline)
{
	struct letter *letter = arg;

	if (letter->reserved)
		return tine_queue_commit(letter->queue, letter->bytes, letter->len,
					 deadline);
	return tine_queue_put(letter->queue, letter->bytes, letter->len, deadline);
}

static ssize_t reserve_letter(void *arg, int64_t deadline)
{
	struct letter *letter = arg;

	(void)deadline;
	return tine_queue_reserve(letter->queue, letter->len, &letter->bytes);
}

static int send_long(struct box *box, const struct message *message, int64_t deadline)
{
	struct letter letter = { .queue = box->queue,
				 .len = message->size,
				 .reserved = true };
	/* It does not wait, unless a process is stopped in an allocation. */
	ssize_t err = reserve_letter(&letter, TINE_NOWAIT);

	if (err != 0)
		return (int)err;
	if (message->size >= LONG_COPY) {
		Py_BEGIN_ALLOW_THREADS
		message_write(message, letter.bytes);
		Py_END_ALLOW_THREADS
	} else {
		message_write(message, letter.bytes);
	}
	err = attempt_until(send_letter, &letter, deadline);
	if (err != 0)
		tine_queue_release(box->queue, letter.bytes);
	return (int)err;
}

static int send(struct box *box, const struct message *message, int64_t deadline)
{
	char bytes[MESSAGE_SHORT];
	struct letter letter = { .queue = box->queue,
				 .bytes = bytes,
				 .len = message->size };

	if (message->size > sizeof(bytes))
		return send_long(box, message, deadline);
	message_write(message, bytes);
	return (int)attempt_until(send_letter, &letter, deadline);
}

static ssize_t lock_box(void *arg, int64_t deadline)
{
	struct box *box = arg;
	ssize_t err = tine_lock_acquire(&box->lock, deadline);

	/* One word is whole at any time. */
	return err == -EOWNERDEAD ? 0 : err;
}

/* 0, -ERANGE: there are fewer, or as attempt_until(). */
static int count_tasks(struct box *box, int more, int64_t deadline)
{
	ssize_t err = attempt_until(lock_box, box, deadline);
	bool done;

	if (err != 0)
		return (int)err;
	if (more < 0 && box->unfinished == 0) {
		tine_lock_release(&box->lock);
		return -ERANGE;
	}
	box->unfinished += (uint64_t)(int64_t)more;
	done = box->unfinished == 0;
	tine_lock_release(&box->lock);
	if (done)
		tine_cond_wake(&box->all_done, UINT_MAX);
	return 0;
}

/* As the standard library's: what cannot be pickled is reported, and not raised. */
static PyObject *report(PyObject *self, PyObject *object)
{
	PyObject *type, *error, *trace, *result, *before;

	PyErr_Fetch(&type, &error, &trace);
	PyErr_NormalizeException(&type, &error, &trace);
	if (error && trace)
		PyException_SetTraceback(error, trace);
	if (!error || !PyErr_GivenExceptionMatches(type, PyExc_Exception)) {
		PyErr_Restore(type, error, trace);
		return NULL;
	}
	/* For traceback.print_exc(), within. */
	before = PyErr_GetHandledException();
	PyErr_SetHandledException(error);
	result = PyObject_CallMethod(self, "_on_queue_feeder_error", "OO", error, object);
	PyErr_SetHandledException(before);
	Py_XDECREF(before);
	Py_XDECREF(type);
	Py_XDECREF(error);
	Py_XDECREF(trace);
	return result;
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *words)
{
	static const char *const names[] = { "obj", "block", "timeout", NULL };
	PyObject *given[] = { NULL, Py_True, Py_None };
	struct box *box = open_box(self);
	struct message message;
	int64_t deadline;
	int err;

	if (!box || read_args(names, 1, args, n, words, given) != 0 ||
	    read_deadline(given[1], given[2], &deadline) != 0)
		return NULL;
	if (message_of(&message, given[0]) != 0)
		return box->simple ? NULL : report(self, given[0]);
	err = box->joinable ? count_tasks(box, 1, deadline) : 0;
	if (err == 0) {
		err = send(box, &message, deadline);
		if (err != 0 && box->joinable) {
			PyObject *type, *error, *trace;

			PyErr_Fetch(&type, &error, &trace);
			count_tasks(box, -1, TINE_FOREVER);
			PyErr_Restore(type, error, trace);
		}
	}
	message_clear(&message);
	return err ? raise_queue_error(err, "Full") : Py_NewRef(Py_None);
}

/* ---- get --------------------------------------------------------------------------- */

/* A short message is copied, a long one taken where it lies. */
struct catch
{
	tine_queue *queue;
	char bytes[MESSAGE_SHORT];
	const void *taken; /* NULL: it is in bytes */
};

static ssize_t receive(void *arg, int64_t deadline)
{
	struct catch *catch = arg;
	ssize_t len = tine_queue_get(catch->queue, catch->bytes, sizeof(catch->bytes),
				     deadline);

	/* Another process may get the long one, and then this takes a short one. */
	if (len == -EMSGSIZE)
		len = tine_queue_take(catch->queue, &catch->taken, deadline);
	return len;
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *words)
{
	static const char *const names[] = { "block", "timeout", NULL };
	PyObject *given[] = { Py_True, Py_None };
	struct box *box = open_box(self);
	struct catch catch;
	int64_t deadline;
	ssize_t len;

	if (!box || read_args(names, 0, args, n, words, given) != 0 ||
	    read_deadline(given[0], given[1], &deadline) != 0)
		return NULL;
	catch.queue = box->queue;
	catch.taken = NULL;
	len = attempt_until(receive, &catch, deadline);
	if (len <= 0)
		return raise_queue_error(len ? len : -EPIPE, "Empty");
	if (catch.taken)
		return load_taken(self, box, catch.taken, (size_t)len);
	return message_load(catch.bytes, (size_t)len, NULL);
}

/* ---- the rest ---------------------------------------------------------------------- */

static PyObject *qsize(PyObject *self, PyObject *none)
{
	struct box *box = handle_mem(self);

	(void)none;
	return box ? PyLong_FromSize_t(tine_queue_len(box->queue)) : NULL;
}

/* The length counts also what a putter that died has left open. */
static bool has_message(struct box *box)
{
	char none;

	return tine_queue_get(box->queue, &none, 0, TINE_NOWAIT) == -EMSGSIZE;
}

static PyObject *is_empty(PyObject *self, PyObject *none)
{
	struct box *box = handle_mem(self);

	(void)none;
	if (!box)
		return NULL;
	if (((struct handle *)self)->closed) {
		PyErr_SetString(PyExc_OSError, "handle is closed");
		return NULL;
	}
	return PyBool_FromLong(tine_queue_len(box->queue) == 0 || !has_message(box));
}

static PyObject *is_full(PyObject *self, PyObject *none)
{
	struct box *box = handle_mem(self);

	(void)none;
	if (!box)
		return NULL;
	return PyBool_FromLong(box->maximum &&
			       tine_queue_len(box->queue) >= box->maximum);
}

static PyObject *close_queue(PyObject *self, PyObject *none)
{
	(void)none;
	((struct handle *)self)->closed = true;
	Py_RETURN_NONE;
}

static PyObject *is_closed(PyObject *self, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct handle *)self)->closed);
}

static PyObject *task_done(PyObject *self, PyObject *none)
{
	struct box *box = handle_mem(self);
	int err;

	(void)none;
	if (!box)
		return NULL;
	err = count_tasks(box, -1, TINE_FOREVER);
	if (err == 0)
		Py_RETURN_NONE;
	if (err != -ERANGE)
		return raise_queue_error(err, "Full");
	PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
	return NULL;
}

static ssize_t wait_done(void *arg, int64_t deadline)
{
	struct box *box = arg;
	ssize_t err = lock_box(box, deadline);

	if (err != 0)
		return err;
	while (box->unfinished > 0 && err == 0) {
		err = tine_cond_wait(&box->all_done, &box->lock, deadline);
		if (err == -EOWNERDEAD)
			err = 0;
	}
	if (box->unfinished == 0)
		err = 0;
	tine_lock_release(&box->lock);
	return err;
}

static PyObject *join_queue(PyObject *self, PyObject *none)
{
	struct box *box = handle_mem(self);
	ssize_t err;

	(void)none;
	if (!box)
		return NULL;
	err = attempt_until(wait_done, box, TINE_FOREVER);
	return err ? raise_queue_error(err, "Full") : Py_NewRef(Py_None);
}

/* For a poll: readable when there is a message, or was since this call. */
static PyObject *arm(PyObject *self, PyObject *none)
{
	struct queue *queue = (struct queue *)self;
	struct box *box = open_box(self);
	int err = 0;

	(void)none;
	if (!box)
		return NULL;
	if (queue->waiter && queue->maker != getpid()) {
		tine_waiter_free(queue->waiter);
		queue->waiter = NULL;
	}
	if (!queue->waiter) {
		err = tine_waiter_new(&queue->waiter);
		queue->maker = getpid();
	}
	if (err == 0) {
		Py_BEGIN_ALLOW_THREADS
		err = tine_waiter_arm_items(queue->waiter, box->queue);
		Py_END_ALLOW_THREADS
	}
	return err ? raise_error(err) : PyLong_FromLong(tine_waiter_fd(queue->waiter));
}

static void drop_queue(PyObject *self)
{
	tine_waiter_free(((struct queue *)self)->waiter);
	handle_dealloc(self);
}

static PyMethodDef queue_methods[] = {
	{ "arm", arm, METH_NOARGS, "arm(): a descriptor that polls readable" },
	{ "attach", attach_queue, METH_O | METH_CLASS,
	  "attach(name): the queue so named" },
	{ "name", handle_name, METH_NOARGS, "name(): for attach(), in any process" },
	{ "put", (PyCFunction)(void (*)(void))put, METH_FASTCALL | METH_KEYWORDS,
	  "put(obj, block=True, timeout=None)" },
	{ "get", (PyCFunction)(void (*)(void))get, METH_FASTCALL | METH_KEYWORDS,
	  "get(block=True, timeout=None)" },
	{ "qsize", qsize, METH_NOARGS, "qsize(): the messages that wait" },
	{ "empty", is_empty, METH_NOARGS, "empty()" },
	{ "full", is_full, METH_NOARGS, "full()" },
	{ "close", close_queue, METH_NOARGS, "close(): this process uses it no more" },
	{ "_task_done", task_done, METH_NOARGS, "of what get() returned" },
	{ "_join", join_queue, METH_NOARGS, "waits until all tasks are done" },
	{ 0 },
};

static PyGetSetDef queue_members[] = {
	{ "_closed", is_closed, NULL, "whether close() was called", NULL },
	{ 0 },
};

static PyType_Slot queue_slots[] = {
	{ Py_tp_init, init_queue },
	{ Py_tp_dealloc, drop_queue },
	{ Py_tp_methods, queue_methods },
	{ Py_tp_getset, queue_members },
	{ Py_tp_doc, "Queue(maxsize=0, joinable=False, simple=False)" },
	{ 0, NULL },
};

static PyType_Spec queue_spec = {
	.name = "tine._core.Queue",
	.basicsize = sizeof(struct queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = queue_slots,
};

int add_queue(PyObject *module)
{
	parcel_type = (PyTypeObject *)PyType_FromSpec(&parcel_spec);
	return parcel_type ? add_type(module, &queue_spec, "Queue") : -1;
}
