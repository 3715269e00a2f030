/* SPDX-License-Identifier: MIT */
/*
 * Locks, semaphores, events, and what conditions and values are made of.
 *
 * A condition of any lock is a gate: who waits draws a number at it, leaves the lock, and
 * goes in by a pass. notify() hands out passes, at most as many as wait, for the numbers
 * that were drawn by then: one who comes later, perhaps again and again, takes none from
 * those who wait. Numbers and counts are under a lock of the gate's own, that is held for
 * no call that sleeps.
 *
 *	a waiter dies		it stays counted: one pass too many may be handed out, by
 *				which a later one goes in without a notify, as it may
 *	a notifier dies		before the passes are written nobody was notified; after
 *				it, sleepers see them at the next wake
 *	the gate's lock's holder the next one has it; each word is whole at any time
 *	  dies
 */
#include "handle.h"
#include "message.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* ---- locks and semaphores ---------------------------------------------------------- */

enum { MUTEX, SEMAPHORE, BOUNDED, RECURSIVE };

struct padlock {
	tine_sem sem;
	tine_lock lock;
	int kind;
	unsigned bound;
};

/* As the standard library's locks raise, and as those of its managers do. */
static PyObject *too_often, *not_owned;

static int init_padlock(struct padlock *padlock, int kind, unsigned value)
{
	int err;

	padlock->kind = kind;
	padlock->bound = value;
	switch (kind) {
	case RECURSIVE:
		return tine_lock_init(&padlock->lock,
				      &(tine_lock_opts){ .recursive = true });
	case MUTEX:
		return tine_sem_init(&padlock->sem, &(tine_sem_opts){ .mutex = true });
	default:
		err = tine_sem_init(
			&padlock->sem,
			&(tine_sem_opts){ .max = kind == BOUNDED ? value : 0 });
		return err || value == 0 ? err : tine_sem_post(&padlock->sem, value);
	}
}

static int open_padlock(PyObject *self, PyObject *args, PyObject *words)
{
	long long value = 0;
	int kind, err;

	if (words || !PyArg_ParseTuple(args, "i|L", &kind, &value))
		return -1;
	if (value < 0 || value > INT_MAX) {
		PyErr_SetString(PyExc_ValueError,
				"the value of a semaphore is 0 or more");
		return -1;
	}
	if (handle_init(self, sizeof(struct padlock)) != 0)
		return -1;
	err = init_padlock(handle_mem(self), kind, (unsigned)value);
	if (err != 0)
		raise_error(err);
	return err ? -1 : 0;
}

static ssize_t try_padlock(void *arg, int64_t deadline)
{
	struct padlock *padlock = arg;

	return padlock->kind == RECURSIVE ? tine_lock_acquire(&padlock->lock, deadline)
					  : tine_sem_wait(&padlock->sem, deadline);
}

/* A recursive lock that this thread has is counted here alone. */
static bool is_held_again(const struct handle *handle)
{
	const struct padlock *padlock = handle->mem;

	return padlock->kind == RECURSIVE && handle->count > 0 &&
	       handle->thread == PyThread_get_thread_ident();
}

static PyObject *take_padlock(PyObject *self, int64_t deadline)
{
	struct handle *handle = (struct handle *)self;
	ssize_t err;

	if (!handle_mem(self))
		return NULL;
	if (is_held_again(handle)) {
		handle->count++;
		Py_RETURN_TRUE;
	}
	err = attempt_until(try_padlock, handle->mem, deadline);
	if (err == -EINTR && PyErr_Occurred())
		return NULL;
	if (err == -ETIMEDOUT)
		Py_RETURN_FALSE;
	if (err != 0 && err != -EOWNERDEAD)
		return raise_error((int)err);
	if (err == -EOWNERDEAD)
		handle->owner_died = true;
	handle->count++;
	handle->thread = PyThread_get_thread_ident();
	Py_RETURN_TRUE;
}

static PyObject *acquire(PyObject *self, PyObject *const *args, Py_ssize_t n,
			 PyObject *words)
{
	static const char *const names[] = { "block", "timeout", NULL };
	PyObject *given[] = { Py_True, Py_None };
	int64_t deadline = TINE_FOREVER;

	if ((n > 0 || words) && (read_args(names, 0, args, n, words, given) != 0 ||
				 read_deadline(given[0], given[1], &deadline) != 0))
		return NULL;
	return take_padlock(self, deadline);
}

