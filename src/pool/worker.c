/* SPDX-License-Identifier: MIT */
/* A worker: does what lies at its desk, then steals, then sleeps. See ledger.h. */
#include "pool/worker.h"

#include "base/atfork.h"
#include "base/cpus.h"
#include "base/futex.h"
#include "base/proc.h"
#include "pool/cached.h"
#include "pool/chunk.h"
#include "process/child.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Nanoseconds that taking up a chunk should buy; a chunk is doubled or halved for it. */
#define SHORT	     10000
#define LONG	     100000
#define NAP	     INT64_C(1000000)
#define MOST_AT_ONCE 4096	       /* from the pile */
#define WEIGH_EVERY  INT64_C(10000000) /* nanoseconds */

static const uint32_t never_cancelled;
const uint32_t *tine_cancel_word_ = &never_cancelled;
/* For those who cannot inline it. */
extern inline bool tine_cancelled(void);

struct worker {
	struct ledger *ledger;
	struct pool_desk *desk;
	unsigned id;
	uint32_t jobs_left; /* until it retires */
	uint32_t turn;	    /* the deal it has looked at */
	bool roused;	    /* has had no work until now */
	bool worked;	    /* has done jobs, and not looked whether all are done */
	uint32_t batch;	    /* chunks to take from the pile next */
	int64_t stocked;    /* when it took the last, or 0 */
	tine_fn *mapped;    /* known to be there */
	int64_t weighed;    /* when it last looked at its size */
	struct trace_log *log;
};

static bool is_set(const _Atomic uint32_t *word)
{
	/* Relaxed: to see it a job later does no harm. */
	return atomic_load_explicit(word, memory_order_relaxed) != 0;
}

/*
 * A function of a library that was loaded after the pool was made is not in this process.
 * msync(2) does nothing but look.
 */
static bool is_mapped(struct worker *worker, tine_fn *fn)
{
	uintptr_t page = (uintptr_t)fn & ~(uintptr_t)4095;

	if (worker->mapped != fn && msync((void *)page, 1, MS_ASYNC) == 0)
		worker->mapped = fn;
	return worker->mapped == fn;
}

/* This process was forked by a job: whatever returns here, the worker answers. */
static bool is_stray;
static struct pool_desk *own_desk; /* of a worker; else NULL */
static int own_index = -1;
/* The pool without processes in whose job this thread is, or NULL. */
static _Thread_local const struct ledger *here;
/* Of such pools one job at a time runs in a process, but for what that has others do. */
static pthread_mutex_t serving = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static void become_stray(void)
{
	is_stray = true;
	own_desk = NULL;
	own_index = -1;
	here = NULL;
	serving = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

int tine_worker_index(void)
{
	return here ? 0 : own_index;
}

bool worker_is_here(const struct ledger *ledger)
{
	return here == ledger;
}

/*
 * The handler is gone when this runs: back at the instruction that crashed, the process
 * ends as it would have, and leaves the same core. What somebody sent is sent again.
 */
static void note_crash(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code <= 0)
		raise(signal);
	else if (own_desk)
		atomic_store(&own_desk->address, (uintptr_t)info->si_addr);
}

/* On a stack of its own, since a crash may be for want of stack. */
void watch_crashes(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	static char stack[32768];
	const stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction before, action = { .sa_sigaction = note_crash,
					    .sa_flags = SA_SIGINFO | SA_ONSTACK |
							SA_RESETHAND | SA_NODEFER };

	if (sigaltstack(&other, NULL) != 0)
		return;
	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
		if (sigaction(crashes[i], NULL, &before) == 0 &&
		    before.sa_handler == SIG_DFL)
			sigaction(crashes[i], &action, NULL);
}

FILL_ATFORK static void fill_worker_slot(void)
{
	atfork_fill(ATFORK_WORKER, &(struct atfork){ .in_child = become_stray });
}

static tine_fn *called_fn;

static int call_function(const void *in, void *out)
{
	int status = called_fn(in, out);

	if (is_stray)
		_exit(1);
	return status;
}

/* What it printed is out before anybody hears that it is done. */
static int printed(int status)
{
	if (__fpending(stdout) > 0)
		fflush(stdout);
	return status;
}

static int returned(int status)
{
	if (is_stray)
		_exit(1);
	return printed(status);
}

