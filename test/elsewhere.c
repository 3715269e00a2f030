/* SPDX-License-Identifier: MIT */
/*
 * The tests of pools on an engine: where TEST_ENGINE is the URL of a server, a pool of a
 * test is one whose jobs hosts do. A host has to know its tasks when it starts, so that
 * another takes the place of the one before when the pool is first asked for a task, with
 * the options that are a host's business.
 */
#include "engine/agent.h"
#include "engine/courier.h"
#include "test.h"

#include <pthread.h>

#define MOST_HOSTS 16

/*
 * The exceptions among the tests of pool, find, index, submit, job, bytes, limits and the
 * like. All others hold on both engines; where something else is promised, or takes long
 * since each chunk travels, they ask test_is_away().
 */
static const char *const of_one_machine[] = {
	/* Init: it is a host's business, as is when its workers are forked. */
	"init_runs_first_in_each_worker",
	"an_init_that_fails_is_told",
	"a_pool_that_lost_all_its_workers_says_so",
	"no_worker_is_left",
	"a_refreshed_pool_sees_what_was_written",
	"an_init_that_refuses_the_refreshed",
	/* Pointers: an address of code of the caller's. */
	"a_function_that_is_not_in_the_workers",
	/* Memory of the caller that is wanting: this file's calls would meet it. */
	"want_of_memory",
	NULL,
};

bool test_is_of_one_machine(const char *name)
{
	const char *const *each = of_one_machine;

	if (!getenv("TEST_ENGINE"))
		return false;
	while (*each && strcmp(*each, name) != 0)
		each++;
	return *each != NULL;
}

struct away_pool {
	struct away_pool *next;
	tine_pool *pool;
	pid_t owner;
	char url[256];
	tine_pool_opts opts;
	struct {
		tine_task task;
		char name[32];
		tine_worker *host;
	} hosts[MOST_HOSTS];
	unsigned n;
};

static struct away_pool *away_pools;
/* In a host, whose own pools, and those of its jobs, are of this machine. */
static _Thread_local bool hosting;
static pthread_mutex_t away_lock = PTHREAD_MUTEX_INITIALIZER;

int __real_tine_pool_new(tine_pool **, const tine_pool_opts *);
int __wrap_tine_pool_new(tine_pool **, const tine_pool_opts *);
int __wrap_tine_pool_new(tine_pool **out, const tine_pool_opts *opts)
{
	static unsigned pools;
	const char *server = getenv("TEST_ENGINE");
	struct away_pool *away;
	tine_pool_opts own;
	int err;

	if (!server || !*server || !out || hosting)
		return __real_tine_pool_new(out, opts);
	away = calloc(1, sizeof(*away));
	CHECK(away);
	if (opts)
		away->opts = *opts;
	snprintf(away->url, sizeof(away->url), "%s%cpool=%d.%u", server,
		 strchr(server, '?') ? '&' : '?', (int)getpid(), pools++);
	own = away->opts;
	own.init = NULL;
	own.init_arg = NULL;
	own.fini = NULL;
	own.jobs_per_worker = 0;
	own.memory_per_worker = 0;
	err = courier_pool_new(&away->pool, away->url, 10000, &own);
	if (err) {
		free(away);
		return err;
	}
	away->owner = getpid();
	pthread_mutex_lock(&away_lock);
	away->next = away_pools;
	away_pools = away;
	pthread_mutex_unlock(&away_lock);
	*out = away->pool;
	return 0;
}

void __real_tine_pool_free(tine_pool *);
void __wrap_tine_pool_free(tine_pool *);
void __wrap_tine_pool_free(tine_pool *pool)
{
	struct away_pool **at = &away_pools, *away;

	if (hosting) {
		__real_tine_pool_free(pool);
		return;
	}
	pthread_mutex_lock(&away_lock);
	while (*at && (*at)->pool != pool)
		at = &(*at)->next;
	away = *at;
	if (away)
		*at = away->next;
	pthread_mutex_unlock(&away_lock);
	__real_tine_pool_free(pool);
	if (!away)
		return;
	for (unsigned i = 0; i < away->n && away->owner == getpid(); i++)
		tine_worker_free(away->hosts[i].host);
	free(away);
}

static bool is_same(const tine_task *one, const tine_task *other)
{
	return one->fn == other->fn && one->each == other->each &&
	       one->range == other->range && one->join == other->join &&
	       one->bytes == other->bytes && one->in_size == other->in_size &&
	       one->out_size == other->out_size && one->version == other->version;
}

/* To a host, functions of one name and one kind would be one task. */
static bool has_name(const struct away_pool *away, const char *name)
{
	for (unsigned i = 0; i < away->n; i++)
		if (away->hosts[i].task.name &&
		    strcmp(away->hosts[i].task.name, name) == 0)
			return true;
	return false;
}

