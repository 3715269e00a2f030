/* SPDX-License-Identifier: MIT */
/*
 * What a message costs: queue CARRIER PRODUCERS CONSUMERS LEN BATCH MESSAGES prints the
 * nanoseconds of one.
 *
 *	tine	tine_queue_put(), tine_queue_get(); put_many and get_many in batches
 *	lease	the same with tine_queue_lease() and tine_queue_ack()
 *	bare	a ring with sequence numbers in its cells; it neither sleeps nor recovers
 *	plain	tine's ring, and its way to sleep and to wake, without what makes it
 *		survive a death: no claims, no desks
 *	locked	a ring under one lock, with two conditions
 *	mq	a message queue of POSIX
 *	pipe	of the system, one write and one read for a message or a batch
 *	any	tine_queue_put(), tine_queue_get() of messages of any length
 *	place	the same, written and read where it lies: one copy in, and none out
 *	stream	a pipe, of one to one: as many writes and reads as a message takes
 */
#include "queue.h"
#include "bench.h"
#include "wait/sleepers.h"

#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <tine.h>
#include <unistd.h>

static void check(bool ok, const char *what)
{
	if (!ok)
		die(1, what);
}

/* ---- tine -------------------------------------------------------------------------- */

static tine_queue *tine;

static void tine_make(size_t len)
{
	/* More than there are: here a message ends the stream. */
	tine_queue_opts opts = { .capacity = CAPACITY, .producers = UINT_MAX };

	check(tine_queue_new(&tine, len, &opts) == 0, "tine_queue_new");
}

ALWAYS_INLINE void tine_put(const char *messages, size_t len, size_t n)
{
	if (n == 1)
		check(tine_queue_put(tine, messages, len, TINE_FOREVER) == 0, "put");
	else
		check(tine_queue_put_many(tine, messages, n, TINE_FOREVER) == (ssize_t)n,
		      "put_many");
}

ALWAYS_INLINE size_t tine_get(char *messages, size_t len, size_t n)
{
	ssize_t got;

	if (n == 1) {
		check(tine_queue_get(tine, messages, len, TINE_FOREVER) == (ssize_t)len,
		      "get");
		return 1;
	}
	got = tine_queue_get_many(tine, messages, n, TINE_FOREVER);
	check(got > 0, "get_many");
	return (size_t)got;
}

CARRIER(tine)

#define lease_put tine_put

ALWAYS_INLINE size_t lease_get(char *message, size_t len, size_t n)
{
	tine_lease lease;

	(void)n;
	check(tine_queue_lease(tine, message, len, &lease, TINE_FOREVER) == (ssize_t)len,
	      "lease");
	check(tine_queue_ack(tine, lease) == 0, "ack");
	return 1;
}

CARRIER(lease)

/* ---- bare: Vyukov's bounded queue -------------------------------------------------- */

/*
 * A cell's sequence number is its position when it is empty, one more when it is full,
 * and a round more when it is empty again.
 */
struct bare_cell {
	_Atomic uint64_t sequence;
	char data[];
};

static struct bare {
	_Alignas(64) _Atomic uint64_t tail;
	_Alignas(64) _Atomic uint64_t head;
	_Alignas(64) char cells[];
} * bare;
static size_t bare_stride;

ALWAYS_INLINE struct bare_cell *bare_cell(uint64_t position)
{
	return (struct bare_cell *)(bare->cells + position % CAPACITY * bare_stride);
}

static void bare_make(size_t len)
{
	bare_stride = sizeof(struct bare_cell) + (len + 7) / 8 * 8;
	bare = queue_memory(sizeof(*bare) + CAPACITY * bare_stride);
	for (uint64_t i = 0; i < CAPACITY; i++)
		bare_cell(i)->sequence = i;
}

/* How many cells from the first on hold their positions and more, of at most n. */
ALWAYS_INLINE size_t bare_count(uint64_t first, uint64_t more, size_t n)
{
	size_t k = 0;

	while (k < n && atomic_load_explicit(&bare_cell(first + k)->sequence,
					     memory_order_acquire) == first + k + more)
		k++;
	return k;
}

