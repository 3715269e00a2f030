/* SPDX-License-Identifier: MIT */
#include "core.h"

#include <errno.h>

PyObject *raise_error(int err)
{
	PyObject *args;

	if (err == -ENOMEM)
		return PyErr_NoMemory();
	args = Py_BuildValue("is", -err, tine_strerror(err));
	if (args) {
		PyErr_SetObject(PyExc_OSError, args);
		Py_DECREF(args);
	}
	return NULL;
}

int add_type(PyObject *module, PyType_Spec *spec, const char *name)
{
	PyObject *type = PyType_FromSpec(spec);
	int err;

	if (!type)
		return -1;
	err = PyModule_AddObjectRef(module, name, type);
	Py_DECREF(type);
	return err;
}

static PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "tine._core",
	.m_doc = "Objects in the memory that a family of processes shares.",
	/* The family is the process's, and so there is one module in it. */
	.m_size = -1,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
	static int (*const parts[])(PyObject *) = {
		add_family, add_handle, add_message, add_queue,
		add_sync,   add_pool,	add_cache,   add_rng,
	};
	PyObject *module = PyModule_Create(&definition);

	if (!module)
		return NULL;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i](module) != 0) {
			Py_DECREF(module);
			return NULL;
		}
	return module;
}
