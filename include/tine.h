/* SPDX-License-Identifier: MIT */
/*
 * tine: process parallelism for C. These rules hold for all calls:
 *
 *  Errors.    A call that can fail returns int or ssize_t: 0 or a count on success, a
 *             negative errno value, or one of tine's, on failure. errno itself is not
 *             used, because a returned code means the same in every process that it is
 *             sent to. On failure all outputs are left as they were.
 *  Deadlines. A call that can block takes a deadline as its last argument, in nanoseconds
 *             on CLOCK_MONOTONIC; tine_after(ms) makes one. When it has passed, the call
 *             returns -ETIMEDOUT. TINE_NOWAIT has always passed, TINE_FOREVER never does.
 *             A positive number below 1 second is no deadline but a mistake: -EINVAL.
 *             A call without a deadline does not block, unless its comment says so.
 *             If a process is stopped (SIGSTOP) in an allocation in the family's memory,
 *             a call that has to allocate there returns -ETIMEDOUT: at its deadline, or
 *             1 second after it has begun, whichever is sooner.
 *             tine_cond_wait() may return later, when it has its lock again. By
 *             tine_interruptible() a thread chooses that signals end its calls too.
 *  Options.   A NULL options pointer, or a member that is 0, stands for the default.
 *             Structs have room for later members, which are called reserved. These must
 *             be zero in a struct that the caller fills in, else the call returns
 *             -EINVAL, and are zero in a struct that tine fills in.
 *  Ownership. An object that x_new(), x_open(), x_start() or x_spawn() makes is released
 *             by x_free(). Bytes that are passed in are copied before the call returns,
 *             unless its comment says otherwise.
 *  NULL.      If the object of a call is NULL, the call returns -EINVAL. A call that
 *             returns no int returns 0, false or NULL, and x_free(NULL) does nothing.
 *             A tine_rng is data, not an object.
 *  Family.    The process that first calls tine, and all processes that it and its
 *             descendants fork later, are a family; each of them is a member. They share
 *             one memory at one address: a pointer of tine_shared_new() is valid in
 *             every member, forked before or after, and may be sent in a message or a
 *             job. Locks, semaphores, events, conditions, barriers and queues are in
 *             that memory. A program that is executed begins a family of its own, or
 *             joins one: tine_family_join(). The object of another family is -EXDEV in
 *             every call but a lock's release and an event's look, as far as its address
 *             tells; tine_family_name() makes sure. A process, a pool or a file lock
 *             belongs to the one process that made it. A child that inherits the pointer
 *             may free it, which frees only its own copy; every other call of the child
 *             returns -EPERM.
 *  Threads.   Any number of threads may use an object in the family's memory, or a cache,
 *             and may submit jobs to a pool and take their results.
 *             One thread of a process at a time may use any other object, except for
 *             tine_pool_cancel(). In a signal handler only tine_event_is_set(),
 *             tine_cancelled() and tine_pool_cancel() are safe.
 *  Death.     A member may die at any instruction. The next holder of its locks gets
 *             -EOWNERDEAD. Its job fails with -TINE_ECRASH. If it was a producer of a
 *             queue, it counts as closed. A message that it had on lease is delivered
 *             again. Its own children are killed. Its death blocks no other process.
 *             An end by exit(), by a return of main() or of the function of
 *             tine_process_start() is an orderly exit; every other end is a death.
 *  Quiet.     The library does not log, print, exit or install a signal handler in the
 *             caller. Only tine_progress_bar() writes.
 *
 * The manual pages have more about each call, and examples: see tine(7).
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

/* The caller must check what such a call returns. */
#define TINE_MUST	    __attribute__((__warn_unused_result__))

#define TINE_VERSION	    "0.2.0"
#define TINE_VERSION_NUMBER 200 /* 10,000 * major + 100 * minor + patch, for #if */
/* The version of the library that runs; TINE_VERSION is that of this header. */
const char *tine_version(void);

#define TINE_ECRASH 5001 /* the worker died in the job */
#define TINE_EKIND  5002 /* the value under that key is of another kind */
#define TINE_ECERT  5003 /* the certificate of a server is not trusted */
#define TINE_ELIMIT 5004 /* the job was ended for a limit of time or memory */
#define TINE_EHOST  5005 /* no host has this task, or no server answers */

/*
 * The text of an error of tine or of the system, positive or negative. Constant, never
 * NULL.
 */
const char *tine_strerror(int err);

#define TINE_NOWAIT  INT64_C(0)
#define TINE_FOREVER INT64_MAX
/* The present time, in nanoseconds on CLOCK_MONOTONIC. */
int64_t tine_now(void);

/*
 * The deadline that lies ms milliseconds from now. If the sum would overflow, it is
 * TINE_NOWAIT or TINE_FOREVER.
 */
int64_t tine_after(int64_t ms);

/*
 * Whether signals end the waits of the calling thread. If on, a call that waits until its
 * deadline returns -EINTR when a handler has run in this thread while the call slept,
 * also with SA_RESTART. The call has then done nothing, as after -ETIMEDOUT. A success is
 * returned in place of -EINTR, and then the next call that would sleep returns -EINTR. A
 * handler that runs just before the call sleeps may remain unnoticed. In a new thread, in
 * a worker and in a child of tine_process_start() it is off; other children inherit it.
 * Returns what it was before.
 */
bool tine_interruptible(bool on);

/*
 * The number of processors that this process may use, at least 1: its affinity, or if
 * that is less the CPU quota of its cgroup and of each ancestor (v1 and v2), rounded up.
 * TINE_WORKERS=N in the environment replaces that number, unless it is 0. In a job of a
 * pool it is divided by the number of the pool's workers. It is read anew at each call.
 */
unsigned tine_cpus(void);

/* ---- shared memory of the family --------------------------------------------------- */

/*
 * Allocates n objects of size bytes each, zeroed and aligned to 64 bytes, at one address
 * in the whole family. The pages are committed by this call, so that no later access
 * raises SIGBUS. The memory lives until it is freed or the last member of the family has
 * ended, also if the member that allocated it dies.
 *
 * Waits for another process that is in an allocation, 1 second at most if that is
 * stopped. Returns NULL then, if n * size overflows, or if there is too little memory.
 */
TINE_MUST void *tine_shared_new(size_t n, size_t size);

/* As tine_shared_new(1, size), not zeroed: the bytes may be those of a freed block. */
TINE_MUST void *tine_shared_raw(size_t size);

/*
 * Frees such memory. Any member may free what any other member has allocated. Does not
 * wait for other processes. The family keeps up to 64 MiB of freed pages for later
 * blocks; the system gets the rest back. A block that a process keeps (tine_shared_keep)
 * is not freed.
 */
void tine_shared_free(void *mem);

/*
 * The calling process keeps a block of tine_shared_new() or tine_shared_raw(), which no
 * process keeps before its first such call, or keeps it once more. A block that was kept
 * is freed when the last process that keeps it has dropped it as often as it has kept it,
 * or has ended, by any death. A process that was forked keeps nothing yet:
 * if the block is to outlast its parent, it must call this while the parent keeps it.
 *
 * Waits for another process that is in an allocation, 1 second at most if that is
 * stopped. Returns
 *   -EINVAL     mem is not the first byte of a block in use
 *   -EPERM      the block belongs to a queue or a pool
 *   -EOVERFLOW  this process keeps the block 16,383 times
 *   -ENOMEM     there is too little memory, or too many members
 *   -ETIMEDOUT  the other process is stopped
 */
TINE_MUST int tine_shared_keep(void *mem);

/*
 * Takes one call of tine_shared_keep() by this process back. Does not wait for other
 * processes. Returns
 *   -EINVAL     mem is not the first byte of a block in use
 *   -EPERM      this process does not keep the block
 */
int tine_shared_drop(void *mem);

/*
 * Maps the first size bytes of a file. All processes that map the same file, of the
 * family or not, see the same bytes. The address is valid in this process, and in
 * processes that it forks later. Nothing keeps two processes from writing at the same
 * time, unless they place locks, events or conditions in the file: these work also
 * between processes that are not related.
 *
 * If the file does not exist, it is created, with mode 0600 less the umask. If it is
 * shorter than size, it grows, filled with zeros. If it is longer, it stays so. Its
 * blocks are allocated by this call, so that no later access raises SIGBUS because the
 * disk is full.
 *
 * A lock in the file contains pointers, so that a user with the right to write to the
 * file could make this process write anywhere. Such files are therefore refused
 * (-EPERM). Returns 0, or:
 *   -EINVAL          size is 0
 *   -EPERM           the file does not belong to the effective user, or others can write
 *                    to it
 *   -ELOOP           the path is a symbolic link
 *   -ENODEV          the path is not a regular file
 *   -ENOSPC, -EFBIG  there is no room for the file
 *   others           as open(2) and mmap(2)
 */
TINE_MUST int tine_shared_map(void **out, const char *path, size_t size);

/*
 * The same for a file that the caller has opened for reading and writing, with any owner
 * and mode: the caller has checked which users it trusts. The caller may close the
 * descriptor afterwards.
 */
TINE_MUST int tine_shared_map_fd(void **out, int fd, size_t size);
/* Ends the mapping, in this process alone. The file stays. NULL does nothing. */
void tine_shared_unmap(void *mem);

/* ---- programs that join the family ------------------------------------------------- */

/*
 * A descriptor of the family's memory, for a program that is to join: it inherits the
 * descriptor, or gets it over a Unix socket. The descriptor is the library's, for the
 * caller to pass or to duplicate and not to close, and is close-on-exec. Its size is
 * sealed. Returns the descriptor, or:
 *   -EBADF   the program has closed it
 *   -ENOMEM  there is no family yet, and no memory for one
 */
int tine_family_fd(void);

/* In place of a descriptor: the one that tine_command.family has passed. */
#define TINE_FAMILY_INHERITED (-1)

/*
 * Makes this process, which has been executed and has not used the family's memory yet, a
 * member of the family of the descriptor, with all rights: every pointer of the family
 * means the same here, and its death is noticed as any member's. Children that it forks
 * from then on are members too. The descriptor stays the caller's, and may be closed; one
 * of TINE_FAMILY_INHERITED is closed. Blocks for nobody. Reads no more than a checked
 * header before it returns an error. Returns 0, also if it was a member of this family
 * already, or:
 *   -EBUSY    this process is a member of another family: it has joined that, or a call
 *             of tine has begun one
 *   -EBADF    there is no such descriptor
 *   -ENOENT   TINE_FAMILY_INHERITED: none was passed
 *   -EBADMSG  it is not that of a family's memory, or somebody has damaged that
 *   -EACCES   it is not open for reading and writing
 *   -EPERM    the memory belongs to another user, and not to root
 *   -EPROTO   the family uses another build of tine, or of the C library
 *   -ENOTSUP  the family is in another PID namespace
 *   -EEXIST   something else lies at the family's address in this process
 *   -ENOMEM, -EMFILE  there is no address space, as under ulimit -v; no descriptor
 */
TINE_MUST int tine_family_join(int fd);

/* The number of this process's family: random, and 0 if there is none yet. */
uint64_t tine_family_id(void);