/* Whoever gets nothing may be on the other's processor. */
static __attribute__((noinline)) void bare_wait(unsigned *turns)
{
	if (++*turns % 64 == 0)
		sched_yield();
	for (unsigned i = 0; i < 1u << (*turns < 5 ? *turns : 5); i++)
		cpu_relax();
}

/* The first of up to n cells, which are at least one. */
ALWAYS_INLINE uint64_t bare_claim(_Atomic uint64_t *end, uint64_t more, size_t n,
				  size_t *claimed)
{
	uint64_t first = atomic_load_explicit(end, memory_order_relaxed);
	unsigned turns = 0;

	for (;;) {
		size_t k = bare_count(first, more, n);

		if (k == 0) {
			bare_wait(&turns);
			first = atomic_load_explicit(end, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(end, &first, first + k,
								 memory_order_relaxed,
								 memory_order_relaxed)) {
			*claimed = k;
			return first;
		}
	}
}

ALWAYS_INLINE void bare_put(const char *messages, size_t len, size_t n)
{
	while (n > 0) {
		size_t k;
		uint64_t first = bare_claim(&bare->tail, 0, n, &k);

		for (size_t i = 0; i < k; i++) {
			struct bare_cell *cell = bare_cell(first + i);

			copy_message(cell->data, messages + i * len, len);
			atomic_store_explicit(&cell->sequence, first + i + 1,
					      memory_order_release);
		}
		messages += k * len;
		n -= k;
	}
}

ALWAYS_INLINE size_t bare_get(char *messages, size_t len, size_t n)
{
	size_t k;
	uint64_t first = bare_claim(&bare->head, 1, n, &k);

	for (size_t i = 0; i < k; i++) {
		struct bare_cell *cell = bare_cell(first + i);

		copy_message(messages + i * len, cell->data, len);
		atomic_store_explicit(&cell->sequence, first + i + CAPACITY,
				      memory_order_release);
	}
	return k;
}

CARRIER(bare)

/* ---- plain: tine's ring without recovery ------------------------------------------- */

/* These, and plain_wait(), are those of src/queue/patience.c. */
#define LEAST_PAUSE 300
#define MOST_PAUSE  10000
#define YIELD_EVERY 12000
#define AWAKE	    25000
#define YIELDS	    4
#define FULL	    (UINT64_C(1) << 61)

struct plain_cell {
	_Atomic uint64_t word;
	char data[];
};

static struct plain {
	_Alignas(64) struct sleepers items, room;
	_Alignas(64) _Atomic uint64_t tail;
	_Alignas(64) _Atomic uint64_t head;
	_Alignas(64) char cells[];
} * plain;
static size_t plain_stride;

static inline struct plain_cell *plain_cell(uint64_t position)
{
	return (struct plain_cell *)(plain->cells + position % CAPACITY * plain_stride);
}

static inline uint64_t plain_full(size_t len, uint64_t position)
{
	return FULL | (uint64_t)len << 40 | (position & ((UINT64_C(1) << 40) - 1));
}

static void plain_make(size_t len)
{
	plain_stride = sizeof(struct plain_cell) + (len + 7) / 8 * 8;
	plain = queue_memory(sizeof(*plain) + CAPACITY * plain_stride);
	for (uint64_t i = 0; i < CAPACITY; i++)
		plain_cell(i)->word = i;
}

struct pace {
	unsigned n, pause;
};

struct patience {
	unsigned yields;
	int64_t begun, yielded;
	uint32_t seen;
	bool joined;
	struct nap nap;
};

static void plain_pause(int64_t until)
{
	do
		for (int i = 0; i < 8; i++)
			cpu_relax();
	while (tine_now() < until);
}

/* Of what is waited for: messages, or room. */
static bool plain_has_plenty(const struct sleepers *sleepers)
{
	uint64_t used = atomic_load(&plain->tail) - atomic_load(&plain->head);

	return (sleepers == &plain->items ? used : CAPACITY - used) >= CAPACITY / 2;
}

static bool plain_stay_awake(const struct sleepers *sleepers, struct pace *pace,
			     struct patience *patience)
{
	unsigned pause = pace->n > 1 ? pace->pause * 2 : pace->pause / 2;
	int64_t now = tine_now();

	if (!patience->begun) {
		patience->begun = patience->yielded = now;
		pause = pause < LEAST_PAUSE ? LEAST_PAUSE : pause;
		pace->pause = pause < MOST_PAUSE ? pause : MOST_PAUSE;
		pace->n = 0;
		plain_pause(now + pace->pause);
		if (plain_has_plenty(sleepers))
			pace->pause /= 4;
	} else if (now - patience->begun >= AWAKE) {
		return false;
	} else if (now - patience->yielded < YIELD_EVERY) {
		plain_pause(now + LEAST_PAUSE);
	} else {
		sched_yield();
		patience->yielded = tine_now();
	}
	return true;
}

static __attribute__((noinline)) void
plain_wait(struct sleepers *sleepers, struct pace *pace, struct patience *patience)
{
	if (plain_stay_awake(sleepers, pace, patience))
		return;
	if (patience->yields++ < YIELDS) {
		sched_yield();
	} else if (!patience->joined) {
		patience->seen = sleepers_join(sleepers);
		patience->joined = true;
	} else {
		patience->joined = false;
		sleepers_nap(sleepers, patience->seen, &patience->nap, TINE_FOREVER);
	}
}

static inline size_t plain_count_free(uint64_t first, size_t n)
{
	size_t k = 0;

	while (k < n && atomic_load_explicit(&plain_cell(first + k)->word,
					     memory_order_acquire) == first + k)
		k++;
	return k;
}

static inline size_t plain_count_full(uint64_t first, size_t len, size_t n)
{
	size_t k = 0;

	while (k < n &&
	       atomic_load_explicit(&plain_cell(first + k)->word, memory_order_acquire) ==
		       plain_full(len, first + k))
		k++;
	return k;
}

static inline bool plain_claim(_Atomic uint64_t *end, uint64_t first, size_t k)
{
	return atomic_compare_exchange_strong_explicit(
		end, &first, first + k, memory_order_acq_rel, memory_order_relaxed);
}

/* How many were put. */
static inline size_t plain_try_put(const char *messages, size_t len, size_t n)
{
	uint64_t first;
	size_t k;

	do {
		first = atomic_load_explicit(&plain->tail, memory_order_relaxed);
		k = plain_count_free(first, n);
		if (k == 0 && first == atomic_load(&plain->tail))
			return 0;
	} while (k == 0 || !plain_claim(&plain->tail, first, k));
	for (size_t i = 0; i < k; i++) {
		struct plain_cell *cell = plain_cell(first + i);

		copy_message(cell->data, messages + i * len, len);
		atomic_store_explicit(&cell->word, plain_full(len, first + i),
				      memory_order_release);
	}
	atomic_thread_fence(memory_order_seq_cst);
	sleepers_wake(&plain->items, (unsigned)k);
	return k;
}

/* Not inlined: a call, as into a library. */
static __attribute__((noinline)) void plain_put(const char *messages, size_t len,
						size_t n)
{
	static struct pace pace;
	struct patience patience = { .nap = { .most = FIRST_NAP } };

	while (n > 0) {
		size_t k = plain_try_put(messages, len, n);

		messages += k * len;
		n -= k;
		pace.n += (unsigned)k;
		if (k == 0)
			plain_wait(&plain->room, &pace, &patience);
	}
}

static inline size_t plain_try_get(char *messages, size_t len, size_t n)
{
	uint64_t first;
	size_t k;

	do {
		first = atomic_load_explicit(&plain->head, memory_order_relaxed);
		k = plain_count_full(first, len, n);
		if (k == 0 && first == atomic_load(&plain->head))
			return 0;
	} while (k == 0 || !plain_claim(&plain->head, first, k));
	for (size_t i = 0; i < k; i++) {
		struct plain_cell *cell = plain_cell(first + i);

		copy_message(messages + i * len, cell->data, len);
		atomic_store_explicit(&cell->word, first + i + CAPACITY,
				      memory_order_release);
	}
	if (sleepers_any(&plain->room) &&
	    atomic_load(&plain->tail) - atomic_load(&plain->head) <= CAPACITY / 2)
		sleepers_wake(&plain->room, CAPACITY / 2);
	return k;
}

static __attribute__((noinline)) size_t plain_get(char *messages, size_t len, size_t n)
{
	static struct pace pace;
	struct patience patience = { .nap = { .most = FIRST_NAP } };
	size_t k;

	while ((k = plain_try_get(messages, len, n)) == 0)
		plain_wait(&plain->items, &pace, &patience);
	pace.n += (unsigned)k;
	return k;
}

CARRIER(plain)

/* ---- locked ------------------------------------------------------------------------ */

static struct locked {
	pthread_mutex_t lock;
	pthread_cond_t items, room;
	unsigned getting, putting; /* asleep */
	uint64_t tail, head;
	_Alignas(64) char cells[];
} * locked;

static void locked_make(size_t len)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t cond;

	locked = queue_memory(sizeof(*locked) + CAPACITY * len);
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	check(pthread_mutex_init(&locked->lock, &mutex) == 0 &&
		      pthread_cond_init(&locked->items, &cond) == 0 &&
		      pthread_cond_init(&locked->room, &cond) == 0,
	      "a lock between processes");
}

