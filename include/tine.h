/* SPDX-License-Identifier: MIT */
/*
 * tine: process parallelism for C.
 *
 *  Errors.    A call that can fail returns int (or ssize_t): 0 or a count on success, a
 *             negative errno value on failure. errno itself is neither used nor set on
 *             purpose: a returned code means the same thing in every process it travels
 *             to. On failure outputs are left as they were.
 *  Deadlines. A call that can block takes a deadline last: nanoseconds on
 *             CLOCK_MONOTONIC. TINE_NOWAIT lies in the past, TINE_FOREVER never comes;
 *             past it: -ETIMEDOUT. A number below a second, as of milliseconds, is no
 *             deadline: -EINVAL; tine_after(ms) makes one.
 *  Options.   A NULL options pointer, or a zero member, means the default. Structs have
 *             room for later members: what is called reserved must be zero in those that
 *             the caller fills in (else -EINVAL), and is zero in those that tine does.
 *  Ownership. What x_new(), x_open() or x_start() made, x_free() releases; x_free(NULL)
 *             does nothing. Bytes passed in are copied before the call returns.
 *             Exceptions say so.
 *  NULL       for an object that a call is about is -EINVAL, and where no int is returned
 *             0, false or NULL; to free it does nothing. (A tine_rng is data, no object.)
 *  Family.    The process that first calls tine and all it forks later are a family. They
 *             share one memory at one address: what tine_shared_new() returns is valid in
 *             every member, made before the fork or after it, so a pointer to it may be
 *             sent in a message or a job. Locks, semaphores, events, conditions, barriers
 *             and queues live in that memory. A process, a pool or a file lock is a
 *             handle of the one process that made it: a child that inherits the pointer
 *             may free it (which lets go of its copy, no more), and gets -EPERM from
 *             every other call.
 *  Threads.   What lives in that memory is for sharing between threads as well; any other
 *             object is used by one thread of a process at a time, tine_pool_cancel()
 *             excepted. No call is safe in a signal handler, but tine_event_is_set(),
 *             tine_cancelled() and tine_pool_cancel().
 *  Death.     A member may die at any instruction. Its locks are handed on (-EOWNERDEAD),
 *             its job fails with -TINE_ECRASH, the producer it was is closed, a message
 *             it had leased comes back, its own children end with it, and nobody waits
 *             for it.
 *  Quiet.     The library never logs, prints, exits or installs a signal handler; only
 *             tine_progress_bar() writes, when it is asked to.
 */
#ifndef TINE_H
#define TINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What such a call returns is to be looked at. */
#define TINE_MUST	    __attribute__((__warn_unused_result__))

#define TINE_VERSION	    "0.1.0"
#define TINE_VERSION_NUMBER 100 /* 10,000 * major + 100 * minor + patch, for #if */
const char *tine_version(void); /* of the library that runs, not of this header */

#define TINE_ECRASH 5001 /* the process doing the work died */
#define TINE_EKIND  5002 /* what is stored under that key is of another kind */
#define TINE_ECERT  5003 /* a server's certificate is not to be trusted */
#define TINE_ELIMIT 5004 /* the job was ended for a limit of time or memory */
#define TINE_EHOST  5005 /* no host has this task; for later versions */

/* Text for a code of tine's or the system's, of either sign. Static, never NULL. */
const char *tine_strerror(int err);

#define TINE_NOWAIT  INT64_C(0)
#define TINE_FOREVER INT64_MAX
int64_t tine_now(void); /* nanoseconds, CLOCK_MONOTONIC */
int64_t
tine_after(int64_t ms); /* the deadline so many milliseconds from now; saturates */

/*
 * Processors this process may use: its affinity, and the CPU quota of its cgroup and of
 * every ancestor (v1 and v2), rounded up. TINE_WORKERS=N in the environment overrides all
 * of it. In a job of a pool, that divided by the pool's workers. At least 1. Read anew at
 * each call.
 */
unsigned tine_cpus(void);

/* ---- shared memory of the family --------------------------------------------------- */

/*
 * n objects of size bytes each, zeroed and aligned to 64 bytes, at one address in the
 * whole family. NULL when n * size overflows, or there is no memory for it: the pages are
 * committed here, so that touching them later can never raise SIGBUS. Waits for another
 * process in an allocation, at most a second if that is stopped, and is NULL then; to
 * free waits for nobody. Lives until freed, or until the last member of the family is
 * gone; a member that dies leaves what it had allocated to others.
 */
TINE_MUST void *tine_shared_new(size_t n, size_t size);
/* Any member may free what any other made. NULL does nothing. */
void tine_shared_free(void *mem);

/*
 * The first size bytes of the file, at an address of this process's own, which those that
 * it forks later inherit. Who maps the same file, of the family or a stranger, sees the
 * same bytes; nothing keeps two from writing at a time, but what is placed there: locks,
 * events and conditions work among strangers as well. A file that is not there is made,
 * with mode 0600 and the umask; one that is shorter grows, filled with zeros; one that is
 * longer stays so. Its blocks are allocated here, so that touching them is never SIGBUS
 * for want of disk. -EINVAL: size is 0; -ENOSPC, -EFBIG; -ENODEV: no regular file; else
 * as open(2) and mmap(2). A lock in the file has pointers: who else can write to it could
 * have this process write anywhere. So -EPERM: it is not the effective user's, or others
 * can write to it; -ELOOP: a symbolic link.
 */
TINE_MUST int tine_shared_map(void **out, const char *path, size_t size);
/*
 * The same of a file that is open for reading and writing, whosever it is: the caller has
 * looked whom it trusts. The descriptor is the caller's to close.
 */
