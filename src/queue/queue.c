/* SPDX-License-Identifier: MIT */
/* The calls of a queue. The protocol is in words.h. */
#include "queue/queue.h"
#include "queue/mend.h"
#include "queue/parcel.h"

#include "base/cpus.h"
#include "base/deadline.h"
#include "base/family.h"
#include "base/futex.h"
#include "base/options.h"
#include "memory/heap.h"
#include "trace/trace.h"
#include "wait/waiter.h"

#include <sched.h>
#include <string.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#else
#define __libc_single_threaded 0
#endif

#define CAPACITY      1024
#define LEAST_CELLS   16 /* of the default capacity, and */
#define MOST_BYTES    ((size_t)64 << 20)
#define MOST_CELLS    (UINT64_C(1) << 31)
#define MOST_FETCHED  32 /* cells */
#define LEAST_STRIDE  16

#define MOST_LEASE_MS INT64_C(1000000000000)
#define SIT_MS	      20  /* for a desk, before it looks whether a signal came */
#define DESK_MS	      250 /* for a desk, where the call has no deadline */
#define TEND_TURNS    64

/* Nanoseconds: pauses differ by a factor of seven between processors. */
#define LEAST_PAUSE 300
#define MOST_PAUSE  10000
#define YIELD_EVERY 12000
#define AWAKE	    25000 /* at first, */
#define YIELDS	    4	  /* and then */

static inline bool is_queue(const tine_queue *queue)
{
	return queue && (is_near_family(queue) || is_in_family(queue)) &&
	       __builtin_expect((queue->magic | ANY_LENGTH) == (QUEUE_MAGIC | ANY_LENGTH),
				1);
}

/* One whose messages lie in its cells. */
static inline bool is_plain(const tine_queue *queue)
{
	return queue && (is_near_family(queue) || is_in_family(queue)) &&
	       __builtin_expect(queue->magic == QUEUE_MAGIC, 1);
}

/* Of what is no queue: another family's, or none, or freed. */
static int not_a_queue(const tine_queue *queue)
{
	return !queue || is_in_family(queue) ? -EINVAL : -EXDEV;
}

/* ---- sitting down ------------------------------------------------------------------ */

static int64_t earlier(int64_t deadline, int64_t other)
{
	return deadline < other ? deadline : other;
}

static __attribute__((noinline)) int sit_down(tine_queue *queue, uint64_t id,
					      uint32_t role, int64_t deadline)
{
	_Atomic uint32_t nothing = 0;
	int err;

	if (!id)
		return -ENOMEM;
	for (bool again = false;; again = true) {
		int64_t slice = deadline;

		/* So that a signal ends this wait too. */
		if (interrupts.end_waits)
			slice = earlier(deadline, tine_after(SIT_MS));
		err = queue_sit(queue, id, role, slice);
		if (err == -ETIMEDOUT && slice < deadline) {
			if (interrupt_take())
				return -EINTR;
			continue;
		}
		if (err != -EAGAIN)
			return err;
		/* Whose claim is the same may be dead as well, and nobody has looked. */
		if (members_sweep() > 0 || !again)
			continue;
		if ((err = interrupt_or_late(deadline)) != 0)
			return err;
		/* Bound: a millisecond, and the caller's deadline. */
		futex_wait(&nothing, 0, earlier(deadline, tine_after(1)));
	}
}

/* NULL: it has none yet. */
static inline struct desk *own_desk(tine_queue *queue)
{
	uint64_t id = atomic_load_explicit(&member_own_id, memory_order_relaxed);
	struct desk *desk = desk_at(queue, member_index(id));

	return desk && id &&
			       atomic_load_explicit(&desk->member,
						    memory_order_relaxed) == id
		       ? desk
		       : NULL;
}

static int find_desk(tine_queue *queue, struct desk **desk, int64_t deadline)
{
	uint64_t id = member_id();
	int err;

	*desk = own_desk(queue);
	if (*desk)
		return 0;
	err = sit_down(queue, id, 0, deadline);
	*desk = desk_at(queue, member_index(id));
	return err;
}

static __attribute__((noinline)) void wait_for_desk(struct desk *desk)
{
	while (atomic_exchange(&desk->busy, 2) != 0)
		/* Bound: our own threads, which hold it for no call that blocks. */
		futex_wait(&desk->busy, 2, TINE_FOREVER);
}

/* Threads of one process take turns: a desk has room for one claim. */
static inline void take_desk(struct desk *desk)
{
	uint32_t nobody = 0;

	if (!__libc_single_threaded &&
	    !atomic_compare_exchange_strong(&desk->busy, &nobody, 1))
		wait_for_desk(desk);
}

static inline void leave_desk(struct desk *desk)
{
	if (!__libc_single_threaded && atomic_exchange(&desk->busy, 0) == 2)
		futex_wake(&desk->busy, 1);
}

/* ---- waiting ----------------------------------------------------------------------- */

/*
 * To sleep and to be woken takes longer than most waits: whoever finds nothing stays
 * awake at first. Of two sides one is faster. If it looked all the time it would wait for
 * each message, and take the line that it lies in away from the other side; so it does
 * not look during its first pause. That is longer the next time while several messages
 * went through between two waits, and shorter where it was one, as of a question that
 * waits for its answer. No yield before a time in which the other side would have come
 * from another processor: whoever else is on this one takes a whole turn.
 */
struct waiting {
	uint32_t first; /* pause; 0: not chosen yet */
	unsigned yields;
	int64_t begun, yielded; /* 0: not yet */
	uint32_t seen;		/* the sleepers' turn, once it has joined them */
	bool joined;
	bool last;
	bool calm; /* there was nothing to mend, when so many were buried: */
	uint32_t buried;
	struct nap nap;
};

/* With the desk in hand, after each attempt. */
static void keep_pace(struct pace *pace, struct waiting *patience, bool got)
{
	uint32_t pause = pace->n > 1 ? pace->pause * 2 : pace->pause / 2;

	if (got) {
		pace->n++;
	} else if (patience && !patience->first) {
		pause = pause < LEAST_PAUSE ? LEAST_PAUSE : pause;
		pace->pause = pause < MOST_PAUSE ? pause : MOST_PAUSE;
		pace->n = 0;
		patience->first = pace->pause;
	}
}