static PyObject *enter(PyObject *self, PyObject *none)
{
	(void)none;
	return take_padlock(self, TINE_FOREVER);
}

/* 0, or -1 with an exception. */
static int leave_padlock(struct padlock *padlock)
{
	int err;

	if (padlock->kind == RECURSIVE) {
		err = tine_lock_release(&padlock->lock);
		if (err == 0)
			return 0;
		PyErr_SetString(not_owned, "attempt to release recursive lock not owned "
					   "by thread");
		return -1;
	}
	err = padlock->kind == BOUNDED && padlock->bound == 0
		      ? -EOVERFLOW
		      : tine_sem_post(&padlock->sem, 1);
	if (err == 0)
		return 0;
	if (err == -EPERM || err == -EOVERFLOW)
		PyErr_SetString(too_often, "semaphore or lock released too many times");
	else
		raise_error(err);
	return -1;
}

static PyObject *release(PyObject *self, PyObject *none)
{
	struct handle *handle = (struct handle *)self;

	(void)none;
	if (!handle_mem(self))
		return NULL;
	if (handle->count > 1 && is_held_again(handle)) {
		handle->count--;
		Py_RETURN_NONE;
	}
	if (leave_padlock(handle->mem) != 0)
		return NULL;
	if (handle->count > 0)
		handle->count--;
	Py_RETURN_NONE;
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
	(void)args;
	(void)n;
	return release(self, NULL);
}

static PyObject *count(PyObject *self, PyObject *none)
{
	(void)none;
	return PyLong_FromUnsignedLong(((struct handle *)self)->count);
}

static PyObject *is_mine(PyObject *self, PyObject *none)
{
	struct handle *handle = (struct handle *)self;

	(void)none;
	return PyBool_FromLong(handle->count > 0 &&
			       handle->thread == PyThread_get_thread_ident());
}

static PyObject *get_value(PyObject *self, PyObject *none)
{
	struct padlock *padlock = handle_mem(self);

	(void)none;
	return padlock ? PyLong_FromLong(tine_sem_value(&padlock->sem)) : NULL;
}

static PyObject *get_owner_died(PyObject *self, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct handle *)self)->owner_died);
}