TINE_MUST int tine_shared_map_fd(void **out, int fd, size_t size);
/* In this process alone; the file stays. NULL does nothing. */
void tine_shared_unmap(void *mem);

/*
 * ---- synchronisation: valid when zeroed, placed in shared memory, a cache line each
 * ----
 */

/* Of alignas there are two, C's and C++'s. */
#define TINE_LINE_ __attribute__((__aligned__(64)))

typedef struct tine_lock {
	uint64_t priv[8];
} TINE_LINE_ tine_lock;

/*
 * Mutual exclusion between threads of any processes of the family.
 * 0: held. -EOWNERDEAD: held too, and the process (or thread) that held it before died
 * without releasing: put what the lock guards in order. -EDEADLK: this thread holds it
 * already. -ETIMEDOUT: not held. Blocks until the deadline. -EAGAIN: this thread holds
 * 2,000 locks, and the kernel hands on not many more when it dies. -ENOTSUP: the lock is
 * in use in another PID namespace, where thread ids mean others. -ENOSYS: the system
 * denies set_robust_list(2), without which no death is noticed.
 */
TINE_MUST int tine_lock_acquire(tine_lock *, int64_t deadline);
int tine_lock_release(tine_lock *); /* 0, or -EPERM: this thread does not hold it */

typedef struct tine_lock_opts {
	bool recursive; /* its holder may acquire it again; released as many times */
	uint8_t reserved8[7];
	uint64_t reserved[3];
} tine_lock_opts;

/*
 * Only for a lock that is to differ from a zeroed one, before anybody uses it. 0;
 * -EINVAL, also when it is of the other kind already. Acquiring a recursive lock too
 * often is -EAGAIN.
 */
int tine_lock_init(tine_lock *, const tine_lock_opts *);

typedef struct tine_sem {
	uint64_t priv[16];
} TINE_LINE_ tine_sem;

typedef struct tine_sem_opts {
	bool held; /* a process holds the permits that it takes, until it posts or ends */
	uint8_t reserved8[7];
	uint64_t reserved[3];
} tine_sem_opts;

/* Only for a semaphore that is to differ from a zeroed one, as tine_lock_init(). */
int tine_sem_init(tine_sem *, const tine_sem_opts *);
/*
 * Gives n permits. With .held, first it gives back those that this process holds, and the
 * rest are new. -EOVERFLOW: there would be more than INT_MAX, and none was given. Beside
 * a process that is stopped in a call it takes 20 ms with .held, and else no longer than
 * ever.
 */
int tine_sem_post(tine_sem *, unsigned n);
/*
 * Takes a permit: 0; -ETIMEDOUT. With .held this process, whatever its threads, holds it
 * until it posts. What a process holds when it ends comes back: at once to a process that
 * finds none left, and within a tenth of a second to one that sleeps. Unless it ended in
 * order (exit, or a tine_process's return) one that takes a permit then gets -EOWNERDEAD,
 * and holds it too. Then also -EAGAIN: this process is at 32 barriers and semaphores
 * already; -ENOMEM.
 */
TINE_MUST int tine_sem_wait(tine_sem *, int64_t deadline);

typedef struct tine_event {
	uint32_t priv[16];
} TINE_LINE_ tine_event;

/* Set it, and wake all who wait. Cheap when it is set already. Always 0. */
int tine_event_set(tine_event *);
int tine_event_clear(tine_event *);
/* 0 once it is set, or was set at any moment of the call; -ETIMEDOUT. */
int tine_event_wait(tine_event *, int64_t deadline);

/* One load, free in an inner loop. What was written before the set is visible after. */
inline bool tine_event_is_set(const tine_event *event)
{
	return event && (__atomic_load_n(&event->priv[0], __ATOMIC_ACQUIRE) & 1);
}

typedef struct tine_cond {
	uint32_t priv[16];
} TINE_LINE_ tine_cond;

/*
 * Lets go of the lock, which this thread holds, sleeps until woken, and acquires the lock
 * again: 0, and also without a wake now and then, so test what you wait for in a loop.
 * -ETIMEDOUT: the lock is held as well, and so has been waited for, whatever the
 * deadline: until its holder lets go of it or dies. -EOWNERDEAD: as 0, but the lock comes
 * from a dead holder. -EPERM: this thread does not hold the lock. A recursive lock is let
 * go of wholly.
 */
TINE_MUST int tine_cond_wait(tine_cond *, tine_lock *, int64_t deadline);
int tine_cond_wake(tine_cond *, unsigned n); /* UINT_MAX: all. Always 0 */

typedef struct tine_barrier {
	uint64_t priv[8];
} TINE_LINE_ tine_barrier;

/*
 * Waits until so many parties wait: 1 in the last to come, 0 in the others. The same
 * number in all calls of a round. -EOWNERDEAD: a process that had been here in this or an
 * earlier round died, and did not end in order; all who wait return with it, each process
 * that was here before does so once, and the round begins anew. -ETIMEDOUT: this party is
 * taken back out. -EINVAL: no parties, or over 65535; -EAGAIN: this process is at 32
 * barriers and semaphores already; -ENOMEM.
 */
TINE_MUST int tine_barrier_wait(tine_barrier *, unsigned parties, int64_t deadline);

/* ---- file lock --------------------------------------------------------------------- */

/*
 * A lock on a file, for processes that need not be related: whoever opens the same file.
 * Threads of a process each open their own. Advisory: it keeps out who asks as well, here
 * or by fcntl(2), and who just reads and writes the file it does not.
 */
typedef struct tine_filelock tine_filelock;

/*
 * A file that is not there is made, empty, with mode 0600 and the umask, and stays;
 * nothing is read from it or written to it. -ENODEV: no regular file; -EACCES, -EISDIR,
 * -ENOENT, -EROFS and others as open(2) for reading and writing; -ENOMEM; -EINVAL.
 */