static int call_job(tine_fn *fn, const struct cached *cached, const void *in, void *out)
{
	called_fn = fn;
	return printed(cached ? cached_call(cached, call_function, in, out)
			      : call_function(in, out));
}

/* Where one of so many leaves of n indexes begins. */
static size_t leaf_at(size_t n, size_t leaves, size_t leaf)
{
	return (size_t)((unsigned __int128)n * leaf / leaves);
}

static int call_leaf(tine_range_fn *range, const void *in, void *out, size_t out_size,
		     size_t low, size_t high)
{
	/* Also after a try that has died in it. */
	memset(out, 0, out_size);
	return returned(range(low, high, in, out));
}

/* Into the first of so many subtrees, from the left to the right. */
static int join_slots(const struct map *map, size_t job)
{
	size_t first = job * FAN * map->step;

	for (size_t slot = first + map->step;
	     slot < map->leaves && slot < first + FAN * map->step; slot += map->step)
		map->join(map->out + first * map->out_size,
			  map->out + slot * map->out_size);
	return 0;
}

/* A job that is not a call of an item. */
static int call_other(const struct map *map, uint32_t job)
{
	size_t item = item_of(map, job), index = map->first + item;

	switch (map->work) {
	case EACH:
		return returned(map->each(index, map->in));
	case LEAVES:
		return call_leaf(map->range, map->in, map->out + item * map->out_size,
				 map->out_size, leaf_at(map->n, map->leaves, item),
				 leaf_at(map->n, map->leaves, item + 1));
	case JOINS:
		return returned(join_slots(map, job));
	case ONES:
		return returned(map->range(index, index + 1, map->in, NULL));
	default:
		return -EINVAL;
	}
}

/* Whether a hit below it is known already. */
static bool is_beyond(const struct ledger *ledger, uint32_t index)
{
	/* Relaxed: to see it a job later does no harm. */
	uint64_t found = atomic_load_explicit(&ledger->found, memory_order_relaxed);

	return found && index >= found;
}

static void weigh(struct worker *worker, size_t most)
{
	int64_t now = tine_now();

	if (now - worker->weighed < WEIGH_EVERY)
		return;
	worker->weighed = now;
	if (own_memory(getpid()) > own_limit(worker->desk, most))
		worker->jobs_left = 0;
}

/* Whether it has grown too large to go on. Asks now and then. */
static inline void mind_memory(struct worker *worker)
{
	size_t most = worker->ledger->memory_per_worker;

	if (most)
		weigh(worker, most);
}

/* How many it did: fewer than n if it is to retire. */
static uint32_t do_jobs(struct worker *worker, uint32_t from, uint32_t n)
{
	struct pool_desk *desk = worker->desk;
	const struct map *map = &worker->ledger->map;
	uint32_t done = done_of(atomic_load_explicit(&desk->at, memory_order_relaxed));
	bool mapped = is_mapped(worker, map->fn);
	uint32_t i = from;

	while (i < from + n && worker->jobs_left > 0) {
		size_t item = item_of(map, i);
		int status;

		if (is_set(&worker->ledger->cancelled) ||
		    (map->least && is_beyond(worker->ledger, i))) {
			status = -ECANCELED;
		} else if (!mapped) {
			status = -EFAULT;
		} else {
			/* Before at: the job is never seen with an older beginning. */
			if (map->job_ms)
				atomic_store(&desk->begun, tine_now());
			/* Release: the job before is finished in memory. */
			atomic_store_explicit(&desk->at, at_of(i, done, true),
					      memory_order_release);
			if (map->work == CALLS)
				status = call_job(map->fn, map->cached,
						  map->in + item * map->in_size,
						  map->out + item * map->out_size);
			else
				status = call_other(map, i);
			if (status == 1 && map->search)
				ledger_note_hit(worker->ledger, i);
		}
		if (map->status)
			map->status[item] = status;
		if (status < 0)
			desk_note(desk, i, status);
		i++;
		done++;
		mind_memory(worker);
	}
	TRACE(jobs_done, worker->log, i - from);
	atomic_store(&desk->at, at_of(i, done, false));
	/* The caller looks what is left below the hit. */
	if (map->least && atomic_load(&worker->ledger->found))
		ledger_call(worker->ledger);
	return i - from;
}