static PyMethodDef padlock_methods[] = {
	HANDLE_METHODS,
	{ "acquire", (PyCFunction)(void (*)(void))acquire, METH_FASTCALL | METH_KEYWORDS,
	  "acquire(block=True, timeout=None): whether it was acquired" },
	{ "release", release, METH_NOARGS, "release()" },
	{ "__enter__", enter, METH_NOARGS, "" },
	{ "__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, "" },
	{ "_count", count, METH_NOARGS, "how often this process has acquired it" },
	{ "_is_mine", is_mine, METH_NOARGS, "whether this thread did" },
	{ "get_value", get_value, METH_NOARGS, "get_value(): of a semaphore, now" },
	{ 0 },
};

static PyGetSetDef padlock_members[] = {
	{ "owner_died", get_owner_died, NULL,
	  "whether an acquire() here has found that a holder had died", NULL },
	{ 0 },
};

static PyType_Slot padlock_slots[] = {
	{ Py_tp_init, open_padlock },	      { Py_tp_dealloc, handle_dealloc },
	{ Py_tp_methods, padlock_methods },   { Py_tp_getset, padlock_members },
	{ Py_tp_doc, "Lock(kind, value=0)" }, { 0, NULL },
};

static PyType_Spec padlock_spec = {
	.name = "tine._core.Lock",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = padlock_slots,
};

/* ---- event ------------------------------------------------------------------------- */

static int init_event(PyObject *self, PyObject *args, PyObject *words)
{
	return words || !PyArg_ParseTuple(args, "")
		       ? -1
		       : handle_init(self, sizeof(tine_event));
}

static PyObject *is_set(PyObject *self, PyObject *none)
{
	tine_event *event = handle_mem(self);

	(void)none;
	return event ? PyBool_FromLong(tine_event_is_set(event)) : NULL;
}

static PyObject *set(PyObject *self, PyObject *none)
{
	tine_event *event = handle_mem(self);

	(void)none;
	if (!event)
		return NULL;
	tine_event_set(event);
	Py_RETURN_NONE;
}

static PyObject *clear(PyObject *self, PyObject *none)
{
	tine_event *event = handle_mem(self);

	(void)none;
	if (!event)
		return NULL;
	tine_event_clear(event);
	Py_RETURN_NONE;
}

static ssize_t try_event(void *event, int64_t deadline)
{
	return tine_event_wait(event, deadline);
}

/* True, False: the deadline has passed, or NULL. */
static PyObject *wait_for(attempt_fn *attempt, void *arg, PyObject *const *args,
			  Py_ssize_t n, PyObject *words)
{
	static const char *const names[] = { "timeout", NULL };
	PyObject *given[] = { Py_None };
	int64_t deadline;
	ssize_t err;

	if (!arg || read_args(names, 0, args, n, words, given) != 0 ||
	    read_deadline(Py_True, given[0], &deadline) != 0)
		return NULL;
	err = attempt_until(attempt, arg, deadline);
	if (err == -EINTR && PyErr_Occurred())
		return NULL;
	if (err != 0 && err != -ETIMEDOUT)
		return raise_error((int)err);
	return PyBool_FromLong(err == 0);
}

static PyObject *wait_event(PyObject *self, PyObject *const *args, Py_ssize_t n,
			    PyObject *words)
{
	return wait_for(try_event, handle_mem(self), args, n, words);
}

static PyMethodDef event_methods[] = {
	HANDLE_METHODS,
	{ "is_set", is_set, METH_NOARGS, "is_set()" },
	{ "set", set, METH_NOARGS, "set()" },
	{ "clear", clear, METH_NOARGS, "clear()" },
	{ "wait", (PyCFunction)(void (*)(void))wait_event, METH_FASTCALL | METH_KEYWORDS,
	  "wait(timeout=None): whether it was set" },
	{ 0 },
};

static PyType_Slot event_slots[] = {
	{ Py_tp_init, init_event },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_tp_methods, event_methods },
	{ Py_tp_doc, "Event()" },
	{ 0, NULL },
};

static PyType_Spec event_spec = {
	.name = "tine._core.Event",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = event_slots,
};

/* ---- gate -------------------------------------------------------------------------- */

struct gate {
	tine_lock lock;
	tine_cond passed;
	uint32_t waiting, passes;
	uint64_t drawn, last; /* last: that passes are for */
};

static int init_gate(PyObject *self, PyObject *args, PyObject *words)
{
	return words || !PyArg_ParseTuple(args, "")
		       ? -1
		       : handle_init(self, sizeof(struct gate));
}

static ssize_t lock_gate(void *arg, int64_t deadline)
{
	struct gate *gate = arg;
	ssize_t err = tine_lock_acquire(&gate->lock, deadline);

	return err == -EOWNERDEAD ? 0 : err;
}

static struct gate *locked_gate(PyObject *self)
{
	struct gate *gate = handle_mem(self);
	ssize_t err = gate ? attempt_until(lock_gate, gate, TINE_FOREVER) : 0;

	if (err == 0)
		return gate;
	if (!PyErr_Occurred())
		raise_error((int)err);
	return NULL;
}

static PyObject *queue_up(PyObject *self, PyObject *none)
{
	struct gate *gate = locked_gate(self);
	uint64_t number;

	(void)none;
	if (!gate)
		return NULL;
	gate->waiting++;
	number = ++gate->drawn;
	tine_lock_release(&gate->lock);
	return PyLong_FromUnsignedLongLong(number);
}

/* One that goes in, or away. With the lock. */
static void count_out(struct gate *gate)
{
	if (gate->waiting > 0)
		gate->waiting--;
	if (gate->passes > gate->waiting)
		gate->passes = gate->waiting;
}

struct visitor {
	struct gate *gate;
	uint64_t number;
};

static bool may_pass(const struct visitor *visitor)
{
	return visitor->gate->passes > 0 && visitor->number <= visitor->gate->last;
}

static ssize_t go_in(void *arg, int64_t deadline)
{
	struct visitor *visitor = arg;
	struct gate *gate = visitor->gate;
	ssize_t err = lock_gate(gate, deadline);

	if (err != 0)
		return err;
	while (!may_pass(visitor) && (err == 0 || err == -EOWNERDEAD))
		err = tine_cond_wait(&gate->passed, &gate->lock, deadline);
	if (may_pass(visitor)) {
		gate->passes--;
		count_out(gate);
		err = 0;
	}
	tine_lock_release(&gate->lock);
	return err;
}