/* Nobody is woken who does not sleep. */
static void locked_wake(pthread_cond_t *cond, unsigned sleepers, size_t n)
{
	if (sleepers > 0 && n == 1)
		pthread_cond_signal(cond);
	else if (sleepers > 0)
		pthread_cond_broadcast(cond);
}

ALWAYS_INLINE void locked_put(const char *messages, size_t len, size_t n)
{
	pthread_mutex_lock(&locked->lock);
	while (n > 0) {
		size_t k = CAPACITY - (locked->tail - locked->head);

		if (k == 0) {
			locked->putting++;
			pthread_cond_wait(&locked->room, &locked->lock);
			locked->putting--;
			continue;
		}
		k = k < n ? k : n;
		for (size_t i = 0; i < k; i++, messages += len)
			copy_message(locked->cells + locked->tail++ % CAPACITY * len,
				     messages, len);
		n -= k;
		locked_wake(&locked->items, locked->getting, k);
	}
	pthread_mutex_unlock(&locked->lock);
}

ALWAYS_INLINE size_t locked_get(char *messages, size_t len, size_t n)
{
	pthread_mutex_lock(&locked->lock);
	while (locked->tail == locked->head) {
		locked->getting++;
		pthread_cond_wait(&locked->items, &locked->lock);
		locked->getting--;
	}
	if (n > locked->tail - locked->head)
		n = locked->tail - locked->head;
	for (size_t i = 0; i < n; i++, messages += len)
		copy_message(messages, locked->cells + locked->head++ % CAPACITY * len,
			     len);
	locked_wake(&locked->room, locked->putting, n);
	pthread_mutex_unlock(&locked->lock);
	return n;
}