/* All of it is one job: see ledger.h. */
static uint32_t do_range(struct worker *worker, uint32_t from, uint32_t n)
{
	const struct map *map = &worker->ledger->map;
	struct pool_desk *desk = worker->desk;
	uint32_t done = done_of(atomic_load(&desk->at));
	size_t first = map->first + from;
	int status = -ECANCELED;

	if (!is_mapped(worker, map->fn)) {
		status = -EFAULT;
	} else if (!is_set(&worker->ledger->cancelled)) {
		if (map->job_ms)
			atomic_store(&desk->begun, tine_now());
		atomic_store(&desk->at, at_of(from, done, true));
		status = returned(map->range(first, first + n, map->in, NULL));
	}
	for (uint32_t i = from; map->status && i < from + n; i++)
		map->status[i] = status;
	desk_note(desk, from, status);
	mind_memory(worker);
	TRACE(jobs_done, worker->log, n);
	atomic_store(&desk->at, at_of(from + n, done + n, false));
	return n;
}

static struct answer {
	struct ledger *ledger;
	struct ticket *ticket; /* of bytes, in which this process is, or NULL */
	bool done;
} answering;

int tine_job_result(const void *out, size_t len)
{
	struct ticket *ticket = answering.ticket;
	int err;

	if (!out && len)
		return -EINVAL;
	if (!ticket || is_stray)
		return -EPERM;
	if (answering.done)
		return -EALREADY;
	if (len > SIZE_MAX / 2)
		return -EMSGSIZE;
	err = ticket_answer(answering.ledger, ticket, out, len);
	answering.done = err == 0;
	return err;
}

static int call_bytes(struct worker *worker, struct ticket *ticket)
{
	int status;

	answering.ledger = worker->ledger;
	answering.ticket = ticket;
	answering.done = false;
	status = returned(ticket->bytes(ticket->data.mem, ticket->in_size));
	answering.ticket = NULL;
	return status;
}

static int call_item(struct worker *worker, struct ticket *ticket, uint32_t item)
{
	struct chunk *chunk = ticket->chunk;
	const char *in = ticket->data.mem;
	char *out = (char *)ticket_result(ticket) + item * chunk->out_size;
	size_t index = chunk->first + item;

	if (ticket->bytes)
		return call_bytes(worker, ticket);
	switch (chunk->work) {
	case CALLS:
		return call_job(ticket->fn, NULL, in + item * chunk->in_size, out);
	case EACH:
		return returned(chunk->each(index, in));
	case RANGES:
		return returned(chunk->range(index, index + chunk->indexes, in, NULL));
	case LEAVES:
		return call_leaf(chunk->range, in, out, chunk->out_size,
				 leaf_at(chunk->total, chunk->leaves, index),
				 leaf_at(chunk->total, chunk->leaves, index + 1));
	default:
		return -EINVAL;
	}
}

/* Also a hit among the items that another worker did before it died. */
static bool has_hit(const struct ledger *ledger, const struct chunk *chunk)
{
	uint32_t done = index_of(atomic_load(&chunk->at));

	if (chunk->search && atomic_load(&ledger->hit) == chunk->search)
		return true;
	for (uint32_t i = 0; chunk->search && i < done; i++)
		if (chunk->status[i] == 1)
			return true;
	return false;
}

/* False: it retires, and another is to do the rest. */
static bool do_items(struct worker *worker, struct ticket *ticket)
{
	struct chunk *chunk = ticket->chunk;
	struct ledger *ledger = worker->ledger;
	bool mapped = is_mapped(worker, ticket->fn), hit = has_hit(ledger, chunk);
	uint32_t i = index_of(atomic_load(&chunk->at));

	tine_cancel_word_ = (const uint32_t *)&chunk->cancelled;
	for (; i < chunk->n && worker->jobs_left > 0; i++) {
		if (hit || is_set(&chunk->cancelled) || is_set(&ticket->unwanted) ||
		    is_set(&ledger->dropped)) {
			chunk->status[i] = -ECANCELED;
			continue;
		}
		/* Before at: the item is never seen with an older beginning. */
		if (ticket->job_ms)
			atomic_store(&worker->desk->begun, tine_now());
		/* Release: the item before is finished in memory. */
		atomic_store_explicit(&chunk->at, at_of(i, 0, true),
				      memory_order_release);
		chunk->status[i] = mapped ? call_item(worker, ticket, i) : -EFAULT;
		if (chunk->search) {
			if (chunk->status[i] == 1)
				atomic_store(&ledger->hit, chunk->search);
			hit = atomic_load(&ledger->hit) == chunk->search;
		}
		if (ledger->jobs_per_worker)
			worker->jobs_left--;
		mind_memory(worker);
	}
	tine_cancel_word_ = (const uint32_t *)&worker->ledger->cancelled;
	atomic_store(&chunk->at, at_of(i, 0, false));
	return i == chunk->n;
}