static void pause_until(int64_t until)
{
	do
		for (int i = 0; i < 8; i++)
			cpu_relax();
	while (tine_now() < until);
}

/* False: that has lasted long enough. */
static bool stay_awake(struct waiting *patience, int64_t now, int64_t deadline)
{
	if (!patience->begun) {
		patience->begun = patience->yielded = now;
		pause_until(earlier(now + patience->first, deadline));
		return true;
	}
	if (now - patience->begun >= AWAKE)
		return false;
	if (now - patience->yielded < YIELD_EVERY) {
		pause_until(earlier(now + LEAST_PAUSE, deadline));
		return true;
	}
	sched_yield();
	patience->yielded = tine_now();
	return true;
}

static bool tend(tine_queue *queue, struct waiting *patience, int64_t deadline)
{
	patience->buried = members_buried();
	patience->calm = queue_tend(queue, deadline);
	return patience->calm;
}

/*
 * Whether all that a sleeping consumer waits for will wake it, deaths aside: where a
 * message is about to come, or the end, whoever is at it need not know of the sleeper.
 */
static bool may_sleep_long(tine_queue *queue, const struct sleepers *sleepers)
{
	return sleepers == &queue->items && !all_closed(queue) &&
	       atomic_load(&queue->head) == atomic_load(&queue->tail) &&
	       atomic_load(&queue->strays) == 0 && !queue->lease;
}

/* Until it is woken, or somebody dies; false: it did not sleep so. */
static bool sleep_long(const tine_queue *queue, struct sleepers *sleepers,
		       struct waiting *patience, int64_t deadline)
{
	static _Atomic bool refused;
	struct futex_waitv words[WATCHED + 1];
	unsigned n = atomic_load(&refused) ? 0
					   : members_watch(words + 1, patience->buried);
	int err;

	if (n == 0)
		return false;
	words[0] = (struct futex_waitv){ .uaddr = (uintptr_t)&sleepers->turn,
					 .val = patience->seen,
					 .flags = FUTEX_32 };
	patience->nap.begun = tine_now();
	/* Bound: WATCH_AGAIN, and the caller's deadline. */
	err = futex_wait_any(words, n + 1,
			     earlier(patience->nap.begun + queue->sleep, deadline));
	patience->nap.ended = tine_now();
	if (err == -ENOSYS)
		atomic_store(&refused, true);
	return err != -ENOSYS;
}

/* Once; then looks after the dead, if that may be why it is awake. */
static void sleep_once(tine_queue *queue, struct sleepers *sleepers,
		       struct waiting *patience, int64_t deadline)
{
	bool late;

	/* Whoever has taken the last message comes here next. */
	if (sleepers == &queue->items)
		sleepers_wake(&queue->drained, UINT_MAX);
	/* A handler with SA_RESTART would not end a long sleep. */
	if (!interrupts.end_waits && may_sleep_long(queue, sleepers) &&
	    (patience->calm || tend(queue, patience, deadline)) &&
	    sleep_long(queue, sleepers, patience, deadline)) {
		late = atomic_load(&sleepers->turn) == patience->seen;
		patience->calm = false;
	} else {
		late = sleepers_nap(sleepers, patience->seen, &patience->nap, deadline);
	}
	trace_nap(&patience->nap);
	if (late)
		tend(queue, patience, deadline);
}

/* Called after each attempt that got nothing: 0: try again; -ETIMEDOUT; -EINTR. */
static __attribute__((noinline)) int wait_a_little(tine_queue *queue,
						   struct sleepers *sleepers,
						   struct waiting *patience,
						   int64_t deadline)
{
	int64_t now = deadline > TINE_NOWAIT ? tine_now() : 0;

	if (deadline <= now) {
		/* Who never sleeps must look after the dead all the same. */
		queue_tend(queue, deadline);
		if (patience->last)
			return -ETIMEDOUT;
		patience->last = true;
		return 0;
	}
	if (queue->spins && stay_awake(patience, now, deadline))
		return 0;
	if (interrupt_take())
		return -EINTR;
	if (patience->yields++ < YIELDS) {
		sched_yield();
		return 0;
	}
	if (!patience->joined) {
		if (patience->nap.most == 0)
			patience->nap.most = queue->nap;
		patience->seen = sleepers_join(sleepers);
		patience->joined = true;
		return 0;
	}
	patience->joined = false;
	sleep_once(queue, sleepers, patience, deadline);
	return 0;
}

/* ---- putting ----------------------------------------------------------------------- */

static inline void copy(void *to, const void *from, size_t len)
{
	/* Spares the call, where it is the larger part. */
	if (len == 8)
		memcpy(to, from, 8);
	else
		memcpy(to, from, len);
}

/* How many cells from the position on are free, of at most n. */
static inline uint64_t count_free(const tine_queue *queue, uint64_t first, uint64_t n)
{
	uint64_t k = 0;

	if (queue->capacity <= queue->mask) {
		uint64_t used = first - atomic_load(&queue->head);
		uint64_t left = used < queue->capacity ? queue->capacity - used : 0;

		n = n < left ? n : left;
	}
	while (k < n && atomic_load_explicit(&cell_of(queue, first + k)->word,
					     memory_order_acquire) ==
				cell_word(FREE, 0, first + k))
		k++;
	return k;
}

/*
 * Release, of the claim: what the desk claimed before is complete when it is seen. Of the
 * cursor: whoever sees that it has passed sees the claim too.
 */
static inline bool claim(_Atomic uint64_t *end, _Atomic uint64_t *claims, uint64_t first,
			 uint64_t n)
{
	atomic_store_explicit(claims, claim_of(first, n), memory_order_release);
	if (atomic_compare_exchange_strong_explicit(
		    end, &first, first + n, memory_order_acq_rel, memory_order_relaxed))
		return true;
	atomic_store_explicit(claims, NO_CLAIM, memory_order_release);
	return false;
}

