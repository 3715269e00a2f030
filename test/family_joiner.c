/* SPDX-License-Identifier: MIT */
/*
 * A program of the installed kind that joins a family: family-joiner VERB NAME. NAME is
 * that of a scene. It exits with 0 when all went well there.
 */
#include "family_use.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(value, expected) expect(__LINE__, value, expected)

static void expect(int line, long value, long expected)
{
	if (value == expected)
		return;
	fprintf(stderr, "family-joiner:%d: %ld, not %ld\n", line, value, expected);
	_exit(1);
}

/* Doubles what comes, until the end. */
static void echo(struct scene *scene)
{
	long n;

	while (tine_queue_get(scene->to, &n, sizeof(n), tine_after(60000)) > 0) {
		n *= 2;
		EXPECT(tine_queue_put(scene->from, &n, sizeof(n), tine_after(60000)), 0);
	}
	EXPECT(tine_queue_close(scene->from), 0);
}

/* Takes all that is there to be held, and is killed. */
static void hold(struct scene *scene)
{
	tine_lease lease;
	long n;

	EXPECT(tine_lock_acquire(&scene->lock, tine_after(60000)), 0);
	EXPECT(tine_sem_wait(&scene->sem, tine_after(60000)), 0);
	EXPECT(tine_sem_wait(&scene->mutex, tine_after(60000)), 0);
	EXPECT(tine_rwlock_write(&scene->rwlock, tine_after(60000)), 0);
	EXPECT(tine_queue_lease(scene->to, &n, sizeof(n), &lease, tine_after(60000)),
	       sizeof(n));
	EXPECT(tine_queue_put(scene->from, &n, sizeof(n), tine_after(60000)), 0);
	EXPECT(tine_shared_keep(scene->block), 0);
	tine_event_set(&scene->begun);
	for (;;)
		pause();
}

/* Comes to the barrier once, and dies before the second time. */
static void leave_barrier(struct scene *scene)
{
	int err = tine_barrier_wait(&scene->barrier, 2, tine_after(60000));

	EXPECT(err == 0 || err == 1, 1);
	tine_event_set(&scene->begun);
	for (;;)
		pause();
}

static void release(struct scene *scene)
{
	EXPECT(tine_sem_post(&scene->mutex, 1), 0);
	EXPECT(tine_event_set(&scene->begun), 0);
}

static void meet(struct scene *scene)
{
	int err = tine_barrier_wait(&scene->barrier, 2, tine_after(60000));

	EXPECT(err == 0 || err == 1, 1);
	EXPECT(tine_lock_acquire(&scene->lock, tine_after(60000)), 0);
	while (scene->state != 1)
		EXPECT(tine_cond_wait(&scene->cond, &scene->lock, tine_after(60000)), 0);
	scene->state = 2;
	EXPECT(tine_lock_release(&scene->lock), 0);
	EXPECT(tine_event_wait(&scene->go, tine_after(60000)), 0);
}

/* Frees what others have made, and leaves what is new. */
static void exchange(struct scene *scene)
{
	tine_shared_free(scene->block);
	tine_queue_free(scene->to);
	scene->block = tine_shared_new(1, 1 << 20);
	EXPECT(scene->block != NULL, 1);
	strcpy(scene->block, "a joiner's");
	EXPECT(tine_queue_new(&scene->to, sizeof(long), NULL), 0);
	EXPECT(tine_queue_put(scene->to, &(long){ 7 }, sizeof(long), TINE_NOWAIT), 0);
}

static int put_as_child(void *arg)
{
	struct scene *scene = arg;

	return -tine_queue_put(scene->to, &(long){ 8 }, sizeof(long), TINE_NOWAIT);
}

static void start_child(struct scene *scene)
{
	tine_process *process;
	tine_exit how;

	EXPECT(tine_process_start(&process, put_as_child, scene, NULL), 0);
	EXPECT(tine_process_wait(process, &how, tine_after(60000)), 0);
	EXPECT(how.code, 0);
	tine_process_free(process);
}

