/* SPDX-License-Identifier: MIT */
/*
 * What every call says of a NULL object, of bytes that are reserved, and of a number of
 * milliseconds in place of a deadline. tools/lint sees that no function is missing.
 */
#include "test.h"

#include <stddef.h>

static int returns_0(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

static int leaves(void *arg)
{
	(void)arg;
	return 0;
}

static int each_entry(void *arg, const tine_cache_entry *entry)
{
	(void)arg;
	(void)entry;
	return 0;
}

static int each_field(void *arg, const char *field, const void *val, size_t len)
{
	(void)arg;
	(void)field;
	(void)val;
	(void)len;
	return 0;
}

static int each_host(void *arg, const tine_host *host)
{
	(void)arg;
	(void)host;
	return 0;
}

static int each_key(void *arg, const char *key)
{
	(void)arg;
	(void)key;
	return 0;
}

static int of_index(size_t index, const void *arg)
{
	(void)index;
	(void)arg;
	return 0;
}

static int of_range(size_t low, size_t high, const void *arg, void *out)
{
	(void)low;
	(void)high;
	(void)arg;
	(void)out;
	return 0;
}

static void joins(void *into, const void *from)
{
	(void)into;
	(void)from;
}

static int of_bytes(const void *in, size_t len)
{
	(void)in;
	(void)len;
	return 0;
}

static const tine_task bytes = { .bytes = of_bytes };
static const tine_task each = { .each = of_index },
		       reduce = { .range = of_range, .join = joins, .out_size = 1 };
static const tine_task task = { .name = "task", .fn = returns_0 };

#define REFUSED(call) CHECK_EQ(call, -EINVAL)

TEST(no_object)
{
	const char *const argv[] = { "true", NULL };
	tine_command command = { .argv = argv };
	tine_cache_stats stats;
	tine_flight *flight;
	tine_usage usage;
	const void *val;
	uint64_t number;
	tine_lease lease;
	tine_lock lock = { 0 };
	tine_done done;
	size_t len;
	char buf[8], name[TINE_FAMILY_NAME];
	tine_worker *worker;

	REFUSED(tine_lock_acquire(NULL, TINE_NOWAIT));
	REFUSED(tine_lock_release(NULL));
	REFUSED(tine_lock_init(NULL, NULL));
	REFUSED(tine_sem_init(NULL, NULL));
	REFUSED(tine_sem_post(NULL, 1));
	REFUSED(tine_sem_wait(NULL, TINE_NOWAIT));
	REFUSED(tine_sem_value(NULL));
	REFUSED(tine_rwlock_read(NULL, TINE_NOWAIT));
	REFUSED(tine_rwlock_write(NULL, TINE_NOWAIT));
	REFUSED(tine_rwlock_release(NULL));
	REFUSED(tine_event_set(NULL));
	REFUSED(tine_event_clear(NULL));
	REFUSED(tine_event_wait(NULL, TINE_NOWAIT));
	CHECK(!tine_event_is_set(NULL));
	CHECK(!tine_interruptible(false));
	REFUSED(tine_waiter_new(NULL));
	REFUSED(tine_waiter_arm_event(NULL, (tine_event *)&lock));
	REFUSED(tine_waiter_arm_items(NULL, NULL));
	REFUSED(tine_waiter_arm_room(NULL, NULL));
	REFUSED(tine_waiter_disarm(NULL));
	REFUSED(tine_waiter_fd(NULL));
	tine_waiter_free(NULL);
	REFUSED(tine_cond_wait(NULL, &lock, TINE_NOWAIT));
	REFUSED(tine_cond_wait((tine_cond *)&lock, NULL, TINE_NOWAIT));
	REFUSED(tine_cond_wake(NULL, 1));
	REFUSED(tine_barrier_wait(NULL, 1, TINE_NOWAIT));

	REFUSED(tine_filelock_open(NULL, "file"));
	REFUSED(tine_filelock_acquire(NULL, false, TINE_NOWAIT));
	REFUSED(tine_filelock_release(NULL));
	tine_filelock_free(NULL);

	CHECK(tine_shared_new(SIZE_MAX, 2) == NULL);
	tine_shared_free(NULL);
	CHECK(tine_shared_raw(SIZE_MAX) == NULL);
	REFUSED(tine_shared_keep(NULL));
	REFUSED(tine_shared_drop(NULL));
	REFUSED(tine_shared_map(NULL, "file", 1));
	REFUSED(tine_shared_map_fd(NULL, 0, 1));
	tine_shared_unmap(NULL);

	REFUSED(tine_family_name(NULL, buf));
	REFUSED(tine_family_name(name, NULL));
	REFUSED(tine_family_find(NULL, "1-1"));
	REFUSED(tine_family_find((void **)&val, NULL));

	REFUSED(tine_process_start(NULL, leaves, NULL, NULL));
	REFUSED(tine_process_spawn(NULL, &command, NULL));
	REFUSED(tine_process_usage(NULL, &usage));
	REFUSED(tine_process_wait(NULL, NULL, TINE_NOWAIT));
	REFUSED(tine_process_kill(NULL, SIGTERM));
	REFUSED(tine_process_pid(NULL));
	REFUSED(tine_process_fd(NULL));
	tine_process_free(NULL);

	REFUSED(tine_queue_new(NULL, 8, NULL));
	REFUSED(tine_queue_put(NULL, "x", 1, TINE_NOWAIT));
	REFUSED(tine_queue_get(NULL, buf, 8, TINE_NOWAIT));
	REFUSED(tine_queue_lease(NULL, buf, 8, &lease, TINE_NOWAIT));
	REFUSED(tine_queue_ack(NULL, 0));
	REFUSED(tine_queue_nack(NULL, 0));
	REFUSED(tine_queue_drained(NULL, TINE_NOWAIT));
	REFUSED(tine_queue_put_many(NULL, "x", 1, TINE_NOWAIT));
	REFUSED(tine_queue_get_many(NULL, buf, 1, TINE_NOWAIT));
	CHECK_EQ(tine_queue_len(NULL), 0);
	REFUSED(tine_queue_reserve(NULL, 1, (void **)&lease));
	REFUSED(tine_queue_commit(NULL, buf, 1, TINE_NOWAIT));
	REFUSED(tine_queue_take(NULL, (const void **)&lease, TINE_NOWAIT));
	REFUSED(tine_queue_release(NULL, buf));
	REFUSED(tine_queue_join(NULL));
	REFUSED(tine_queue_close(NULL));
	tine_queue_free(NULL);

	REFUSED(tine_pipe_new(NULL));
	REFUSED(tine_pipe_send(0, NULL, 1, TINE_NOWAIT));
	REFUSED(tine_pipe_recv(0, NULL, 1, TINE_NOWAIT));

	REFUSED(tine_pool_new(NULL, NULL));
	REFUSED(tine_pool_refresh(NULL));
	REFUSED(tine_pool_map(NULL, &task, NULL, NULL, 1, NULL, TINE_FOREVER));
	REFUSED(tine_pool_find(NULL, &task, NULL, NULL, 1, NULL, NULL, TINE_FOREVER));
	REFUSED(tine_pool_submit(NULL, &task, NULL, 0, TINE_NOWAIT));
	REFUSED(tine_pool_next(NULL, NULL, 0, &done, TINE_NOWAIT));
	REFUSED(tine_pool_for(NULL, &task, NULL, 1, NULL, TINE_FOREVER));
	REFUSED(tine_pool_reduce(NULL, &task, NULL, 1, buf, NULL, TINE_FOREVER));
	REFUSED(tine_pool_submit_bytes(NULL, &task, NULL, 0, 0, TINE_NOWAIT));
	REFUSED(tine_pool_next_bytes(NULL, &val, &done, TINE_NOWAIT));
	REFUSED(tine_pool_release(NULL, NULL));
	REFUSED(tine_pool_submit_job(NULL, &task, NULL, 0, 0, NULL, NULL, TINE_NOWAIT));
	REFUSED(tine_pool_wait(NULL, 1, NULL, 0, &done, TINE_NOWAIT));
	REFUSED(tine_pool_cancel_job(NULL, 1));
	REFUSED(tine_job_result(NULL, 1));
	REFUSED(tine_pool_cancel(NULL));
	REFUSED(tine_pool_close(NULL));
	REFUSED(tine_pool_fd(NULL));
	tine_pool_free(NULL);
	CHECK(!tine_cancelled());
	tine_progress_bar(NULL, 0, 0);

	REFUSED(tine_cache_open(NULL, "folder", NULL));
	REFUSED(tine_cache_get(NULL, "k", 1, &val, &len));
	REFUSED(tine_cache_put(NULL, "k", 1, "v", 1));
	REFUSED(tine_cache_put_for(NULL, "k", 1, "v", 1, 0));
	REFUSED(tine_cache_del(NULL, "k", 1));
	REFUSED(tine_cache_del_prefix(NULL, "k", 1));
	REFUSED(tine_cache_begin(NULL, "k", 1, &val, &len, &flight, TINE_NOWAIT));
	REFUSED(tine_flight_finish(NULL, "v", 1, 0));
	tine_flight_free(NULL);
	tine_cache_release(NULL, NULL);
	REFUSED(tine_cache_call(NULL, &task, NULL, NULL, NULL, TINE_NOWAIT));
	REFUSED(tine_cache_clear(NULL, NULL));
	REFUSED(tine_cache_stat(NULL, &stats));
	REFUSED(tine_cache_list(NULL, each_entry, NULL));
	REFUSED(tine_cache_verify(NULL, NULL));
	tine_cache_free(NULL);

	REFUSED(tine_store_open(NULL, "file:folder", NULL));
	REFUSED(tine_store_set(NULL, "k", "v", 1));
	REFUSED(tine_store_get(NULL, "k", buf, 8));
	REFUSED(tine_store_set_all(NULL, NULL, 0));
	REFUSED(tine_store_add(NULL, "k", 1, NULL));
	REFUSED(tine_store_compare_set(NULL, "k", NULL, 0, "v", 1));
	REFUSED(tine_store_append(NULL, "k", "v", 1));
	REFUSED(tine_store_take(NULL, "k", buf, 8, TINE_NOWAIT));
	REFUSED(tine_store_lease(NULL, "k", buf, 8, 1, &number, TINE_NOWAIT));
	REFUSED(tine_store_ack(NULL, "k", 1));
	REFUSED(tine_store_nack(NULL, "k", 1));
	REFUSED(tine_store_put_field(NULL, "k", "f", "v", 1));
	REFUSED(tine_store_get_field(NULL, "k", "f", buf, 8));
	REFUSED(tine_store_del_field(NULL, "k", "f"));
	REFUSED(tine_store_fields(NULL, "k", each_field, NULL));
	REFUSED(tine_store_len(NULL, "k"));
	REFUSED(tine_store_del(NULL, "k"));
	REFUSED(tine_store_expire(NULL, "k", 1));
	REFUSED(tine_store_set_for(NULL, "k", "v", 1, 1));
	REFUSED(tine_store_lock(NULL, "k", 1, &number, TINE_NOWAIT));
	REFUSED(tine_store_relock(NULL, "k", 1, 1));
	REFUSED(tine_store_unlock(NULL, "k", 1));
	REFUSED(tine_store_keys(NULL, "", each_key, NULL));
	REFUSED(tine_store_wait(NULL, "k", &number, TINE_NOWAIT));
	REFUSED(tine_store_watch(NULL, "k", (tine_event *)&lock));
	REFUSED(tine_store_unwatch(NULL, (tine_event *)&lock));
	tine_store_free(NULL);

	REFUSED(tine_manager_start(NULL, NULL));
	CHECK(tine_manager_url(NULL) == NULL);
	REFUSED(tine_manager_pid(NULL));
	tine_manager_free(NULL);

	REFUSED(tine_worker_start(NULL, "redis://h", &task, 1, NULL));
	REFUSED(tine_worker_start(&worker, NULL, &task, 1, NULL));
	REFUSED(tine_worker_start(&worker, "redis://h", NULL, 1, NULL));
	REFUSED(tine_worker_wait(NULL, TINE_NOWAIT));
	REFUSED(tine_worker_drain(NULL));
	REFUSED(tine_hosts(NULL, each_host, NULL));
	REFUSED(tine_hosts("redis://h", NULL, NULL));
	REFUSED(tine_engine_version(NULL, (char[24]){ 0 }, 24));
	REFUSED(tine_engine_version("redis://h", NULL, 24));
	tine_worker_free(NULL);
}

/* Each byte from the first reserved one to the end of the struct. */
#define EACH_BYTE(object, first, call)                                                   \
	for (size_t at_ = offsetof(__typeof__(object), first); at_ < sizeof(object);     \
	     at_++) {                                                                    \
		((unsigned char *)&(object))[at_] = 0x80;                                \
		REFUSED(call);                                                           \
		((unsigned char *)&(object))[at_] = 0;                                   \
	}

TEST(reserved_bytes)
{
	const char *const argv[] = { "true", NULL };
	tine_lock lock = { 0 };
	tine_sem sem = { 0 };
	tine_lock_opts lock_opts = { .recursive = true };
	tine_sem_opts sem_opts = { .held = true };
	tine_process_opts process_opts = { 0 };
	tine_command command = { .argv = argv };
	tine_queue_opts queue_opts = { .producers = 1 };
	tine_job_opts job_opts = { .retries = 1 };
	tine_pool_opts pool_opts = { .workers = 1, .ordered = true };
	tine_map_opts map_opts = { .chunk = 1 };
	tine_cache_opts cache_opts = { .existing = true };
	tine_worker_opts worker_opts = { 0 };
	tine_worker *worker;
	tine_store_opts store_opts = { 0 };
	tine_task named = task;
	tine_process *process;
	tine_queue *queue;
	tine_pool *pool, *other;
	tine_cache *cache;
	tine_store *store;

	EACH_BYTE(lock_opts, reserved8, tine_lock_init(&lock, &lock_opts));
	EACH_BYTE(sem_opts, reserved8, tine_sem_init(&sem, &sem_opts));
	EACH_BYTE(process_opts, reserved,
		  tine_process_start(&process, leaves, NULL, &process_opts));
	EACH_BYTE(command, reserved, tine_process_spawn(&process, &command, NULL));
	EACH_BYTE(process_opts, reserved,
		  tine_process_spawn(&process, &command, &process_opts));
	EACH_BYTE(queue_opts, reserved8, tine_queue_new(&queue, 8, &queue_opts));
	EACH_BYTE(pool_opts, reserved, tine_pool_new(&other, &pool_opts));
	EACH_BYTE(cache_opts, reserved8, tine_cache_open(&cache, "none", &cache_opts));
	EACH_BYTE(worker_opts, reserved8,
		  tine_worker_start(&worker, "redis://h", &task, 1, &worker_opts));
	EACH_BYTE(store_opts, reserved,
		  tine_store_open(&store, "file:none", &store_opts));

	CHECK_EQ(tine_pool_new(&pool, &pool_opts), 0);
	EACH_BYTE(map_opts, reserved8,
		  tine_pool_map(pool, &task, NULL, NULL, 1, &map_opts, TINE_FOREVER));
	EACH_BYTE(named, reserved8,
		  tine_pool_map(pool, &named, NULL, NULL, 1, NULL, TINE_FOREVER));
	EACH_BYTE(job_opts, reserved8,
		  tine_pool_submit_job(pool, &task, NULL, 0, 0, &job_opts, NULL,
				       TINE_FOREVER));
	EACH_BYTE(named, reserved8,
		  tine_pool_submit(pool, &named, NULL, 0, TINE_FOREVER));
	CHECK_EQ(tine_pool_map(pool, &named, NULL, NULL, 1, &map_opts, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

static bool is_zero(const void *from, size_t len)
{
	const char *byte = from;

	for (size_t i = 0; i < len; i++)
		if (byte[i])
			return false;
	return true;
}

#define ALL_ZERO(member) CHECK(is_zero(&(member), sizeof(member)))

TEST(what_tine_fills_in)
{
	tine_pool_opts opts = { .workers = 1 };
	tine_process *process;
	tine_failure failure;
	tine_map_opts map_opts = { .failure = &failure };
	tine_exit how;
	tine_done done;
	tine_pool *pool;

	memset(&failure, 0xff, sizeof(failure));
	memset(&how, 0xff, sizeof(how));
	memset(&done, 0xff, sizeof(done));
	CHECK_EQ(tine_process_start(&process, leaves, NULL, NULL), 0);
	CHECK_EQ(tine_process_wait(process, &how, TINE_FOREVER), 0);
	ALL_ZERO(how.reserved);
	tine_process_free(process);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	CHECK_EQ(tine_pool_map(pool, &task, NULL, NULL, 1, &map_opts, TINE_FOREVER), 0);
	ALL_ZERO(failure.how);
	ALL_ZERO(failure.reserved);
	CHECK_EQ(tine_pool_submit(pool, &task, NULL, 0, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER), 1);
	ALL_ZERO(done.how);
	ALL_ZERO(done.reserved);
	tine_pool_free(pool);
}

/* Somebody wants to wait a second. Nothing is waited for, and nothing is taken. */
TEST(milliseconds_are_no_deadline)
{
	static const int64_t wrong[] = { 1, 1000, 999999999 };
	tine_pool_opts opts = { .workers = 1 };
	tine_process *process;
	tine_filelock *file;
	tine_queue *queue;
	tine_pool *pool;
	tine_lease lease;
	const void *val;
	tine_done done;
	int ends[2];
	char buf[8];
	struct {
		tine_lock lock, held;
		tine_sem sem;
		tine_event event;
		tine_cond cond;
		tine_barrier barrier;
		tine_rwlock rwlock;
	} *shared = tine_shared_new(1, sizeof(*shared));

	CHECK(shared);
	CHECK_EQ(tine_lock_acquire(&shared->held, TINE_NOWAIT), 0);
	CHECK_EQ(tine_sem_post(&shared->sem, 1), 0);
	CHECK_EQ(tine_event_set(&shared->event), 0);
	CHECK_EQ(tine_filelock_open(&file, "/dev/null"), -ENODEV);
	CHECK_EQ(tine_process_start(&process, leaves, NULL, NULL), 0);
	CHECK_EQ(tine_queue_new(&queue, 8, NULL), 0);
	CHECK_EQ(tine_queue_put(queue, "x", 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pipe_new(ends), 0);
	CHECK_EQ(tine_pipe_send(ends[0], "x", 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		int64_t ms = wrong[i];

		REFUSED(tine_lock_acquire(&shared->lock, ms));
		CHECK_EQ(tine_lock_release(&shared->lock), -EPERM);
		REFUSED(tine_sem_wait(&shared->sem, ms));
		REFUSED(tine_event_wait(&shared->event, ms));
		REFUSED(tine_cond_wait(&shared->cond, &shared->held, ms));
		REFUSED(tine_barrier_wait(&shared->barrier, 1, ms));
		REFUSED(tine_rwlock_read(&shared->rwlock, ms));
		REFUSED(tine_rwlock_write(&shared->rwlock, ms));
		CHECK_EQ(tine_rwlock_release(&shared->rwlock), -EPERM);
		REFUSED(tine_process_wait(process, NULL, ms));
		REFUSED(tine_queue_put(queue, "x", 1, ms));
		REFUSED(tine_queue_put_many(queue, "xxxxxxxx", 1, ms));
		REFUSED(tine_queue_get(queue, buf, 8, ms));
		REFUSED(tine_queue_get_many(queue, buf, 1, ms));
		REFUSED(tine_queue_lease(queue, buf, 8, &lease, ms));
		REFUSED(tine_queue_drained(queue, ms));
		CHECK_EQ(tine_queue_len(queue), 1);
		REFUSED(tine_pipe_send(ends[0], "x", 1, ms));
		REFUSED(tine_pipe_recv(ends[1], buf, 8, ms));
		REFUSED(tine_pool_map(pool, &task, NULL, NULL, 1, NULL, ms));
		REFUSED(tine_pool_find(pool, &task, NULL, NULL, 1, NULL, NULL, ms));
		REFUSED(tine_pool_for(pool, &each, NULL, 1, NULL, ms));
		REFUSED(tine_pool_reduce(pool, &reduce, NULL, 1, &done, NULL, ms));
		REFUSED(tine_pool_submit(pool, &task, NULL, 0, ms));
		REFUSED(tine_pool_submit_bytes(pool, &bytes, NULL, 0, 0, ms));
		REFUSED(tine_pool_submit_job(pool, &task, NULL, 0, 0, NULL, NULL, ms));
		REFUSED(tine_pool_wait(pool, 1, NULL, 0, &done, ms));
		REFUSED(tine_pool_next_bytes(pool, &val, &done, ms));
		REFUSED(tine_pool_next(pool, NULL, 0, &done, ms));
	}
	/* What lies before the clock's beginning is past, as ever. */
	CHECK_EQ(tine_event_clear(&shared->event), 0);
	CHECK_EQ(tine_event_wait(&shared->event, -1), -ETIMEDOUT);
	CHECK_EQ(tine_event_wait(&shared->event, 1000000000), -ETIMEDOUT);
	CHECK_EQ(tine_sem_wait(&shared->sem, TINE_NOWAIT), 0);
	tine_pool_free(pool);
	close(ends[0]);
	close(ends[1]);
	tine_queue_free(queue);
	tine_process_free(process);
	CHECK_EQ(tine_lock_release(&shared->held), 0);
	tine_shared_free(shared);
}