/* How many of n messages were put; -EAGAIN: there is no room. */
static inline __attribute__((always_inline)) ssize_t
try_put(tine_queue *queue, struct desk *desk, const char *messages, size_t len, size_t n)
{
	uint64_t first, k;

	if (n > MOST_AT_ONCE)
		n = MOST_AT_ONCE;
	do {
		first = atomic_load_explicit(&queue->tail, memory_order_relaxed);
		k = count_free(queue, first, n);
		if (k == 0 && first == atomic_load(&queue->tail))
			return -EAGAIN;
	} while (k == 0 || !claim(&queue->tail, &desk->putting, first, k));
	for (uint64_t i = 0; i < k; i++) {
		struct cell *cell = cell_of(queue, first + i);

		copy(cell->data, messages + i * len, len);
		atomic_store_explicit(&cell->word, cell_word(FULL, len, first + i),
				      memory_order_release);
	}
	/* Those asleep were so before they looked, or they see the word. */
	atomic_thread_fence(memory_order_seq_cst);
	sleepers_wake(&queue->items, k);
	return (ssize_t)k;
}

static inline int may_put(tine_queue *queue, struct desk *desk)
{
	uint32_t role = atomic_load_explicit(&desk->role, memory_order_relaxed);

	if ((role & (CLOSING | CLOSED)) || all_closed(queue))
		return -EPIPE;
	if (!(role & PRODUCES))
		atomic_fetch_or(&desk->role, PRODUCES);
	return 0;
}

int tine_queue_join(tine_queue *queue)
{
	struct desk *desk;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	err = find_desk(queue, &desk, tine_after(DESK_MS));
	if (err)
		return err;
	take_desk(desk);
	err = may_put(queue, desk);
	leave_desk(desk);
	return err;
}

int queue_join_for(tine_queue *queue, pid_t child, uint64_t *id)
{
	int64_t deadline = tine_after(DESK_MS);

	*id = member_enter(child, deadline);
	if (!*id)
		return deadline <= tine_now() ? -ETIMEDOUT : -ENOMEM;
	return sit_down(queue, *id, PRODUCES, deadline);
}

int queue_check(const tine_queue *queue)
{
	return is_queue(queue) ? 0 : not_a_queue(queue);
}

/* What most calls need, where there is room; false: nothing was done. */
static inline bool put_at_once(tine_queue *queue, const char *msg, size_t len)
{
	struct desk *desk = own_desk(queue);
	ssize_t got;

	if (!desk)
		return false;
	take_desk(desk);
	got = may_put(queue, desk);
	if (got == 0)
		got = try_put(queue, desk, msg, len, 1);
	if (got > 0)
		desk->put_pace.n++;
	leave_desk(desk);
	return got > 0;
}

static __attribute__((noinline)) ssize_t put(tine_queue *queue, const char *messages,
					     size_t len, size_t n, int64_t deadline)
{
	struct waiting patience = { 0 };
	size_t done = 0;
	struct desk *desk;
	ssize_t got;
	int err = find_desk(queue, &desk, deadline);

	if (err)
		return err;
	while (done < n) {
		take_desk(desk);
		got = may_put(queue, desk);
		if (got == 0)
			got = try_put(queue, desk, messages + done * len, len, n - done);
		keep_pace(&desk->put_pace, &patience, got > 0);
		leave_desk(desk);
		if (got > 0) {
			/* Not patient anew: each cell that is freed would end a sleep. */
			done += got;
			continue;
		}
		if (got == -EAGAIN)
			got = wait_a_little(queue, &queue->room, &patience, deadline);
		if (got != 0)
			return done > 0 ? (ssize_t)done : got;
	}
	return (ssize_t)done;
}

/* With the desk in hand, so that no other thread of the process is at a send. */
static ssize_t try_send(tine_queue *queue, struct desk *desk, struct parcel *parcel)
{
	uint64_t owner = member_id();
	ssize_t got;

	parcel->sender = member_sender(owner);
	if (!parcel->sender || !owned_pass(parcel->block, owner, parcel->sender))
		return -ENOENT;
	got = try_put(queue, desk, (char *)parcel, sizeof(*parcel), 1);
	owned_pass(parcel->block, parcel->sender, got > 0 ? parcel->token : owner);
	return got;
}

/* The block is this process's; unless 0 is returned, it still is. */
static int send_block(tine_queue *queue, void *block, size_t len, int64_t deadline)
{
	struct parcel parcel = { .block = block, .len = len, .token = member_token() };
	struct waiting patience = { 0 };
	struct desk *desk;
	ssize_t got;
	int err = parcel.token ? find_desk(queue, &desk, deadline) : -ENOMEM;

	while (!err) {
		take_desk(desk);
		got = may_put(queue, desk);
		if (got == 0)
			got = try_send(queue, desk, &parcel);
		keep_pace(&desk->put_pace, &patience, got > 0);
		leave_desk(desk);
		if (got > 0)
			return 0;
		err = got == -EAGAIN
			      ? wait_a_little(queue, &queue->room, &patience, deadline)
			      : (int)got;
	}
	return err;
}

/* 0; -ENOMEM; -ETIMEDOUT: another process is stopped in an allocation. */
static int new_block(void **block, size_t len, int64_t deadline)
{
	uint64_t id = member_id();

	deadline = earlier(deadline, shared_patience());
	*block = id ? owned_new(len, id, deadline) : NULL;
	if (*block)
		return 0;
	return id && deadline > TINE_NOWAIT && deadline <= tine_now() ? -ETIMEDOUT
								      : -ENOMEM;
}

/* -EMSGSIZE where messages have a length. */
static __attribute__((noinline)) int put_long(tine_queue *queue, const void *msg,
					      size_t len, int64_t deadline)
{
	void *block;
	int err;

	if (!queue->any)
		return -EMSGSIZE;
	err = new_block(&block, len, deadline);
	if (err)
		return err;
	memcpy(block, msg, len);
	err = send_block(queue, block, len, deadline);
	if (err)
		tine_shared_free(block);
	return err;
}

int tine_queue_put(tine_queue *queue, const void *msg, size_t len, int64_t deadline)
{
	ssize_t n;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!msg || len == 0 || is_no_deadline(deadline))
		return -EINVAL;
	if (len > queue->max_len)
		return put_long(queue, msg, len, deadline);
	if (put_at_once(queue, msg, len))
		return 0;
	n = put(queue, msg, len, 1, deadline);
	return n < 0 ? (int)n : 0;
}

ssize_t tine_queue_put_many(tine_queue *queue, const void *msgs, size_t n,
			    int64_t deadline)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if ((!msgs && n > 0) || queue->any || is_no_deadline(deadline))
		return -EINVAL;
	return put(queue, msgs, queue->max_len, n, deadline);
}

/* ---- getting ----------------------------------------------------------------------- */

