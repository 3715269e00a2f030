/* SPDX-License-Identifier: MIT */
/*
 * A handle is a Python object over an object in the family's memory. Its name pickles:
 * that of the block, which is of one family, and the serial number of this use of the
 * block. Each process keeps what its handles are of (tine_shared_keep); the last to drop
 * it, or to die, frees it.
 *
 *	fork	a child keeps nothing yet. Before anything else it keeps what its copies
 *		of handles are of, and notes in its parent's memory that it has. Until
 *		then its parent puts off what it would drop. A child that was killed
 *		before never notes it, and what it holds up is dropped when the parent
 *		has no child any more, or FORKS forks later
 *	nursery	a pool's worker is a child of the snapshot, perhaps an hour later: what
 *		the owner has dropped meanwhile is gone by its name, and a use of it
 *		raises
 *	death	what the dead have kept is dropped by the library
 *
 * What a block has beside it, a queue or a long value, is in the list of estates, and is
 * freed when its block's name is gone: by whoever dropped it last, or when it died, by a
 * later look at the list. Death between taking it from the list and freeing it loses the
 * memory of that one until the family ends; the list is guarded by a lock, and any word
 * of it may be the last that was written.
 */
#ifndef HANDLE_H
#define HANDLE_H

#include "core.h"

#define HANDLE_NAME (TINE_FAMILY_NAME + 24)

struct estate;

struct handle {
	PyObject ob_base;
	struct handle *next, **link; /* of all handles of this process */
	void *mem;		     /* NULL: it is gone */
	char name[HANDLE_NAME];
	struct estate *estate; /* in the family's memory; NULL: there is none */
	/* Of locks: how often this process has it, by this handle, and which thread. */
	unsigned count;
	unsigned long thread;
	bool closed, owner_died;
};

/*
 * Of a type's tp_init, so that classes of a program's own may take what arguments they
 * want: gives the object zeroed memory. 0 or -1 with an exception.
 */
int handle_init(PyObject *self, size_t size);
/* The object of that name, of a type. NULL with an exception. */
struct handle *handle_attach(PyTypeObject *type, PyObject *name);
/* Of a type's tp_dealloc. */
void handle_dealloc(PyObject *self);
/* The memory, or NULL with an exception: it is gone. */
void *handle_mem(PyObject *self);
/* For tp_methods: attach(name), of the class; name(). */
PyObject *handle_find(PyObject *type, PyObject *name);
PyObject *handle_name(PyObject *self, PyObject *none);
#define HANDLE_METHODS                                                                   \
	{ "attach", handle_find, METH_O | METH_CLASS,                                    \
	  "attach(name): the object so named" },                                         \
	{                                                                                \
		"name", handle_name, METH_NOARGS, "name(): for attach(), in any process" \
	}

/*
 * In a child that fork() has made, before anything else: keeps what its handles are of.
 * With the interpreter's lock, which runs no Python here. Python's hook does it else.
 */
void handle_keep_all(void);
/* How often this process has begun to fork. */
uint64_t handle_forks(void);

enum estate_kind { ESTATE_QUEUE = 1, ESTATE_BLOCK };
/* What is to be freed with the handle's memory; it may be NULL for now. 0 or -errno. */
int estate_new(struct handle *, enum estate_kind, void *thing);
/* Of a handle that was attached. */
void estate_known(struct handle *, struct estate *);
/* Puts another in its place, and returns what was there. */
void *estate_swap(struct estate *, void *thing);
void *estate_thing(const struct estate *);

/*
 * Tries without sleeping, then sleeps until the deadline without the interpreter's lock,
 * and lets signal handlers run. attempt is one call of the library. Returns what that
 * returned; -EINTR: a handler has raised.
 */
typedef ssize_t attempt_fn(void *arg, int64_t deadline);
ssize_t attempt_until(attempt_fn *attempt, void *arg, int64_t deadline);
/* The deadline that block and timeout mean, as queues and locks have them. 0 or -1. */
int read_deadline(PyObject *block, PyObject *timeout, int64_t *deadline);
/*
 * Arguments of a METH_FASTCALL | METH_KEYWORDS call by position or name, into out, which
 * stays as it was where there is none. The first least must be there. 0 or -1.
 */
int read_args(const char *const *names, size_t least, PyObject *const *args, Py_ssize_t n,
	      PyObject *words, PyObject **out);

#endif