static struct away_pool *find_away(const tine_pool *pool)
{
	struct away_pool *away;

	pthread_mutex_lock(&away_lock);
	away = away_pools;
	while (away && away->pool != pool)
		away = away->next;
	pthread_mutex_unlock(&away_lock);
	return away;
}

/* The task with a name of its own, and a host that has it. */
static const tine_task *serve(tine_pool *pool, const tine_task *task)
{
	struct away_pool *away = find_away(pool);
	tine_worker_opts opts = { .lease_ms = 1000 };
	tine_task tasks[MOST_HOSTS];
	unsigned i = 0;
	int err;

	if (!away || !task || away->owner != getpid())
		return task;
	while (i < away->n && !is_same(&away->hosts[i].task, task))
		i++;
	if (i < away->n)
		return &away->hosts[i].task;
	CHECK(i < MOST_HOSTS);
	away->hosts[i].task = *task;
	if (!task->name || has_name(away, task->name)) {
		snprintf(away->hosts[i].name, sizeof(away->hosts[i].name), "%.16s-%u",
			 task->name ? task->name : "task", i);
		away->hosts[i].task.name = away->hosts[i].name;
	}
	opts.workers = away->opts.workers ? away->opts.workers : 2;
	opts.jobs_per_worker = away->opts.jobs_per_worker;
	opts.memory_per_worker = away->opts.memory_per_worker;
	opts.init = away->opts.init;
	opts.init_arg = away->opts.init_arg;
	for (unsigned k = 0; k <= i; k++)
		tasks[k] = away->hosts[k].task;
	hosting = true;
	err = tine_worker_start(&away->hosts[i].host, away->url, tasks, i + 1, &opts);
	hosting = false;
	/* What is no task is refused by the call. */
	if (err)
		return task;
	if (i > 0)
		CHECK_EQ(tine_worker_drain(away->hosts[i - 1].host), 0);
	away->n++;
	return &away->hosts[i].task;
}

static const tine_task *have_served(tine_pool *pool, const tine_task *task)
{
	static pthread_mutex_t serving = PTHREAD_MUTEX_INITIALIZER;
	const tine_task *served;

	if (hosting)
		return task;
	pthread_mutex_lock(&serving);
	served = serve(pool, task);
	pthread_mutex_unlock(&serving);
	return served;
}

bool test_is_away(void)
{
	return getenv("TEST_ENGINE") && !hosting;
}

void test_will_call(tine_pool *pool, const tine_task *task)
{
	have_served(pool, task);
}

/* The start of a host is no part of the call. */
static int64_t postpone(int64_t deadline, int64_t since)
{
	return deadline <= since || deadline == TINE_FOREVER
		       ? deadline
		       : deadline + tine_now() - since;
}

/* clang-format off */
#define SERVED(name, parameters, ...)                                                    \
	int __real_##name parameters;                                                    \
	int __wrap_##name parameters;                                                    \
	int __wrap_##name parameters                                                     \
	{                                                                                \
		const int64_t since = tine_now();                                        \
		const tine_task *served = have_served(pool, task);                       \
                                                                                         \
		deadline = postpone(deadline, since);                                    \
		return __real_##name(__VA_ARGS__);                                       \
	}

SERVED(tine_pool_map, (tine_pool *pool, const tine_task *task, const void *in, void *out,
		       size_t n, const tine_map_opts *opts, int64_t deadline),
       pool, served, in, out, n, opts, deadline)
SERVED(tine_pool_find, (tine_pool *pool, const tine_task *task, const void *in, void *out,
			size_t n, size_t *index, const tine_map_opts *opts,
			int64_t deadline),
       pool, served, in, out, n, index, opts, deadline)
SERVED(tine_pool_for, (tine_pool *pool, const tine_task *task, const void *arg, size_t n,
		       const tine_map_opts *opts, int64_t deadline),
       pool, served, arg, n, opts, deadline)
SERVED(tine_pool_reduce, (tine_pool *pool, const tine_task *task, const void *arg,
			  size_t n, void *out, const tine_map_opts *opts,
			  int64_t deadline),
       pool, served, arg, n, out, opts, deadline)
SERVED(tine_pool_submit, (tine_pool *pool, const tine_task *task, const void *in,
			  uint64_t tag, int64_t deadline),
       pool, served, in, tag, deadline)
SERVED(tine_pool_submit_bytes, (tine_pool *pool, const tine_task *task, const void *in,
				size_t len, uint64_t tag, int64_t deadline),
       pool, served, in, len, tag, deadline)
SERVED(tine_pool_submit_job, (tine_pool *pool, const tine_task *task, const void *in,
			      size_t len, uint64_t tag, const tine_job_opts *opts,
			      uint64_t *job, int64_t deadline),
       pool, served, in, len, tag, opts, job, deadline)
/* clang-format on */
