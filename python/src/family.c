/* SPDX-License-Identifier: MIT */
/* The family of this process: who shares memory with it. */
#include "core.h"

#include <errno.h>

/* A family begins with its first memory. */
static PyObject *begin_family(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	if (tine_family_id() == 0) {
		void *first = tine_shared_new(1, 1);

		if (!first)
			return PyErr_NoMemory();
		tine_shared_free(first);
	}
	Py_RETURN_NONE;
}

static PyObject *family_id(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	return PyLong_FromUnsignedLongLong(tine_family_id());
}

static PyObject *family_fd(PyObject *module, PyObject *none)
{
	int fd = tine_family_fd();

	(void)module;
	(void)none;
	return fd < 0 ? raise_error(fd) : PyLong_FromLong(fd);
}

static PyObject *join_family(PyObject *module, PyObject *number)
{
	int fd = (int)PyLong_AsLong(number), err;

	(void)module;
	if (PyErr_Occurred())
		return NULL;
	err = tine_family_join(fd);
	return err ? raise_error(err) : Py_NewRef(Py_None);
}

static PyObject *tie_process(PyObject *module, PyObject *none)
{
	int err;

	(void)module;
	(void)none;
	Py_BEGIN_ALLOW_THREADS
	err = tine_process_tie();
	Py_END_ALLOW_THREADS
	return err ? raise_error(err) : Py_NewRef(Py_None);
}

static PyObject *watch_signals(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	return PyBool_FromLong(tine_interruptible(true));
}

static PyMethodDef functions[] = {
	{ "begin", begin_family, METH_NOARGS, "begin(): a family, if there is none yet" },
	{ "family_id", family_id, METH_NOARGS, "family_id(): 0, if there is none yet" },
	{ "family_fd", family_fd, METH_NOARGS, "family_fd(): a descriptor, to join by" },
	{ "join", join_family, METH_O, "join(fd): this process joins that family" },
	{ "tie", tie_process, METH_NOARGS, "tie(): this process ends with its parent" },
	{ "watch_signals", watch_signals, METH_NOARGS,
	  "watch_signals(): from now on signals end the waits of this thread" },
	{ 0 },
};

int add_family(PyObject *module)
{
	/* Python's handlers run in the main thread, which most likely imports this. */
	tine_interruptible(true);
	return PyModule_AddFunctions(module, functions);
}