/* Where messages go: one of any length, or many side by side. */
struct sink {
	char *buf;
	size_t size; /* of the buffer, or of each place in it */
	size_t n;
	bool many;
	tine_lease *lease;
	bool in_place;
	void **block; /* where messages have any length: the taken one's, to be freed */
};

/* Of what a parcel names; 0: there is nothing. */
static __attribute__((noinline)) ssize_t pour_parcel(const struct sink *sink,
						     const struct parcel *parcel)
{
	if (!parcel_is_whole(parcel))
		return 0;
	if (!sink->in_place)
		memcpy(sink->buf, parcel->block, parcel->len);
	if (!sink->lease) {
		if (!parcel_accept(parcel, member_id()))
			return 0;
		*sink->block = parcel->block;
	}
	return (ssize_t)parcel->len;
}

/* The result is what it adds. */
static inline ssize_t pour_cell(const struct sink *sink, char *buf, const void *data,
				size_t len)
{
	copy(buf, data, len);
	if (!sink->many)
		return (ssize_t)len;
	if (len < sink->size)
		memset(buf + len, 0, sink->size - len);
	return 1;
}

static inline ssize_t pour(const struct sink *sink, char *buf, const void *data,
			   size_t len)
{
	if (sink->block && len == sizeof(struct parcel))
		return pour_parcel(sink, data);
	return pour_cell(sink, buf, data, len);
}

static inline void set_free(tine_queue *queue, struct cell *cell, uint64_t position)
{
	atomic_store_explicit(&cell->word, cell_word(FREE, 0, position + queue->mask + 1),
			      memory_order_release);
}

/*
 * Producers are not woken for each cell, but when half of them are free: each would fill
 * one, and sleep again. No fence: if a sleeper is missed, the next to get sees it, or it
 * looks again by itself.
 */
static inline void make_room_known(tine_queue *queue)
{
	uint64_t half = (queue->capacity + 1) / 2;

	if (sleepers_any(&queue->room) &&
	    atomic_load(&queue->tail) - atomic_load(&queue->head) <=
		    queue->capacity - half)
		sleepers_wake(&queue->room, half);
}

/*
 * From another processor, many lines take little longer than one, if asked for at once.
 */
static __attribute__((noinline)) void fetch(const tine_queue *queue, uint64_t first,
					    uint64_t n)
{
	for (uint64_t i = 0; i < n && i < MOST_FETCHED; i += 64 / LEAST_STRIDE)
		__builtin_prefetch(cell_of(queue, first + i));
}

static inline uint64_t count_full(const tine_queue *queue, uint64_t first, uint64_t n)
{
	uint64_t k = 0;

	while (k < n && is_at(atomic_load_explicit(&cell_of(queue, first + k)->word,
						   memory_order_acquire),
			      FULL, first + k))
		k++;
	return k;
}

/*
 * Who always finds messages never sleeps, and looks after the dead all the same.
 */
static inline bool time_to_tend(struct desk *desk)
{
	return ++desk->turns % TEND_TURNS == 0;
}

/*
 * Claims messages from head on: how many, -EAGAIN: none, -EMSGSIZE: the first is too
 * long.
 */
static inline __attribute__((always_inline)) int64_t
claim_full(tine_queue *queue, struct desk *desk, const struct sink *sink, uint64_t *first)
{
	struct cell *cell;
	int64_t k;
	bool fits;

	do {
		*first = atomic_load_explicit(&queue->head, memory_order_relaxed);
		if (sink->many)
			fetch(queue, *first, sink->n);
		k = (int64_t)count_full(queue, *first, sink->n);
		cell = cell_of(queue, *first);
		fits = k == 0 ||
		       message_len(queue, cell->data,
				   word_len(atomic_load_explicit(
					   &cell->word, memory_order_relaxed))) <=
			       sink->size;
		if ((k == 0 || !fits) && *first == atomic_load(&queue->head))
			return fits ? -EAGAIN : -EMSGSIZE;
	} while (k == 0 || !fits || !claim(&queue->head, &desk->getting, *first, k));
	return k;
}

/*
 * 0: only holes. Little is stored but what has to be: stores keep their order, and here
 * they wait for cells that other processors have.
 */
static inline __attribute__((always_inline)) ssize_t
try_get(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	uint64_t first;
	int64_t k = claim_full(queue, desk, sink, &first);
	char *buf = sink->buf;
	ssize_t got = 0;

	for (int64_t i = 0; i < k; i++) {
		struct cell *cell = cell_of(queue, first + i);
		size_t len = word_len(
			atomic_load_explicit(&cell->word, memory_order_relaxed));

		if (len > 0) {
			got += pour_cell(sink, buf, cell->data, len);
			buf += sink->size;
		}
		set_free(queue, cell, first + i);
	}
	if (k < 0)
		return k;
	make_room_known(queue);
	return got;
}

/* The same, of one message of any length. */
static __attribute__((noinline)) ssize_t try_get_any(tine_queue *queue, struct desk *desk,
						     const struct sink *sink)
{
	uint64_t first;
	int64_t k = claim_full(queue, desk, sink, &first);
	struct cell *cell = cell_of(queue, first);
	ssize_t got = 0;
	size_t len;

	if (k < 0)
		return k;
	len = word_len(atomic_load_explicit(&cell->word, memory_order_relaxed));
	if (len > 0)
		got = pour(sink, sink->buf, cell->data, len);
	set_free(queue, cell, first);
	make_room_known(queue);
	return got;
}

static inline struct box *find_box(tine_queue *queue, struct desk *desk)
{
	unsigned index = member_index(
		atomic_load_explicit(&desk->member, memory_order_relaxed));
	uint32_t leased = atomic_load_explicit(&desk->leased, memory_order_relaxed);

	/* Counted before, for whoever looks whether anything is on lease. */
	atomic_store_explicit(&desk->leased, leased + 1, memory_order_relaxed);
	for (uint64_t i = 0; i < queue->capacity; i++) {
		struct box *box;
		uint64_t word;

		if (desk->box >= queue->capacity)
			desk->box = 0;
		box = box_at(queue, desk->box);
		word = atomic_load_explicit(&box->word, memory_order_relaxed);
		if (word_state(word) == FREE &&
		    atomic_compare_exchange_strong(
			    &box->word, &word,
			    box_word(TAKING, 0, box_generation(word) + 1, index)))
			return box;
		desk->box++;
	}
	atomic_store_explicit(&desk->leased, leased, memory_order_relaxed);
	return NULL;
}