TINE_MUST int tine_filelock_open(tine_filelock **out, const char *path);
/*
 * Shared: with others who hold it shared; else alone. 0: held. When its holder ends, by
 * whatever death, the lock is free at once, and nobody is told. -EDEADLK: this handle
 * holds it already, in either way; -ETIMEDOUT; -EPERM: the handle is another process's;
 * -ENOLCK; -EINVAL: the system has no such locks.
 */
TINE_MUST int tine_filelock_acquire(tine_filelock *, bool shared, int64_t deadline);
int tine_filelock_release(tine_filelock *); /* 0, or -EPERM: it is not held by this */
/* Lets go of it as well. The file stays. */
void tine_filelock_free(tine_filelock *);

/* ---- process ----------------------------------------------------------------------- */

typedef struct tine_process tine_process;

typedef struct tine_process_opts {
	const char *name; /* as ps shows it, at most 15 bytes; that of the parent */
	uint64_t reserved[7];
} tine_process_opts;

typedef struct tine_exit {
	int code;   /* 0 to 255, or -1 when a signal ended it */
	int signal; /* the signal that ended it, or 0 */
	uint64_t reserved[3];
} tine_exit;

/*
 * Forks here; fn(arg) runs in the child, and what it returns is the child's exit code
 * (the low 8 bits). The child leaves by _exit: atexit functions do not run, stdout and
 * stderr are flushed, and what the parent had buffered in them is not printed twice.
 * Signal mask, handlers and descriptors are inherited as by fork(2). The child dies with
 * the process that started it, however that one ends, also when it has closed its
 * descriptors or executed a program.
 * -EAGAIN, -ENOMEM, -EMFILE: as fork(2) and socketpair(2).
 */
TINE_MUST int tine_process_start(tine_process **out, int (*fn)(void *arg), void *arg,
				 const tine_process_opts *);
/* A program to be executed. Zero members are defaults; all is copied. */
typedef struct tine_command {
	const char *const *argv; /* ends with NULL; argv[0] is searched for in PATH */
	const char *const *env;	 /* "NAME=value", ends with NULL; over the caller's */
	const char *folder;	 /* in which it runs; NULL: the caller's */
	/*
	 * Three descriptors of the caller's, which become 0, 1 and 2; -1: /dev/null.
	 * NULL: /dev/null and the caller's 1 and 2. The program inherits no others.
	 */
	const int *fds;
	uint64_t reserved[4];
} tine_command;

/*
 * Executes a program in a process and a process group of its own, with every signal at
 * its default. The program and all processes that it starts, in whatever group or
 * session, are killed when the calling process has ended in any way, or by
 * tine_process_free(); tine-processes(7) names the exceptions. A process between the two,
 * the keeper, does this; the first call starts it. Memory and time do not grow with the
 * caller's. Limits, umask and priority are the caller's at its first call.
 * Blocks until the program is being executed, 5 seconds at most: -ETIMEDOUT.
 * -EINVAL: no argv[0], or a variable without "="; -ENOENT, -EACCES and others as
 * execve(2); -ENOENT, -ENOTDIR, -EACCES: folder; -EBADF: a descriptor that is closed;
 * -EAGAIN, -EMFILE, -ENOMEM; -E2BIG; -ENOSYS: Linux older than 5.3; -EPIPE: the keeper
 * was killed.
 */
TINE_MUST int tine_process_spawn(tine_process **out, const tine_command *,
				 const tine_process_opts *);

typedef struct tine_usage {
	int64_t user_ns, system_ns; /* processor time, in nanoseconds */
	uint64_t memory_max;  /* most resident memory of any one process, in bytes */
	uint64_t reserved[5]; /* 0 */
} tine_usage;

/*
 * What a program that was spawned, and those that it has waited for, used: 0; -EAGAIN: it
 * has not ended; -ECHILD: not known, since the keeper was killed; -ENOTSUP: the process
 * is a function's, not a program's.
 */
int tine_process_usage(tine_process *, tine_usage *out);

/*
 * Called in a child, by whatever fork: the child is killed when its parent, the process
 * that forked it, has ended in any way, also after the child has closed its descriptors
 * or executed a program. A child of tine_process_start() needs no call. The parent has
 * ended already: the child is killed here. 0; -EAGAIN, -EMFILE, -ENOMEM; -ENOSYS: Linux
 * older than 5.3.
 */
int tine_process_tie(void);

/*
 * 0 and how it ended (how may be NULL), any number of times; -ETIMEDOUT; -ECHILD when
 * somebody else reaped it (wait(2), or SIGCHLD ignored), so that nobody knows.
 */
int tine_process_wait(tine_process *, tine_exit *how, int64_t deadline);
/* 0; -ESRCH: it has ended; -EINVAL: no such signal. */
int tine_process_kill(tine_process *, int signal);
pid_t tine_process_pid(const tine_process *);
/* Polls readable once it has ended. Belongs to the process object: not to be closed. */
int tine_process_fd(const tine_process *);
/* Kills what still runs, and reaps it. */
void tine_process_free(tine_process *);

/* ---- queue ------------------------------------------------------------------------- */

/*
 * Messages of up to max_len bytes between any processes and threads of the family, in the
 * order of each producer. Lives in the family's memory: made before the fork or after it,
 * its address may be sent on.
 */
typedef struct tine_queue tine_queue;

typedef struct tine_queue_opts {
	size_t capacity;    /* messages it holds; 1024, or fewer, to stay below 64 MiB */
	unsigned producers; /* closes that end the stream; 1 */
	uint8_t reserved8[4];
	uint64_t reserved[6];
} tine_queue_opts;

