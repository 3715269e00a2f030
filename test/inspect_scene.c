/* SPDX-License-Identifier: MIT */
/*
 * A family in a state that is known, for test/cmd/inspect.sh: a lock that one child holds
 * and another waits for, the same of the one permit of a semaphore, of a mutex and of a
 * lock to read or write, a queue with one
 * message on lease, an empty one that a child waits at, and a pool whose worker is in a
 * job. Each line on standard output is a name and a value. It ends when its standard
 * input does. An argument is the folder of a cache, in which there is one entry.
 */
#include <stdio.h>
#include <tine.h>
#include <unistd.h>

struct scene {
	tine_lock lock;
	tine_event held;
	tine_sem sem, mutex;
	tine_rwlock rwlock;
	tine_queue *queue, *empty;
};

static int hold(void *arg)
{
	struct scene *scene = arg;
	long number;

	if (tine_lock_acquire(&scene->lock, TINE_FOREVER) ||
	    tine_queue_lease(scene->queue, &number, sizeof(number), &(tine_lease){ 0 },
			     TINE_FOREVER) < 0 ||
	    tine_sem_wait(&scene->sem, TINE_FOREVER) ||
	    tine_sem_wait(&scene->mutex, TINE_FOREVER) ||
	    tine_rwlock_write(&scene->rwlock, TINE_FOREVER))
		return 1;
	tine_event_set(&scene->held);
	pause();
	return 0;
}

static int wait_for_lock(void *arg)
{
	struct scene *scene = arg;

	return tine_lock_acquire(&scene->lock, TINE_FOREVER);
}

static int wait_for_permit(void *arg)
{
	struct scene *scene = arg;

	return tine_sem_wait(&scene->sem, TINE_FOREVER);
}

static int wait_for_mutex(void *arg)
{
	struct scene *scene = arg;

	return tine_sem_wait(&scene->mutex, TINE_FOREVER);
}

static int wait_to_read(void *arg)
{
	struct scene *scene = arg;

	return tine_rwlock_read(&scene->rwlock, TINE_FOREVER);
}

static int wait_to_write(void *arg)
{
	struct scene *scene = arg;

	return tine_rwlock_write(&scene->rwlock, TINE_FOREVER);
}

static int wait_for_message(void *arg)
{
	struct scene *scene = arg;
	long number;

	return tine_queue_get(scene->empty, &number, sizeof(number), TINE_FOREVER) < 0;
}

static int long_job(const void *in, void *out)
{
	(void)in;
	(void)out;
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	static const tine_task task = TINE_TASK(long_job, int, int);
	const tine_queue_opts leases = { .lease_ms = 600000, .capacity = 8 };
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	tine_process *child[7];
	tine_cache *cache = NULL;
	tine_pool *pool;
	const int in = 0;
	char byte;

	if (!scene || tine_queue_new(&scene->queue, sizeof(long), &leases) ||
	    tine_queue_new(&scene->empty, sizeof(long), NULL) ||
	    tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2, .job_ms = 600000 }))
		return 1;
	if (tine_sem_init(&scene->sem, &(tine_sem_opts){ .held = true }) ||
	    tine_sem_post(&scene->sem, 1) ||
	    tine_sem_init(&scene->mutex, &(tine_sem_opts){ .mutex = true }))
		return 1;
	for (long i = 0; i < 3; i++)
		if (tine_queue_put(scene->queue, &i, sizeof(i), TINE_FOREVER))
			return 1;
	if (tine_process_start(&child[0], hold, scene, NULL) ||
	    tine_event_wait(&scene->held, TINE_FOREVER) ||
	    tine_process_start(&child[1], wait_for_lock, scene, NULL) ||
	    tine_process_start(&child[2], wait_for_message, scene, NULL) ||
	    tine_process_start(&child[3], wait_for_permit, scene, NULL) ||
	    tine_process_start(&child[4], wait_for_mutex, scene, NULL) ||
	    tine_process_start(&child[5], wait_to_read, scene, NULL) ||
	    tine_process_start(&child[6], wait_to_write, scene, NULL) ||
	    tine_pool_submit(pool, &task, &in, 7, TINE_FOREVER))
		return 1;
	if (argc > 1 && (tine_cache_open(&cache, argv[1], NULL) ||
			 tine_cache_put(cache, "key", 3, "value", 5)))
		return 1;
	printf("cache %p\npool %p\n", (void *)cache, (void *)pool);
	printf("lock %p\nqueue %p\nempty %p\nsem %p\n", (void *)&scene->lock,
	       (void *)scene->queue, (void *)scene->empty, (void *)&scene->sem);
	printf("main %d\nholder %d\nwaiter %d\nconsumer %d\npatient %d\n", (int)getpid(),
	       (int)tine_process_pid(child[0]), (int)tine_process_pid(child[1]),
	       (int)tine_process_pid(child[2]), (int)tine_process_pid(child[3]));
	printf("mutex %p\nrwlock %p\ncontender %d\nreader %d\nwriter %d\n",
	       (void *)&scene->mutex, (void *)&scene->rwlock,
	       (int)tine_process_pid(child[4]), (int)tine_process_pid(child[5]),
	       (int)tine_process_pid(child[6]));
	printf("ready\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		return 1;
	_exit(0);
}