/* A free box, marked as being filled; NULL: all are in use. */
static struct box *take_box(tine_queue *queue, struct desk *desk)
{
	struct box *box = find_box(queue, desk);

	if (box)
		return box;
	/* Who frees one from now on wakes those who wait; one may be free by now. */
	atomic_store(&queue->awaited, 1);
	return find_box(queue, desk);
}

/* The same word, in another state and of another length. */
static void set_box(struct box *box, enum state state, size_t len)
{
	uint64_t word = atomic_load_explicit(&box->word, memory_order_relaxed);

	atomic_store_explicit(&box->word,
			      box_word(state, len, box_generation(word), box_desk(word)),
			      memory_order_release);
}

/* One box less, which is free already. */
static inline void count_acked(struct desk *desk)
{
	if (__libc_single_threaded)
		atomic_store_explicit(
			&desk->acked,
			atomic_load_explicit(&desk->acked, memory_order_relaxed) + 1,
			memory_order_release);
	else
		atomic_fetch_add(&desk->acked, 1);
}

static void return_box(struct desk *desk, struct box *box)
{
	set_box(box, FREE, 0);
	count_acked(desk);
}

static tine_lease lease_of(const struct box *box, uint64_t index)
{
	return (uint64_t)box_generation(atomic_load(&box->word)) << 32 | index;
}

static void begin_lease(tine_queue *queue, struct box *box)
{
	int64_t until;

	if (!queue->lease)
		return;
	until = tine_now() + queue->lease;
	atomic_store(&box->until, until);
	queue_note_due(queue, until);
}

/* The box at which the desk is. */
static inline ssize_t fill_box(tine_queue *queue, struct desk *desk, struct box *box,
			       uint64_t position, const void *data, size_t len,
			       const struct sink *sink)
{
	copy(box->data, data, len);
	begin_lease(queue, box);
	atomic_store_explicit(&box->position, position, memory_order_relaxed);
	set_box(box, HELD, len);
	*sink->lease = lease_of(box, desk->box);
	return pour(sink, sink->buf, data, len);
}

static ssize_t try_lease(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	struct box *box;
	struct cell *cell;
	uint64_t first;
	ssize_t got = 0;
	int64_t k;
	size_t len;

	/* A box is not taken for nothing. */
	if (count_full(queue, atomic_load(&queue->head), 1) == 0)
		return -EAGAIN;
	box = take_box(queue, desk);
	if (!box)
		return -EAGAIN;
	k = claim_full(queue, desk, sink, &first);
	if (k < 0) {
		return_box(desk, box);
		return k;
	}
	cell = cell_of(queue, first);
	len = word_len(atomic_load_explicit(&cell->word, memory_order_relaxed));
	if (len > 0 && message_len(queue, cell->data, len) > 0)
		got = fill_box(queue, desk, box, first, cell->data, len, sink);
	else
		return_box(desk, box);
	set_free(queue, cell, first);
	make_room_known(queue);
	return got;
}

/* As get_at_once(), where there are boxes already. */
static inline ssize_t lease_at_once(tine_queue *queue, void *buf, size_t size,
				    tine_lease *lease, int64_t deadline)
{
	struct sink sink = { .lease = lease };
	struct desk *desk = own_desk(queue);
	struct box *box;
	uint64_t first, word;
	struct cell *cell;
	bool tends = false;
	ssize_t got = 0;

	if (!desk || atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0 ||
	    !box_at(queue, 0))
		return 0;
	take_desk(desk);
	first = atomic_load_explicit(&queue->head, memory_order_relaxed);
	cell = cell_of(queue, first);
	word = atomic_load_explicit(&cell->word, memory_order_acquire);
	box = is_at(word, FULL, first) && word_len(word) > 0 && word_len(word) <= size
		      ? find_box(queue, desk)
		      : NULL;
	if (box && claim(&queue->head, &desk->getting, first, 1)) {
		sink.buf = buf;
		got = fill_box(queue, desk, box, first, cell->data, word_len(word),
			       &sink);
		set_free(queue, cell, first);
		make_room_known(queue);
		desk->get_pace.n++;
		tends = time_to_tend(desk);
	} else if (box) {
		return_box(desk, box);
	}
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	return got;
}

static uint64_t index_of_box(const tine_queue *queue, const struct box *box)
{
	return ((const char *)box - (char *)box_at(queue, 0)) / queue->box_stride;
}

/* With the lock held: takes a message that came back. -EAGAIN: there is none. */
static ssize_t take_stray(tine_queue *queue, struct desk *desk, const struct sink *sink)
{
	struct box *box = NULL;
	struct stray stray;
	size_t len;
	ssize_t got;

	if (!queue_find_stray(queue, &stray))
		return -EAGAIN;
	len = message_len(queue, stray.data, stray.len);
	if (len > sink->size)
		return -EMSGSIZE;
	if (len == 0) {
		queue_note_stray(queue, &stray, NULL);
		queue_take_noted(queue);
		return 0;
	}
	if (sink->lease && stray.box) {
		/* It stays in its box, under another name. */
		stray.taken = box_word(HELD, stray.len, box_generation(stray.was) + 1,
				       member_index(atomic_load(&desk->member)));
		atomic_fetch_add(&desk->leased, 1);
		begin_lease(queue, stray.box);
	} else if (sink->lease) {
		box = take_box(queue, desk);
		if (!box)
			return -EAGAIN;
	}
	queue_note_stray(queue, &stray, box);
	got = box ? fill_box(queue, desk, box, stray.position, stray.data, stray.len,
			     sink)
		  : pour(sink, sink->buf, stray.data, stray.len);
	queue_take_noted(queue);
	if (sink->lease && stray.box)
		*sink->lease = lease_of(stray.box, index_of_box(queue, stray.box));
	return got;
}

static __attribute__((noinline)) ssize_t get_stray(tine_queue *queue, struct desk *desk,
						   const struct sink *sink)
{
	ssize_t got;

	/* With the desk in hand: who cannot have it now looks into the ring first. */
	if (queue_lock(queue, TINE_NOWAIT) != 0)
		return -EAGAIN;
	got = take_stray(queue, desk, sink);
	queue_unlock(queue);
	/* Its cell may be the one that producers wait for. */
	if (got > 0)
		sleepers_wake(&queue->room, 1);
	return got;
}

