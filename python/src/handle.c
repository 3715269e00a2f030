/* SPDX-License-Identifier: MIT */
/* See handle.h. */
#include "handle.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKS	 64
#define PATIENCE 1000 /* milliseconds, for a lock that a stopped process may have */
#define ESTATES	 63

/*
 * Milliseconds of the sleeps of a wait. A signal just before a sleep is noticed after it:
 * those of the main thread, which runs the handlers, are short. The library wakes as
 * often, to look who died.
 */
#define MAIN_MS	 200
#define OTHER_MS 30000

/* ---- estates ----------------------------------------------------------------------- */

struct estate {
	struct list *list;
	void *thing;
	enum estate_kind kind; /* 0: free */
	char name[HANDLE_NAME];
};

struct page {
	struct page *next;
	struct estate estates[ESTATES];
};

/* In the family's memory, for this process and those that it forks. Never freed. */
static struct list {
	tine_lock lock;
	tine_sem look; /* its value is asked for, as that has the library look who died */
	struct page *first;
	unsigned used, look_at; /* the number in use at which to look for orphans */
} * list;

static struct list *new_list(void)
{
	struct list *made = tine_shared_new(1, sizeof(*made));

	/* A semaphore that was never taken has no holders to look for. */
	if (made && (tine_sem_init(&made->look, &(tine_sem_opts){ .held = true }) != 0 ||
		     tine_sem_post(&made->look, 1) != 0 ||
		     tine_sem_wait(&made->look, TINE_NOWAIT) != 0 ||
		     tine_sem_post(&made->look, 1) != 0)) {
		tine_shared_free(made);
		made = NULL;
	}
	return made;
}

static bool lock_list(struct list *at)
{
	int err = tine_lock_acquire(&at->lock, tine_after(PATIENCE));

	return err == 0 || err == -EOWNERDEAD;
}

/* Before what a handle is of, on a line of its own. */
struct header {
	uint64_t serial;
	uint64_t reserved[7];
};

static struct header *header_of(void *mem)
{
	return (struct header *)mem - 1;
}

/* What has this name, and is not kept yet: 0, or as tine_family_find(). */
static int find_named(void **mem, const char *name)
{
	const char *dot = strchr(name, '.');
	char block[TINE_FAMILY_NAME] = "";
	struct header *header;
	uint64_t serial;
	void *found;
	int err;

	if (!dot || (size_t)(dot - name) >= sizeof(block))
		return -EINVAL;
	memcpy(block, name, (size_t)(dot - name));
	serial = strtoull(dot + 1, NULL, 16);
	err = tine_family_find(&found, block);
	if (err != 0)
		return err;
	header = found;
	if (header->serial != serial)
		return -ENOENT;
	*mem = header + 1;
	return 0;
}

static int name_mem(char name[HANDLE_NAME], void *mem)
{
	static uint64_t made;
	struct header *header = header_of(mem);
	int err = tine_family_name(name, header);

	/* No other process, nor this one, has made one with this number. */
	header->serial = (uint64_t)tine_now() << 16 ^ (uint64_t)getpid() << 40 ^ ++made;
	if (err == 0)
		snprintf(name + strlen(name), 20, ".%llx",
			 (unsigned long long)header->serial);
	return err;
}

static bool is_gone(const char *name)
{
	void *mem;

	return find_named(&mem, name) == -ENOENT;
}

/* With the lock. */
static struct estate take_estate(struct estate *estate)
{
	struct estate taken = *estate;

	estate->kind = 0;
	estate->thing = NULL;
	taken.list->used--;
	return taken;
}

static void free_thing(const struct estate *taken)
{
	if (taken->kind == ESTATE_QUEUE)
		tine_queue_free(taken->thing);
	else
		tine_shared_free(taken->thing);
}

/* After a drop that may have been the last. */
static void settle(struct estate *estate, const char *name)
{
	struct estate taken = { 0 };
	struct list *at;

	if (!estate || !is_gone(name))
		return;
	at = estate->list;
	if (!lock_list(at))
		return;
	if (estate->kind && strcmp(estate->name, name) == 0)
		taken = take_estate(estate);
	tine_lock_release(&at->lock);
	if (taken.thing)
		free_thing(&taken);
}