#define TINE_FAMILY_NAME 40 /* bytes of a name, its final 0 included */

/*
 * Writes a name for what lies at mem in the family's memory: an object, or any byte of a
 * block. It is a word of letters, digits and "-", for an argument, a variable or a
 * message to a process that is no member yet. It holds until the block is freed. Returns
 * 0, or -ENOENT: mem is in no block of the family's memory.
 */
int tine_family_name(char name[TINE_FAMILY_NAME], const void *mem);

/*
 * What has this name. Returns 0, or:
 *   -EXDEV   it is a name of another family, or this process has not joined yet
 *   -ENOENT  the block has been freed
 *   -EINVAL  it is no name
 */
TINE_MUST int tine_family_find(void **out, const char *name);

/* ---- synchronisation --------------------------------------------------------------- */

/*
 * These objects are placed in shared memory, and are valid when zeroed. Each begins at a
 * cache line of its own. C and C++ have two different alignas.
 */
#define TINE_LINE_ __attribute__((__aligned__(64)))

typedef struct tine_lock {
	uint64_t priv[8];
} TINE_LINE_ tine_lock;

/*
 * Mutual exclusion between threads of any processes of the family. Blocks until this
 * thread holds the lock or the deadline has passed. Returns:
 *   0             this thread holds the lock
 *   -EOWNERDEAD   this thread holds the lock too, but the thread or process that held it
 *                 before died without a release: put the guarded data in order
 *   -EDEADLK      this thread held the lock already
 *   -ETIMEDOUT    the deadline has passed
 *   -EAGAIN       this thread holds 2,000 locks, and the kernel passes on few more of a
 *                 dead thread; or it has acquired a recursive lock too often
 *   -ENOTSUP      the lock is in use in another PID namespace, in which thread ids mean
 *                 other threads
 *   -ENOSYS       the system denies set_robust_list(2), without which no death is
 *                 noticed
 */
TINE_MUST int tine_lock_acquire(tine_lock *, int64_t deadline);
/* Releases the lock. Returns 0, or -EPERM: this thread does not hold the lock. */
int tine_lock_release(tine_lock *);

typedef struct tine_lock_opts {
	bool recursive; /* its holder may acquire it again, and releases it as often */
	uint8_t reserved8[7];
	uint64_t reserved[3];
} tine_lock_opts;

/*
 * Sets the options of a zeroed lock, before any thread uses it. A lock with default
 * options needs no call. Returns 0, or -EINVAL, also if the lock is already in use as
 * one of the other kind.
 */
int tine_lock_init(tine_lock *, const tine_lock_opts *);

typedef struct tine_sem {
	uint64_t priv[16];
} TINE_LINE_ tine_sem;

typedef struct tine_sem_opts {
	unsigned max; /* permits that there can be, those that are held too. 0: INT_MAX */
	bool held; /* a process holds the permits that it takes, until it posts or ends */
	/*
	 * There is one permit, from the beginning. The process that has taken it holds
	 * it; any process may post it back. Not with .held or .max.
	 */
	bool mutex;
	uint8_t reserved8[2];
	uint64_t reserved[3];
} tine_sem_opts;

/*
 * Sets the options of a zeroed semaphore, before any thread uses it. Returns 0, or
 * -EINVAL.
 */
int tine_sem_init(tine_sem *, const tine_sem_opts *);

/*
 * Adds n permits. With .held, permits that this process holds are returned first, and
 * the rest are new; beside a process that is stopped in a call that takes 20 ms. Returns
 * 0, or:
 *   -EOVERFLOW    there would be more than .max permits, and none was added
 *   -EPERM        with .mutex: the permit is there already
 *   -EINVAL       with .mutex: n is not 1
 */
int tine_sem_post(tine_sem *, unsigned n);

/*
 * Takes a permit. Blocks until there is one or the deadline has passed.
 *
 * With .held this process, not the thread, holds the permit until it posts. When a
 * process ends, the permits that it holds are returned: a call that finds no other
 * permit gets one at once, and a call that sleeps within 200 ms. Unless that end was an
 * orderly exit, the next call that takes a permit returns -EOWNERDEAD. With .mutex it is
 * the same, but an orderly exit counts as well, and the death of a process that holds the
 * permit is reported by the call that gets it, unless another process has posted it.
 * Returns:
 *   0             a permit was taken
 *   -EOWNERDEAD   a permit was taken too, and a process that held permits has died
 *   -ETIMEDOUT    the deadline has passed
 *   -ENOMEM       with .held or .mutex: no memory
 */
TINE_MUST int tine_sem_wait(tine_sem *, int64_t deadline);

/*
 * The number of permits that can be taken. It may have changed when the call returns.
 * -EINVAL: NULL.
 */
int tine_sem_value(tine_sem *);

typedef struct tine_rwlock {
	uint64_t priv[16];
} TINE_LINE_ tine_rwlock;

/*
 * A lock that many processes share to read, or one has alone to write. Blocks until this
 * process, not the thread, has a read hold, or the write hold, or until the deadline. No
 * more read holds are given while a process waits to write; when it has released the
 * lock, readers that wait get their turn. A process may have several read
 * holds; if it waits to write while it has one, it waits for itself. When a process ends,
 * its holds are released: a call that then waits gets the lock within 200 ms. Returns:
 *   0             this process has a hold
 *   -EOWNERDEAD   this process has a hold too. To a writer: a process that had the lock
 *                 has died since the last writer. To a reader: a writer has died, and no
 *                 process has had the lock to write since, so the guarded data may be
 *                 half changed. An orderly exit of a reader is not reported
 *   -ETIMEDOUT    the deadline has passed
 *   -ENOMEM       no memory
 */
TINE_MUST int tine_rwlock_read(tine_rwlock *, int64_t deadline);
TINE_MUST int tine_rwlock_write(tine_rwlock *, int64_t deadline);
/* Releases one hold. Returns 0, or -EPERM: this process has none. */
int tine_rwlock_release(tine_rwlock *);

typedef struct tine_event {
	uint32_t priv[16];
} TINE_LINE_ tine_event;

/* Sets the event and wakes all waiting threads. Cheap if it is set already. Returns 0. */
int tine_event_set(tine_event *);
/* Clears the event. Returns 0. */
int tine_event_clear(tine_event *);

/*
 * Blocks until the event is set or the deadline has passed. Returns 0: the event is set,
 * or was set at any moment of the call; or -ETIMEDOUT.
 */
int tine_event_wait(tine_event *, int64_t deadline);

/*
 * Whether the event is set. One load, for inner loops. If true, the caller also sees
 * everything that the setting thread had written before.
 */
inline bool tine_event_is_set(const tine_event *event)
{
	return event && (__atomic_load_n(&event->priv[0], __ATOMIC_ACQUIRE) & 1);
}

/*
 * A descriptor for poll(2), for a caller that waits for other descriptors as well. It
 * becomes readable when the object that it is armed for is ready, and stays so until it
 * is armed again or disarmed: arm it, poll it, look at the object by a call with
 * TINE_NOWAIT, and arm it again. What the processes that set the event pay for it is what
 * they pay for a caller that waits, and only while it is armed.
 *
 * A waiter is a thread of this process, which waits. It belongs to the process that made
 * it; any number of its threads may use it.
 */
typedef struct tine_waiter tine_waiter;

/* Makes a waiter. Returns 0, or -EMFILE, -EAGAIN: no thread is left; -ENOMEM. */
TINE_MUST int tine_waiter_new(tine_waiter **out);

/*
 * Arms the waiter for an event: its descriptor becomes readable when the event is set, or
 * was set at any moment since this call. If the event is set, it is readable at once.
 * What the waiter was armed for before ends. If a process dies between its set and its
 * wake, the descriptor becomes readable within 200 ms. Returns 0, or -EPERM: the waiter
 * belongs to another process; -EBADF: other code has closed its descriptor.
 */
int tine_waiter_arm_event(tine_waiter *, tine_event *);

/*
 * Disarms the waiter: its descriptor is not readable, and the object that it was armed
 * for may be freed. Returns 0, or -EPERM as above.
 */
int tine_waiter_disarm(tine_waiter *);

/* The descriptor. The caller must neither close nor read it. */
int tine_waiter_fd(const tine_waiter *);
/* Disarms the waiter, ends its thread and closes its descriptor. */
void tine_waiter_free(tine_waiter *);

typedef struct tine_cond {
	uint32_t priv[16];
} TINE_LINE_ tine_cond;

/*
 * Releases the lock, which this thread must hold, sleeps until it is woken or the
 * deadline has passed, and acquires the lock again. A recursive lock is released wholly.
 * It waits for the lock as long as another thread holds it, also past the deadline.
 * Returns, with the lock held:
 *   0             this thread was woken; also returned without a wake now and then, so
 *                 test the awaited state in a loop
 *   -EOWNERDEAD   as 0, but the last holder of the lock died
 *   -ETIMEDOUT    the deadline has passed
 *
 * Or -EPERM: this thread did not hold the lock.
 */
TINE_MUST int tine_cond_wait(tine_cond *, tine_lock *, int64_t deadline);
/* Wakes at most n waiting threads, with UINT_MAX all of them. Returns 0. */
int tine_cond_wake(tine_cond *, unsigned n);

typedef struct tine_barrier {
	uint64_t priv[8];
} TINE_LINE_ tine_barrier;

/*
 * Blocks until as many calls as parties, this one included, wait at the barrier, or the
 * deadline has passed. All calls of a round must pass the same number. Returns:
 *   1             the round is complete, and this call was the last
 *   0             the round is complete
 *   -EOWNERDEAD   a process that had waited at this barrier before died: all calls that
 *                 wait return this, and the next call of each other process that had
 *                 waited here, once; then a new round begins
 *   -ETIMEDOUT    the deadline has passed, and this call is no longer a party
 *   -EINVAL       parties is 0 or more than 65535
 *   -ENOMEM       no memory
 */
TINE_MUST int tine_barrier_wait(tine_barrier *, unsigned parties, int64_t deadline);

/* ---- file lock --------------------------------------------------------------------- */

/*
 * A lock on a file, for processes that need not be related: all processes that open the
 * same file. Each thread of a process opens a handle of its own. The lock is advisory:
 * it excludes only processes that lock the same file, with tine or with fcntl(2), and
 * not those that just read or write the file.
 */
typedef struct tine_filelock tine_filelock;

/*
 * Opens a file to be locked. If it does not exist, it is created, empty, with mode 0600
 * less the umask, and is not removed later. The file is neither read nor written. If it
 * may be read and not written, the lock can be acquired shared only. Returns 0, or:
 *   -ENODEV           the path is not a regular file
 *   -ENOMEM, -EINVAL  no memory; a pointer is NULL
 *   others            as open(2): -EACCES, -EISDIR, -ENOENT, -EROFS
 */
TINE_MUST int tine_filelock_open(tine_filelock **out, const char *path);