CARRIER(locked)

/* ---- mq and pipe ------------------------------------------------------------------- */

static mqd_t mq;

/* As many messages as may be: unless root asks, that is 10 as a rule. */
static void mq_make(size_t len)
{
	struct mq_attr attr = { .mq_maxmsg = CAPACITY, .mq_msgsize = (long)len };
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	char name[32];

	snprintf(name, sizeof(name), "/tine-bench-%d", (int)getpid());
	while ((mq = mq_open(name, flags, 0600, &attr)) < 0 && attr.mq_maxmsg > 1)
		attr.mq_maxmsg = attr.mq_maxmsg > 10 ? 10 : 1;
	if (mq < 0)
		die(SKIP, "mq_open");
	mq_unlink(name);
}

ALWAYS_INLINE void mq_put(const char *message, size_t len, size_t n)
{
	(void)n;
	check(mq_send(mq, message, len, 0) == 0, "mq_send");
}

ALWAYS_INLINE size_t mq_get(char *message, size_t len, size_t n)
{
	(void)n;
	check(mq_receive(mq, message, len, NULL) == (ssize_t)len, "mq_receive");
	return 1;
}

CARRIER(mq)

static int pipe_end[2];

static void pipe_make(size_t len)
{
	if (len > PIPE_BUF)
		die(SKIP, "a pipe keeps messages whole up to 4096 bytes");
	check(pipe(pipe_end) == 0, "pipe");
}