static bool do_ticket_chunk(struct worker *worker, struct ticket *ticket)
{
	struct ledger *ledger = worker->ledger;
	struct chunk *chunk = ticket->chunk;
	bool whole;

	chunk->worker = worker->id;
	if (!chunk->begun)
		chunk->begun = tine_now();
	TRACE(jobs_begin, worker->log, TRACE_TICKETS, ticket->name, 0, ticket->number,
	      chunk->begun);
	whole = do_items(worker, ticket);
	chunk->ended = tine_now();
	TRACE(jobs_done, worker->log, 1);
	if (whole)
		ticket_finish(ledger, ticket, 0);
	else
		atomic_store(&ticket->state, ticket_word(WAITING, 0));
	atomic_store(&worker->desk->ticket, 0);
	TRACE(jobs_end, worker->log, chunk->ended);
	return true;
}

/* One that was submitted; false: none waits. */
static bool do_ticket(struct worker *worker)
{
	struct ledger *ledger = worker->ledger;
	struct pool_desk *desk = worker->desk;
	struct ticket *ticket;
	int64_t begun, ended;
	bool again = false;
	int status;

	if (worker->jobs_left == 0 || !(ticket = ticket_take(ledger, worker->id)))
		return false;
	if (atomic_load(&ledger->moments) == 0)
		ledger_wake_one(ledger, worker->id);
	if (ticket->chunk)
		return do_ticket_chunk(worker, ticket);
	begun = atomic_load(&desk->begun);
	TRACE(jobs_begin, worker->log, TRACE_TICKETS, ticket->name, 0, ticket->number,
	      begun);
	if (is_set(&ledger->dropped) || is_set(&ticket->unwanted)) {
		status = -ECANCELED;
	} else if (!is_mapped(worker, ticket->fn)) {
		status = -EFAULT;
	} else {
		tine_cancel_word_ = (const uint32_t *)&ledger->dropped;
		status = ticket->bytes
				 ? call_bytes(worker, ticket)
				 : call_job(ticket->fn, ticket->cached, ticket->data.mem,
					    ticket_result(ticket));
		tine_cancel_word_ = (const uint32_t *)&ledger->cancelled;
		again = status < 0;
	}
	ended = tine_now();
	/* See submit.c. */
	if (ended - begun > SHORT)
		atomic_store(&ledger->moments, 0);
	else
		atomic_fetch_add(&ledger->moments, 1);
	TRACE(jobs_done, worker->log, 1);
	if (!again || !ticket_retry(ledger, ticket, worker->id, &status))
		ticket_finish(ledger, ticket, status);
	atomic_store(&desk->ticket, 0);
	TRACE(jobs_end, worker->log, ended);
	if (ledger->jobs_per_worker)
		worker->jobs_left--;
	mind_memory(worker);
	return true;
}

/*
 * So that chunks last neither so short that taking them up costs, nor longer than needed.
 */
static void adapt(struct pool_desk *desk, uint32_t did, int64_t took)
{
	uint32_t chunk = atomic_load_explicit(&desk->chunk, memory_order_relaxed);

	if (took < SHORT && did == chunk && chunk < MAX_JOBS / 2)
		atomic_compare_exchange_strong(&desk->chunk, &chunk, chunk * 2);
	else if (took > LONG && chunk > 1)
		atomic_compare_exchange_strong(&desk->chunk, &chunk, chunk / 2);
}

/*
 * Takes up and does one chunk: false when nothing waits at the desk, or it is to retire.
 */