/*
 * Blocks until this handle holds the lock or the deadline has passed. shared: together
 * with other shared handles, else alone. While a handle waits to hold it alone, no more
 * handles get it shared. If the file was removed or replaced, the call opens, or creates,
 * the file that path names now, and locks that. If the holder ends, by any death, the
 * lock is free at once, and the next holder is not told. Returns 0: the handle holds the
 * lock; or:
 *   -ETIMEDOUT    the deadline has passed
 *   -EDEADLK      this handle holds the lock already, shared or not
 *   -EPERM        the handle belongs to another process
 *   -EACCES       the file may only be read, and shared is false
 *   others        the file was removed or replaced: as tine_filelock_open()
 *   -EBADF        other code has closed the descriptor of the handle
 *   -ENOLCK       the system has no room for another lock
 *   -EINVAL       the system or the file system has no such locks
 */
TINE_MUST int tine_filelock_acquire(tine_filelock *, bool shared, int64_t deadline);
/*
 * Releases the lock. Returns 0, or:
 *   -ESTALE       it was released, but the file had been removed or replaced while this
 *                 handle held it: another may have held the lock of that name meanwhile
 *   -EBADF        as tine_filelock_acquire(): the lock was free since
 *   -EPERM        this handle does not hold the lock
 */
int tine_filelock_release(tine_filelock *);
/* Releases the lock and closes the file. The file stays. */
void tine_filelock_free(tine_filelock *);

/* ---- process ----------------------------------------------------------------------- */

typedef struct tine_process tine_process;

typedef struct tine_process_opts {
	const char *name; /* as ps shows it, at most 15 bytes. NULL: the parent's name */
	/*
	 * The queue of which the process is a producer from its start, as if it had
	 * called tine_queue_join(). NULL: none. Not with tine_process_spawn().
	 */
	struct tine_queue *produces;
	uint64_t reserved[6];
} tine_process_opts;

typedef struct tine_exit {
	int code;   /* 0 to 255, or -1 if a signal ended the process */
	int signal; /* the signal that ended the process, or 0 */
	/*
	 * Of a job that crashed (SIGSEGV, SIGBUS, SIGILL, SIGFPE): the address that the
	 * system gives, see sigaction(2), if the job has no handler of its own. Else 0.
	 */
	uint64_t address;
	uint64_t reserved[2];
} tine_exit;

/*
 * Forks and calls fn(arg) in the child. The low 8 bits of what fn returns are the
 * child's exit code. The child leaves by _exit(2): functions of atexit(3) do not run,
 * stdout and stderr are flushed, and text that the parent had not flushed is not printed
 * twice. Signal mask, handlers and descriptors are inherited as with fork(2). If the
 * process that started it ends in any way, the child is killed, also if it has closed
 * its descriptors or executed a program.
 *
 * Returns 0, or as fork(2) and socketpair(2): -EAGAIN, -ENOMEM, -EMFILE. With .produces
 * also, after 250 ms at most: -ETIMEDOUT as tine_queue_join(); -EINVAL, -EXDEV: it is no
 * queue of this family.
 */
TINE_MUST int tine_process_start(tine_process **out, int (*fn)(void *arg), void *arg,
				 const tine_process_opts *);
/* A program to be executed. Strings are copied. */
typedef struct tine_command {
	const char *const *argv; /* ends with NULL; argv[0] is searched for in PATH */
	const char *const *env;	 /* "NAME=value", ends with NULL; added to the caller's */
	const char *folder;	 /* in which it runs. NULL: the caller's */
	/*
	 * Three descriptors of the caller, which become 0, 1 and 2. -1: /dev/null.
	 * NULL: /dev/null and the caller's 1 and 2. The program inherits no others.
	 */
	const int *fds;
	/*
	 * The program inherits tine_family_fd() as descriptor 3, and joins the family
	 * by tine_family_join(TINE_FAMILY_INHERITED).
	 */
	bool family;
	uint8_t reserved8[7];
	uint64_t reserved[3];
} tine_command;

/*
 * Executes a program in a process and a process group of its own, with every signal at
 * its default action. If the calling process ends in any way, and by
 * tine_process_free(), the program and all processes that it has started are killed, in
 * any group or session; tine-processes(7) names the exceptions. The keeper, a process
 * between the two, does this. The first call starts it. Memory and time do not grow with
 * the caller's memory. Limits, umask and priority are those that the caller had at its
 * first call.
 *
 * Blocks until the program is being executed, 5 seconds at most. Returns 0, or:
 *   -EINVAL           there is no argv[0], a variable has no "=", or an option is set
 *   -ENOENT, -EACCES  the program cannot be executed: these, -E2BIG and others as
 *                     execve(2); or the folder cannot be opened, also -ENOTDIR
 *   -EBADF            a descriptor is closed, with .family also that of the memory
 *   -ETIMEDOUT        the keeper did not answer for 5 seconds
 *   -EPIPE            the keeper was killed
 *   -EAGAIN, -EMFILE  no process or descriptor is left; -ENOMEM: no memory
 *   -ENOSYS           Linux is older than 5.3
 */
TINE_MUST int tine_process_spawn(tine_process **out, const tine_command *,
				 const tine_process_opts *);

typedef struct tine_usage {
	int64_t user_ns, system_ns; /* processor time, in nanoseconds */
	uint64_t memory_max;	    /* largest resident memory of one process, in bytes */
	uint64_t reserved[5];
} tine_usage;

/*
 * What a spawned program, and the processes that it has waited for, have used. Returns
 * 0, or:
 *   -EAGAIN       the program has not ended
 *   -ECHILD       not known, because the keeper was killed
 *   -ENOTSUP      the process is one of tine_process_start()
 */
int tine_process_usage(tine_process *, tine_usage *out);

/*
 * Called in a child that was forked without tine, blocks for 5 seconds at most: if the
 * parent, the process that forked it, ends in any way, the child is killed, also if it
 * has closed its descriptors or executed a program. If the parent has ended already, the
 * child is killed by this call. Returns 0, or -EAGAIN, -EMFILE, -ENOMEM; -ENOSYS: Linux
 * is older than 5.3.
 */
int tine_process_tie(void);

/*
 * Blocks until the process has ended or the deadline has passed, and stores in *how,
 * which may be NULL, how it ended. It may be called any number of times. Returns 0, or:
 *   -ETIMEDOUT    the deadline has passed
 *   -ECHILD       other code has reaped the process, with wait(2) or by ignoring
 *                 SIGCHLD, and how it ended is not known
 */
int tine_process_wait(tine_process *, tine_exit *how, int64_t deadline);

/*
 * Sends a signal: to the process, or to the process group of a spawned program. Returns
 * 0, or -ESRCH: the process has ended; -EINVAL: there is no such signal.
 */
int tine_process_kill(tine_process *, int signal);
/* The process id. */
pid_t tine_process_pid(const tine_process *);

/*
 * A descriptor that polls readable once the process has ended. The caller must not close
 * it.
 */
int tine_process_fd(const tine_process *);

/*
 * Kills the process if it still runs, and reaps it. Blocks until it has ended; for a
 * spawned program 5 seconds at most.
 */
void tine_process_free(tine_process *);

/* ---- queue ------------------------------------------------------------------------- */

/*
 * Messages of up to max_len bytes between any processes and threads of the family.
 * Messages of one producer are taken in its order. The queue is in the family's memory:
 * it may be made before the fork or after it, and its address may be sent to other
 * members. Each call returns -EXDEV if the address lies outside of this process's
 * family's memory, and -EINVAL if the queue has been freed.
 */
typedef struct tine_queue tine_queue;

typedef struct tine_queue_opts {
	/* Messages it holds, or TINE_UNBOUNDED. 0: 1024, or fewer that take 64 MiB */
	size_t capacity;
	int64_t lease_ms; /* after which a lease ends by itself. 0: no limit */
	/* Processes that must close it to end the stream, or TINE_OPEN. 0: 1 */
	unsigned producers;
	uint8_t reserved8[4];
	uint64_t reserved[5];
} tine_queue_opts;

#define TINE_OPEN (~0U) /* the stream does not end */

/*
 * The capacity of a queue that is never full: its memory, in rings of up to 4 MiB,
 * follows what is in it, and an empty one takes 8 KiB and room for a message. A put
 * blocks only while another process gives the queue memory. If that process is stopped,
 * the put returns -ETIMEDOUT after its deadline, and after 250 ms at the earliest. As
 * many leases as a queue of capacity 0 has.
 */
#define TINE_UNBOUNDED SIZE_MAX

/* The number of a message on lease, for tine_queue_ack() and tine_queue_nack(). */
typedef uint64_t tine_lease;

/*
 * Makes a queue. max_len is 1 byte to 1 MiB, or 0: messages of any length, of which
 * those of more than 56 bytes lie in blocks of the family's memory. This call commits
 * capacity * (max_len + 8) bytes, where max_len 0 counts as 64, unless the capacity is
 * TINE_UNBOUNDED. Returns 0, or -EINVAL, -ENOMEM.
 */
TINE_MUST int tine_queue_new(tine_queue **out, size_t max_len, const tine_queue_opts *);

/*
 * Copies a message into the queue. Blocks while the queue is full, until the deadline.
 * Returns:
 *   0             the message is in the queue, and no death can lose it
 *   -EINVAL       len is 0
 *   -EMSGSIZE     len is more than max_len
 *   -EPIPE        this process has closed the queue, or all producers have
 *   -ETIMEDOUT    the deadline has passed
 *   -ENOMEM       no memory, also for more messages where the capacity is TINE_UNBOUNDED
 */
TINE_MUST int tine_queue_put(tine_queue *, const void *msg, size_t len, int64_t deadline);

/*
 * Takes a message and copies it to buf. Blocks while the queue is empty, until the
 * deadline. When the call has returned, the message is taken for good. If this process
 * dies before the whole message is in buf, another process gets it. Returns:
 *   > 0           the length of the message
 *   0             the stream has ended: all producers have closed the queue or died, and
 *                 no message is left
 *   -EMSGSIZE     size is too small, and the message remains in the queue
 *   -ETIMEDOUT    the deadline has passed
 *   -ENOMEM       no memory
 */
TINE_MUST ssize_t tine_queue_get(tine_queue *, void *buf, size_t size, int64_t deadline);

/*
 * As tine_queue_get(), but if this process dies before it calls tine_queue_ack(), the
 * message is delivered again, once for each such death. All processes together may have
 * as many leases as the queue holds messages; then the call blocks until one is
 * acknowledged. While other processes have leases, the stream has not ended for a
 * process without leases.
 */
TINE_MUST ssize_t tine_queue_lease(tine_queue *, void *buf, size_t size, tine_lease *,
				   int64_t deadline);

/*
 * Acknowledges a message on lease. Returns 0, or -ENOENT: this process has no such
 * lease, or it has ended by itself, and the message is delivered again.
 */
int tine_queue_ack(tine_queue *, tine_lease);

/*
 * Ends a lease without an acknowledgement: the message is delivered again, before those
 * that wait, perhaps to this process. Waits 10 ms at most. Returns 0, or:
 *   -ENOENT       as tine_queue_ack()
 *   -ETIMEDOUT    another process repairs the queue, or was stopped while it did; the
 *                 lease is as it was
 */
int tine_queue_nack(tine_queue *, tine_lease);

