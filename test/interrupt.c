/* SPDX-License-Identifier: MIT */
/*
 * Every call that waits until its deadline: by choice a signal that is handled ends it,
 * and else does not.
 */
#include "store_engines.h"
#include "test.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>

/* What a call waits for. */
struct scene {
	union {
		tine_lock *lock;
		tine_sem *sem;
		tine_event *event;
		tine_barrier *barrier;
		tine_rwlock *rwlock;
		tine_queue *queue;
		void *memory;
	};
	tine_cond cond;
	int ends[2];
	tine_filelock *first, *second;
	tine_process *process;
	tine_pool *pool;
	uint64_t job;
	tine_cache *cache;
	tine_store *store;
	tine_manager *manager;
	tine_worker *worker;
	char path[128];
	pthread_t thread;
	_Atomic bool ready, over;
};

struct wait {
	const char *name;
	void (*begin)(struct scene *);
	int (*call)(struct scene *, int64_t deadline);
	void (*end)(struct scene *);
};

static _Atomic int handled;

static void handle(int signal)
{
	(void)signal;
	handled++;
}

/* Again and again: one that comes just before the call sleeps is not noticed. */
static void signal_often(long us)
{
	struct itimerval often = { { 0, us }, { 0, us } };

	CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static void try_wait(const struct wait *wait)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	struct scene scene = { 0 };
	int err;

	sigaction(SIGALRM, &action, NULL);
	wait->begin(&scene);
	handled = 0;
	signal_often(20000);
	err = wait->call(&scene, tine_after(200));
	signal_often(0);
	if (err != -ETIMEDOUT || handled == 0)
		test_fail(__FILE__, __LINE__, "%s: %s, %d signals", wait->name,
			  tine_strerror(err), (int)handled);
	CHECK(!tine_interruptible(true));
	signal_often(20000);
	err = wait->call(&scene, tine_after(test_patience(20000)));
	signal_often(0);
	CHECK(tine_interruptible(false));
	if (err != -EINTR)
		test_fail(__FILE__, __LINE__, "%s: %s, with signals that end it",
			  wait->name, tine_strerror(err));
	/* It is off again, and nothing is left. */
	err = wait->call(&scene, tine_after(5));
	if (err != -ETIMEDOUT)
		test_fail(__FILE__, __LINE__, "%s: %s, afterwards", wait->name,
			  tine_strerror(err));
	wait->end(&scene);
}

/* ---- in the family's memory -------------------------------------------------------- */

static void make_memory(struct scene *scene)
{
	scene->memory = tine_shared_new(1, 256);
	CHECK(scene->memory);
}

static void free_memory(struct scene *scene)
{
	tine_shared_free(scene->memory);
}

static void *hold_lock(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_lock_acquire(scene->lock, TINE_FOREVER), 0);
	scene->ready = true;
	while (!scene->over)
		test_sleep_us(1000);
	CHECK_EQ(tine_lock_release(scene->lock), 0);
	return NULL;
}

static void have_lock_held(struct scene *scene)
{
	make_memory(scene);
	CHECK_EQ(pthread_create(&scene->thread, NULL, hold_lock, scene), 0);
	while (!scene->ready)
		test_sleep_us(1000);
}

static void end_thread(struct scene *scene)
{
	scene->over = true;
	CHECK_EQ(pthread_join(scene->thread, NULL), 0);
}