static __attribute__((noinline)) bool has_ended(tine_queue *queue, int64_t deadline)
{
	bool ended;

	if (queue_lock(queue, earlier(deadline, tine_after(MOMENT_MS))) != 0)
		return false;
	ended = queue_ended(queue, member_index(member_id()));
	queue_unlock(queue);
	return ended;
}

static int make_boxes(tine_queue *queue, int64_t deadline)
{
	if (box_at(queue, 0))
		return 0;
	return queue_place((_Atomic(void *) *)&queue->boxes,
			   queue->capacity * queue->box_stride, deadline);
}

static ssize_t attempt(tine_queue *queue, struct desk *desk, const struct sink *sink,
		       struct waiting *patience, int64_t deadline)
{
	ssize_t got = -EAGAIN;
	bool tends;

	take_desk(desk);
	if (atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0)
		got = get_stray(queue, desk, sink);
	if (got == -EAGAIN)
		got = sink->lease   ? try_lease(queue, desk, sink)
		      : sink->block ? try_get_any(queue, desk, sink)
				    : try_get(queue, desk, sink);
	keep_pace(&desk->get_pace, patience, got > 0);
	tends = time_to_tend(desk);
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	return got;
}

static __attribute__((noinline)) ssize_t get(tine_queue *queue, const struct sink *sink,
					     int64_t deadline)
{
	struct waiting patience = { 0 };
	struct desk *desk;
	ssize_t got;
	int err = find_desk(queue, &desk, deadline);

	if (!err && sink->lease)
		err = make_boxes(queue, deadline);
	if (err)
		return err;
	for (;;) {
		got = attempt(queue, desk, sink, &patience, deadline);
		if (got > 0)
			return got;
		if (got == 0)
			continue;
		if (got != -EAGAIN)
			return got;
		if (all_closed(queue) && has_ended(queue, deadline))
			return 0;
		err = wait_a_little(queue, &queue->items, &patience, deadline);
		if (err)
			return err;
	}
}

/*
 * What most calls need, where a message is at hand: its length; 0: nothing was done, and
 * get() sees why. The sink that get() has would be built, and read, for each message.
 */
static inline ssize_t get_at_once(tine_queue *queue, void *buf, size_t size,
				  int64_t deadline)
{
	struct desk *desk = own_desk(queue);
	uint64_t first, word;
	struct cell *cell;
	bool tends = false;
	ssize_t got = 0;

	if (!desk || atomic_load_explicit(&queue->strays, memory_order_relaxed) > 0)
		return 0;
	take_desk(desk);
	first = atomic_load_explicit(&queue->head, memory_order_relaxed);
	cell = cell_of(queue, first);
	word = atomic_load_explicit(&cell->word, memory_order_acquire);
	if (is_at(word, FULL, first) && word_len(word) <= size &&
	    claim(&queue->head, &desk->getting, first, 1)) {
		got = (ssize_t)word_len(word);
		copy(buf, cell->data, got);
		set_free(queue, cell, first);
		make_room_known(queue);
		desk->get_pace.n++;
		tends = time_to_tend(desk);
	}
	leave_desk(desk);
	if (tends)
		queue_tend(queue, deadline);
	return got;
}

static __attribute__((noinline)) ssize_t get_any(tine_queue *queue, void *buf,
						 size_t size, int64_t deadline)
{
	void *block = NULL;
	struct sink sink = { .buf = buf, .size = size, .n = 1, .block = &block };
	ssize_t got;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if ((!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	got = get(queue, &sink, deadline);
	if (block)
		tine_shared_free(block);
	return got;
}

ssize_t tine_queue_get(tine_queue *queue, void *buf, size_t size, int64_t deadline)
{
	struct sink sink = { .buf = buf, .size = size, .n = 1 };
	ssize_t got;

	if (!is_plain(queue))
		return get_any(queue, buf, size, deadline);
	if ((!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	got = get_at_once(queue, buf, size, deadline);
	if (got > 0)
		return got;
	return get(queue, &sink, deadline);
}

static __attribute__((noinline)) ssize_t lease_slowly(tine_queue *queue, void *buf,
						      size_t size, tine_lease *lease,
						      int64_t deadline)
{
	void *block = NULL;
	struct sink sink = { .buf = buf, .size = size, .n = 1, .lease = lease };

	/* Which it does not take. */
	if (queue->any)
		sink.block = &block;
	return get(queue, &sink, deadline);
}

ssize_t tine_queue_lease(tine_queue *queue, void *buf, size_t size, tine_lease *lease,
			 int64_t deadline)
{
	ssize_t got;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if ((!buf && size > 0) || !lease || is_no_deadline(deadline))
		return -EINVAL;
	if (!queue->any) {
		got = lease_at_once(queue, buf, size, lease, deadline);
		if (got > 0)
			return got;
	}
	return lease_slowly(queue, buf, size, lease, deadline);
}

ssize_t tine_queue_get_many(tine_queue *queue, void *msgs, size_t n, int64_t deadline)
{
	struct sink sink = { .buf = msgs, .n = n, .many = true };
	struct desk *desk;
	ssize_t got;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!msgs || n == 0 || queue->any || is_no_deadline(deadline))
		return -EINVAL;
	sink.size = queue->max_len;
	if (n > MOST_AT_ONCE)
		sink.n = MOST_AT_ONCE;
	desk = own_desk(queue);
	got = desk ? attempt(queue, desk, &sink, NULL, deadline) : 0;
	return got > 0 ? got : get(queue, &sink, deadline);
}

/* The box of a lease that this process has, and its word: 0; -ENOENT; -ENOMEM. */
static inline int find_lease(tine_queue *queue, tine_lease lease, struct desk **desk,
			     uint64_t *word)
{
	uint64_t index = lease & UINT32_MAX, id = member_id();

	if (!id)
		return -ENOMEM;
	/* Whoever has no desk has no lease. */
	*desk = desk_at(queue, member_index(id));
	if (!*desk || atomic_load(&(*desk)->member) != id || index >= queue->capacity ||
	    !box_at(queue, 0))
		return -ENOENT;
	*word = atomic_load(&box_at(queue, index)->word);
	return word_state(*word) == HELD && box_generation(*word) == lease >> 32 &&
			       box_desk(*word) == member_index(id)
		       ? 0
		       : -ENOENT;
}

/* The block of the message on lease, which is this process's now; NULL: there is none. */
static void *accept_leased(tine_queue *queue, tine_lease lease, uint64_t word)
{
	struct parcel parcel;

	if (!is_parcel(queue, word_len(word)))
		return NULL;
	parcel = *(struct parcel *)box_at(queue, lease & UINT32_MAX)->data;
	return parcel_accept(&parcel, member_id()) ? parcel.block : NULL;
}

int tine_queue_ack(tine_queue *queue, tine_lease lease)
{
	struct desk *desk;
	void *block;
	uint64_t word;
	int err = is_queue(queue) ? find_lease(queue, lease, &desk, &word)
				  : not_a_queue(queue);

	if (err)
		return err;
	block = queue->any ? accept_leased(queue, lease, word) : NULL;
	if (block)
		tine_shared_free(block);
	/* If it ran out just now, and the block was ours, a hole is what comes back. */
	if (!atomic_compare_exchange_strong(&box_at(queue, lease & UINT32_MAX)->word,
					    &word,
					    box_word(FREE, 0, box_generation(word), 0)))
		return block ? 0 : -ENOENT;
	count_acked(desk);
	/* Those who wait for the end of the stream, for a box, or for all to be done. */
	if (all_closed(queue) ||
	    (atomic_load(&queue->awaited) && atomic_exchange(&queue->awaited, 0))) {
		sleepers_wake(&queue->items, UINT_MAX);
		sleepers_wake(&queue->drained, UINT_MAX);
	}
	return 0;
}

int tine_queue_nack(tine_queue *queue, tine_lease lease)
{
	struct desk *desk;
	uint64_t word;
	bool ended;
	int err = is_queue(queue) ? find_lease(queue, lease, &desk, &word)
				  : not_a_queue(queue);

	if (!err)
		err = queue_lock(queue, tine_after(MOMENT_MS));
	if (err)
		return err;
	ended = queue_end_lease(queue, lease & UINT32_MAX, word);
	queue_unlock(queue);
	if (!ended)
		return -ENOENT;
	queue_wake_all(queue);
	return 0;
}

/* ---- messages in place ------------------------------------------------------------- */

int tine_queue_reserve(tine_queue *queue, size_t len, void **mem)
{
	void *block;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !mem || len == 0)
		return -EINVAL;
	err = new_block(&block, len, shared_patience());
	if (!err)
		*mem = block;
	return err;
}

int tine_queue_commit(tine_queue *queue, void *mem, size_t len, int64_t deadline)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !mem || len == 0 || is_no_deadline(deadline))
		return -EINVAL;
	if (owned_by(mem) != member_id())
		return -ENOENT;
	return send_block(queue, mem, len, deadline);
}

