/* SPDX-License-Identifier: MIT */
/*
 * The extension tine._core: a .c for each kind of object, which adds its types to the
 * module by one function. The calls that a program makes often are here; the rest is
 * Python. What may sleep leaves the interpreter's lock; what is tried first does not.
 */
#ifndef CORE_H
#define CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <tine.h>

/* Bytes from which on a copy leaves the interpreter's lock to other threads. */
#define LONG_COPY 65536

/* Sets OSError, or the exception that stands for this error of tine. Returns NULL. */
PyObject *raise_error(int err);
/* Makes a type, and a member of the module. 0 or -1, with an exception. */
int add_type(PyObject *module, PyType_Spec *spec, const char *name);

int add_family(PyObject *module);
int add_handle(PyObject *module);
int add_message(PyObject *module);
int add_queue(PyObject *module);
int add_sync(PyObject *module);
int add_pool(PyObject *module);
int add_cache(PyObject *module);
int add_rng(PyObject *module);

#endif