static void let_lock_go(struct scene *scene)
{
	end_thread(scene);
	/* Nobody is left at it who will not come. */
	CHECK_EQ(tine_lock_acquire(scene->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(scene->lock), 0);
	free_memory(scene);
}

static int acquire_lock(struct scene *scene, int64_t deadline)
{
	return tine_lock_acquire(scene->lock, deadline);
}

static void make_held(struct scene *scene)
{
	make_memory(scene);
	CHECK_EQ(tine_sem_init(scene->sem, &(tine_sem_opts){ .held = true }), 0);
}

static int wait_for_sem(struct scene *scene, int64_t deadline)
{
	return tine_sem_wait(scene->sem, deadline);
}

static void free_sem(struct scene *scene)
{
	CHECK_EQ(tine_sem_post(scene->sem, 1), 0);
	CHECK_EQ(tine_sem_wait(scene->sem, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_wait(scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	free_memory(scene);
}

static void take_mutex(struct scene *scene)
{
	make_memory(scene);
	CHECK_EQ(tine_sem_init(scene->sem, &(tine_sem_opts){ .mutex = true }), 0);
	CHECK_EQ(tine_sem_wait(scene->sem, TINE_NOWAIT), 0);
}

static void hold_to_write(struct scene *scene)
{
	make_memory(scene);
	CHECK_EQ(tine_rwlock_write(scene->rwlock, TINE_NOWAIT), 0);
}

static void hold_to_read(struct scene *scene)
{
	make_memory(scene);
	CHECK_EQ(tine_rwlock_read(scene->rwlock, TINE_NOWAIT), 0);
}

static int acquire_to_read(struct scene *scene, int64_t deadline)
{
	return tine_rwlock_read(scene->rwlock, deadline);
}

static int acquire_to_write(struct scene *scene, int64_t deadline)
{
	return tine_rwlock_write(scene->rwlock, deadline);
}

static void free_rwlock(struct scene *scene)
{
	CHECK_EQ(tine_rwlock_release(scene->rwlock), 0);
	CHECK_EQ(tine_rwlock_release(scene->rwlock), -EPERM);
	CHECK_EQ(tine_rwlock_write(scene->rwlock, TINE_NOWAIT), 0);
	free_memory(scene);
}

static int wait_for_event(struct scene *scene, int64_t deadline)
{
	return tine_event_wait(scene->event, deadline);
}

static int wait_at_barrier(struct scene *scene, int64_t deadline)
{
	return tine_barrier_wait(scene->barrier, 2, deadline);
}

/* Who was interrupted is no party. */
static void free_barrier(struct scene *scene)
{
	CHECK_EQ(tine_barrier_wait(scene->barrier, 1, TINE_NOWAIT), 1);
	CHECK_EQ(tine_barrier_wait(scene->barrier, 2, TINE_NOWAIT), -ETIMEDOUT);
	free_memory(scene);
}

static int wait_for_cond(struct scene *scene, int64_t deadline)
{
	int err;

	CHECK_EQ(tine_lock_acquire(scene->lock, TINE_NOWAIT), 0);
	do
		err = tine_cond_wait(&scene->cond, scene->lock, deadline);
	while (err == 0);
	CHECK_EQ(tine_lock_release(scene->lock), 0);
	return err;
}

/* ---- queues and pipes -------------------------------------------------------------- */

static void make_queue(struct scene *scene)
{
	CHECK_EQ(tine_queue_new(&scene->queue, 8, &(tine_queue_opts){ .capacity = 2 }),
		 0);
}

static void fill_queue(struct scene *scene)
{
	make_queue(scene);
	while (tine_queue_put(scene->queue, "12345678", 8, TINE_NOWAIT) == 0)
		;
}

static void free_queue(struct scene *scene)
{
	tine_queue_free(scene->queue);
}

static int get_message(struct scene *scene, int64_t deadline)
{
	char buf[8];

	return (int)tine_queue_get(scene->queue, buf, sizeof(buf), deadline);
}

static int get_messages(struct scene *scene, int64_t deadline)
{
	char buf[16];

	return (int)tine_queue_get_many(scene->queue, buf, 2, deadline);
}

static int lease_message(struct scene *scene, int64_t deadline)
{
	tine_lease lease;
	char buf[8];

	return (int)tine_queue_lease(scene->queue, buf, sizeof(buf), &lease, deadline);
}

static int put_message(struct scene *scene, int64_t deadline)
{
	return tine_queue_put(scene->queue, "12345678", 8, deadline);
}

static int put_messages(struct scene *scene, int64_t deadline)
{
	return (int)tine_queue_put_many(scene->queue, "1234567812345678", 2, deadline);
}

static void make_long_queue(struct scene *scene)
{
	CHECK_EQ(tine_queue_new(&scene->queue, 0, &(tine_queue_opts){ .capacity = 2 }),
		 0);
}

static void fill_long_queue(struct scene *scene)
{
	make_long_queue(scene);
	while (tine_queue_put(scene->queue, "1", 1, TINE_NOWAIT) == 0)
		;
}

static int take_message(struct scene *scene, int64_t deadline)
{
	const void *message;

	return (int)tine_queue_take(scene->queue, &message, deadline);
}

/* What was not committed is the caller's. */
static int commit_message(struct scene *scene, int64_t deadline)
{
	void *room;
	int err;

	CHECK_EQ(tine_queue_reserve(scene->queue, 1000, &room), 0);
	err = tine_queue_commit(scene->queue, room, 1000, deadline);
	CHECK_EQ(tine_queue_release(scene->queue, room), 0);
	return err;
}

static int await_drained(struct scene *scene, int64_t deadline)
{
	return tine_queue_drained(scene->queue, deadline);
}

static void make_pipe(struct scene *scene)
{
	CHECK_EQ(tine_pipe_new(scene->ends), 0);
}

static void fill_pipe(struct scene *scene)
{
	static char bytes[10000];

	make_pipe(scene);
	while (tine_pipe_send(scene->ends[0], bytes, sizeof(bytes), TINE_NOWAIT) == 0)
		;
}

static int receive(struct scene *scene, int64_t deadline)
{
	char buf[8];

	return (int)tine_pipe_recv(scene->ends[1], buf, sizeof(buf), deadline);
}

static int send_bytes(struct scene *scene, int64_t deadline)
{
	static char bytes[10000];

	return tine_pipe_send(scene->ends[0], bytes, sizeof(bytes), deadline);
}

static void close_pipe(struct scene *scene)
{
	close(scene->ends[0]);
	close(scene->ends[1]);
}

/* ---- files ------------------------------------------------------------------------- */

static void hold_file(struct scene *scene)
{
	snprintf(scene->path, sizeof(scene->path), "%s/file", getenv("TMPDIR"));
	CHECK_EQ(tine_filelock_open(&scene->first, scene->path), 0);
	CHECK_EQ(tine_filelock_open(&scene->second, scene->path), 0);
	CHECK_EQ(tine_filelock_acquire(scene->first, false, TINE_NOWAIT), 0);
}

static int acquire_file(struct scene *scene, int64_t deadline)
{
	return tine_filelock_acquire(scene->second, false, deadline);
}

static int share_file(struct scene *scene, int64_t deadline)
{
	return tine_filelock_acquire(scene->second, true, deadline);
}

static void close_files(struct scene *scene)
{
	tine_filelock_free(scene->first);
	CHECK_EQ(tine_filelock_acquire(scene->second, false, TINE_NOWAIT), 0);
	tine_filelock_free(scene->second);
	CHECK_EQ(unlink(scene->path), 0);
}

/* ---- processes and pools ----------------------------------------------------------- */

static int linger(void *arg)
{
	(void)arg;
	while (pause() != 0)
		;
	return 0;
}

static void start_process(struct scene *scene)
{
	CHECK_EQ(tine_process_start(&scene->process, linger, NULL, NULL), 0);
}

static void spawn_process(struct scene *scene)
{
	const char *const argv[] = { "sleep", "1000", NULL };

	CHECK_EQ(tine_process_spawn(&scene->process, &(tine_command){ .argv = argv },
				    NULL),
		 0);
}

static int wait_for_process(struct scene *scene, int64_t deadline)
{
	return tine_process_wait(scene->process, NULL, deadline);
}

static void free_process(struct scene *scene)
{
	tine_process_free(scene->process);
}

static void free_spawned(struct scene *scene)
{
	tine_process_free(scene->process);
	test_opens_no_further();
}

/* In a worker, for which its caller's choice does not count. */
static int linger_in_job(const void *in, void *out)
{
	(void)in;
	*(int *)out = tine_interruptible(false);
	return *(int *)out ? 0 : linger(NULL);
}

static const tine_task lingering = { .name = "lingering",
				     .fn = linger_in_job,
				     .in_size = sizeof(int),
				     .out_size = sizeof(int) };

static void make_pool(struct scene *scene)
{
	CHECK_EQ(tine_pool_new(&scene->pool, &(tine_pool_opts){ .workers = 1 }), 0);
}

static void make_busy_pool(struct scene *scene)
{
	int in = 0;

	make_pool(scene);
	while (tine_pool_submit(scene->pool, &lingering, &in, 0, tine_after(200)) == 0)
		;
}

static int submit_job(struct scene *scene, int64_t deadline)
{
	int in = 0;

	return tine_pool_submit(scene->pool, &lingering, &in, 0, deadline);
}

static int submit_numbered(struct scene *scene, int64_t deadline)
{
	int in = 0;

	return tine_pool_submit_job(scene->pool, &lingering, &in, sizeof(in), 0, NULL,
				    &scene->job, deadline);
}

static void make_pool_with_a_job(struct scene *scene)
{
	make_pool(scene);
	CHECK_EQ(submit_numbered(scene, TINE_FOREVER), 0);
}

static int wait_for_job(struct scene *scene, int64_t deadline)
{
	tine_done done;
	int out;

	return tine_pool_wait(scene->pool, scene->job, &out, sizeof(out), &done,
			      deadline);
}

static int next_result(struct scene *scene, int64_t deadline)
{
	tine_done done;
	int out;

	return tine_pool_next(scene->pool, &out, sizeof(out), &done, deadline);
}

static int linger_with_bytes(const void *in, size_t len)
{
	(void)in;
	(void)len;
	return linger(NULL);
}

static const tine_task of_bytes = { .name = "bytes", .bytes = linger_with_bytes };

static int submit_bytes(struct scene *scene, int64_t deadline)
{
	return tine_pool_submit_bytes(scene->pool, &of_bytes, "1", 1, 0, deadline);
}

static int next_bytes(struct scene *scene, int64_t deadline)
{
	const void *out;
	tine_done done;

	return tine_pool_next_bytes(scene->pool, &out, &done, deadline);
}

static int map_jobs(struct scene *scene, int64_t deadline)
{
	int in[2] = { 0 }, out[2];

	return tine_pool_map(scene->pool, &lingering, in, out, 2, NULL, deadline);
}

static int find_job(struct scene *scene, int64_t deadline)
{
	int in[2] = { 0 }, out[2];

	return tine_pool_find(scene->pool, &lingering, in, out, 2, NULL, NULL, deadline);
}

static int linger_in_range(size_t low, size_t high, const void *arg, void *out)
{
	(void)low;
	(void)high;
	(void)arg;
	(void)out;
	return linger(NULL);
}

static void join_numbers(void *to, const void *from)
{
	*(int *)to += *(const int *)from;
}

static const tine_task ranges = { .name = "ranges",
				  .range = linger_in_range,
				  .join = join_numbers,
				  .out_size = sizeof(int) };

static int run_ranges(struct scene *scene, int64_t deadline)
{
	return tine_pool_for(scene->pool, &ranges, NULL, 100, NULL, deadline);
}

static int reduce_ranges(struct scene *scene, int64_t deadline)
{
	int out;

	return tine_pool_reduce(scene->pool, &ranges, NULL, 100, &out, NULL, deadline);
}

static void free_pool(struct scene *scene)
{
	tine_pool_free(scene->pool);
}

/* ---- the cache --------------------------------------------------------------------- */

static struct scene *computing;

static int compute_long(const void *in, void *out)
{
	memcpy(out, in, sizeof(int));
	computing->ready = true;
	while (!computing->over)
		test_sleep_us(1000);
	return 0;
}

static const tine_task computed = { .name = "computed",
				    .fn = compute_long,
				    .in_size = sizeof(int),
				    .out_size = sizeof(int) };

static int call_cached(struct scene *scene, int64_t deadline)
{
	int in = 1, out, status;

	return tine_cache_call(scene->cache, &computed, &in, &out, &status, deadline);
}

static void *compute(void *arg)
{
	CHECK_EQ(call_cached(arg, TINE_FOREVER), 0);
	return NULL;
}

static void have_it_computed(struct scene *scene)
{
	computing = scene;
	snprintf(scene->path, sizeof(scene->path), "%s/cache", getenv("TMPDIR"));
	CHECK_EQ(tine_cache_open(&scene->cache, scene->path, NULL), 0);
	CHECK_EQ(pthread_create(&scene->thread, NULL, compute, scene), 0);
	while (!scene->ready)
		test_sleep_us(1000);
}

static void close_cache(struct scene *scene)
{
	char command[160];

	end_thread(scene);
	CHECK_EQ(call_cached(scene, TINE_NOWAIT), 1);
	tine_cache_free(scene->cache);
	snprintf(command, sizeof(command), "rm -r '%s'", scene->path);
	CHECK_EQ(system(command), 0);
}

static int begin_cached(struct scene *scene, int64_t deadline)
{
	tine_flight *flight;
	const void *val;
	size_t len;
	int err = tine_cache_begin(scene->cache, "key", 3, &val, &len, &flight, deadline);

	if (err == 0)
		tine_flight_free(flight);
	return err;
}

static void *hold_flight(void *arg)
{
	struct scene *scene = arg;
	tine_flight *flight;
	const void *val;
	size_t len;

	CHECK_EQ(tine_cache_begin(scene->cache, "key", 3, &val, &len, &flight,
				  TINE_FOREVER),
		 0);
	scene->ready = true;
	while (!scene->over)
		test_sleep_us(1000);
	tine_flight_free(flight);
	return NULL;
}

static void have_it_begun(struct scene *scene)
{
	snprintf(scene->path, sizeof(scene->path), "%s/cache", getenv("TMPDIR"));
	CHECK_EQ(tine_cache_open(&scene->cache, scene->path, NULL), 0);
	CHECK_EQ(pthread_create(&scene->thread, NULL, hold_flight, scene), 0);
	while (!scene->ready)
		test_sleep_us(1000);
}

static void end_flight(struct scene *scene)
{
	char command[160];

	end_thread(scene);
	CHECK_EQ(begin_cached(scene, TINE_NOWAIT), 0);
	tine_cache_free(scene->cache);
	snprintf(command, sizeof(command), "rm -r '%s'", scene->path);
	CHECK_EQ(system(command), 0);
}

/* ---- the table --------------------------------------------------------------------- */

static const struct wait waits[] = {
	{ "lock_acquire", have_lock_held, acquire_lock, let_lock_go },
	{ "sem_wait", make_memory, wait_for_sem, free_sem },
	{ "sem_wait, held", make_held, wait_for_sem, free_sem },
	{ "sem_wait, mutex", take_mutex, wait_for_sem, free_memory },
	{ "rwlock_read", hold_to_write, acquire_to_read, free_rwlock },
	{ "rwlock_write", hold_to_read, acquire_to_write, free_rwlock },
	{ "rwlock_write, claimed", hold_to_write, acquire_to_write, free_rwlock },
	{ "event_wait", make_memory, wait_for_event, free_memory },
	{ "cond_wait", make_memory, wait_for_cond, free_memory },
	{ "barrier_wait", make_memory, wait_at_barrier, free_barrier },
	{ "queue_get", make_queue, get_message, free_queue },
	{ "queue_get_many", make_queue, get_messages, free_queue },
	{ "queue_lease", make_queue, lease_message, free_queue },
	{ "queue_put", fill_queue, put_message, free_queue },
	{ "queue_put_many", fill_queue, put_messages, free_queue },
	{ "queue_take", make_long_queue, take_message, free_queue },
	{ "queue_commit", fill_long_queue, commit_message, free_queue },
	{ "queue_drained", fill_queue, await_drained, free_queue },
	{ "pipe_recv", make_pipe, receive, close_pipe },
	{ "pipe_send", fill_pipe, send_bytes, close_pipe },
	{ "filelock_acquire", hold_file, acquire_file, close_files },
	{ "filelock_acquire, shared", hold_file, share_file, close_files },
	{ "process_wait", start_process, wait_for_process, free_process },
	{ "process_wait, spawned", spawn_process, wait_for_process, free_spawned },
	{ "pool_submit", make_busy_pool, submit_job, free_pool },
	{ "pool_submit_job", make_busy_pool, submit_numbered, free_pool },
	{ "pool_wait", make_pool_with_a_job, wait_for_job, free_pool },
	{ "pool_next", make_busy_pool, next_result, free_pool },
	{ "pool_submit_bytes", make_busy_pool, submit_bytes, free_pool },
	{ "pool_next_bytes", make_busy_pool, next_bytes, free_pool },
	{ "pool_map", make_pool, map_jobs, free_pool },
	{ "pool_find", make_pool, find_job, free_pool },
	{ "pool_for", make_pool, run_ranges, free_pool },
	{ "pool_reduce", make_pool, reduce_ranges, free_pool },
	{ "cache_call", have_it_computed, call_cached, close_cache },
	{ "cache_begin", have_it_begun, begin_cached, end_flight },
};

TEST(of_every_kind)
{
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		printf("# %s\n", waits[i].name);
		fflush(stdout);
		try_wait(&waits[i]);
	}
}

/* How often this thread has gone to sleep. */
static long sleeps(void)
{
	struct rusage usage;

	CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
	return usage.ru_nvcsw;
}

/*
 * Who waits in slices, to look for signals that came just before a sleep, wakes about
 * once in each, and not as often as a call that has just begun: seven times in 64 ms.
 */
TEST(slices_go_on)
{
	static const char *const names[] = { "sem_wait, held", "sem_wait, mutex",
					     "rwlock_write", "queue_get", "queue_put" };
	enum { SLICES = 10 };

	tine_interruptible(true);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct scene scene = { 0 };
		bool wanted = false;
		long before, slept;

		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			wanted |= strcmp(waits[i].name, names[k]) == 0;
		if (!wanted)
			continue;
		waits[i].begin(&scene);
		CHECK_EQ(waits[i].call(&scene, tine_after(100)), -ETIMEDOUT);
		before = sleeps();
		for (int n = 0; n < SLICES; n++)
			CHECK_EQ(waits[i].call(&scene, tine_after(64)), -ETIMEDOUT);
		slept = sleeps() - before;
		waits[i].end(&scene);
		if (slept > 3L * SLICES)
			test_fail(__FILE__, __LINE__, "%s: %ld sleeps in %d slices",
				  waits[i].name, slept, SLICES);
	}
	tine_interruptible(false);
}

static int take_item(struct scene *scene, int64_t deadline)
{
	char buf[8];

	return (int)tine_store_take(scene->store, "list", buf, sizeof(buf), deadline);
}

static int lease_item(struct scene *scene, int64_t deadline)
{
	tine_lease lease;
	char buf[8];

	return (int)tine_store_lease(scene->store, "list", buf, sizeof(buf), 1000, &lease,
				     deadline);
}

static int lock_in_store(struct scene *scene, int64_t deadline)
{
	uint64_t fence;
	int err = tine_store_lock(scene->store, "lock", 100000000, &fence, TINE_NOWAIT);

	CHECK(err == 0 || err == -ETIMEDOUT);
	return tine_store_lock(scene->store, "lock", 1000, &fence, deadline);
}

static int wait_for_key(struct scene *scene, int64_t deadline)
{
	uint64_t version = 0;

	CHECK_EQ(tine_store_wait(scene->store, "key", &version, deadline), 0);
	return tine_store_wait(scene->store, "key", &version, deadline);
}

static void open_store(struct scene *scene)
{
	scene->store = store_open();
}

/* It is in order: nothing was taken, and the next answer is that of its question. */
static void close_store(struct scene *scene)
{
	char buf[8];

	CHECK_EQ(tine_store_append(scene->store, "list", "item", 4), 0);
	CHECK_EQ(tine_store_take(scene->store, "list", buf, sizeof(buf), TINE_NOWAIT), 4);
	tine_store_free(scene->store);
}

static const struct wait store_waits[] = {
	{ "store_lease", open_store, lease_item, close_store },
	{ "store_lock", open_store, lock_in_store, close_store },
	{ "store_take", open_store, take_item, close_store },
	{ "store_wait", open_store, wait_for_key, close_store },
};

STORE_TEST(store)
{
	for (size_t i = 0; i < sizeof(store_waits) / sizeof(store_waits[0]); i++)
		try_wait(&store_waits[i]);
}

static void start_host(struct scene *scene)
{
	int err = tine_manager_start(&scene->manager, NULL);

	if (err == -ENOENT)
		test_skip("no redis-server");
	CHECK_EQ(err, 0);
	CHECK_EQ(tine_worker_start(&scene->worker, tine_manager_url(scene->manager),
				   &lingering, 1, &(tine_worker_opts){ .workers = 1 }),
		 0);
}

static int wait_for_host(struct scene *scene, int64_t deadline)
{
	return tine_worker_wait(scene->worker, deadline);
}

/* It still does what it is told. */
static void drain_host(struct scene *scene)
{
	CHECK_EQ(tine_worker_drain(scene->worker), 0);
	CHECK_EQ(tine_worker_wait(scene->worker, tine_after(test_patience(20000))), 0);
	tine_worker_free(scene->worker);
	tine_manager_free(scene->manager);
}

TEST(host)
{
	static const struct wait wait = { "worker_wait", start_host, wait_for_host,
					  drain_host };

	try_wait(&wait);
}