typedef uint64_t tine_lease;

/*
 * max_len is 1 byte to 1 MiB; capacity * (max_len + 8) bytes are committed here. -EINVAL,
 * -ENOMEM.
 */
TINE_MUST int tine_queue_new(tine_queue **out, size_t max_len, const tine_queue_opts *);
/*
 * Waits for room. Once it has returned 0 no death can lose the message. -EINVAL: len is
 * 0; -EMSGSIZE: over max_len; -EPIPE: this process has closed the queue, or all producers
 * have; -ETIMEDOUT; -ENOMEM.
 */
TINE_MUST int tine_queue_put(tine_queue *, const void *msg, size_t len, int64_t deadline);
/*
 * Waits for a message, and returns its length; 0: the stream has ended, that is, all
 * producers have closed it or died, and nothing is left. Taken for good when the call
 * returns; when this process dies before all of it is in buf, it goes to another.
 * -EMSGSIZE: size is too small, the message stays. -ETIMEDOUT; -ENOMEM.
 */
TINE_MUST ssize_t tine_queue_get(tine_queue *, void *buf, size_t size, int64_t deadline);
/*
 * The same, but the message comes back, once for each death, until a process has called
 * tine_queue_ack(). As many may be on lease as the queue holds; then it waits. The stream
 * has not ended, for a process without leases, while others have some.
 */
TINE_MUST ssize_t tine_queue_lease(tine_queue *, void *buf, size_t size, tine_lease *,
				   int64_t deadline);
/* 0; -ENOENT: this process has no such lease. */
int tine_queue_ack(tine_queue *, tine_lease);
/*
 * n messages of max_len bytes each, with few atomic steps. Both wait until they have
 * moved one, and then move what they can without waiting: put_many goes on to wait until
 * all are in, unless the deadline passes. How many; 0 of get_many: the stream has ended.
 * Shorter messages are filled up with zeros. Errors as above, when none was moved.
 */
TINE_MUST ssize_t tine_queue_put_many(tine_queue *, const void *msgs, size_t n,
				      int64_t deadline);
TINE_MUST ssize_t tine_queue_get_many(tine_queue *, void *msgs, size_t n,
				      int64_t deadline);
/* How many wait to be taken; those on lease do not. Of the moment, where others work. */
size_t tine_queue_len(const tine_queue *);
/*
 * This process is a producer from now on, and not only from its first put: if it ends in
 * any way without having closed the queue, it counts as closed. 0, also the second time;
 * -EPIPE: this process has closed the queue, or all producers have; -ENOMEM; -ETIMEDOUT:
 * after 250 ms, in the first call of a process for this queue, while another process is
 * stopped in the middle of a call.
 */
int tine_queue_join(tine_queue *);
/*
 * This process will put no more; it counts as one producer, whatever its threads, and
 * once however often it closes. A process that has joined or put and ends in any way
 * counts as well; one that ends before does not. 0; -ENOMEM; -ETIMEDOUT as above.
 */
int tine_queue_close(tine_queue *);
/* Any member may, once, when nobody uses it any more. */
void tine_queue_free(tine_queue *);

/* ---- pipe -------------------------------------------------------------------------- */

/*
 * Two connected ends, each to send and to receive whole messages of any length from 1
 * byte on. They are descriptors: poll(2) them, close(2) them, keep one in each process
 * and close the other there, or the end of the peer goes unnoticed. Many may send on an
 * end at a time, one may receive. CLOEXEC. -EMFILE, -ENFILE, -ENOMEM.
 */
TINE_MUST int tine_pipe_new(int ends[2]);
/*
 * 0 once the message is on its way; waits while the peer is far behind. -EPIPE: nobody
 * has the other end any more, never SIGPIPE; -EINVAL: len is 0; -EBADF, -ENOTSOCK: no end
 * of a pipe; -ETIMEDOUT; -ENOMEM, -EMFILE, -ENFILE: for a long message.
 */
TINE_MUST int tine_pipe_send(int end, const void *msg, size_t len, int64_t deadline);
/*
 * The length of the message; 0: nobody has the other end any more, and nothing is left.
 * -EMSGSIZE: size is too small, the message stays; -ETIMEDOUT; -EBADF, -ENOTSOCK;
 * -ENOMEM; -EMFILE: for a long message, which stays.
 */
TINE_MUST ssize_t tine_pipe_recv(int end, void *buf, size_t size, int64_t deadline);

/* ---- task and pool ----------------------------------------------------------------- */

/*
 * A job: reads in_size bytes at in, writes out_size bytes at out, returns its status. Use
 * negative errno values for failures. Both pointers are aligned to the largest power of
 * two (up to 64) that divides the item's size.
 */
typedef int tine_fn(const void *in, void *out);

/*
 * Work that a pool can name: bytes in, bytes out. Either size may be 0. What a cache
 * keeps of it is found by its version and its name alone where file is NULL, and else
 * by the path of the program that runs, file and name: so two programs, or two files,
 * may each have a function of that name.
 */