/*
 * Blocks until there is no message in the queue or on lease, of any process, or the
 * deadline has passed. What producers put meanwhile counts. Returns 0, or -ETIMEDOUT,
 * -ENOMEM.
 */
TINE_MUST int tine_queue_drained(tine_queue *, int64_t deadline);

/*
 * Several messages of max_len bytes each, at less cost than one by one. put_many blocks
 * until all n messages are in the queue or the deadline has passed. get_many blocks
 * until there is a message, and then takes those that are there, at most n and at most
 * 4096; shorter messages are filled up with zeros. Both return the number of messages
 * that were moved; 0 of get_many: the stream has ended. If none was moved, errors are as
 * above.
 */
TINE_MUST ssize_t tine_queue_put_many(tine_queue *, const void *msgs, size_t n,
				      int64_t deadline);
TINE_MUST ssize_t tine_queue_get_many(tine_queue *, void *msgs, size_t n,
				      int64_t deadline);

/*
 * For a queue of messages of any length, without a copy. reserve makes room for a message
 * of len bytes, at least 1, which the caller fills; commit puts it, or less of it, and
 * then the room is the queue's. If commit fails, the room is the caller's as before.
 * take stores where the message lies, which is the caller's until release: it may be
 * written to, and not be freed in any other way. release also gives room back that was
 * not committed. If the process dies, what it has reserved or taken is freed, and a
 * message that it has taken is not delivered again. take returns the length, or 0 at the
 * end of the stream; the others return 0. Errors are those of put and get, and:
 *   -EINVAL       the queue has a max_len, or len is 0
 *   -ENOENT       this process has neither reserved nor taken that
 *   -ETIMEDOUT    of reserve: another process is stopped in an allocation
 */
TINE_MUST int tine_queue_reserve(tine_queue *, size_t len, void **mem);
TINE_MUST int tine_queue_commit(tine_queue *, void *mem, size_t len, int64_t deadline);
TINE_MUST ssize_t tine_queue_take(tine_queue *, const void **msg, int64_t deadline);
int tine_queue_release(tine_queue *, const void *msg);

/*
 * The number of messages that wait to be taken, without those on lease. It may have
 * changed when the call returns.
 */
size_t tine_queue_len(const tine_queue *);

/*
 * Makes this process a producer, also before its first put: if it ends in any way and
 * has not closed the queue, it counts as closed. Waits 250 ms at most. Returns 0, also
 * the second time, or:
 *   -EPIPE        this process has closed the queue, or all producers have
 *   -ETIMEDOUT    this was the first call of the process for this queue, and another
 *                 process is stopped in the middle of a call
 *   -ENOMEM       no memory
 */
int tine_queue_join(tine_queue *);

/*
 * Marks this process as finished: it puts no more messages. Each process counts once,
 * whatever its threads and however often it closes. A process that has joined or put,
 * and ends in any way, counts as well; a process that ends before does not. Waits 250 ms
 * at most. Returns 0, or -ENOMEM, -ETIMEDOUT as tine_queue_join().
 */
int tine_queue_close(tine_queue *);
/*
 * Arms a waiter (tine_waiter_new()) for a queue: its descriptor becomes readable when a
 * get, or a put, would return at once, or would have since this call. That includes the
 * end of the stream, and -EPIPE. As for a put that sleeps, there is room when half of the
 * queue is free, or within 200 ms when less is. Waits 250 ms at most. Returns 0, or:
 *   -EPERM        the waiter belongs to another process
 *   -EBADF        other code has closed its descriptor
 *   -ETIMEDOUT, -ENOMEM  as tine_queue_join()
 */
int tine_waiter_arm_items(tine_waiter *, tine_queue *);
int tine_waiter_arm_room(tine_waiter *, tine_queue *);

/* Frees the queue. Any member may, once, when no process uses it any more. */
void tine_queue_free(tine_queue *);

/* ---- pipe -------------------------------------------------------------------------- */

/*
 * Two connected ends. What is sent on one is received on the other, in whole messages of
 * any length from 1 byte on. The ends are descriptors, close-on-exec: poll(2) them and
 * close(2) them. After a fork each process keeps one end and closes the other, because
 * the peer notices the end of a pipe only when all copies are closed, those that other
 * children have inherited too; shutdown(2) ends it for all copies. Many threads and
 * processes may send on an end at the same time, and only one may receive. Returns 0, or
 * -EMFILE, -ENFILE, -ENOMEM.
 */
TINE_MUST int tine_pipe_new(int ends[2]);

/*
 * Sends a message. Blocks while too many messages are on their way, until the deadline.
 * Returns:
 *   0                  the message is on its way
 *   -EPIPE             no process has the other end; SIGPIPE is not sent
 *   -EINVAL            len is 0
 *   -ETIMEDOUT         the deadline has passed
 *   -EBADF, -ENOTSOCK  end is not an end of a pipe
 *   -ENOMEM            no memory; for a long message also -EMFILE, -ENFILE
 */
TINE_MUST int tine_pipe_send(int end, const void *msg, size_t len, int64_t deadline);

/*
 * Receives a message. Blocks until there is one or the deadline has passed. Returns:
 *   > 0                the length of the message
 *   0                  no process has the other end, and no message is left
 *   -EMSGSIZE          size is too small, and the message remains in the pipe
 *   -ETIMEDOUT         the deadline has passed
 *   -EBADF, -ENOTSOCK  end is not an end of a pipe
 *   -ENOMEM, -EMFILE   for a long message, which remains in the pipe
 */
TINE_MUST ssize_t tine_pipe_recv(int end, void *buf, size_t size, int64_t deadline);

/* ---- task and pool ----------------------------------------------------------------- */

/*
 * A job: reads in_size bytes at in, writes out_size bytes at out, and returns its
 * status. A negative status is a failure and should be an errno value. Both pointers are
 * aligned to the largest power of two, up to 64, that divides the size of the item.
 */
typedef int tine_fn(const void *in, void *out);

/*
 * A job of tine_pool_for(): of one index, or of all from low to high - 1. arg is a copy
 * of the caller's. The status is as that of a tine_fn; a range has one for all its
 * indices. out is NULL, but in tine_pool_reduce() the result of the range, of out_size
 * bytes that are zero at first.
 */
typedef int tine_each_fn(size_t index, const void *arg);
typedef int tine_range_fn(size_t low, size_t high, const void *arg, void *out);
/* A job of tine_pool_submit_bytes(). It answers by tine_job_result(). */
typedef int tine_bytes_fn(const void *in, size_t len);
/* Adds the result of the indices that follow to that of those before. */
typedef void tine_join_fn(void *into, const void *from);

/*
 * Work that a pool can name: bytes in, bytes out. Either size may be 0. A cache finds
 * the results of a task by its name and version alone if file is NULL. Else it also
 * compares file and the path of the running program, so that two programs or two files
 * may each have a function of that name.
 */
typedef struct tine_task {
	const char *name;
	tine_fn *fn;
	size_t in_size, out_size;
	const char *file;
	/*
	 * For a cache: bytes at the beginning of the input that the result depends on.
	 * The others are not compared. 0: all.
	 */
	size_t key_size;
	int64_t max_age_ms; /* milliseconds that a cache finds the result. 0: no limit */
	/* For tine_pool_for() and tine_pool_reduce(), in place of fn. */
	tine_each_fn *each;
	tine_range_fn *range;
	tine_join_fn *join;
	/* For tine_pool_submit_bytes(), in place of fn. */
	tine_bytes_fn *bytes;
	unsigned version; /* change it when the results change */
	uint8_t reserved8[4];
	uint64_t reserved[2];
} tine_task;
/* clang-format off */
#define TINE_TASK(fn, In, Out) \
	{ #fn, fn, sizeof(In), sizeof(Out), __FILE__, 0, 0, NULL, NULL, NULL, NULL, 0, \
	  { 0 }, { 0 } }
#define TINE_TASK_IN(fn, In) \
	{ #fn, fn, sizeof(In), 0, __FILE__, 0, 0, NULL, NULL, NULL, NULL, 0, { 0 }, \
	  { 0 } }
/* With a name of the caller's own, which other programs may use for the same work. */
#define TINE_TASK_NAMED(name, fn, In, Out, version) \
	{ name, fn, sizeof(In), sizeof(Out), NULL, 0, 0, NULL, NULL, NULL, NULL, \
	  version, { 0 }, { 0 } }
/* Functions of an index, or of ranges of them, and an argument; with a result to join. */
#define TINE_TASK_EACH(each, Arg) \
	{ #each, NULL, sizeof(Arg), 0, __FILE__, 0, 0, each, NULL, NULL, NULL, 0, { 0 }, \
	  { 0 } }
#define TINE_TASK_RANGE(range, Arg) \
	{ #range, NULL, sizeof(Arg), 0, __FILE__, 0, 0, NULL, range, NULL, NULL, 0, \
	  { 0 }, { 0 } }
#define TINE_TASK_REDUCE(range, join, Arg, Out) \
	{ #range, NULL, sizeof(Arg), sizeof(Out), __FILE__, 0, 0, NULL, range, join, \
	  NULL, 0, { 0 }, { 0 } }
