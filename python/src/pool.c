/* SPDX-License-Identifier: MIT */
/*
 * The pool: jobs and results are pickles, and workers are forks of this interpreter as it
 * was when the pool was made.
 *
 *	owner	PyOS_BeforeFork(), tine_pool_new(), PyOS_AfterFork_Parent(): this thread
 *		has the interpreter's lock and that of the imports meanwhile, so that the
 *		snapshot in the nursery has both in the hands of its only thread
 *	nursery	never runs Python
 *	worker	keeps what the interpreter has handles of, and runs no Python before its
 *		first job: to become a process of Python takes longer than to be forked,
 *		and who has nothing to do need not. Then it begins as a child of
 *		os.fork() does, with PyOS_AfterFork_Child(). Between jobs it leaves the
 *		lock to threads that jobs have started
 *
 * The library may have to fork another nursery in any call that waits for a result or for
 * room. Such a call says that it is inside, and a handler of fork() takes and leaves the
 * locks as above. It is registered behind the library's, and so called before it.
 *
 * Of a worker that dies the library tells how, and not which it was. So it notes its
 * process beside the tag of its job before it begins: in a ring in the family's memory,
 * where a later job may take the place of one that is waited for no more. Behind the ring
 * it notes its process by its number.
 */
#include "handle.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define NOTES 1024
#define MANY  64 /* results at a time */
/* For finalizers, and threads that are no daemons: they have no limit of their own. */
#define FINI_MS 5000

/* What a job reads: the pickle of the function, if it is of itself, and of the rest. */
struct blob {
	uint64_t tag, head; /* head: its length */
	char bytes[];
};

struct pool {
	PyObject ob_base;
	tine_pool *pool;
	_Atomic uint64_t *notes; /* of each: the low half of a tag, and the process */
	unsigned workers;
	PyObject *begin, *run, *end;
	bool idle_begin; /* also a worker that ends without a job */
	unsigned users;	 /* threads in a call of the library, without Python's lock */
	bool doomed;	 /* to be freed by the last of them */
	pid_t owner;
};

/*
 * In a worker: the pool that it is of, its process, and its thread between jobs. NULL: it
 * has run no Python, and has the interpreter's lock.
 */
static struct pool *mine;
static uint32_t my_pid;
static PyThreadState *asleep;

static PyObject *loads;

/* This thread: whether it is in a call that may fork, and what it is without the lock. */
static __thread bool inside;
static __thread PyThreadState *away;

static void before_fork(void)
{
	if (!inside)
		return;
	if (away)
		PyEval_RestoreThread(away);
	PyOS_BeforeFork();
}

static void after_fork_in_parent(void)
{
	if (!inside)
		return;
	PyOS_AfterFork_Parent();
	if (away)
		away = PyEval_SaveThread();
}