static bool do_chunk(struct worker *worker)
{
	struct ledger *ledger = worker->ledger;
	uint32_t first, n, did;
	int64_t begun, ended;
	bool adaptive;

	if (worker->jobs_left == 0)
		return false;
	/*
	 * What is stocked from the pile was few; a guess before there is a job is
	 * harmless.
	 */
	n = desk_take(worker->desk, worker->jobs_left, worker->stocked != 0, &first);
	if (n == 0)
		return false;
	/* Whatever map these are jobs of, it is under way until they are done. */
	adaptive = ledger->map.chunk == 0;
	if (worker->roused)
		ledger_wake_one(ledger, worker->id);
	worker->roused = false;
	worker->worked = true;
	begun = adaptive ? tine_now() : 0;
	TRACE(jobs_begin, worker->log, TRACE_JOBS, ledger->map.name, ledger->map.number,
	      first, begun);
	did = ledger->map.work == RANGES ? do_range(worker, first, n)
					 : do_jobs(worker, first, n);
	if (did < n)
		desk_put_back(worker->desk);
	ended = adaptive ? tine_now() : 0;
	if (adaptive)
		adapt(worker->desk, did, ended - begun);
	TRACE(jobs_end, worker->log, ended);
	if (ledger->jobs_per_worker && worker->jobs_left > 0)
		worker->jobs_left -= did;
	return true;
}

/*
 * To an empty desk. From the pile as many as take a moment, so that the lock is not what
 * takes the time.
 */
static bool restock(struct worker *worker)
{
	uint32_t chunk = atomic_load_explicit(&worker->desk->chunk, memory_order_relaxed);

	if (worker->stocked) {
		bool brief = tine_now() - worker->stocked < SHORT;

		if (brief && worker->batch < MOST_AT_ONCE)
			worker->batch *= 2;
		else if (!brief && worker->batch > 1)
			worker->batch /= 2;
	}
	worker->stocked = 0;
	if (!desk_steal(worker->ledger, worker->id,
			chunk < MAX_JOBS / MOST_AT_ONCE ? chunk * worker->batch : chunk))
		return false;
	/* It is known now what map they are of. */
	if (worker->ledger->map.in_order)
		worker->stocked = tine_now();
	return true;
}

/* Until there is work: a little awake, for it often comes at once, and then asleep. */
static void rest(struct worker *worker)
{
	struct ledger *ledger = worker->ledger;
	_Atomic uint64_t *asleep = &ledger->asleep[worker->id / 64];
	uint64_t bit = UINT64_C(1) << worker->id % 64;
	uint32_t wake;

	TRACE(pause, worker->log);
	for (unsigned i = 0; i < ledger->spins; i++) {
		if (atomic_load_explicit(&ledger->turn, memory_order_relaxed) !=
		    worker->turn)
			return;
		cpu_relax();
	}
	wake = atomic_load(&worker->desk->wake);
	atomic_fetch_or(asleep, bit);
	/*
	 * Who deals looks at asleep after it has dealt; we look at its deal after this.
	 */
	if (atomic_load(&ledger->turn) == worker->turn && !ledger_has_work(ledger))
		/*
		 * While jobs come one by one, not everybody is woken for each.
		 * Bound: the nursery, whose death kills this process.
		 */
		futex_wait(&worker->desk->wake, wake,
			   ledger_due(ledger, tine_now() + NAP));
	atomic_fetch_and(asleep, ~bit);
}

/* It is in no job. What takes too long is for the nursery to end. */
static void call_fini(struct worker *worker)
{
	struct ledger *ledger = worker->ledger;

	if (!ledger->fini)
		return;
	atomic_store(&worker->desk->begun, tine_now());
	atomic_store(&worker->desk->seat, SEAT_LEAVING);
	kill(atomic_load(&ledger->nursery), SIGCHLD);
	/* It may have put jobs back. */
	ledger_wake_one(ledger, worker->id);
	tine_cancel_word_ = &never_cancelled;
	ledger->fini(ledger->init_arg);
	if (is_stray)
		_exit(1);
}

/* Of all that start the last one tells the caller. */
static void call_if_all_are_ready(struct ledger *ledger)
{
	/* From the last on, which is forked last. */
	for (unsigned id = ledger->workers; id-- > 0;)
		if (atomic_load(&ledger->desks[id].seat) != SEAT_READY)
			return;
	ledger_call(ledger);
}