static int triple(const void *in, void *out)
{
	*(long *)out = 3 * *(const long *)in;
	return 0;
}
static const tine_task task = TINE_TASK(triple, long, long);

/* A pool of its own, over blocks of the family's. */
static void have_pool(struct scene *scene)
{
	enum { N = 100 };
	long *in = tine_shared_new(N, sizeof(*in)), *out = scene->block;
	tine_pool *pool;

	for (long i = 0; i < N; i++)
		in[i] = i;
	EXPECT(tine_pool_new(&pool, &(tine_pool_opts){ .workers = 2 }), 0);
	EXPECT(tine_pool_map(pool, &task, in, out, N, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
	tine_shared_free(in);
}

/* Goes on when the founder, and all others, have ended; says so by its exit code. */
static void outlive(struct scene *scene)
{
	void *block;
	long n;

	tine_event_set(&scene->begun);
	EXPECT(tine_lock_acquire(&scene->lock, tine_after(60000)), -EOWNERDEAD);
	EXPECT(tine_lock_release(&scene->lock), 0);
	EXPECT(tine_queue_get(scene->to, &n, sizeof(n), tine_after(60000)), sizeof(n));
	EXPECT(tine_queue_get(scene->to, &n, sizeof(n), tine_after(60000)), 0);
	EXPECT(tine_queue_put(scene->from, &n, sizeof(n), tine_after(60000)), 0);
	block = tine_shared_new(1, 1 << 20);
	EXPECT(block != NULL, 1);
	tine_shared_free(block);
	printf("outlived\n");
}

static char **arguments;

/* Executes itself with a message on lease, which it then gets again. */
static void execute_again(struct scene *scene)
{
	tine_lease lease;
	char family[16];
	long n;

	EXPECT(tine_queue_lease(scene->to, &n, sizeof(n), &lease, tine_after(60000)),
	       sizeof(n));
	EXPECT(tine_lock_acquire(&scene->lock, tine_after(60000)), 0);
	snprintf(family, sizeof(family), "%d", dup(tine_family_fd()));
	execl(arguments[0], arguments[0], scene->state ? "executed-idle" : "executed",
	      arguments[2], family, NULL);
	EXPECT(errno, 0);
}

/* It is no member yet, but has joined: what it held is there for others. */
static void executed_idle(struct scene *scene)
{
	tine_event_set(&scene->begun);
	EXPECT(tine_event_wait(&scene->go, tine_after(60000)), 0);
}

static void executed(struct scene *scene)
{
	long n;

	EXPECT(tine_queue_get(scene->to, &n, sizeof(n), tine_after(60000)), sizeof(n));
	EXPECT(n, 5);
	EXPECT(tine_lock_acquire(&scene->lock, tine_after(60000)), -EOWNERDEAD);
	EXPECT(tine_lock_release(&scene->lock), 0);
}

static void come_and_go(struct scene *scene)
{
	long n;

	EXPECT(tine_queue_put(scene->to, &(long){ 1 }, sizeof(long), tine_after(60000)),
	       0);
	EXPECT(tine_queue_get(scene->to, &n, sizeof(n), tine_after(60000)), sizeof(n));
	scene->state++;
}

/* ---- many that work together ------------------------------------------------------- */

/* Longer than any death takes to be noticed, and shorter than the test. */
#define PATIENCE 60000

static unsigned seed;

static unsigned random_below(unsigned n)
{
	return (unsigned)rand_r(&seed) % n;
}

/* Where it is to be killed, or stopped. */
static void dawdle(void)
{
	if (random_below(3) == 0)
		usleep(random_below(1000));
}

static void put_messages(struct scene *scene, struct board *board)
{
	for (unsigned n = random_below(30); n > 0; n--) {
		long i = board->messages++;

		EXPECT(i < MOST_MESSAGES, 1);
		EXPECT(tine_queue_put(scene->to, &i, sizeof(i), tine_after(PATIENCE)), 0);
		board->put[i] = 1;
	}
}

static void take_messages(struct scene *scene, struct board *board)
{
	for (unsigned n = random_below(30); n > 0; n--) {
		tine_lease lease;
		long i;
		int err = tine_queue_lease(scene->to, &i, sizeof(i), &lease, TINE_NOWAIT);

		if (err == -ETIMEDOUT)
			return;
		EXPECT(err, sizeof(i));
		board->got[i]++;
		dawdle();
		EXPECT(tine_queue_ack(scene->to, lease), 0);
	}
}

/* Of any length, and all of the same byte, which the length says. */
static void put_in_place(struct scene *scene, struct board *board)
{
	size_t len = 1 + random_below(100000);
	void *mem;

	(void)board;
	EXPECT(tine_queue_reserve(scene->from, len, &mem), 0);
	memset(mem, (int)(len % 251), len);
	dawdle();
	EXPECT(tine_queue_commit(scene->from, mem, len, tine_after(PATIENCE)), 0);
}

static void take_in_place(struct scene *scene, struct board *board)
{
	const unsigned char *message;
	const void *at;
	ssize_t len = tine_queue_take(scene->from, &at, TINE_NOWAIT);

	(void)board;
	/* Without memory it is too where others are in an allocation. */
	if (len == -ETIMEDOUT || len == -ENOMEM)
		return;
	EXPECT(len > 0 ? 1 : len, 1);
	dawdle();
	message = at;
	for (ssize_t i = 0; i < len; i++)
		EXPECT(message[i], len % 251);
	EXPECT(tine_queue_release(scene->from, at), 0);
}

static void use_lock(struct scene *scene, struct board *board)
{
	int err = tine_lock_acquire(&scene->lock, tine_after(PATIENCE));

	if (err == -EOWNERDEAD) {
		board->other = board->one;
		board->repaired++;
		err = 0;
	}
	EXPECT(err, 0);
	EXPECT(board->one, board->other);
	board->one++;
	dawdle();
	board->other++;
	EXPECT(tine_lock_release(&scene->lock), 0);
}

static void use_permit(struct scene *scene, struct board *board)
{
	int err = tine_sem_wait(&scene->sem, tine_after(PATIENCE));

	(void)board;
	EXPECT(err == -EOWNERDEAD ? 0 : err, 0);
	dawdle();
	EXPECT(tine_sem_post(&scene->sem, 1), 0);
}

static void use_mutex(struct scene *scene, struct board *board)
{
	int err = tine_sem_wait(&scene->mutex, tine_after(PATIENCE));

	EXPECT(err == -EOWNERDEAD ? 0 : err, 0);
	if (err == -EOWNERDEAD)
		board->in_mutex = 0;
	EXPECT(board->in_mutex++, 0);
	dawdle();
	board->in_mutex--;
	EXPECT(tine_sem_post(&scene->mutex, 1), 0);
}

static void use_rwlock(struct scene *scene, struct board *board)
{
	bool writes = random_below(3) == 0;
	int err = writes ? tine_rwlock_write(&scene->rwlock, tine_after(PATIENCE))
			 : tine_rwlock_read(&scene->rwlock, tine_after(PATIENCE));

	EXPECT(err == -EOWNERDEAD ? 0 : err, 0);
	if (writes && err == -EOWNERDEAD)
		board->written = board->writes;
	if (err == 0)
		EXPECT(board->writes, board->written);
	if (writes) {
		board->writes++;
		dawdle();
		board->written++;
	}
	EXPECT(tine_rwlock_release(&scene->rwlock), 0);
}

static void use_memory(struct scene *scene, struct board *board)
{
	size_t len = (size_t)1 << random_below(21);
	char *block = tine_shared_new(1, len);

	(void)scene;
	(void)board;
	EXPECT(block != NULL, 1);
	EXPECT(block[0] | block[len - 1], 0);
	block[0] = block[len - 1] = 1;
	tine_shared_free(block);
}

static int work_as_child(void *scene);

static void fork_another(struct scene *scene, struct board *board)
{
	tine_process *process;

	if (random_below(4))
		return;
	board->forked++;
	EXPECT(tine_process_start(&process, work_as_child, scene, NULL), 0);
	if (random_below(2))
		EXPECT(tine_process_wait(process, NULL, tine_after(PATIENCE)), 0);
	tine_process_free(process);
}

static void spawn_another(struct scene *scene, struct board *board)
{
	const char *argv[] = { arguments[0], "work", arguments[2], NULL };
	tine_process *process;
	tine_exit how = { 0 };

	(void)scene;
	if (random_below(4))
		return;
	board->forked++;
	EXPECT(tine_process_spawn(&process,
				  &(tine_command){ .argv = argv, .family = true }, NULL),
	       0);
	if (random_below(2)) {
		EXPECT(tine_process_wait(process, &how, tine_after(PATIENCE)), 0);
		EXPECT(how.code, 0);
	}
	tine_process_free(process);
}

/* With a lease and a permit, which are not to be lost with what it was. */
static void execute_work(struct scene *scene, struct board *board)
{
	char family[16];
	tine_lease lease;
	long i;
	int err;

	if (random_below(4))
		return;
	board->executed++;
	if (tine_queue_lease(scene->to, &i, sizeof(i), &lease, TINE_NOWAIT) > 0)
		board->got[i]++;
	err = tine_sem_wait(&scene->sem, tine_after(PATIENCE));
	EXPECT(err == -EOWNERDEAD ? 0 : err, 0);
	snprintf(family, sizeof(family), "%d", dup(tine_family_fd()));
	execl(arguments[0], arguments[0], "work", arguments[2], family, NULL);
	EXPECT(errno, 0);
}

static void work(struct scene *scene)
{
	static void (*const parts[])(struct scene *, struct board *) = {
		put_messages, take_messages, use_lock,	   use_permit,	  use_mutex,
		use_rwlock,   use_memory,    put_messages, take_messages, fork_another,
		put_in_place, take_in_place, execute_work, spawn_another,
	};
	struct board *board = scene->block;

	seed = ++board->seeds * 7919;
	board->began++;
	for (unsigned n = 5 + random_below(20); n > 0; n--)
		parts[random_below(sizeof(parts) / sizeof(*parts))](scene, board);
}

static int work_as_child(void *scene)
{
	work(scene);
	return 0;
}

static const struct verb {
	const char *name;
	void (*fn)(struct scene *);
} verbs[] = {
	{ "echo", echo },
	{ "hold", hold },
	{ "meet", meet },
	{ "release", release },
	{ "leave-barrier", leave_barrier },
	{ "exchange", exchange },
	{ "start-child", start_child },
	{ "have-pool", have_pool },
	{ "outlive", outlive },
	{ "execute-again", execute_again },
	{ "executed-idle", executed_idle },
	{ "executed", executed },
	{ "come-and-go", come_and_go },
	{ "work", work },
};

/* "code": what joining returns, by the third argument's descriptor or by none. */
int main(int argc, char **argv)
{
	struct scene *scene;
	int err;

	arguments = argv;
	if (argc < 3)
		return 2;
	err = tine_family_join(argc > 3 ? atoi(argv[3]) : TINE_FAMILY_INHERITED);
	if (strcmp(argv[1], "code") == 0)
		return -err;
	EXPECT(err, 0);
	EXPECT(tine_family_find((void **)&scene, argv[2]), 0);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0) {
			scene->pid = getpid();
			verbs[i].fn(scene);
			return 0;
		}
	return 2;
}