/* With the lock: those whose last keeper died. */
static void look_for_orphans(void)
{
	(void)tine_sem_value(&list->look);
	for (struct page *page = list->first; page; page = page->next)
		for (int i = 0; i < ESTATES; i++)
			if (page->estates[i].kind && is_gone(page->estates[i].name)) {
				struct estate taken = take_estate(&page->estates[i]);

				free_thing(&taken);
			}
	list->look_at = 2 * list->used + ESTATES;
}

static struct estate *free_estate(void)
{
	struct page *page;

	for (page = list->first; page; page = page->next)
		for (int i = 0; i < ESTATES; i++)
			if (!page->estates[i].kind)
				return &page->estates[i];
	page = tine_shared_new(1, sizeof(*page));
	if (!page)
		return NULL;
	page->next = list->first;
	list->first = page;
	return &page->estates[0];
}

int estate_new(struct handle *handle, enum estate_kind kind, void *thing)
{
	struct estate *estate;

	if (!list && !(list = new_list()))
		return -ENOMEM;
	if (!lock_list(list))
		return -ETIMEDOUT;
	if (list->used >= list->look_at)
		look_for_orphans();
	estate = free_estate();
	if (estate) {
		estate->list = list;
		estate->thing = thing;
		memcpy(estate->name, handle->name, sizeof(estate->name));
		estate->kind = kind;
		list->used++;
	}
	tine_lock_release(&list->lock);
	handle->estate = estate;
	return estate ? 0 : -ENOMEM;
}

void estate_known(struct handle *handle, struct estate *estate)
{
	handle->estate = estate;
	if (!list && estate)
		list = estate->list;
}

void *estate_swap(struct estate *estate, void *thing)
{
	void *old = estate->thing;

	estate->thing = thing;
	return old;
}

void *estate_thing(const struct estate *estate)
{
	return estate->thing;
}

/* ---- handles, and forks ------------------------------------------------------------ */

static _Thread_local enum { UNKNOWN, MAIN, OTHER } this_thread;

static struct handle *handles;
/* What was dropped while a child that was forked before might still keep it. */
static struct grave {
	struct grave *next;
	void *mem;
	struct estate *estate;
	char name[HANDLE_NAME];
} * graves;

/* Of this process and of its parent: the forks whose child has kept its handles. */
static _Atomic uint64_t *kept, *kept_of_parent;
static uint64_t forks;

uint64_t handle_forks(void)
{
	return forks;
}