/* A function of bytes. */
#define TINE_TASK_BYTES(bytes) \
	{ #bytes, NULL, 0, 0, __FILE__, 0, 0, NULL, NULL, NULL, bytes, 0, { 0 }, { 0 } }
/* clang-format on */

typedef struct tine_pool tine_pool;
typedef struct tine_cache tine_cache;

typedef struct tine_pool_opts {
	unsigned workers;	  /* processes, at most 1024. 0: tine_cpus() */
	unsigned jobs_per_worker; /* replace a worker after this many jobs. 0: never */
	size_t memory_per_worker; /* replace above this many own bytes. 0: never */
	int (*init)(void *arg); /* called first in each worker; else than 0: a failure */
	void *init_arg;
	/*
	 * Called last, with .init_arg, in each worker that ends in order: that is
	 * replaced after a job, or is in no job when the pool is freed or refreshed.
	 * NULL: nothing
	 */
	void (*fini)(void *arg);
	int64_t fini_ms; /* milliseconds for .fini; then it is killed. 0: 1000 */
	/*
	 * The URL of a Redis server: hosts that have the task do the jobs. NULL:
	 * processes of this machine do them
	 */
	const char *engine;
	/*
	 * Milliseconds that the server, or a host with the task, may be missing. 0:
	 * 30,000
	 */
	int64_t away_ms;
	/* For jobs that are submitted; tine_map_opts has those of a map. */
	tine_cache *cache; /* as in tine_map_opts */
	int64_t job_ms;	   /* milliseconds that a job may run. 0: no limit */
	/* Milliseconds before the second try, twice as many before the third. 0: none */
	int64_t retry_pause_ms;
	unsigned retries; /* tries after the first, if the worker died. 0: none */
	bool ordered;	  /* true: in the order of submission. false: as jobs are done */
	bool open;	  /* true: jobs may come, until tine_pool_close() */
	bool retry_failures; /* true: .retries are also for negative statuses */
	bool serial;	     /* true: jobs run in the caller, as with TINE_WORKERS=0 */
	uint64_t reserved[4];
} tine_pool_opts;

/* The limit for which a job was ended. */
#define TINE_LIMIT_TIME	  1
#define TINE_LIMIT_MEMORY 2

/* The first job of a map, in time, that failed because its worker died. */
typedef struct tine_failure {
	size_t index;  /* of the job; n if there was none */
	size_t deaths; /* of workers in jobs of this map, also of jobs tried again */
	tine_exit how; /* how the worker ended */
	int status;    /* of the job: -TINE_ECRASH, -TINE_ELIMIT or -ECANCELED */
	int limit;     /* with -TINE_ELIMIT: TINE_LIMIT_TIME or _MEMORY; else 0 */
	uint64_t reserved[4];
} tine_failure;

/* What a map tells of each of its jobs besides the status. */
typedef struct tine_ending {
	tine_exit how; /* how the worker ended if it died in the last try, else zeros */
	int limit;     /* as in a tine_failure */
	bool cached;   /* the result was in the cache, and the job did not run */
	uint8_t reserved8[3];
	uint64_t reserved[2];
} tine_ending;

typedef struct tine_map_opts {
	size_t chunk;	  /* jobs that a worker takes at a time. 0: adaptive */
	int *status;	  /* receives the status of each of the n jobs. NULL: none */
	int64_t job_ms;	  /* milliseconds that a job may run. 0: no limit */
	int64_t grace_ms; /* find: time for jobs after a hit. 0: no limit    */
	/* Milliseconds before the second try, twice as many before the third. 0: none */
	int64_t retry_pause_ms;
	tine_failure *failure; /* receives the first failure. NULL: none */
	/* Called in this process about every 100 ms, and once at the end. NULL: not */
	void (*progress)(void *arg, size_t done, size_t total);
	void *progress_arg;
	/*
	 * If the cache has the result of a job, the job is not run. Other results are
	 * computed, once if items are equal, and kept: tine_cache_call() in the workers.
	 * With .engine hosts know nothing of the cache: what two maps lack, both compute.
	 */
	tine_cache *cache;
	tine_ending *endings; /* receives the ending of each of the n jobs. NULL: none */
	unsigned retries;     /* tries after the first, if the worker died. 0: none */
	bool smallest;	     /* find: true: the hit of the smallest index is the answer */
	bool retry_failures; /* true: .retries are also for negative statuses */
	uint8_t reserved8[2];
	uint64_t reserved[6];
} tine_map_opts;

/* A submitted job that is done. */
typedef struct tine_done {
	uint64_t tag;
	tine_exit how; /* how the worker ended if it died in the job, else zeros */
	int status;    /* what the job returned, or as of a job of a map */
	int limit;     /* as in a tine_failure */
	size_t len;    /* of the result, in bytes */
	uint64_t reserved[3];
} tine_done;

/*
 * Makes a pool. Blocks until all workers are ready. The workers are forked from one
 * small process, tine-nursery in ps(1), which is forked from the caller here: jobs see
 * what the caller's memory holds now, and not what the caller writes later, until
 * tine_pool_refresh(). What must be seen at once belongs in the job's input or in the
 * family's memory. If the caller dies, all of them are killed. In a job tine_cpus() is
 * the worker's share, so that pools in jobs do not crowd the machine.
 *
 * With .serial, and of every pool if TINE_WORKERS is 0 in the environment, there are no
 * processes: jobs run in the caller, one at a time, for debuggers. Limits and
 * .jobs_per_worker have no effect, and a job that crashes ends the caller. Returns 0, or:
 *   -EINVAL           an option is out of range, or .init returned a positive value
 *   -TINE_ECRASH      a worker died or was stopped before it was ready, also in .init
 *   -EAGAIN, -EMFILE  as fork(2), also -ENOMEM
 *   others            a negative value that .init returned
 *
 * With .engine hosts do the jobs: programs that take chunks of jobs from the server, and
 * have the task: its name, the base name of its file, its version and its sizes. Items
 * travel as bytes; a pointer in them means nothing there. One process of the family,
 * tine-courier in ps(1), speaks to the server. The call blocks until the server answers,
 * .away_ms at most. A task needs a name; its functions may be NULL, except .bytes, .each,
 * .range and .join, which say how it is called. Results are joined in a process that is
 * forked from the caller for it, and .job_ms is no limit to it. .workers is ignored;
 * .init, .init_arg, .fini, .jobs_per_worker and .memory_per_worker are a host's own, and
 * -EINVAL here. If a host is lost, other hosts do its jobs: a job may so run twice, and
 * has one result. A job whose host is lost three times has status -TINE_ECRASH; a job
 * whose task no host has for .away_ms, or that no server answers for so long, has status
 * -TINE_EHOST, or the error by which the server was missing. Calls that take a task
 * return also:
 *   -ENAMETOOLONG     the name of the task has more than 200 bytes
 *   -EMSGSIZE         an item has more than 64 MiB
 * and this one:
 *   -TINE_EHOST       no server answered in time; else the errors of tine_store_open()
 */
TINE_MUST int tine_pool_new(tine_pool **out, const tine_pool_opts *);

/*
 * Ends the workers and forks others, which see what the caller's memory holds now.
 * Blocks until they are ready. Returns 0, or -EBUSY: a map runs, or submitted jobs are
 * not done; or as tine_pool_new(): the pool then has no workers, and may be refreshed
 * again.
 */
TINE_MUST int tine_pool_refresh(tine_pool *);

/*
 * for (i < n) status[i] = task->fn(&in[i], &out[i]), in parallel. Blocks until all jobs
 * are done or the deadline has passed; then jobs that have not begun are dropped, and
 * workers that are still in a job are killed and replaced. in and out are copied to and
 * from the family's memory; if they lie in it already (tine_shared_new), the jobs use
 * them in place. With .chunk = 1 jobs begin in the order of their index, as those of
 * tine_pool_find(); else each worker begins with a share of its own.
 *
 * The status of a job is what it returned, or:
 *   -TINE_ECRASH  its worker died, also in each of .retries more tries
 *   -TINE_ELIMIT  it was ended for a limit. Of time: it ran for .job_ms, or still ran at
 *                 the deadline. Of memory: its worker grew beyond .memory_per_worker, or
 *                 was killed by the system because memory ran out
 *   -ECANCELED    it was dropped, by tine_pool_cancel() or the deadline
 *   -EFAULT       its function was loaded after the workers were forked
 *
 * out[i] of these jobs is unspecified, and workers that died or were killed were
 * replaced. All other jobs ran once to the end. With .retry_failures or .retry_pause_ms
 * jobs are tried again when all others are done; n is at most UINT32_MAX, else -EINVAL.
 * A job that pauses when the map ends is dropped. The call returns 0, or:
 *   < 0               the negative status with the smallest index
 *   -ETIMEDOUT        the deadline has passed
 *   -ECANCELED        the map was cancelled
 *   -TINE_ECRASH      no worker is left, and none can be started; or what .init returned
 *   -EBUSY            the pool runs a map already, whose .progress makes this call, or
 *                     that another thread called
 *   -ENOMEM, -EINVAL  nothing ran
 */
TINE_MUST int tine_pool_map(tine_pool *, const tine_task *, const void *in, void *out,
			    size_t n, const tine_map_opts *, int64_t deadline);

/*
 * As tine_pool_map(), but a job that returns 1 is a hit, and ends the search: jobs that
 * have not begun are dropped, and tine_cancelled() becomes true in jobs that run. After
 * .grace_ms the workers of jobs that still run are killed and replaced. These jobs have
 * status -ECANCELED. Jobs begin in the order of their index; jobs that are done within
 * 10 us are taken several at a time. With .smallest a hit ends the search once all jobs
 * before it are done, and jobs behind it are dropped: the answer is the hit of the
 * smallest index. Returns:
 *   1             there was a hit; *index, unless NULL, is the job of the first
 *   0             there was no hit, and no job failed
 *   < 0           as tine_pool_map()
 */
TINE_MUST int tine_pool_find(tine_pool *, const tine_task *, const void *in, void *out,
			     size_t n, size_t *index, const tine_map_opts *,
			     int64_t deadline);

/*
 * Calls task->each(i, arg) for each index i below n in parallel, or if that is NULL
 * task->range(low, high, arg, NULL) for ranges that together are all indices below n.
 * How long a range is depends on how long its indices take, about 10 to 100 us in all,
 * or is .chunk. arg has task->in_size bytes, and is copied. Status, limits, deaths and
 * deadline are as in tine_pool_map(), except that in a range the indices fail together.
 * Options for searches and .cache are -EINVAL. Returns as tine_pool_map(); -EINVAL also
 * if both functions are NULL.
 */
TINE_MUST int tine_pool_for(tine_pool *, const tine_task *, const void *arg, size_t n,
			    const tine_map_opts *, int64_t deadline);

/*
 * As tine_pool_for() with task->range, whose results in task->out_size bytes are joined
 * by task->join to the one in out. Both run in workers. The ranges, and which results
 * are joined in which order, depend on n, out_size and .chunk alone, and not on the
 * number or the speed of the workers: a sum of floating point numbers has the same bits
 * in each run. There are 4096 ranges, less if n is less or their results would be more
 * than 64 MiB, but 16 at least; with .chunk, ranges of that length up to that number. If
 * n is 0, out has zeros. .status is -EINVAL. If the call fails, out is as it was.
 * Returns as tine_pool_for().
 */
TINE_MUST int tine_pool_reduce(tine_pool *, const tine_task *, const void *arg, size_t n,
			       void *out, const tine_map_opts *, int64_t deadline);

/*
 * Adds one job, and copies task->in_size bytes. Blocks while twice as many jobs as there
 * are workers wait for a worker, or with .engine 256 in the caller, so that an endless
 * source is not read ahead, until the deadline. Returns 0, or:
 *   -EPIPE        the pool was closed
 *   -ETIMEDOUT    the deadline has passed
 *   -TINE_ECRASH  no worker is left, and none can be started; or what .init returned
 *   -ENOMEM, -EINVAL
 */
TINE_MUST int tine_pool_submit(tine_pool *, const tine_task *, const void *in,
			       uint64_t tag, int64_t deadline);

/*
 * Blocks until a submitted job is done or the deadline has passed. Copies its result, of
 * its task's out_size bytes, to out, which has size bytes. If out is NULL, the result is
 * dropped. Returns:
 *   1             a job is done
 *   0             no job is left
 *   -EMSGSIZE     size is too small, and the next call returns the job
 *   -ETIMEDOUT    the deadline has passed
 *   -TINE_ECRASH  as of tine_pool_submit()
 */
TINE_MUST int tine_pool_next(tine_pool *, void *out, size_t size, tine_done *,
			     int64_t deadline);

/*
 * As tine_pool_submit(), for a job that reads len bytes, as many as it likes to answer,
 * and whose task has .bytes. The cache of the pool is not for such jobs. Returns also:
 *   -EMSGSIZE     len is more than half of the address space
 *   -EINVAL       task->bytes is NULL
 */
TINE_MUST int tine_pool_submit_bytes(tine_pool *, const tine_task *, const void *in,
				     size_t len, uint64_t tag, int64_t deadline);

typedef struct tine_job_opts {
	int64_t job_ms;		/* milliseconds that the job may run. 0: as the pool's */
	int64_t retry_pause_ms; /* as that of the pool. 0: the pool's */
	unsigned retries; /* tries after the first, if the worker died. 0: the pool's */
	bool retry_failures; /* true: also after a negative status. false: as the pool */
	uint8_t reserved8[3];
	uint64_t reserved[5];
} tine_job_opts;

/*
 * As tine_pool_submit(), or tine_pool_submit_bytes() if task->bytes is not NULL, with a
 * limit and retries of the job's own. *job, unless NULL, receives its number, which no
 * other job of the pool has. len is task->in_size without task->bytes, else -EINVAL.
 */
TINE_MUST int tine_pool_submit_job(tine_pool *, const tine_task *, const void *in,
				   size_t len, uint64_t tag, const tine_job_opts *,
				   uint64_t *job, int64_t deadline);

/*
 * As tine_pool_next(), for the job of that number alone, also in a pool with .ordered.
 * Returns 0 when it is done, or -ENOENT: there is no such job, or its result was taken,
 * also by another thread meanwhile. No job has the number 0, which is -EINVAL.
 */
TINE_MUST int tine_pool_wait(tine_pool *, uint64_t job, void *out, size_t size,
			     tine_done *, int64_t deadline);

/*
 * Ends the job of that number, which then has the status -ECANCELED, and is returned as
 * any other. If a worker is in it, the worker is killed and replaced. A job that is done
 * keeps its result. It may be called from any thread, but not from a signal handler.
 * Returns 0, or -ENOENT: there is no such job, or its result was taken.
 */
int tine_pool_cancel_job(tine_pool *, uint64_t job);

/*
 * Inside a job of tine_pool_submit_bytes(): the result, which is copied. The job may
 * return a negative status all the same: the result then may be the text of the error. A
 * job that does not call it has a result of 0 bytes. If the worker dies in the job, the
 * result is dropped. May wait as tine_shared_new(), and then returns -ETIMEDOUT: the job
 * has no result. Returns 0, or:
 *   -EALREADY     the job has a result
 *   -EPERM        this is not in such a job
 *   -EMSGSIZE     len is more than half of the address space
 *   -ENOMEM       there is too little memory: the job has no result, and may try less
 */
TINE_MUST int tine_job_result(const void *out, size_t len);

/*
 * As tine_pool_next(), for jobs of tine_pool_submit_bytes(): *out is where the result
 * lies, done->len bytes aligned to 64, until tine_pool_release() or tine_pool_free();
 * NULL if the job has none. tine_pool_next() takes such results too, and copies them.
 * Returns also -EINVAL: the job is one of tine_pool_submit() and has a result; it stays,
 * for tine_pool_next().
 */
TINE_MUST int tine_pool_next_bytes(tine_pool *, const void **out, tine_done *,
				   int64_t deadline);

/*
 * Frees a result of tine_pool_next_bytes(). NULL is none. Returns 0.
 */
int tine_pool_release(tine_pool *, const void *out);

/*
 * For a pool with .open: says that no more jobs are submitted. tine_pool_next() then
 * returns 0 when no job is left, also in threads that wait in it; without .open it always
 * does. A later tine_pool_submit() returns -EPIPE. Returns 0.
 */
int tine_pool_close(tine_pool *);

/*
 * A descriptor for poll(2) and the like. It is readable if the result of a submitted job
 * can be taken, and also if the pool needs a call of tine_pool_next() to replace a
 * process that has died. Each worker may make it readable for nothing once, until
 * tine_pool_next() with TINE_NOWAIT has returned. It is the same in every call, and is
 * closed by tine_pool_free(); the caller only polls it. A caller that polls without a
 * timeout does not notice that a process of the pool is stopped (SIGSTOP). Returns
 * -EMFILE or -ENOMEM if there is none.
 */
TINE_MUST int tine_pool_fd(tine_pool *);

/*
 * Drops the jobs that have not begun, of a map or submitted, and makes tine_cancelled()
 * true in jobs that run. It may be called from another thread, a signal handler or a
 * progress function. Jobs that are submitted later are dropped too, until
 * tine_pool_next() has returned 0 or a map begins. If there are no jobs, it does
 * nothing. Returns 0.
 */
int tine_pool_cancel(tine_pool *);

/*
 * Inside a job, and in .init: the number of the worker, from 0 to .workers - 1; a worker
 * that replaces another has the number of that. Elsewhere -1.
 */
int tine_worker_index(void);

/* Inside a job: true if its results are no longer wanted. One load, for inner loops. */
extern const uint32_t *tine_cancel_word_;
inline bool tine_cancelled(void)
{
	return __atomic_load_n(tine_cancel_word_, __ATOMIC_RELAXED) != 0;
}

/*
 * Ends the workers, and kills those that are in a job. Blocks until all have ended, 6
 * seconds at most; with .fini 2 seconds and .fini_ms more.
 */
void tine_pool_free(tine_pool *);

/*
 * Draws a progress bar on stream, a FILE * (NULL: stderr), if that is a terminal. It can
 * be used as tine_map_opts.progress. When done == total, it ends the line.
 */
void tine_progress_bar(void *stream, size_t done, size_t total);

/* ---- hosts: where jobs of pools elsewhere run -------------------------------------- */

typedef struct tine_worker tine_worker;

typedef struct tine_worker_opts {
	unsigned workers;	  /* processes, at most 1024. 0: tine_cpus() */
	unsigned jobs_per_worker; /* as in tine_pool_opts, in chunks of jobs */
	size_t memory_per_worker; /* as in tine_pool_opts */
	int (*init)(void *arg);	  /* likewise */
	void *init_arg;
	const char *name; /* of the host, at most 63 bytes. NULL: gethostname(2) */
	/*
	 * Milliseconds, 100 to 600,000, of silence after which other hosts get the jobs.
	 * The first host of a pool decides for all. 0: 5,000
	 */
	unsigned lease_ms;
	uint8_t reserved8[4];
	uint64_t reserved[6];
} tine_worker_opts;

/*
 * Makes this machine a host of the pool at url: it does jobs of the n tasks for callers
 * whose pools have that .engine, see tine-engines(7). A child process of the caller's,
 * tine-agent in ps(1), speaks with the server and has a pool of its own, whose workers
 * are forked from it: jobs see what the caller's memory holds now. If the caller dies,
 * all of them are killed, and other hosts get the jobs after the lease. Blocks until the
 * host has joined: 30 seconds at most. url and tasks are copied. Returns 0, or:
 *   -EINVAL        url is none of a server, its pool has no name or one with braces; n is
 *                  0 or above 4096; a task has no name or no function; an option is out
 *                  of range
 *   -EEXIST        two tasks have one name, version and sizes
 *   -EMSGSIZE      an input or a result of a task has more than 64 MiB
 *   -ENAMETOOLONG  of a task above 200 bytes, of its file above 100, of the host above
 *                  63, of the pool above 200, or a path
 *   -EAGAIN        the server can do nothing yet: it loads, is read-only or out of memory
 *   -EPROTO        the pool on the server is of another version of tine
 *   -EOPNOTSUPP    the server is older than Redis 6.0
 *   -EREMOTE       the server is a part of a cluster, and another part has the pool
 *   -TINE_ECRASH   the process died, or a worker did before it was ready
 *   others         as of tine_store_open(), tine_pool_new() and .init
 */
TINE_MUST int tine_worker_start(tine_worker **out, const char *url, const tine_task *,
				size_t n, const tine_worker_opts *);

/*
 * Blocks until the host has ended or the deadline has passed. While the server is away,
 * the host tries to reach it again. Returns:
 *   0             it was drained
 *   -ETIMEDOUT    the deadline has passed
 *   -TINE_ECRASH  its process died, or no worker is left and none can be started
 *   -EACCES, -EREMOTE, -EPROTO, -TINE_EKIND  the server has refused it for good
 */
TINE_MUST int tine_worker_wait(tine_worker *, int64_t deadline);

/*
 * Has the host take no more jobs, give back what it has not begun, and end when those
 * that run are done and their results sent. Safe in a signal handler. Returns 0.
 */
int tine_worker_drain(tine_worker *);

/*
 * Ends the host and its jobs at once; other hosts get the jobs after the lease. Blocks
 * until its processes have ended: 12 seconds at most.
 */
void tine_worker_free(tine_worker *);

/* What a host says of itself. */
typedef struct tine_host {
	const char *name;
	/*
	 * The tasks, separated by blanks: file:name.version.kind.in_size.out_size.order,
	 * the first two with all but letters, digits, - and _ as %XX.
	 */
	const char *tasks;
	unsigned workers;   /* processes */
	unsigned busy;	    /* chunks of jobs that run */
	unsigned queued;    /* chunks that wait there */
	unsigned paused_ms; /* milliseconds it pauses, since all jobs crash there; or 0 */
	int64_t silent_ms;  /* milliseconds since the server has heard of it */
	uint64_t done;	    /* jobs, since it joined */
	uint64_t reserved[4];
} tine_host;

/*
 * Calls each(arg, host) for each host of the pool at url, until that returns other than
 * 0, which is returned then. The texts are lent until it returns. Blocks for 16 seconds
 * at most. Returns 0, -EINVAL, or as tine_worker_start().
 */
TINE_MUST int tine_hosts(const char *url, int (*each)(void *arg, const tine_host *),
			 void *arg);

/*
 * The version of the server at url, as it says, e.g. "7.0.15", also of one that is too
 * old for a pool; 24 bytes are enough. Blocks for 6 seconds at most. Returns 0; -EINVAL;
 * -ENOSPC: version has room for less than that; -EACCES: the server does not say; or as
 * tine_worker_start().
 */
TINE_MUST int tine_engine_version(const char *url, char *version, size_t size);

/* ---- cache: results of calls, on disk ---------------------------------------------- */

/*
 * A folder of results, for processes of one family, for unrelated processes and for later
 * runs. An entry is found by its key: bytes of the caller's own (get, put, begin), or a
 * task, its version and the bytes of the input (call, and .cache of a pool). The bytes
 * themselves are compared, so that a collision of hashes never gives a wrong answer.
 * Padding in an input struct is part of its bytes: zero it first.
 *
 * Each entry has a checksum. A damaged entry counts as missing; if the whole cache is
 * damaged beyond repair, all entries are discarded. A value over 16 KiB is a file. Its
 * checksum is checked if the file has changed since it was written, and not while it is
 * mapped. A file of an open cache must not be truncated: its users get SIGBUS. A process
 * may die at any instruction of any call: the others continue, and every entry is right.
 * Nothing is synced to the disk: a power cut may cost entries, but makes no wrong one.
 *
 * If another process is stopped in the middle of a change, tine_cache_call() computes its
 * result by its deadline and does not keep it, tine_cache_get() returns -ENOENT after
 * 500 ms at most, and all other functions return -ETIMEDOUT after 1,000 ms at most. A
 * handle waits so once, and then for no process until the change is done.
 *
 * Many threads may use a handle at the same time, and so may a child that inherits it. If
 * other code has closed descriptors of the handle, calls that need them return -EBADF.
 */
typedef struct tine_cache_opts {
	/*
	 * Bytes of the disk for the whole cache, at least 1 MiB. 0: as it was opened
	 * last; for a new cache a tenth of the free disk, at most 5 GiB. If there is no
	 * room, the least recently used entries are removed.
	 */
	uint64_t max_bytes;
	int64_t max_age_ms; /* this handle finds no older entries. 0: no limit */
	bool existing;	    /* create nothing: -ENOENT if there is no cache */
	bool shared;	    /* other users may own or write the folder and its files */
	uint8_t reserved8[6];
	uint64_t reserved[5];
} tine_cache_opts;

/*
 * Opens the cache in the folder dir. NULL: $TINE_CACHE, else $XDG_CACHE_HOME/tine, else
 * ~/.cache/tine. If it does not exist, it is created, with the folders above it, with
 * mode 0700; with .shared the umask decides. Waits for a stopped process 1,000 ms at
 * most. Returns:
 *   0             the cache is open
 *   1             the cache is open, but all entries were discarded: they were damaged
 *                 beyond repair, or made by a version of tine that keeps them in another
 *                 way
 *   -EPERM        without .shared: the folder, or a file in it, belongs to another user
 *                 than the effective one, or others can write it
 *   -ELOOP        the folder is a symbolic link
 *   -ENOTEMPTY    the folder is not a cache, and is not empty
 *   -ENOENT       dir is NULL and there is no home; or .existing, and there is no cache
 *   others        -EROFS, -EACCES, -ENOSPC, -ETIMEDOUT
 */
TINE_MUST int tine_cache_open(tine_cache **out, const char *dir, const tine_cache_opts *);

/*
 * Finds the value under a key of at least one byte. The value is aligned to 16 bytes and
 * valid until tine_cache_release(). A long value is mapped, not copied. Returns 0, or
 * -ENOENT.
 */
TINE_MUST int tine_cache_get(tine_cache *, const void *key, size_t len, const void **val,
			     size_t *val_len);

/*
 * Stores a value, and replaces an earlier one. Returns 0, or:
 *   -EFBIG        the entry takes more than a half of max_bytes
 *   -ENOSPC       the disk is full
 *   -ETIMEDOUT    a process is stopped in the middle of a change, and the value is not
 *                 kept
 */
int tine_cache_put(tine_cache *, const void *key, size_t len, const void *val,
		   size_t val_len);
/*
 * The same, and age_ms milliseconds from now the entry counts as missing. 0: no limit.
 * Over 12 days the age is rounded down to a second, and over 34 years there is no limit.
 */
int tine_cache_put_for(tine_cache *, const void *key, size_t len, const void *val,
		       size_t val_len, int64_t age_ms);
/*
 * Removes an entry. A computation of its value goes on, and is kept when it is finished.
 * Returns 0, or -ENOENT.
 */
int tine_cache_del(tine_cache *, const void *key, size_t len);
/*
 * Removes the entries with a key of a caller's own that begins with the prefix, of at
 * least one byte. Returns 0, also if there is none.
 */
int tine_cache_del_prefix(tine_cache *, const void *prefix, size_t len);

/*
 * Ends the use of a value. Until then it is valid, also if its entry is removed. NULL
 * does nothing.
 */
void tine_cache_release(tine_cache *, const void *val);

/*
 * Stores in out what task->fn(in, out) would, and computes it only once. Of several
 * callers that ask for one missing result, in any processes, one computes it and the
 * others wait until their deadlines; if that one dies, or its task fails, the next takes
 * over. *status, unless NULL, receives what the task returned, now or when it was
 * computed. A result that cannot be kept is delivered all the same. Returns:
 *   1             out is from the cache
 *   0             out was computed by this call, and is kept
 *   < 0           what the task returned: it has failed, and nothing is kept
 *   -ETIMEDOUT    another process or thread still computes the result
 *   -EDEADLK      this thread is already computing the same result
 *   -ENOMEM       no memory
 */
TINE_MUST int tine_cache_call(tine_cache *, const tine_task *, const void *in, void *out,
			      int *status, int64_t deadline);

typedef struct tine_flight tine_flight;
/*
 * Gets the value under a key, as tine_cache_get(), or leaves it to one caller to compute.
 * Of several callers that ask for a missing value, in any processes of the machine, one
 * receives a flight, which it must end. The others wait until their deadlines. If that
 * flight is freed, or its process dies, the next caller receives one. Returns:
 *   1             the value is there, as from tine_cache_get(); *flight is unchanged
 *   0             *flight is this caller's, to compute the value; *val is unchanged
 *   -ETIMEDOUT    another process or thread still computes the value, or changes the
 *                 cache
 *   -EDEADLK      this thread has begun the same key and has not ended that flight
 *   -ENOMEM       no memory
 */
TINE_MUST int tine_cache_begin(tine_cache *, const void *key, size_t len,
			       const void **val, size_t *val_len, tine_flight **flight,
			       int64_t deadline);
/*
 * Stores the value, as tine_cache_put_for() and with its errors, and ends the flight,
 * also if there is an error; not with -EINVAL. Any thread may call it. In a child that
 * inherits the flight it stores the value; the flight of the parent goes on.
 */
int tine_flight_finish(tine_flight *, const void *val, size_t val_len, int64_t age_ms);
/* Ends the flight without a value. NULL does nothing. */
void tine_flight_free(tine_flight *);

/* Removes the results of a task, of all its versions. NULL: every entry. */
int tine_cache_clear(tine_cache *, const tine_task *);

typedef struct tine_cache_stats {
	uint64_t entries, bytes, max_bytes;
	uint64_t hits, misses, evictions; /* since the cache was created */
	uint64_t restarts;		  /* times that damage discarded all entries */
	uint64_t reserved[9];
} tine_cache_stats;
/* Counts what the cache has. */
int tine_cache_stat(tine_cache *, tine_cache_stats *);

typedef struct tine_cache_entry {
	const char *task; /* NULL: a key of the caller's own */
	const void *key;  /* or the task's input */
	size_t len, val_len;
	int64_t born, used; /* nanoseconds since 1970 */
	int64_t age_ms;	    /* milliseconds after which it is missing. 0: no limit */
	unsigned version;   /* of the task */
	uint8_t reserved8[4];
	uint64_t reserved[3];
} tine_cache_entry;

/*
 * Calls each(arg, entry) for the entries, in no order, until it returns other than 0,
 * which this call then returns; else 0. The entry is valid during that call. each() may
 * use the cache. Entries that are added or removed meanwhile may be missed.
 */
int tine_cache_list(tine_cache *, int (*each)(void *arg, const tine_cache_entry *),
		    void *arg);

/*
 * Reads every entry, removes those that are damaged, and stores their number in
 * *dropped.
 */
int tine_cache_verify(tine_cache *, uint64_t *dropped);

/* Frees the handle, in this process. The cache stays. */
void tine_cache_free(tine_cache *);

/* ---- random streams: Philox4x32-10, counter based ---------------------------------- */

/*
 * Independent streams of random numbers for parallel work. A number depends only on the
 * seed, the stream and the position in the stream, so that results do not depend on
 * workers, schedule or machine. Each seed has 2^64 streams of 2^66 32-bit numbers. The
 * numbers are not for secrets. A tine_rng is plain data: it may be copied, stored and
 * sent. No call blocks or fails. Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As
 * Easy as 1, 2, 3 (SC 2011).
 */
typedef struct tine_rng {
	uint32_t key[2], ctr[4], buf[4], left;
} tine_rng;

/* Puts rng at the beginning of a stream. */
void tine_rng_init(tine_rng *, uint64_t seed, uint64_t stream);
/* The next number of the stream. */
uint32_t tine_rng_u32(tine_rng *);
/* The next two numbers of the stream. The first is the low half. */
uint64_t tine_rng_u64(tine_rng *);
/* The high 53 bits of a tine_rng_u64(), as a number of at least 0 and less than 1. */
double tine_rng_double(tine_rng *);
/*
 * A number of at least 0 and less than n, each exactly as likely as the others. It is
 * made of one tine_rng_u64(), and with a probability below n / 2^64 of more. n 0: it
 * returns 0.
 */
uint64_t tine_rng_below(tine_rng *, uint64_t n);
/*
 * A number of the normal distribution with mean 0 and standard deviation 1, between -8.3
 * and 8.3, made of one tine_rng_u64(). Its bits are the same on every machine.
 */
double tine_rng_normal(tine_rng *);
/* Goes on as if tine_rng_u32() had been called n times, in a few nanoseconds. */
void tine_rng_skip(tine_rng *, uint64_t n);

/*
 * The next n numbers of tine_rng_double(), bit for bit, computed by the widest SIMD that
 * the processor has. TINE_ISA=generic|avx2|avx512 in the environment limits that.
 */
void tine_rng_fill(tine_rng *, double *out, size_t n);
/* The next n numbers of tine_rng_u64(), likewise. */
void tine_rng_fill_u64(tine_rng *, uint64_t *out, size_t n);

/* ---- store: values under names, for processes with no common parent ---------------- */

/*
 * The URL chooses one of two engines, which do the same:
 *
 *	file:PATH[?shared=1]
 *		A folder of this machine (LMDB). If it does not exist, it is created,
 *		with mode 0700. Put it on a tmpfs for speed. -EPERM: it or a file in it
 *		does not belong to the effective user, or others can write to it, and
 *		could make this process write anywhere. shared=1: the other users are
 *		trusted. -ELOOP: it is a symbolic link.
 *	redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]
 *		A Redis server.
 *	rediss://[[USER]:PASSWORD@]HOST[:PORT][/DB][?cacert=FILE][&cert=FILE][&key=FILE]
 *		A Redis server by TLS. Its certificate must be for HOST, and come from an
 *		authority in cacert, or of the system. cert and key are the client's own.
 *	unix:PATH[?db=N][&user=USER][&password=PASSWORD]
 *		A Redis server on a Unix socket.
 *
 * In each part %XX stands for a byte; a byte that would end the part must be written so.
 *
 * A key, and a field of a dictionary, is a string of 1 to TINE_STORE_KEY_MAX bytes, else
 * -EINVAL. Under a key there is a value, a list or a dictionary; a call for another kind
 * returns -TINE_EKIND. A value is 0 to TINE_STORE_VALUE_MAX bytes of any content, else
 * -EMSGSIZE. Every call is atomic. In Redis a value is a string, a counter a decimal
 * number, a list a list, and a dictionary a hash.
 *
 * One thread at a time may use a handle. A child that inherits a handle may use it, and
 * gets a connection of its own. If a process dies in a call, the whole call is done, or
 * nothing.
 *
 * A call on a server ends by its deadline. A call without a deadline, or with one that
 * has passed, asks the server once and ends within answer_ms, and 100 ns for each byte
 * of the value or of the buffer. A call that may be repeated without harm is tried once
 * more on a new connection. After an error the next call connects again. A call on a
 * folder waits only for other processes, for answer_ms at most, or until its deadline.
 * Every call may return:
 *   -ECONNREFUSED     the server is not there; -ECONNRESET: it has gone
 *   -ETIMEDOUT        the server does not answer. After this and -ECONNRESET it is not
 *                     known whether add, compare_set, append and del are done; take has
 *                     taken nothing after -ETIMEDOUT. In a folder: another process,
 *                     perhaps a stopped one, blocked the call, and nothing was done
 *   -EACCES           user, password or permission
 *   -EROFS            the server is a replica, or the disk is read-only
 *   -EREMOTE          the key is on another server of a cluster
 *   -ENOMEM, -ENOSPC  no memory, no room on the disk
 *   -EBADMSG          not a Redis server, or not by TLS; or the folder is damaged or
 *                     belongs to another program
 *   -EPROTO           a later version of tine made the folder
 *   -TINE_ECERT       the certificate of the server is not trusted
 */
typedef struct tine_store tine_store;
#define TINE_STORE_KEY_MAX   255
#define TINE_STORE_VALUE_MAX ((size_t)512 << 20)

typedef struct tine_store_opts {
	unsigned connect_ms; /* for a connection to a server. 0: 800 ms */
	/* For a whole call on a server, or to wait for users of a folder. 0: 5000 ms */
	unsigned answer_ms;
	uint64_t reserved[6];
} tine_store_opts;

/*
 * Opens a store. Returns 0, one of the errors above, or:
 *   -EINVAL           the URL, or the contents of a file in it, is not valid
 *   -EPROTONOSUPPORT  this build or machine has not the engine, or not TLS
 *   -ENAMETOOLONG     the path of a socket has more than 107 bytes
 *   -EMFILE           more than 1000 handles have the folder open, or there is no
 *                     descriptor
 */
TINE_MUST int tine_store_open(tine_store **out, const char *url, const tine_store_opts *);
/* Closes the handle. The store stays. */
void tine_store_free(tine_store *);

/* Sets a value. Returns 0. */
int tine_store_set(tine_store *, const char *key, const void *val, size_t len);
/* The same, and the value ends ms milliseconds from now, see tine_store_expire(). */
int tine_store_set_for(tine_store *, const char *key, const void *val, size_t len,
		       int64_t ms);

/*
 * Copies at most size bytes of a value to buf, and returns the length of the value. If
 * that is more than size, the rest was not copied. Or -ENOENT.
 */
TINE_MUST ssize_t tine_store_get(tine_store *, const char *key, void *buf, size_t size);
/* For tine_store_set_all(). */
typedef struct tine_store_item {
	const char *key;
	const void *val;
	size_t len;
	uint64_t reserved;
} tine_store_item;

/*
 * Sets several values, all or none. If a key is given twice, the last value counts.
 * Returns 0.
 */
int tine_store_set_all(tine_store *, const tine_store_item *, size_t n);

/*
 * Adds by to a counter, and stores the sum in *now, unless NULL. A counter is a value, a
 * decimal number; if there is none, it counts as 0. Returns 0, or:
 *   -EINVAL       the value is not a decimal number
 *   -ERANGE       the sum has more than 64 bits, and nothing was added
 */
int tine_store_add(tine_store *, const char *key, int64_t by, int64_t *now);

/*
 * Sets the value if the present value is old. old NULL: if there is no value. val NULL:
 * deletes the value. Returns 0, or -EAGAIN: the present value is another.
 */
TINE_MUST int tine_store_compare_set(tine_store *, const char *key, const void *old,
				     size_t old_len, const void *val, size_t len);

/*
 * Takes a lock for ms milliseconds, at least 1, and stores its fence: a number that is
 * greater each time that the lock is taken. What the lock protects should refuse the
 * lesser fences: a process that was stopped for longer than ms may still believe that it
 * has the lock. Blocks until the lock is free, its time is over, or the deadline has
 * passed. The lock is a value, its fence and the time at which it ends, in milliseconds
 * since 1970 by the clock of the server or machine; to delete it begins the fences anew.
 * Returns 0, or:
 *   -ETIMEDOUT    another has the lock, or as above
 *   -ECONNRESET   it is not known whether the caller has the lock; it ends in ms
 *   -EINVAL       ms is below 1, or the key has another value
 *   -EOPNOTSUPP   the caller would have to wait, and Redis is older than 6
 */
TINE_MUST int tine_store_lock(tine_store *, const char *key, int64_t ms, uint64_t *fence,
			      int64_t deadline);
/*
 * The lock with this fence ends now. Returns 0, or -ENOENT: another has taken the lock
 * since, or there is none; -EINVAL: the key has another value.
 */
int tine_store_unlock(tine_store *, const char *key, uint64_t fence);
/*
 * The lock with this fence ends ms milliseconds from now, at least 1; also if its time
 * was over and no other has taken it. Returns as tine_store_unlock().
 */
int tine_store_relock(tine_store *, const char *key, uint64_t fence, int64_t ms);

/* Appends an item to a list. If there is no list, it is created. Returns 0. */
int tine_store_append(tine_store *, const char *list, const void *val, size_t len);

/*
 * Removes the first item of a list, copies it to buf and returns its length. Blocks
 * until there is an item or the deadline has passed. The process that has waited longest
 * need not be the first. With TINE_NOWAIT it does not wait for an item, and waits 1 ms
 * at most for a process that writes to a folder: -ETIMEDOUT may then be returned though
 * there are items. An empty list does not exist. -EMSGSIZE: the item is longer than
 * size, and remains.
 */
TINE_MUST ssize_t tine_store_take(tine_store *, const char *list, void *buf, size_t size,
				  int64_t deadline);

/*
 * As tine_store_take(), but unless tine_store_ack() follows within ms milliseconds, the
 * item is leased to the next caller, before those of the list. So a process that dies or
 * hangs loses no item. The items on lease, and those whose time is over, are fields of
 * the dictionary LIST:leases: tine_store_len() of that counts them, and no
 * tine_store_take() of the list takes them. On a server a call takes longer the more of
 * them there are, and after -ETIMEDOUT or -ECONNRESET an item may be on lease, until
 * its time is over. Times are those of the machine's clock, or of the server's. Returns
 * the length, or:
 *   -ENAMETOOLONG  list has more than TINE_STORE_KEY_MAX - 7 bytes
 *   -EINVAL        ms is below 1
 */
TINE_MUST ssize_t tine_store_lease(tine_store *, const char *list, void *buf, size_t size,
				   int64_t ms, tine_lease *, int64_t deadline);
/*
 * Ends a lease: the item is done with, and deleted. Returns 0, or -ENOENT: its time was
 * over, and the item has been leased to another caller.
 */
int tine_store_ack(tine_store *, const char *list, tine_lease);
/* Ends a lease: the item is the first of the list again. Returns as tine_store_ack(). */
int tine_store_nack(tine_store *, const char *list, tine_lease);

/* Sets one field of a dictionary. Returns 0. */
int tine_store_put_field(tine_store *, const char *dict, const char *field,
			 const void *val, size_t len);
/* As tine_store_get(). */
TINE_MUST ssize_t tine_store_get_field(tine_store *, const char *dict, const char *field,
				       void *buf, size_t size);
/* Deletes a field. Returns 0, or -ENOENT. An empty dictionary does not exist. */
int tine_store_del_field(tine_store *, const char *dict, const char *field);

/*
 * Calls each(arg, field, val, len) for all fields, as they were at one moment, in no
 * order, until it returns other than 0, which this call then returns; else 0. The bytes
 * are valid during that call. each() must not use the store. -ENOENT: there is no such
 * dictionary.
 */
int tine_store_fields(tine_store *, const char *dict,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg);

/*
 * The bytes of a value, the items of a list, or the fields of a dictionary; or -ENOENT.
 */
ssize_t tine_store_len(tine_store *, const char *key);
/* Deletes a key of any kind. Returns 0, or -ENOENT. */
int tine_store_del(tine_store *, const char *key);

/*
 * Deletes the key ms milliseconds from now. 0: never. A call that sets the value removes
 * this time; all other calls leave it. Returns 0, or -ENOENT; -EINVAL: ms is below 0.
 */
int tine_store_expire(tine_store *, const char *key, int64_t ms);

/*
 * Calls each(arg, key) for the keys that begin with prefix, under the rules of
 * tine_store_fields(). On a server it may miss a key that is created or deleted
 * meanwhile.
 */
int tine_store_keys(tine_store *, const char *prefix,
		    int (*each)(void *arg, const char *key), void *arg);

/*
 * Blocks, without polling, until the key has changed since *version or the deadline has
 * passed, and stores the present version. With a version of 0 it returns at once. No
 * change is missed, but one return may report several. The deletion of a key, and its
 * end by tine_store_expire(), are changes. The call also returns after a lost
 * connection, and if a key of the same name in another database of the server changes. A
 * version is valid for this handle only. Returns 0, or -ETIMEDOUT; -EOPNOTSUPP: Redis is
 * older than 6.
 */
TINE_MUST int tine_store_wait(tine_store *, const char *key, uint64_t *version,
			      int64_t deadline);

/*
 * Keeps an event of the family's memory equal to a key: it is set while the key has a
 * value other than empty and "0". Reading it costs one load. When the call returns, the
 * event is as the key was at some moment of the call. From then on it follows the key,
 * until tine_store_unwatch(), or until the store is freed or the caller ends.
 *
 * One process of the family, tine-watch in ps(1), follows all keys that a handle
 * watches. Each of these two calls starts another in its place, and waits for that and a
 * server as long as tine_store(3) says. While the server is away, or that process is
 * stopped, the events stay as they are. If it was killed, the next of these calls starts
 * another. Returns 0, or -EBUSY: the event is watched already; others as
 * tine_store_unwatch().
 */
int tine_store_watch(tine_store *, const char *key, tine_event *);

/*
 * Ends that. The event stays as it is. Returns 0, or:
 *   -ENOENT           this handle does not watch the event
 *   -EAGAIN, -EMFILE  no process or descriptor is left for the keys that are still
 *                     watched, also -ENOMEM; they are watched as before
 */
int tine_store_unwatch(tine_store *, tine_event *);

/*
 * A private Redis server, on a Unix socket of mode 0600, with a password, without TCP
 * and without a disk. It ends by tine_manager_free(), or if its creator ends, by any
 * death.
 */
typedef struct tine_manager tine_manager;

/*
 * Starts redis-server. path is that of the socket; NULL: in a folder of its own, which
 * is removed with it. A socket on which no server listens is replaced. Blocks until the
 * server answers, 5 seconds at most. Returns 0, or:
 *   -ENOENT        there is no redis-server
 *   -EADDRINUSE    there is something else at path
 *   -ENAMETOOLONG  path has more than 107 bytes
 *   -ETIMEDOUT     the server did not answer
 */
TINE_MUST int tine_manager_start(tine_manager **out, const char *path);

/*
 * The URL for tine_store_open(), also in other processes that are given it. It belongs
 * to the manager.
 */
const char *tine_manager_url(const tine_manager *);
/* The process id of the server. */
pid_t tine_manager_pid(const tine_manager *);
/* Ends the server, and removes the socket. Blocks for 5 seconds at most. */
void tine_manager_free(tine_manager *);

#ifdef __cplusplus
}
#endif
#endif