static void after_fork_in_child(void)
{
	inside = false;
	away = NULL;
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

static void go_inside(bool unlocked)
{
	inside = true;
	away = unlocked ? PyEval_SaveThread() : NULL;
}

static void come_back(void)
{
	if (away)
		PyEval_RestoreThread(away);
	inside = false;
	away = NULL;
}

/* ---- in a worker ------------------------------------------------------------------- */

static bool call_hook(PyObject *hook)
{
	PyObject *result = PyObject_CallNoArgs(hook);

	if (!result) {
		PyErr_WriteUnraisable(hook);
		return false;
	}
	Py_DECREF(result);
	return true;
}

static int begin_worker(void *arg)
{
	mine = arg;
	my_pid = (uint32_t)getpid();
	asleep = NULL;
	handle_keep_all();
	atomic_store(&mine->notes[NOTES + tine_worker_index()], my_pid);
	return 0;
}

static void enter_python(void)
{
	if (asleep) {
		PyEval_RestoreThread(asleep);
		return;
	}
	PyOS_AfterFork_Child();
	if (!call_hook(mine->begin))
		_exit(1); /* its job fails, and another takes its place */
}

/* In one that ends in order. */
static void end_worker(void *arg)
{
	(void)arg;
	if (!asleep && !mine->idle_begin)
		return;
	enter_python();
	call_hook(mine->end);
	asleep = PyEval_SaveThread();
}

static int answer(PyObject *result)
{
	Py_buffer bytes;
	int err;

	if (PyObject_GetBuffer(result, &bytes, PyBUF_SIMPLE) != 0)
		return -EIO;
	Py_BEGIN_ALLOW_THREADS
	err = tine_job_result(bytes.buf, (size_t)bytes.len);
	Py_END_ALLOW_THREADS
	PyBuffer_Release(&bytes);
	return err;
}

/* The result of a job, of the pickles of its function and of its arguments. */
static PyObject *call(const char *head, size_t head_len, const char *body,
		      size_t body_len)
{
	PyObject *func = PyBytes_FromStringAndSize(head, (Py_ssize_t)head_len);
	PyObject *args = PyMemoryView_FromMemory((char *)body, (Py_ssize_t)body_len,
						 PyBUF_READ);
	PyObject *result = NULL, *gone;

	if (func && args)
		result = PyObject_CallFunctionObjArgs(mine->run, func, args, NULL);
	if (PyErr_Occurred())
		PyErr_WriteUnraisable(mine->run);
	/* What the job may have kept of its input is not there any more. */
	if (args && (gone = PyObject_CallMethod(args, "release", NULL)))
		Py_DECREF(gone);
	PyErr_Clear();
	Py_XDECREF(func);
	Py_XDECREF(args);
	return result;
}

static int run_job(const void *in, size_t len)
{
	const struct blob *blob = in;
	PyObject *result;
	int err = -EIO;

	atomic_store(&mine->notes[blob->tag % NOTES], blob->tag << 32 | my_pid);
	enter_python();
	result = call(blob->bytes, blob->head, blob->bytes + blob->head,
		      len - sizeof(*blob) - blob->head);
	if (result)
		err = answer(result);
	if (PyErr_Occurred())
		PyErr_WriteUnraisable(mine->run);
	Py_XDECREF(result);
	asleep = PyEval_SaveThread();
	return err;
}

static const tine_task python_task = TINE_TASK_BYTES(run_job);

/* ---- in the owner ------------------------------------------------------------------ */

static bool is_open(struct pool *pool)
{
	if (pool->pool && !pool->doomed)
		return true;
	PyErr_SetString(PyExc_ValueError, "the pool is closed");
	return false;
}

static void free_pool(struct pool *pool)
{
	tine_pool *gone = pool->pool;

	pool->pool = NULL;
	/* In a child of fork() the workers are the parent's, and so are the notes. */
	if (pool->owner != getpid())
		return;
	Py_BEGIN_ALLOW_THREADS
	tine_pool_free(gone);
	Py_END_ALLOW_THREADS
	tine_shared_free((void *)pool->notes);
}

static void leave(struct pool *pool)
{
	if (--pool->users == 0 && pool->doomed && pool->pool)
		free_pool(pool);
}

static int start_pool(struct pool *pool, const tine_pool_opts *opts)
{
	static pthread_once_t watched = PTHREAD_ONCE_INIT;
	int err;

	pool->owner = getpid();
	pool->notes = tine_shared_new(NOTES + opts->workers, sizeof(*pool->notes));
	if (!pool->notes)
		return -ENOMEM;
	PyOS_BeforeFork();
	err = tine_pool_new(&pool->pool, opts);
	PyOS_AfterFork_Parent();
	if (err)
		tine_shared_free((void *)pool->notes);
	else
		pthread_once(&watched, watch_forks);
	return err;
}

static PyObject *new_pool(PyTypeObject *type, PyObject *args, PyObject *words)
{
	static char *names[] = { "workers",	    "begin",  "run",	 "end",
				 "jobs_per_worker", "memory", "timeout", "retries",
				 "idle_begin",	    NULL };
	unsigned workers, jobs_per_worker, retries;
	PyObject *begin, *run, *end;
	unsigned long long memory;
	struct pool *pool;
	long long job_ms;
	int idle_begin, err;

	if (!PyArg_ParseTupleAndKeywords(args, words, "IOOOIKLIp", names, &workers,
					 &begin, &run, &end, &jobs_per_worker, &memory,
					 &job_ms, &retries, &idle_begin))
		return NULL;
	pool = (struct pool *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!pool)
		return NULL;
	pool->workers = workers;
	pool->begin = Py_NewRef(begin);
	pool->run = Py_NewRef(run);
	pool->end = Py_NewRef(end);
	pool->idle_begin = idle_begin;
	err = start_pool(pool, &(tine_pool_opts){ .workers = workers,
						  .jobs_per_worker = jobs_per_worker,
						  .memory_per_worker = (size_t)memory,
						  .init = begin_worker,
						  .fini = end_worker,
						  .init_arg = pool,
						  .fini_ms = FINI_MS,
						  .job_ms = job_ms,
						  .retries = retries,
						  .open = true });
	if (err == 0)
		return (PyObject *)pool;
	Py_DECREF(pool);
	return raise_error(err);
}

static void drop_pool(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	struct pool *pool = (struct pool *)self;

	if (pool->pool)
		free_pool(pool);
	Py_XDECREF(pool->begin);
	Py_XDECREF(pool->run);
	Py_XDECREF(pool->end);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static int submit_blob(struct pool *pool, const struct blob *blob, size_t len, bool wait,
		       uint64_t *job)
{
	int err;

	go_inside(wait || len > LONG_COPY);
	err = tine_pool_submit_job(pool->pool, &python_task, blob, len, blob->tag, NULL,
				   job, wait ? TINE_FOREVER : TINE_NOWAIT);
	come_back();
	return err;
}

static PyObject *submit(PyObject *self, PyObject *args)
{
	struct pool *pool = (struct pool *)self;
	unsigned long long tag;
	Py_buffer head, body;
	struct blob *blob;
	uint64_t job = 0;
	int err = -ENOMEM, wait;
	size_t len;

	if (!is_open(pool) ||
	    !PyArg_ParseTuple(args, "Ky*y*p", &tag, &head, &body, &wait))
		return NULL;
	len = sizeof(*blob) + (size_t)head.len + (size_t)body.len;
	blob = PyMem_Malloc(len);
	if (blob) {
		blob->tag = tag;
		blob->head = (uint64_t)head.len;
		memcpy(blob->bytes, head.buf, (size_t)head.len);
		memcpy(blob->bytes + head.len, body.buf, (size_t)body.len);
		pool->users++;
		err = submit_blob(pool, blob, len, wait, &job);
		leave(pool);
	}
	PyMem_Free(blob);
	PyBuffer_Release(&head);
	PyBuffer_Release(&body);
	if (err && (err != -ETIMEDOUT || wait))
		return raise_error(err);
	return PyLong_FromUnsignedLongLong(job);
}

static pid_t noted(const struct pool *pool, uint64_t tag)
{
	uint64_t note = atomic_load(&pool->notes[tag % NOTES]);

	return note >> 32 == (uint32_t)tag ? (pid_t)(uint32_t)note : 0;
}

/* (True or False and a value, as the worker has it), or an exception. */
static PyObject *load(const void *bytes, size_t len)
{
	PyObject *view = PyMemoryView_FromMemory((char *)bytes, (Py_ssize_t)len,
						 PyBUF_READ);
	PyObject *value = NULL, *type, *trace;

	if (view) {
		value = PyObject_CallFunctionObjArgs(loads, view, NULL);
		Py_DECREF(view);
	}
	if (value)
		return value;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	Py_XDECREF(type);
	Py_XDECREF(trace);
	return value;
}

/* Steals nothing: the bytes are given back to the pool. */
static PyObject *tell(struct pool *pool, const void *bytes, const tine_done *done)
{
	PyObject *value = NULL, *told;

	if (done->status == 0)
		value = load(bytes, done->len);
	tine_pool_release(pool->pool, bytes);
	if (done->status == 0 && !value)
		return NULL;
	if (value)
		told = Py_BuildValue("KNO", (unsigned long long)done->tag, value,
				     Py_None);
	else
		told = Py_BuildValue("KO(iiiii)", (unsigned long long)done->tag, Py_None,
				     done->status, done->how.code, done->how.signal,
				     done->limit, (int)noted(pool, done->tag));
	return told;
}

static int tell_of(PyObject *list, struct pool *pool, const void *bytes,
		   const tine_done *done)
{
	PyObject *told = tell(pool, bytes, done);
	int err;

	if (!told)
		return -1;
	err = PyList_Append(list, told);
	Py_DECREF(told);
	return err;
}

/* Waits for a result, and takes what else there is: [] when no more will come. */
static PyObject *take(PyObject *self, PyObject *none)
{
	struct pool *pool = (struct pool *)self;
	PyObject *list;
	const void *bytes;
	tine_done done;
	int more;

	(void)none;
	if (!is_open(pool) || !(list = PyList_New(0)))
		return NULL;
	pool->users++;
	go_inside(true);
	more = tine_pool_next_bytes(pool->pool, &bytes, &done, TINE_FOREVER);
	come_back();
	for (int i = 0; more == 1; i++) {
		if (tell_of(list, pool, bytes, &done) != 0) {
			leave(pool);
			Py_DECREF(list);
			return NULL;
		}
		if (i == MANY)
			break;
		go_inside(false);
		more = tine_pool_next_bytes(pool->pool, &bytes, &done, TINE_NOWAIT);
		come_back();
	}
	leave(pool);
	if (more >= 0 || PyList_Size(list) > 0)
		return list;
	Py_DECREF(list);
	return raise_error(more);
}

static PyObject *cancel_job(PyObject *self, PyObject *number)
{
	struct pool *pool = (struct pool *)self;
	unsigned long long job = PyLong_AsUnsignedLongLong(number);

	if (PyErr_Occurred() || !is_open(pool))
		return NULL;
	return PyBool_FromLong(tine_pool_cancel_job(pool->pool, job) == 0);
}

static PyObject *close_pool(PyObject *self, PyObject *none)
{
	(void)none;
	if (is_open((struct pool *)self))
		tine_pool_close(((struct pool *)self)->pool);
	else
		PyErr_Clear();
	Py_RETURN_NONE;
}

static PyObject *end_pool(PyObject *self, PyObject *none)
{
	struct pool *pool = (struct pool *)self;

	(void)none;
	if (pool->pool && !pool->doomed) {
		pool->users++;
		pool->doomed = true;
		leave(pool);
	}
	Py_RETURN_NONE;
}

static PyObject *list_workers(PyObject *self, PyObject *none)
{
	struct pool *pool = (struct pool *)self;
	PyObject *list = PyList_New(0);

	(void)none;
	for (unsigned i = 0; list && pool->pool && i < pool->workers; i++) {
		PyObject *pid = PyLong_FromUnsignedLongLong(
			atomic_load(&pool->notes[NOTES + i]));

		if (!pid || PyList_Append(list, pid) != 0)
			Py_CLEAR(list);
		Py_XDECREF(pid);
	}
	return list;
}

static PyObject *worker_index(PyObject *module, PyObject *none)
{
	(void)module;
	(void)none;
	return PyLong_FromLong(tine_worker_index());
}

static PyMethodDef pool_methods[] = {
	{ "submit", submit, METH_VARARGS,
	  "submit(tag, head, body, wait): the job's number, or 0: too many wait" },
	{ "take", take, METH_NOARGS,
	  "take(): [(tag, outcome, None or how it failed)], [] at the end" },
	{ "cancel", cancel_job, METH_O, "cancel(number): whether there was such a job" },
	{ "close", close_pool, METH_NOARGS, "close(): no more jobs come" },
	{ "pids", list_workers, METH_NOARGS, "pids(): the processes of the workers" },
	{ "end", end_pool, METH_NOARGS, "end(): ends the workers" },
	{ 0 },
};

static PyType_Slot pool_slots[] = {
	{ Py_tp_new, new_pool },
	{ Py_tp_dealloc, drop_pool },
	{ Py_tp_methods, pool_methods },
	{ Py_tp_doc, "Workers that are forks of this interpreter" },
	{ 0, NULL },
};

static PyType_Spec pool_spec = {
	.name = "tine._core.Pool",
	.basicsize = sizeof(struct pool),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = pool_slots,
};

static PyMethodDef pool_functions[] = {
	{ "worker_index", worker_index, METH_NOARGS,
	  "worker_index(): in a worker, its number, from 0; else -1" },
	{ 0 },
};

int add_pool(PyObject *module)
{
	PyObject *pickle = PyImport_ImportModule("pickle");

	if (!pickle)
		return -1;
	loads = PyObject_GetAttrString(pickle, "loads");
	Py_DECREF(pickle);
	if (!loads || PyModule_AddFunctions(module, pool_functions) != 0)
		return -1;
	return add_type(module, &pool_spec, "Pool");
}