ssize_t tine_queue_take(tine_queue *queue, const void **msg, int64_t deadline)
{
	void *block = NULL, *small;
	struct sink sink = {
		.size = SIZE_MAX, .n = 1, .in_place = true, .block = &block
	};
	ssize_t got;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !msg || is_no_deadline(deadline))
		return -EINVAL;
	/* Of one that lies in its cell. */
	err = new_block(&small, MOST_INLINE, deadline);
	if (err)
		return err;
	sink.buf = small;
	got = get(queue, &sink, deadline);
	if (got > 0)
		*msg = block ? block : small;
	if (got <= 0 || block)
		tine_shared_free(small);
	return got;
}

int tine_queue_release(tine_queue *queue, const void *msg)
{
	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!queue->any || !msg)
		return -EINVAL;
	if (owned_by(msg) != member_id())
		return -ENOENT;
	tine_shared_free((void *)msg);
	return 0;
}

/* ---- the rest ---------------------------------------------------------------------- */

size_t tine_queue_len(const tine_queue *queue)
{
	uint64_t head, tail;

	if (!is_queue(queue))
		return 0;
	head = atomic_load(&queue->head);
	tail = atomic_load(&queue->tail);
	/* Read apart: others may have got more than had been put. */
	return (tail > head ? tail - head : 0) + count_strays(queue);
}

int tine_queue_drained(tine_queue *queue, int64_t deadline)
{
	/* Not awake: each look takes the lock. */
	struct waiting patience = { .begun = 1 };
	struct desk *desk;
	bool drained;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (is_no_deadline(deadline))
		return -EINVAL;
	/* If it dies with the lock held, that is noticed by its desk. */
	err = find_desk(queue, &desk, deadline);
	if (err)
		return err;
	for (;;) {
		/* Whoever acknowledges from now on wakes those who wait. */
		atomic_store(&queue->awaited, 1);
		err = queue_lock(queue, earlier(deadline, tine_after(MOMENT_MS)));
		if (err == -EINTR)
			return err;
		if (err == 0) {
			drained = queue_drained(queue);
			queue_unlock(queue);
			if (drained)
				return 0;
		}
		err = wait_a_little(queue, &queue->drained, &patience, deadline);
		if (err)
			return err;
	}
}

int tine_queue_close(tine_queue *queue)
{
	struct desk *desk;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	err = find_desk(queue, &desk, tine_after(DESK_MS));
	if (err)
		return err;
	/* Another thread's put is over before, or is told. */
	take_desk(desk);
	atomic_fetch_or(&desk->role, CLOSING);
	leave_desk(desk);
	atomic_store(&queue->uncounted, 1);
	/* Whoever has the lock counts, or who looks next. */
	if (queue_lock(queue, tine_after(MOMENT_MS)) == 0)
		queue_unlock(queue);
	queue_wake_all(queue);
	return 0;
}

/* ---- a descriptor for poll(2) ------------------------------------------------------ */

/* A get would return at once. */
static bool items_are_ready(tine_queue *queue)
{
	return atomic_load(&queue->strays) > 0 ||
	       count_full(queue, atomic_load(&queue->head), 1) > 0 ||
	       (all_closed(queue) && has_ended(queue, TINE_NOWAIT));
}

/* A put would. */
static bool room_is_ready(tine_queue *queue)
{
	struct desk *desk = own_desk(queue);

	return all_closed(queue) || (desk && atomic_load(&desk->role) & CLOSING) ||
	       count_free(queue, atomic_load(&queue->tail), 1) > 0;
}