/* Whole messages, and all of them, since the pipe takes up to PIPE_BUF at once. */
ALWAYS_INLINE void pipe_put(const char *messages, size_t len, size_t n)
{
	if (len * n > PIPE_BUF)
		die(SKIP, "a pipe keeps batches whole up to 4096 bytes");
	check(write(pipe_end[1], messages, len * n) == (ssize_t)(len * n), "write");
}

ALWAYS_INLINE size_t pipe_get(char *messages, size_t len, size_t n)
{
	ssize_t got = read(pipe_end[0], messages, len * n);

	check(got > 0 && (size_t)got % len == 0, "read");
	return (size_t)got / len;
}

CARRIER(pipe)

/* ---- any, place and stream --------------------------------------------------------- */

static void any_make(size_t len)
{
	(void)len;
	tine_make(0);
}

#define any_put tine_put
#define any_get tine_get

CARRIER(any)

#define place_make any_make

ALWAYS_INLINE void place_put(const char *message, size_t len, size_t n)
{
	void *mem;

	(void)n;
	check(tine_queue_reserve(tine, len, &mem) == 0, "reserve");
	memcpy(mem, message, len);
	check(tine_queue_commit(tine, mem, len, TINE_FOREVER) == 0, "commit");
}

ALWAYS_INLINE size_t place_get(char *message, size_t len, size_t n)
{
	const void *msg;

	(void)n;
	check(tine_queue_take(tine, &msg, TINE_FOREVER) == (ssize_t)len, "take");
	memcpy(message, msg, sizeof(uint64_t));
	check(tine_queue_release(tine, msg) == 0, "release");
	return 1;
}

CARRIER(place)

static void stream_make(size_t len)
{
	(void)len;
	check(pipe(pipe_end) == 0, "pipe");
	/* As large as an ordinary user may have it. */
	(void)!fcntl(pipe_end[1], F_SETPIPE_SZ, 1 << 20);
}

ALWAYS_INLINE void stream_put(const char *message, size_t len, size_t n)
{
	(void)n;
	for (ssize_t done; len > 0; message += done, len -= (size_t)done)
		check((done = write(pipe_end[1], message, len)) > 0, "write");
}

ALWAYS_INLINE size_t stream_get(char *message, size_t len, size_t n)
{
	(void)n;
	for (ssize_t done; len > 0; message += done, len -= (size_t)done)
		check((done = read(pipe_end[0], message, len)) > 0, "read");
	return 1;
}

CARRIER(stream)

/* ------------------------------------------------------------------------------------ */

#define lease_make tine_make
/* clang-format off */
#define ROW(name, most)                                                                  \
	{ #name, most, name##_make, name##_put, name##_produce, name##_consume }
/* clang-format on */

int main(int argc, char **argv)
{
	static const struct carrier carriers[] = {
		ROW(tine, CAPACITY),
		ROW(lease, 1),
		ROW(bare, CAPACITY),
		ROW(plain, CAPACITY),
		ROW(locked, CAPACITY),
		ROW(mq, 1),
		ROW(pipe, CAPACITY),
		ROW(any, 1),
		ROW(place, 1),
		ROW(stream, 1),
		{ 0 },
	};

	return queue_main(argc, argv, carriers);
}