/* Also one that has ended and was not waited for. */
static bool has_children(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

static bool all_kept(void)
{
	if (!kept)
		return true;
	for (uint64_t n = forks; n > 0 && n + FORKS > forks; n--)
		if (atomic_load(&kept[n % FORKS]) != n)
			return !has_children();
	return true;
}

static void drop(void *mem, struct estate *estate, const char *name)
{
	if (tine_shared_drop(header_of(mem)) == 0)
		settle(estate, name);
}

static void drop_graves(void)
{
	while (graves && all_kept()) {
		struct grave *grave = graves;

		graves = grave->next;
		drop(grave->mem, grave->estate, grave->name);
		PyMem_Free(grave);
	}
}

static void link_handle(struct handle *handle)
{
	handle->next = handles;
	handle->link = &handles;
	if (handles)
		handles->link = &handle->next;
	handles = handle;
}

static struct handle *alloc_handle(PyTypeObject *type)
{
	return (struct handle *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

int handle_init(PyObject *self, size_t size)
{
	struct handle *handle = (struct handle *)self;
	struct header *header;
	int err;

	if (handle->mem) { /* others may use it */
		PyErr_SetString(PyExc_RuntimeError, "__init__() was called before");
		return -1;
	}
	drop_graves();
	header = tine_shared_new(1, sizeof(*header) + size);
	err = header ? tine_shared_keep(header) : -ENOMEM;
	if (err == 0) {
		handle->mem = header + 1;
		err = name_mem(handle->name, handle->mem);
		link_handle(handle);
	} else {
		tine_shared_free(header);
	}
	if (err == 0)
		return 0;
	raise_error(err);
	return -1;
}

/* Keeps what has this name. It may be freed meanwhile, and its memory be another's. */
static int keep_named(void **mem, const char *name)
{
	int err = find_named(mem, name);
	void *again;

	if (err == 0)
		err = tine_shared_keep(header_of(*mem));
	if (err == 0 && (err = find_named(&again, name)) != 0)
		tine_shared_drop(header_of(*mem));
	return err == -EINVAL ? -ENOENT : err;
}

struct handle *handle_attach(PyTypeObject *type, PyObject *name)
{
	Py_ssize_t len;
	const char *text = PyUnicode_AsUTF8AndSize(name, &len);
	struct handle *handle;
	void *mem;
	int err;

	if (!text)
		return NULL;
	err = (size_t)len < HANDLE_NAME ? keep_named(&mem, text) : -EINVAL;
	if (err == -EXDEV)
		PyErr_SetString(PyExc_RuntimeError,
				"the object belongs to another family of processes");
	else if (err == -ENOENT)
		PyErr_SetString(PyExc_RuntimeError,
				"the object is gone: no process has kept it");
	else if (err)
		raise_error(err);
	if (err)
		return NULL;
	handle = alloc_handle(type);
	if (!handle) {
		tine_shared_drop(header_of(mem));
		return NULL;
	}
	handle->mem = mem;
	memcpy(handle->name, text, (size_t)len + 1);
	link_handle(handle);
	return handle;
}

void handle_dealloc(PyObject *self)
{
	struct handle *handle = (struct handle *)self;
	PyTypeObject *type = Py_TYPE(self);
	struct grave *grave;

	if (handle->link) {
		*handle->link = handle->next;
		if (handle->next)
			handle->next->link = handle->link;
	}
	drop_graves();
	if (handle->mem && all_kept()) {
		drop(handle->mem, handle->estate, handle->name);
	} else if (handle->mem && (grave = PyMem_Malloc(sizeof(*grave)))) {
		grave->mem = handle->mem;
		grave->estate = handle->estate;
		memcpy(grave->name, handle->name, sizeof(grave->name));
		grave->next = graves;
		graves = grave;
	}
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

void *handle_mem(PyObject *self)
{
	struct handle *handle = (struct handle *)self;

	if (!handle->mem)
		PyErr_SetString(PyExc_RuntimeError,
				handle->name[0] ? "the object is gone: no process "
						  "has kept it"
						: "__init__() was not called");
	return handle->mem;
}

PyObject *handle_find(PyObject *type, PyObject *name)
{
	return (PyObject *)handle_attach((PyTypeObject *)type, name);
}

PyObject *handle_name(PyObject *self, PyObject *none)
{
	(void)none;
	return handle_mem(self) ? PyUnicode_FromString(((struct handle *)self)->name)
				: NULL;
}

static PyObject *before_fork(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	/* Who has no family yet has no handles, and is not to begin one by a fork. */
	if (!kept && tine_family_id() != 0)
		kept = tine_shared_new(FORKS, sizeof(*kept));
	/* One list for all, so that each finds the orphans of the others. */
	if (!list && tine_family_id() != 0)
		list = new_list();
	forks++;
	Py_RETURN_NONE;
}

static void keep_again(struct handle *handle)
{
	void *mem;

	handle->count = 0;
	if (handle->mem && keep_named(&mem, handle->name) != 0)
		handle->mem = NULL;
}

/* A pool's worker is there before Python's hooks of fork() run in it. */
static bool has_kept;

void handle_keep_all(void)
{
	for (struct handle *handle = handles; handle; handle = handle->next)
		keep_again(handle);
	/* These are the parent's. */
	while (graves) {
		struct grave *grave = graves;

		graves = grave->next;
		PyMem_Free(grave);
	}
	kept_of_parent = kept;
	if (kept_of_parent)
		atomic_store(&kept_of_parent[forks % FORKS], forks);
	kept = NULL;
	forks = 0;
	this_thread = MAIN;
	tine_interruptible(true);
	has_kept = true;
}

static PyObject *after_fork(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	if (!has_kept)
		handle_keep_all();
	has_kept = false;
	Py_RETURN_NONE;
}

/* ---- arguments, and waiting -------------------------------------------------------- */

int read_deadline(PyObject *block, PyObject *timeout, int64_t *deadline)
{
	int blocks = block == Py_True ? 1 : PyObject_IsTrue(block);
	double seconds;

	if (blocks < 0)
		return -1;
	if (!blocks || timeout == Py_None) {
		*deadline = blocks ? TINE_FOREVER : TINE_NOWAIT;
		return 0;
	}
	seconds = PyFloat_AsDouble(timeout);
	if (seconds == -1 && PyErr_Occurred())
		return -1;
	if (isnan(seconds)) {
		PyErr_SetString(PyExc_ValueError, "timeout is not a number");
		return -1;
	}
	if (seconds <= 0)
		*deadline = TINE_NOWAIT;
	else if (seconds > 1e9)
		*deadline = TINE_FOREVER;
	else
		*deadline = tine_now() + (int64_t)(seconds * 1e9);
	return 0;
}

/* In milliseconds. */
static int64_t longest_sleep(void)
{
	if (this_thread == UNKNOWN) {
		this_thread = gettid() == getpid() ? MAIN : OTHER;
		if (this_thread == MAIN) /* another may have imported this */
			tine_interruptible(true);
	}
	return this_thread == MAIN ? MAIN_MS : OTHER_MS;
}

ssize_t attempt_until(attempt_fn *attempt, void *arg, int64_t deadline)
{
	ssize_t result = attempt(arg, TINE_NOWAIT);

	while ((result == -ETIMEDOUT || result == -EINTR) && deadline != TINE_NOWAIT) {
		int64_t until = tine_after(longest_sleep());

		if (until > deadline)
			until = deadline;
		Py_BEGIN_ALLOW_THREADS
		result = attempt(arg, until);
		Py_END_ALLOW_THREADS
		if (result != -ETIMEDOUT && result != -EINTR)
			break;
		if (PyErr_CheckSignals() != 0)
			return -EINTR;
		if (result == -ETIMEDOUT && until == deadline)
			break;
	}
	return result == -EINTR ? -ETIMEDOUT : result;
}

static int read_word(const char *const *names, PyObject *word, PyObject *value,
		     PyObject **out)
{
	for (size_t i = 0; names[i]; i++)
		if (PyUnicode_CompareWithASCIIString(word, names[i]) == 0) {
			out[i] = value;
			return 0;
		}
	PyErr_Format(PyExc_TypeError, "unexpected argument '%U'", word);
	return -1;
}

int read_args(const char *const *names, size_t least, PyObject *const *args, Py_ssize_t n,
	      PyObject *words, PyObject **out)
{
	size_t most = 0, given = (size_t)n;

	while (names[most])
		most++;
	if (given > most) {
		PyErr_Format(PyExc_TypeError, "at most %zu arguments, and not %zu", most,
			     given);
		return -1;
	}
	for (size_t i = 0; i < given; i++)
		out[i] = args[i];
	for (Py_ssize_t i = 0; words && i < PyTuple_Size(words); i++)
		if (read_word(names, PyTuple_GetItem(words, i), args[n + i], out) != 0)
			return -1;
	for (size_t i = 0; i < least; i++)
		if (!out[i]) {
			PyErr_Format(PyExc_TypeError, "there is no '%s'", names[i]);
			return -1;
		}
	return 0;
}

/* ---- memory for a program's own values --------------------------------------------- */

struct block {
	struct handle handle;
	Py_ssize_t len;
};

static int init_block(PyObject *self, PyObject *args, PyObject *words)
{
	Py_ssize_t size;

	if (words || !PyArg_ParseTuple(args, "n", &size))
		return -1;
	if (size < 0) {
		PyErr_SetString(PyExc_ValueError, "a negative size");
		return -1;
	}
	return handle_init(self, size ? (size_t)size : 1);
}

static int get_buffer(PyObject *self, Py_buffer *view, int flags)
{
	void *mem = handle_mem(self);

	if (!mem)
		return -1;
	return PyBuffer_FillInfo(view, self, mem, ((struct block *)self)->len, 0, flags);
}

/* The length is the caller's to remember, as it pickles that beside the name. */
static PyObject *view_block(PyObject *self, PyObject *size)
{
	Py_ssize_t len = PyLong_AsSsize_t(size);

	if (len == -1 && PyErr_Occurred())
		return NULL;
	((struct block *)self)->len = len;
	return PyMemoryView_FromObject(self);
}

static PyMethodDef block_methods[] = {
	HANDLE_METHODS,
	{ "view", view_block, METH_O, "view(size): its bytes" },
	{ 0 },
};

static PyType_Slot block_slots[] = {
	{ Py_tp_init, init_block },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_bf_getbuffer, get_buffer },
	{ Py_tp_methods, block_methods },
	{ Py_tp_doc, "Block(size): zeroed memory of the family" },
	{ 0, NULL },
};

static PyType_Spec block_spec = {
	.name = "tine._core.Block",
	.basicsize = sizeof(struct block),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = block_slots,
};

/* ---- methods of classes in Python -------------------------------------------------- */

/* Whether a class has a method of C, and not one in Python in its place: or -1. */
static int inherits(PyObject *class, PyTypeObject *base, const char *name)
{
	PyObject *one = PyObject_GetAttrString(class, name);
	PyObject *other = one ? PyObject_GetAttrString((PyObject *)base, name) : NULL;
	int same = other ? Py_TYPE(one) == Py_TYPE(other) : -1;

	Py_XDECREF(one);
	Py_XDECREF(other);
	return same;
}

static int own_method(PyObject *class, PyTypeObject *base, PyMethodDef *method)
{
	int err = inherits(class, base, method->ml_name);
	PyObject *own;

	if (err <= 0)
		return err;
	own = PyDescr_NewMethod((PyTypeObject *)class, method);
	err = own ? PyObject_SetAttrString(class, method->ml_name, own) : -1;
	Py_XDECREF(own);
	return err;
}

/*
 * The interpreter calls a method at once only on what is exactly of the class that the
 * method was made for. So a class that is derived gets what it inherits made for itself.
 */
static PyObject *own_methods(PyObject *module, PyObject *class)
{
	PyTypeObject *base = (PyTypeObject *)class;
	PyMethodDef *method = NULL;

	(void)module;
	while (base && !method) {
		base = PyType_GetSlot(base, Py_tp_base);
		method = base ? PyType_GetSlot(base, Py_tp_methods) : NULL;
	}
	for (; method && method->ml_name; method++)
		if (!(method->ml_flags & METH_CLASS) &&
		    own_method(class, base, method) != 0)
			return NULL;
	return Py_NewRef(class);
}

static PyMethodDef handle_functions[] = {
	{ "own_methods", own_methods, METH_O,
	  "own_methods(class): gives a class what it inherits from one of C; returns "
	  "it" },
	{ 0 },
};

static PyMethodDef hooks[] = {
	{ "before_fork", before_fork, METH_NOARGS, "" },
	{ "after_fork", after_fork, METH_NOARGS, "" },
	{ 0 },
};

int add_handle(PyObject *module)
{
	static const char *const names[] = { "before", "after_in_child" };
	PyObject *os = PyImport_ImportModule("os"), *words = PyDict_New();
	PyObject *none = PyTuple_New(0), *reg = NULL, *done = NULL;

	if (os && words && none &&
	    (reg = PyObject_GetAttrString(os, "register_at_fork"))) {
		int err = 0;

		for (int i = 0; i < 2 && err == 0; i++) {
			PyObject *hook = PyCFunction_New(&hooks[i], NULL);

			err = hook ? PyDict_SetItemString(words, names[i], hook) : -1;
			Py_XDECREF(hook);
		}
		if (err == 0)
			done = PyObject_Call(reg, none, words);
	}
	Py_XDECREF(os);
	Py_XDECREF(words);
	Py_XDECREF(none);
	Py_XDECREF(reg);
	Py_XDECREF(done);
	if (!done || PyModule_AddFunctions(module, handle_functions) != 0)
		return -1;
	return add_type(module, &block_spec, "Block");
}