typedef struct tine_task {
	const char *name;
	tine_fn *fn;
	size_t in_size, out_size;
	const char *file;
	unsigned version; /* change it when the results change */
	uint8_t reserved8[4];
	uint64_t reserved[2];
} tine_task;
/* clang-format off */
#define TINE_TASK(fn, In, Out) \
	{ #fn, fn, sizeof(In), sizeof(Out), __FILE__, 0, { 0 }, { 0 } }
#define TINE_TASK_IN(fn, In) { #fn, fn, sizeof(In), 0, __FILE__, 0, { 0 }, { 0 } }
/* A name of the caller's own, which any program may have for the same work. */
#define TINE_TASK_NAMED(name, fn, In, Out, version) \
	{ name, fn, sizeof(In), sizeof(Out), NULL, version, { 0 }, { 0 } }
/* clang-format on */

typedef struct tine_pool tine_pool;
typedef struct tine_cache tine_cache;

typedef struct tine_pool_opts {
	unsigned workers;	  /* processes; tine_cpus(); at most 1024 */
	unsigned jobs_per_worker; /* then it is replaced; never */
	size_t memory_per_worker; /* bytes of its own, then it is replaced; no limit */
	int (*init)(void *arg); /* runs first in each worker; non-zero: it cannot work */
	void *init_arg;
	/* Of jobs that are submitted; for those of a map, tine_map_opts says. */
	tine_cache *cache; /* as in tine_map_opts */
	int64_t job_ms;	   /* the longest a job may run; no limit */
	unsigned retries;  /* times a job is tried again when its worker died; 0 */
	bool ordered;	   /* results come in the order of submission; as they are done */
	uint8_t reserved8[3];
	uint64_t reserved[5];
} tine_pool_opts;

#define TINE_LIMIT_TIME	  1
#define TINE_LIMIT_MEMORY 2

/* Why a worker died in a job. */
typedef struct tine_failure {
	size_t index;  /* of the job */
	size_t deaths; /* of workers in jobs of this map, those tried again counted too */
	tine_exit how; /* of the worker */
	int status;    /* of the job: -TINE_ECRASH, -TINE_ELIMIT, or -ECANCELED */
	int limit;     /* for which it was ended, TINE_LIMIT_TIME or _MEMORY; else 0 */
	uint64_t reserved[4];
} tine_failure;

typedef struct tine_map_opts {
	size_t chunk;	       /* jobs a worker takes at a time; adaptive */
	int *status;	       /* receives the n return values */
	int64_t job_ms;	       /* the longest a job may run; no limit */
	size_t hits;	       /* find: how many end the search; 1 */
	int64_t grace_ms;      /* find: after the last hit, for jobs that run; no limit */
	tine_failure *failure; /* receives the first; index is n where there was none */
	/* Called in this process about ten times a second, and once at the end. */
	void (*progress)(void *arg, size_t done, size_t total);
	void *progress_arg;
	/*
	 * Results that are in it are taken from it, those that are not are computed, once
	 * where items are alike, and kept: by tine_cache_call() in the workers.
	 */
	tine_cache *cache;
	unsigned retries; /* times a job is tried again when its worker died; 0 */
	uint8_t reserved8[4];
	uint64_t reserved[7];
} tine_map_opts;

typedef struct tine_done {
	uint64_t tag;
	tine_exit how; /* its worker ended, if it died in the job; else zeros */
	int status;    /* what the job returned, or as of a job of a map */
	int limit;     /* as in a tine_failure */
	uint64_t reserved[4];
} tine_done;

/*
 * Starts the workers and waits until each is ready. They are forked from one small
 * process (the nursery), which is forked here: what the caller's memory holds now, the
 * jobs see; what it writes later, they do not, until tine_pool_refresh(). What must be
 * seen at once belongs in the job's input or in the family's memory. When the caller
 * dies, so do they. In a
 * job, tine_cpus() is the worker's share, so that pools in jobs do not crowd the machine.
 * -EINVAL; -EAGAIN, -ENOMEM, -EMFILE as fork(2); what .init returned, when negative, else
 * -EINVAL for a positive one; -TINE_ECRASH when .init crashed.
 */
TINE_MUST int tine_pool_new(tine_pool **out, const tine_pool_opts *);
/*
 * Ends the workers and forks others, which see what the caller's memory holds now.
 * Blocks until they are ready. -EBUSY: a map is under way, or jobs that were submitted
 * are not done; else as tine_pool_new(): the pool then has no workers, and may be
 * refreshed again.
 */
TINE_MUST int tine_pool_refresh(tine_pool *);

/*
 * for (i < n) status[i] = task->fn(&in[i], &out[i]), in parallel. The negative status
 * with the smallest index, or 0. in and out are copied to and from the family's memory,
 * unless they lie in it already (tine_shared_new), when the jobs work in place.
 *
 * A job whose worker died has status -TINE_ECRASH, after .retries more attempts; one that
 * was ended for a limit -TINE_ELIMIT: of time, when it ran for .job_ms, or the deadline
 * found it running; of memory, when its worker grew beyond .memory_per_worker, or was
 * killed by the system for want of memory; one dropped by cancel or the deadline
 * -ECANCELED. out[i] of these is unspecified; their workers were ended and replaced. All
 * others ran once to the end.
 *
 * Past the deadline workers still in a job are killed and replaced; the call returns
 * -ETIMEDOUT. When cancelled: -ECANCELED. -ENOMEM, -EINVAL: nothing ran.
 */
TINE_MUST int tine_pool_map(tine_pool *, const tine_task *, const void *in, void *out,
			    size_t n, const tine_map_opts *, int64_t deadline);

/*
 * The same, but a job that returns 1 is a hit, and the first ends the others: those that
 * have not begun are dropped, tine_cancelled() is true in those that run, and .grace_ms
 * later their workers are killed and replaced; status -ECANCELED. With .hits the search
 * goes on until there are so many, SIZE_MAX: to the end. How many hits, at most .hits,
 * and in *index (may be NULL) the job of the first; 0: none, and no failure; else as map.
 */
TINE_MUST int tine_pool_find(tine_pool *, const tine_task *, const void *in, void *out,
			     size_t n, size_t *index, const tine_map_opts *,
			     int64_t deadline);

/*
 * One job more: copies task->in_size bytes. Waits while 2 * workers jobs wait for a
 * worker, so that an endless source is not read ahead. 0; -ETIMEDOUT; -ENOMEM; -EINVAL.
 */
TINE_MUST int tine_pool_submit(tine_pool *, const tine_task *, const void *in,
			       uint64_t tag, int64_t deadline);
/*
 * 1 and a job that is done, with the result, its task's out_size bytes, in out, which has
 * size bytes (NULL: it is not wanted); 0: none is left. -EMSGSIZE: size is too small, and
 * the job stays to be taken. -ETIMEDOUT.
 */
TINE_MUST int tine_pool_next(tine_pool *, void *out, size_t size, tine_done *,
			     int64_t deadline);

/*
 * Drops what has not begun of the map or of what was submitted, and tells what has
 * (tine_cancelled). From another thread, a signal handler or a progress function. What is
 * submitted is dropped too, until tine_pool_next() has returned 0 or a map begins. Does
 * nothing while there are no jobs. Always 0.
 */
int tine_pool_cancel(tine_pool *);

/* Inside a job: whether its results are no longer wanted. Cheap enough for every turn. */
extern const uint32_t *tine_cancel_word_;
inline bool tine_cancelled(void)
{
	return __atomic_load_n(tine_cancel_word_, __ATOMIC_RELAXED) != 0;
}

/* Ends the workers, kills those in a job. Blocks until all are gone. */
void tine_pool_free(tine_pool *);

/*
 * Draws a progress bar on a FILE * (stderr when NULL), only if that is a terminal. Fits
 * tine_map_opts.progress; ends the line when done == total.
 */
void tine_progress_bar(void *stream, size_t done, size_t total);

/* ---- cache: results of calls, on disk ---------------------------------------------- */

/*
 * A folder of results, for processes of one family, strangers and later runs. An entry is
 * found by a key: bytes of the caller's own (get, put), or a task's name, its version and
 * the bytes of the input (call, and .cache of a pool's maps), which are compared, so that
 * no collision of hashes is ever a wrong answer. Padding in an input struct is part of
 * its bytes: zero it first.
 *
 * Each entry has a checksum. What was scribbled over is a miss; what is beyond mending is
 * begun anew. The checksum of a value over 16 KiB, which is a file, is asked when the
 * file was changed since it was written, and not while it is mapped. Nobody may cut a
 * file of the cache short while it is open: that is death by SIGBUS. A process may die at
 * any instruction of any call: the others go on, and every entry there is, is right.
 * Nothing is synced to the disk: a power cut may cost entries, and never makes a wrong
 * one.
 *
 * Beside a process that is stopped in the middle of a change: a call computes its result
 * by its deadline and does not keep it, a get is a miss after at most 500 ms, and the
 * other functions return -ETIMEDOUT after at most 1,000 ms. A handle waits so once, and
 * then for nobody until the change is done.
 *
 * A handle may be used by many threads at a time, and by a child that inherits it.
 */
typedef struct tine_cache_opts {
	/*
	 * Of the disk, for all of it. At least 1 MiB. 0: as the folder was opened last,
	 * or where it is new a tenth of the free disk, at most 5 GiB. The least recently
	 * used entries make room.
	 */
	uint64_t max_bytes;
	int64_t max_age_ms; /* older entries are not found by this handle; 0: no limit */
	bool existing;	    /* make nothing: -ENOENT where there is no cache */
	bool shared;	    /* others may own or write the folder and its files */
	uint8_t reserved8[6];
	uint64_t reserved[5];
} tine_cache_opts;

/*
 * dir NULL: $TINE_CACHE, else $XDG_CACHE_HOME/tine, else ~/.cache/tine. It is made,
 * with the folders above it, mode 0700. 0; 1: what was there was damaged beyond
 * mending, or made by a version of tine that kept it in another way, and the cache
 * begins anew. -EPERM: the folder, or a file in it, belongs to another user than the
 * effective one, or others can write it, and .shared is not set; -ELOOP: it is a
 * symbolic link; -ENOTEMPTY: it is no cache, and there is something in it; -ENOENT: no
 * dir, and no home either; -EROFS, -EACCES, -ENOSPC, -ETIMEDOUT. With .shared the mode
 * is that of the umask.
 */
TINE_MUST int tine_cache_open(tine_cache **out, const char *dir, const tine_cache_opts *);
/*
 * The value under a key of at least one byte, aligned to 16 bytes and valid until it is
 * released; one of many bytes is mapped, not copied. 0, or -ENOENT.
 */
TINE_MUST int tine_cache_get(tine_cache *, const void *key, size_t len, const void **val,
			     size_t *val_len);
/*
 * In place of what was there. -EFBIG: more than a half of max_bytes; -ENOSPC; -ETIMEDOUT:
 * it is not kept, for a process is stopped in the middle of a change.
 */
int tine_cache_put(tine_cache *, const void *key, size_t len, const void *val,
		   size_t val_len);
/* Whatever becomes of the entry, the bytes stay until this. NULL does nothing. */
void tine_cache_release(tine_cache *, const void *val);

/*
 * What task->fn(in, out) would do, done once: 1: out is from the cache; 0: it was
 * computed here, and is kept. Of many callers that ask for one missing result, in any
 * processes, one computes and the others wait, until the deadline; when that one dies, or
 * its task fails, the next takes over. What the task returned, then or now, goes to
 * *status (may be NULL); below 0 nothing is kept, and the call returns it as well. A
 * result that cannot be kept, for whatever reason, is delivered all the same. -ETIMEDOUT:
 * another still computes it; -ENOMEM; -EDEADLK: this thread is computing that very
 * result.
 */
TINE_MUST int tine_cache_call(tine_cache *, const tine_task *, const void *in, void *out,
			      int *status, int64_t deadline);
/* Drops the results of a task, of all versions; NULL: every entry. */
int tine_cache_clear(tine_cache *, const tine_task *);

typedef struct tine_cache_stats {
	uint64_t entries, bytes, max_bytes;
	uint64_t hits, misses, evictions; /* since the cache was begun */
	uint64_t restarts;		  /* times it was begun anew, for damage */
	uint64_t reserved[9];
} tine_cache_stats;
int tine_cache_stat(tine_cache *, tine_cache_stats *);

typedef struct tine_cache_entry {
	const char *task; /* NULL: a key of the caller's own */
	const void *key;  /* or the input */
	size_t len, val_len;
	int64_t born, used; /* nanoseconds since 1970 */
	unsigned version;   /* of the task */
	uint8_t reserved8[4];
	uint64_t reserved[4];
} tine_cache_entry;
/*
 * Calls each(arg, entry) for the entries, in no order, until it returns other than 0,
 * which is returned; else 0. The entry is its for that call; it may use the cache. What
 * comes or goes meanwhile may be seen or not.
 */
int tine_cache_list(tine_cache *, int (*each)(void *arg, const tine_cache_entry *),
		    void *arg);
/* Reads every entry, and drops those that are damaged: how many, in *dropped. */
int tine_cache_verify(tine_cache *, uint64_t *dropped);

void tine_cache_free(tine_cache *);

/* ---- random streams: Philox4x32-10, counter based ---------------------------------- */

/*
 * Independent streams for parallel work: the numbers are a function of (seed, stream) and
 * their position alone, so results depend on no worker, schedule or machine. 2^64 streams
 * of 2^66 32-bit numbers a seed. Not for secrets. Plain data: copy it, keep it, send it.
 * Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
 */
typedef struct tine_rng {
	uint32_t key[2], ctr[4], buf[4], left;
} tine_rng;

void tine_rng_init(tine_rng *, uint64_t seed, uint64_t stream);
uint32_t tine_rng_u32(tine_rng *);
uint64_t tine_rng_u64(tine_rng *);  /* two of the above, the first is the low half */
double tine_rng_double(tine_rng *); /* [0, 1): the high 53 bits of a tine_rng_u64() */
/*
 * The next n numbers of tine_rng_double(), bit for bit, by the widest SIMD the processor
 * has; TINE_ISA=generic|avx2|avx512 in the environment asks for less.
 */
void tine_rng_fill(tine_rng *, double *out, size_t n);

/* ---- store: values under names, for processes with no common parent ---------------- */

/*
 * Two engines, chosen by URL, do the same:
 *
 *	file:PATH[?shared=1]
 *		A folder of this machine (LMDB). It is made, mode 0700; on a tmpfs for
 *		speed. -EPERM: it or a file in it is not the effective user's, or others
 *		can write to it, who could have this process write anywhere: shared=1
 *		says that they are trusted; -ELOOP: a symbolic link.
 *	redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]
 *		A Redis server.
 *	rediss://[[USER]:PASSWORD@]HOST[:PORT][/DB][?cacert=FILE][&cert=FILE][&key=FILE]
 *		By TLS. The server's certificate must be for HOST, and by an authority
 *		in cacert, or of the system's; cert and key are the client's own.
 *	unix:PATH[?db=N][&user=USER][&password=PASSWORD]
 *		One on a Unix socket.
 *
 * In each part %XX stands for a byte; only so can it hold one that would end the part.
 *
 * A key is a string of 1 to TINE_STORE_KEY_MAX bytes, and so is a field of a dictionary
 * (else -EINVAL). Under a key there is a value, a list or a dictionary; a call for
 * another kind: -TINE_EKIND. A value is 0 to TINE_STORE_VALUE_MAX bytes of any content
 * (else -EMSGSIZE). Every call is atomic. In Redis all is stored plainly: a value is a
 * string, a counter a decimal number, a list a list, a dictionary a hash.
 *
 * A handle is used by one thread at a time. A child that inherits it may use it, and gets
 * a connection of its own. A process that dies in a call leaves all of it done, or none.
 *
 * Every call: -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT: the server is not there, is gone
 * or does not answer; what does no harm twice is tried once more on a new connection,
 * and the next call connects anew. A call on a server ends by its deadline; one without
 * a deadline, or whose deadline has passed, asks once and ends within answer_ms, and
 * 100 ns for each byte of the value, or of the room for one, that the caller has. After
 * -ECONNRESET or -ETIMEDOUT of add, compare_set, append and del nobody knows whether
 * the server has done it; take has taken nothing after -ETIMEDOUT. Of a folder
 * -ETIMEDOUT: another process, perhaps a stopped one, was in the way for answer_ms, or
 * until the deadline; nothing was done. -EACCES: user, password or permission; -EROFS:
 * a replica, or a disk that is read-only; -EREMOTE: the key is elsewhere in a cluster;
 * -ENOMEM, -ENOSPC: no room; -EBADMSG: no Redis server (or none with TLS), or a folder
 * that is damaged or another's; -EPROTO: a later version of tine made it; -TINE_ECERT:
 * the server's certificate.
 */
typedef struct tine_store tine_store;
#define TINE_STORE_KEY_MAX   255
#define TINE_STORE_VALUE_MAX ((size_t)512 << 20)

typedef struct tine_store_opts {
	unsigned connect_ms; /* for a connection to a server; 0: 800 */
	/* for a whole call on a server, or to wait for users of a folder; 0: 5000 */
	unsigned answer_ms;
	uint64_t reserved[6];
} tine_store_opts;

/*
 * Also -EINVAL: the URL, or what is in a file of it; -EPROTONOSUPPORT: an engine, or TLS,
 * that this build or machine is without; -ENAMETOOLONG: a socket's path over 107 bytes;
 * -EMFILE: over 1000 handles of a folder.
 */
TINE_MUST int tine_store_open(tine_store **out, const char *url, const tine_store_opts *);
void tine_store_free(tine_store *);

int tine_store_set(tine_store *, const char *key, const void *val, size_t len);
/*
 * The length of the value, of which at most size bytes are written to buf: a length above
 * size says that there was no room for it. -ENOENT.
 */
TINE_MUST ssize_t tine_store_get(tine_store *, const char *key, void *buf, size_t size);
/* Many at once, all or none; a key that comes twice has the last. */
typedef struct tine_store_item {
	const char *key;
	const void *val;
	size_t len;
	uint64_t reserved;
} tine_store_item;
int tine_store_set_all(tine_store *, const tine_store_item *, size_t n);
/*
 * Adds to a counter, 0 where there is none, and tells what it is now (unless NULL). The
 * value is a decimal number, as get and set see it; -EINVAL: it is not; -ERANGE: the sum
 * has more than 64 bits, and nothing was added.
 */
int tine_store_add(tine_store *, const char *key, int64_t by, int64_t *now);
/*
 * Sets the value if it is old, else -EAGAIN. old NULL: if there is none; val NULL:
 * deletes it.
 */
TINE_MUST int tine_store_compare_set(tine_store *, const char *key, const void *old,
				     size_t old_len, const void *val, size_t len);

/* Appends to a list, which is made. */
int tine_store_append(tine_store *, const char *list, const void *val, size_t len);
/*
 * Takes the first of a list: its length. Waits until there is one, and who waits longest
 * need not be first. -EMSGSIZE: it is longer than size, and stays. An empty list is none.
 * With TINE_NOWAIT it waits for no item, and at most a millisecond while another process
 * writes to a folder: -ETIMEDOUT may then be said of a list that has items.
 */
TINE_MUST ssize_t tine_store_take(tine_store *, const char *list, void *buf, size_t size,
				  int64_t deadline);

int tine_store_put_field(tine_store *, const char *dict, const char *field,
			 const void *val, size_t len);
/* As tine_store_get(). */
TINE_MUST ssize_t tine_store_get_field(tine_store *, const char *dict, const char *field,
				       void *buf, size_t size);
/* -ENOENT: there is none. A dictionary without fields is none. */
int tine_store_del_field(tine_store *, const char *dict, const char *field);
/*
 * Calls each(arg, field, val, len) for all fields as they were at one moment, in no
 * order, until it returns other than 0, which is returned; else 0. -ENOENT. The bytes are
 * its for that call; each() must not use the store.
 */
int tine_store_fields(tine_store *, const char *dict,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg);

/* Bytes of a value, items of a list, fields of a dictionary; -ENOENT. */
ssize_t tine_store_len(tine_store *, const char *key);
/* Whatever it is; -ENOENT. */
int tine_store_del(tine_store *, const char *key);
/*
 * The key ceases to be so many milliseconds from now; 0: never. Who sets it
 * ends that as well, all other calls leave it. -ENOENT; -EINVAL: below 0.
 */
int tine_store_expire(tine_store *, const char *key, int64_t ms);
/*
 * Calls each(arg, key) for the keys that begin so, as tine_store_fields(); but those of a
 * server may miss a key that comes or goes meanwhile.
 */
int tine_store_keys(tine_store *, const char *prefix,
		    int (*each)(void *arg, const char *key), void *arg);

/*
 * Waits, without polling, until the key has changed since *version, which then is the
 * present one; 0 is no version, so that it returns at once. No change is missed, but
 * several may be told as one, and one that was none: of a lost connection, or of the same
 * name in another database of the server. Versions mean something to this handle only. A
 * deletion and the end of its time are changes. -EOPNOTSUPP: a Redis older than 6.
 */
TINE_MUST int tine_store_wait(tine_store *, const char *key, uint64_t *version,
			      int64_t deadline);

/*
 * Mirrors a key in an event of the family's memory, which is set while the key has a
 * value other than empty and "0": so that who asks pays one load. Returns when the event
 * is as the key was at some moment of the call; follows it from then on, until
 * tine_store_unwatch(), or the store is freed, or the caller ends. One process of the
 * family ("tine-watch") waits for changes of all keys that a handle watches; each of
 * these two calls starts another in its place. While the server is away, or that process
 * is stopped, the events stay as they are. If it was killed, the next of these calls
 * starts another.
 * -EBUSY: it is watched already.
 */
int tine_store_watch(tine_store *, const char *key, tine_event *);
/*
 * The event stays as it is. -ENOENT: it is not watched by this handle. -EAGAIN, -ENOMEM,
 * -EMFILE: there can be no process for what else is watched, and all is as before.
 */
int tine_store_unwatch(tine_store *, tine_event *);

/*
 * A private server for those who want a Manager: redis-server on a Unix socket of mode
 * 0600, with a password, without TCP and without a disk. It ends with
 * tine_manager_free(), or when its creator does, by any death. path: of the socket; NULL:
 * in a folder of its own, which goes with it. A socket at path that nobody listens to
 * gives its place; -EADDRINUSE: something else is there. -ENOENT: there is no
 * redis-server; -ENAMETOOLONG: over 107 bytes. Returns when it answers; blocks for at
 * most 5 seconds.
 */
typedef struct tine_manager tine_manager;
TINE_MUST int tine_manager_start(tine_manager **out, const char *path);
/* For tine_store_open(), of any process that may know it. The manager's. */
const char *tine_manager_url(const tine_manager *);
pid_t tine_manager_pid(const tine_manager *);
/* Blocks for at most 5 seconds, beside a keeper process that was stopped. */
void tine_manager_free(tine_manager *);

#ifdef __cplusplus
}
#endif
#endif