static PyObject *wait_gate(PyObject *self, PyObject *const *args, Py_ssize_t n,
			   PyObject *words)
{
	struct visitor visitor = { .gate = handle_mem(self) };
	PyObject *went = NULL, *type, *error, *trace;

	if (!visitor.gate)
		return NULL;
	if (n < 1 || (visitor.number = PyLong_AsUnsignedLongLong(args[0])) == 0)
		PyErr_SetString(PyExc_TypeError, "there is no number");
	else
		went = wait_for(go_in, &visitor, args + 1, n - 1, words);
	if (went == Py_True)
		return went;
	PyErr_Fetch(&type, &error, &trace);
	if (tine_lock_acquire(&visitor.gate->lock, tine_after(100)) != -ETIMEDOUT) {
		count_out(visitor.gate);
		tine_lock_release(&visitor.gate->lock);
	}
	PyErr_Restore(type, error, trace);
	return went;
}

static PyObject *notify(PyObject *self, PyObject *number)
{
	long long n = PyLong_AsLongLong(number);
	struct gate *gate;
	uint32_t more;

	if ((n == -1 && PyErr_Occurred()) || !(gate = locked_gate(self)))
		return NULL;
	more = gate->waiting - gate->passes;
	if (n < more)
		more = n > 0 ? (uint32_t)n : 0;
	gate->passes += more;
	gate->last = gate->drawn;
	tine_lock_release(&gate->lock);
	/* All, as those whose number is too high may sleep before the others. */
	if (more > 0)
		tine_cond_wake(&gate->passed, UINT_MAX);
	Py_RETURN_NONE;
}

static PyObject *waiting(PyObject *self, PyObject *none)
{
	struct gate *gate = handle_mem(self);

	(void)none;
	return gate ? PyLong_FromUnsignedLong(gate->waiting - gate->passes) : NULL;
}

static PyMethodDef gate_methods[] = {
	HANDLE_METHODS,
	{ "queue_up", queue_up, METH_NOARGS,
	  "queue_up(): a number for wait(), with the lock" },
	{ "wait", (PyCFunction)(void (*)(void))wait_gate, METH_FASTCALL | METH_KEYWORDS,
	  "wait(number, timeout=None): whether it was let in" },
	{ "notify", notify, METH_O, "notify(n): lets n in" },
	{ "waiting", waiting, METH_NOARGS, "waiting(): who waits" },
	{ 0 },
};

static PyType_Slot gate_slots[] = {
	{ Py_tp_init, init_gate },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_tp_methods, gate_methods },
	{ Py_tp_doc, "Gate(): a condition, without its lock" },
	{ 0, NULL },
};

static PyType_Spec gate_spec = {
	.name = "tine._core.Gate",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = gate_slots,
};

/* ---- cell -------------------------------------------------------------------------- */

/*
 * One object of any kind, as a manager's Value has it. A long one lies in a block, which
 * is the cell's estate. Who dies between making a block and its exchange loses it to the
 * family.
 */
struct cell {
	tine_lock lock;
	struct estate *estate;
	size_t len; /* 0: in the block */
	size_t long_len;
	char bytes[MESSAGE_SHORT];
};

static int init_cell(PyObject *self, PyObject *args, PyObject *words)
{
	struct handle *handle = (struct handle *)self;
	struct cell *cell;
	int err;

	if (words || !PyArg_ParseTuple(args, "") || handle_init(self, sizeof(*cell)) != 0)
		return -1;
	cell = handle->mem;
	err = estate_new(handle, ESTATE_BLOCK, NULL);
	cell->estate = handle->estate;
	if (err != 0)
		raise_error(err);
	return err ? -1 : 0;
}

static PyObject *attach_cell(PyObject *type, PyObject *name)
{
	struct handle *handle = handle_attach((PyTypeObject *)type, name);

	if (handle)
		estate_known(handle, ((struct cell *)handle->mem)->estate);
	return (PyObject *)handle;
}

static ssize_t lock_cell(void *arg, int64_t deadline)
{
	struct cell *cell = arg;
	ssize_t err = tine_lock_acquire(&cell->lock, deadline);

	return err == -EOWNERDEAD ? 0 : err;
}