static bool sleep_until_ready(tine_queue *queue, struct sleepers *sleepers,
			      bool (*is_ready)(tine_queue *), int64_t deadline)
{
	struct waiting patience = { 0 };
	int64_t now = deadline > TINE_NOWAIT ? tine_now() : 0;

	if (is_ready(queue))
		return true;
	if (deadline <= now) {
		queue_tend(queue, deadline);
		return is_ready(queue);
	}
	patience.seen = sleepers_join(sleepers);
	if (is_ready(queue))
		return true;
	patience.nap.most = deadline - now;
	sleep_once(queue, sleepers, &patience, deadline);
	if (!is_ready(queue))
		return false;
	/* It takes nothing itself: whoever was to be woken in its place is, too. */
	sleepers_wake(sleepers, 1);
	return true;
}

static bool look_for_items(void *object, uint64_t begun, int64_t deadline)
{
	tine_queue *queue = object;

	(void)begun;
	return sleep_until_ready(queue, &queue->items, items_are_ready, deadline);
}

static bool look_for_room(void *object, uint64_t begun, int64_t deadline)
{
	tine_queue *queue = object;

	(void)begun;
	return sleep_until_ready(queue, &queue->room, room_is_ready, deadline);
}

static void wake_for_items(void *object)
{
	sleepers_wake(&((tine_queue *)object)->items, UINT_MAX);
}

static void wake_for_room(void *object)
{
	sleepers_wake(&((tine_queue *)object)->room, UINT_MAX);
}

static const struct waited waited_items = { .look = look_for_items,
					    .wake = wake_for_items };
static const struct waited waited_room = { .look = look_for_room, .wake = wake_for_room };

static int arm_at(tine_waiter *waiter, const struct waited *kind, tine_queue *queue)
{
	struct desk *desk;
	int err;

	if (!is_queue(queue))
		return not_a_queue(queue);
	if (!waiter)
		return -EINVAL;
	/* The waiter's thread looks after the dead, as whoever has a desk. */
	err = find_desk(queue, &desk, tine_after(DESK_MS));
	return err ? err : waiter_arm(waiter, kind, queue);
}

int tine_waiter_arm_items(tine_waiter *waiter, tine_queue *queue)
{
	return arm_at(waiter, &waited_items, queue);
}

int tine_waiter_arm_room(tine_waiter *waiter, tine_queue *queue)
{
	return arm_at(waiter, &waited_room, queue);
}

/* ---- a new one --------------------------------------------------------------------- */

/* -EINVAL: more than there can be. */
static int measure(tine_queue *shape, size_t max_len, const tine_queue_opts *opts)
{
	uint64_t cells = 1;

	if (max_len > MAX_LEN || (opts && !ROOM_IS_ZERO(opts)) ||
	    (opts && (opts->lease_ms < 0 || opts->lease_ms > MOST_LEASE_MS)))
		return -EINVAL;
	shape->any = max_len == 0;
	shape->max_len = shape->any ? MOST_INLINE : max_len;
	if (shape->any)
		max_len = sizeof(struct parcel);
	shape->stride = sizeof(struct cell) + (max_len + 7) / 8 * 8;
	shape->box_stride = sizeof(struct box) + (max_len + 7) / 8 * 8;
	shape->producers = opts && opts->producers ? opts->producers : 1;
	shape->lease = opts ? opts->lease_ms * 1000000 : 0;
	shape->capacity = opts ? opts->capacity : 0;
	if (shape->capacity == 0) {
		shape->capacity = CAPACITY;
		while (shape->capacity > LEAST_CELLS &&
		       shape->capacity * shape->stride > MOST_BYTES)
			shape->capacity /= 2;
	}
	if (shape->capacity > MOST_CELLS)
		return -EINVAL;
	while (cells < shape->capacity)
		cells *= 2;
	shape->mask = cells - 1;
	return 0;
}

int tine_queue_new(tine_queue **out, size_t max_len, const tine_queue_opts *opts)
{
	tine_queue shape = { 0 }, *queue;
	size_t head = (sizeof(*queue) + 63) / 64 * 64;
	int err = out ? measure(&shape, max_len, opts) : -EINVAL;

	if (err)
		return err;
	queue = shared_alloc(head + (shape.mask + 1) * shape.stride, shared_patience());
	if (!queue)
		return -ENOMEM;
	queue->max_len = shape.max_len;
	queue->any = shape.any;
	queue->stride = shape.stride;
	queue->box_stride = shape.box_stride;
	queue->capacity = shape.capacity;
	queue->mask = shape.mask;
	queue->producers = shape.producers;
	queue->spins = affine_processors() > 1;
	queue->nap = FIRST_NAP;
	queue->sleep = WATCH_AGAIN;
	queue->lease = shape.lease;
	queue->cells = (char *)queue + head;
	for (uint64_t i = 0; i <= queue->mask; i++)
		atomic_store_explicit(&cell_of(queue, i)->word, cell_word(FREE, 0, i),
				      memory_order_relaxed);
	queue->magic = QUEUE_MAGIC | (queue->any ? ANY_LENGTH : 0);
	*out = queue;
	return 0;
}

static void free_parcel(tine_queue *queue, const void *data, uint64_t word)
{
	if ((word_state(word) == FULL || word_state(word) == STRAY ||
	     word_state(word) == HELD) &&
	    is_parcel(queue, word_len(word)) && parcel_is_whole(data))
		tine_shared_free(((const struct parcel *)data)->block);
}

static void free_parcels(tine_queue *queue)
{
	for (uint64_t i = 0; i <= queue->mask; i++)
		free_parcel(queue, cell_of(queue, i)->data, cell_of(queue, i)->word);
	for (uint64_t i = 0; i < queue->capacity && box_at(queue, 0); i++)
		free_parcel(queue, box_at(queue, i)->data, box_at(queue, i)->word);
}

void tine_queue_free(tine_queue *queue)
{
	if (!is_queue(queue))
		return;
	if (queue->any)
		free_parcels(queue);
	queue->magic = 0;
	for (unsigned i = 0; i < MEMBERS / DESK_GROUP; i++)
		tine_shared_free(atomic_load(&queue->group[i]));
	tine_shared_free(atomic_load(&queue->boxes));
	tine_shared_free(queue);
}