int worker_main(struct ledger *ledger, unsigned id)
{
	struct worker worker = {
		.ledger = ledger,
		.desk = &ledger->desks[id],
		.id = id,
		.jobs_left = ledger->jobs_per_worker ? ledger->jobs_per_worker
						     : UINT32_MAX,
		.log = log_of(ledger, id),
	};
	int err;

	TRACE(start, worker.log);
	if (ledger->memory_per_worker)
		atomic_store(&worker.desk->born, own_memory(getpid()));
	if (cpus_sharers < MAX_WORKERS)
		cpus_sharers *= ledger->workers;
	is_stray = false;
	own_desk = worker.desk;
	own_index = (int)id;
	err = ledger->init ? ledger->init(ledger->init_arg) : 0;
	if (is_stray)
		_exit(1);
	if (err) {
		atomic_store(&worker.desk->refusal, err < 0 ? err : -EINVAL);
		return 1;
	}
	tine_cancel_word_ = (const uint32_t *)&ledger->cancelled;
	atomic_store(&worker.desk->seat, SEAT_READY);
	call_if_all_are_ready(ledger);
	for (;;) {
		worker.turn = atomic_load(&ledger->turn);
		if (worker.jobs_left == 0 || is_set(&ledger->parting))
			break;
		worker.batch = 1;
		do {
			worker.roused = true;
			while (do_chunk(&worker) || do_ticket(&worker))
				;
		} while (worker.jobs_left > 0 && restock(&worker));
		/* Whoever has done none has another that looks after it. */
		if (worker.worked && ledger_done(ledger) >= atomic_load(&ledger->jobs))
			ledger_call(ledger);
		worker.worked = false;
		if (worker.jobs_left > 0)
			rest(&worker);
	}
	TRACE(pause, worker.log);
	call_fini(&worker);
	return 0;
}

/* ---- in the caller ----------------------------------------------------------------- */

/* What this process is in, besides: a job of another pool, or nothing. */
struct aside {
	const struct ledger *here;
	const uint32_t *cancel_word;
	tine_fn *called;
	struct answer answer;
	bool stray;
};

static struct aside step_in(const struct ledger *ledger, const uint32_t *cancel_word)
{
	struct aside aside = { here, tine_cancel_word_, called_fn, answering, is_stray };

	here = ledger;
	tine_cancel_word_ = cancel_word;
	answering.ticket = NULL;
	is_stray = false;
	return aside;
}

static void step_out(const struct aside *aside)
{
	/* A process that was forked in what was called ends here. */
	if (is_stray)
		_exit(1);
	here = aside->here;
	tine_cancel_word_ = aside->cancel_word;
	called_fn = aside->called;
	answering = aside->answer;
	is_stray = aside->stray;
}

int worker_begin_here(struct worker **out, struct ledger *ledger)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	struct aside aside;
	int err;

	if (!worker)
		return -ENOMEM;
	*worker = (struct worker){ .ledger = ledger,
				   .desk = &ledger->desks[0],
				   .jobs_left = UINT32_MAX,
				   .batch = 1,
				   .log = log_of(ledger, 0) };
	TRACE(start, worker->log);
	/* Bound: a thread of this process, for a job: there is no deadline. */
	pthread_mutex_lock(&serving);
	aside = step_in(ledger, &never_cancelled);
	err = ledger->init ? ledger->init(ledger->init_arg) : 0;
	step_out(&aside);
	pthread_mutex_unlock(&serving);
	if (err) {
		free(worker);
		return err < 0 ? err : -EINVAL;
	}
	atomic_store(&worker->desk->seat, SEAT_READY);
	*out = worker;
	return 0;
}

bool worker_step_here(struct worker *worker, int64_t until)
{
	const uint32_t *cancel_word = (const uint32_t *)&worker->ledger->cancelled;
	struct timespec end = { until / 1000000000, until % 1000000000 };
	struct aside aside;
	bool did;

	/* Bound: until. */
	if (pthread_mutex_clocklock(&serving, CLOCK_MONOTONIC, &end) != 0)
		return false;
	aside = step_in(worker->ledger, cancel_word);
	did = do_chunk(worker) || do_ticket(worker) || restock(worker);
	step_out(&aside);
	pthread_mutex_unlock(&serving);
	return did;
}

void worker_end_here(struct worker *worker)
{
	struct ledger *ledger = worker->ledger;
	struct aside aside;

	TRACE(pause, worker->log);
	/* Bound: a thread of this process, for a job: there is no deadline. */
	pthread_mutex_lock(&serving);
	aside = step_in(ledger, &never_cancelled);
	if (ledger->fini)
		ledger->fini(ledger->init_arg);
	step_out(&aside);
	cached_forget();
	pthread_mutex_unlock(&serving);
	free(worker);
}