static bool locked_cell(struct cell *cell)
{
	ssize_t err = attempt_until(lock_cell, cell, TINE_FOREVER);

	if (err != 0 && !PyErr_Occurred())
		raise_error((int)err);
	return err == 0;
}

static PyObject *set_cell(PyObject *self, PyObject *object)
{
	struct cell *cell = handle_mem(self);
	struct message message;
	void *block = NULL;

	if (!cell || message_of(&message, object) != 0)
		return NULL;
	if (message.size > sizeof(cell->bytes)) {
		block = tine_shared_raw(message.size);
		if (block)
			message_write(&message, block);
		else
			PyErr_NoMemory();
	}
	if (PyErr_Occurred() || !locked_cell(cell)) {
		tine_shared_free(block);
		message_clear(&message);
		return NULL;
	}
	/* A holder that dies on the way leaves the one or the other, or none. */
	cell->len = 0;
	cell->long_len = 0;
	block = estate_swap(cell->estate, block);
	if (message.size > sizeof(cell->bytes)) {
		cell->long_len = message.size;
	} else {
		message_write(&message, cell->bytes);
		cell->len = message.size;
	}
	tine_lock_release(&cell->lock);
	tine_shared_free(block);
	message_clear(&message);
	Py_RETURN_NONE;
}

static PyObject *get_cell(PyObject *self, PyObject *none)
{
	struct cell *cell = handle_mem(self);
	char bytes[MESSAGE_SHORT];
	PyObject *object;
	void *copy = NULL;
	size_t len;

	(void)none;
	if (!cell || !locked_cell(cell))
		return NULL;
	len = cell->len ? cell->len : cell->long_len;
	if (cell->len)
		memcpy(bytes, cell->bytes, len);
	else if (len && (copy = PyMem_Malloc(len)))
		memcpy(copy, estate_thing(cell->estate), len);
	tine_lock_release(&cell->lock);
	if (!len)
		Py_RETURN_NONE;
	if (len > sizeof(bytes) && !copy)
		return PyErr_NoMemory();
	object = message_load(copy ? copy : bytes, len, NULL);
	PyMem_Free(copy);
	return object;
}

static PyMethodDef cell_methods[] = {
	{ "attach", attach_cell, METH_O | METH_CLASS, "attach(name): the cell so named" },
	{ "name", handle_name, METH_NOARGS, "name(): for attach(), in any process" },
	{ "get", get_cell, METH_NOARGS, "get(): what was set last, or None" },
	{ "set", set_cell, METH_O, "set(object)" },
	{ 0 },
};

static PyType_Slot cell_slots[] = {
	{ Py_tp_init, init_cell },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_tp_methods, cell_methods },
	{ Py_tp_doc, "Cell(): any object" },
	{ 0, NULL },
};

static PyType_Spec cell_spec = {
	.name = "tine._core.Cell",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = cell_slots,
};

static PyObject *error_of_both(const char *name, PyObject *one, PyObject *other)
{
	PyObject *bases = PyTuple_Pack(2, one, other);
	PyObject *made = bases ? PyErr_NewException(name, bases, NULL) : NULL;

	Py_XDECREF(bases);
	return made;
}

int add_sync(PyObject *module)
{
	too_often = error_of_both("tine._core.ReleaseError", PyExc_ValueError,
				  PyExc_RuntimeError);
	not_owned = error_of_both("tine._core.OwnerError", PyExc_AssertionError,
				  PyExc_RuntimeError);
	if (!too_often || !not_owned)
		return -1;
	if (PyModule_AddIntConstant(module, "MUTEX", MUTEX) != 0 ||
	    PyModule_AddIntConstant(module, "SEMAPHORE", SEMAPHORE) != 0 ||
	    PyModule_AddIntConstant(module, "BOUNDED", BOUNDED) != 0 ||
	    PyModule_AddIntConstant(module, "RECURSIVE", RECURSIVE) != 0)
		return -1;
	return add_type(module, &padlock_spec, "Lock") ||
			       add_type(module, &event_spec, "Event") ||
			       add_type(module, &gate_spec, "Gate") ||
			       add_type(module, &cell_spec, "Cell")
		       ? -1
		       : 0;
}
