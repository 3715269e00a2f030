/* SPDX-License-Identifier: MIT */
/* Producers and consumers are killed at random, with an account of every message. */
#include "kill/queue_scene.h"

#include "queue/mend.h"

#include <limits.h>

enum {
	PRODUCERS = 3,
	CONSUMERS = 3,
	LIVES = 30000,
	EACH = 60, /* messages of a producer's life, at most */
	BATCH = 5,
	TEXT = 100,
};

struct letter {
	uint32_t life, n, len, sum;
	unsigned char text[TEXT];
};

struct pocket {
	_Atomic uint32_t mode; /* of its consumer: 0: it leases */
	struct letter letters[BATCH];
};

/* Everything that is known of every message. */
struct account {
	tine_queue *queue;
	_Atomic uint32_t stop, taken, twice, torn;
	_Atomic uint32_t next_life;
	_Atomic uint32_t done[LIVES];	     /* messages that put returned for */
	_Atomic unsigned char doomed[LIVES]; /* consumers about to be killed */
	struct pocket pockets[CONSUMERS];
	_Atomic uint32_t by[LIVES][EACH]; /* the life that took it last, + 1 */
};

/* A message that was in the hand of a dead consumer whose get had not returned. */
#define IN_HAND 0x80000000u

static uint32_t sum_of(const struct letter *letter)
{
	uint32_t sum = letter->life * 31 + letter->n;

	for (uint32_t i = 0; i < letter->len && i < TEXT; i++)
		sum = sum * 16777619 ^ letter->text[i];
	return sum;
}

static bool is_whole(const struct letter *letter)
{
	return letter->life < LIVES && letter->n < EACH && letter->len <= TEXT &&
	       letter->sum == sum_of(letter);
}

static void write_letter(struct letter *letter, uint32_t life, uint32_t n,
			 unsigned *random)
{
	*letter = (struct letter){ .life = life, .n = n, .len = rand_r(random) % TEXT };
	for (uint32_t i = 0; i < letter->len; i++)
		letter->text[i] = rand_r(random);
	letter->sum = sum_of(letter);
}

static void produce(struct account *account, uint32_t life)
{
	unsigned random = life;
	uint32_t n = 0;

	while (n < EACH && !atomic_load(&account->stop)) {
		struct letter letters[BATCH] = { 0 };
		uint32_t many = life % 2 && n + BATCH <= EACH ? BATCH : 1;
		ssize_t put;

		for (uint32_t i = 0; i < many; i++)
			write_letter(&letters[i], life, n + i, &random);
		put = many > 1 ? tine_queue_put_many(account->queue, letters, many,
						     TINE_FOREVER)
			       : tine_queue_put(account->queue, letters,
						offsetof(struct letter, text) +
							letters->len,
						TINE_FOREVER);
		CHECK_EQ(put, many > 1 ? many : 0);
		n += many;
		atomic_store(&account->done[life], n);
	}
	if (life % 3)
		CHECK_EQ(tine_queue_close(account->queue), 0);
	_exit(0);
}

static void note(struct account *account, const struct letter *letter, uint32_t life)
{
	uint32_t before;

	if (!is_whole(letter)) {
		atomic_fetch_add(&account->torn, 1);
		return;
	}
	before = atomic_exchange(&account->by[letter->life][letter->n], life + 1);
	/* Again, only after a death: of one that leased, or that was just taking it. */
	if (before && !(before & IN_HAND) && !atomic_load(&account->doomed[before - 1]))
		atomic_fetch_add(&account->twice, 1);
	atomic_fetch_add(&account->taken, 1);
}

static void consume(struct account *account, uint32_t life, struct pocket *pocket)
{
	uint32_t mode = life % 3;

	memset(pocket->letters, 0, sizeof(pocket->letters));
	atomic_store(&pocket->mode, mode);
	for (;;) {
		tine_lease lease;
		ssize_t got;

		if (mode == 0)
			got = tine_queue_lease(account->queue, pocket->letters,
					       sizeof(struct letter), &lease,
					       TINE_FOREVER);
		else if (mode == 1)
			got = tine_queue_get(account->queue, pocket->letters,
					     sizeof(struct letter), TINE_FOREVER);
		else
			got = tine_queue_get_many(account->queue, pocket->letters, BATCH,
						  TINE_FOREVER);
		CHECK(got > 0);
		for (ssize_t i = 0; i < (mode == 2 ? got : 1); i++)
			note(account, &pocket->letters[i], life);
		if (mode == 0)
			CHECK_EQ(tine_queue_ack(account->queue, lease), 0);
		/* What was noted is in the hand no more. */
		memset(pocket->letters, 0, sizeof(pocket->letters));
	}
}

/* What the dead had in its hand, whole and not noted, it had perhaps taken for good. */
static long search_pocket(struct account *account, struct pocket *pocket)
{
	long found = 0;

	for (int i = 0; atomic_load(&pocket->mode) != 0 && i < BATCH; i++) {
		const struct letter *letter = &pocket->letters[i];
		uint32_t nobody = 0;

		if (letter->sum && is_whole(letter))
			found += atomic_compare_exchange_strong(
				&account->by[letter->life][letter->n], &nobody, IN_HAND);
	}
	memset(pocket->letters, 0, sizeof(pocket->letters));
	return found;
}

struct crew {
	pid_t pid[PRODUCERS + CONSUMERS];
	uint32_t life[PRODUCERS + CONSUMERS];
	long kills, in_hands;
};

static void hire(struct account *account, struct crew *crew, int at)
{
	crew->life[at] = atomic_fetch_add(&account->next_life, 1);
	CHECK(crew->life[at] < LIVES);
	crew->pid[at] = fork();
	CHECK(crew->pid[at] >= 0);
	if (crew->pid[at] == 0) {
		if (at < PRODUCERS)
			produce(account, crew->life[at]);
		else
			consume(account, crew->life[at],
				&account->pockets[at - PRODUCERS]);
	}
}

/* Killed, unless it had come to its end. */
static void fire(struct account *account, struct crew *crew, int at)
{
	int how;

	if (!crew->pid[at])
		return;
	if (at >= PRODUCERS)
		atomic_store(&account->doomed[crew->life[at]], 1);
	kill(crew->pid[at], SIGKILL);
	how = test_reap(crew->pid[at]);
	CHECK(how == -SIGKILL || (how == 0 && at < PRODUCERS));
	crew->kills += how != 0;
	crew->pid[at] = 0;
	if (at >= PRODUCERS)
		crew->in_hands += search_pocket(account,
						&account->pockets[at - PRODUCERS]);
}

static void check_progress(struct account *account, uint32_t *last, int64_t *since)
{
	uint32_t taken = atomic_load(&account->taken);

	if (taken != *last) {
		*last = taken;
		*since = tine_now();
	} else if (tine_now() - *since > test_patience(10000) * INT64_C(1000000)) {
		test_fail(__FILE__, __LINE__, "nothing is taken any more");
	}
}

static bool is_settled(tine_queue *queue)
{
	bool whole;

	CHECK_EQ(queue_lock(queue, TINE_FOREVER), 0);
	whole = queue->head == queue->tail && queue->strays == 0;
	whole = whole && cells_are_free(queue);
	for (uint64_t i = 0; queue->boxes && i < queue->capacity; i++)
		whole = whole && word_state(box_at(queue, i)->word) == FREE;
	queue_unlock(queue);
	return whole;
}

/* What the dead left comes back when they are known to be dead. */
static void take_the_rest(struct account *account)
{
	uint32_t life = atomic_fetch_add(&account->next_life, 1);
	int64_t guard = tine_after(test_patience(20000));
	struct letter letter = { 0 };

	do {
		while (tine_queue_get(account->queue, &letter, sizeof(letter),
				      tine_after(20)) > 0) {
			note(account, &letter, life);
			memset(&letter, 0, sizeof(letter));
		}
	} while (!is_settled(account->queue) && tine_now() < guard);
}

static void check_account(struct account *account, const struct crew *crew)
{
	long put = 0, lost = 0, early = 0;

	for (uint32_t life = 0; life < atomic_load(&account->next_life); life++) {
		uint32_t done = atomic_load(&account->done[life]);

		put += done;
		for (uint32_t n = 0; n < EACH; n++) {
			bool taken = atomic_load(&account->by[life][n]) != 0;

			lost += n < done && !taken;
			early += n >= done + BATCH && taken;
		}
	}
	printf("# %ld kills, %ld messages put, %u taken, %ld in dead hands\n",
	       crew->kills, put, account->taken, crew->in_hands);
	printf("# %ld lost, %ld never put, %u twice, %u torn\n", lost, early,
	       account->twice, account->torn);
	fflush(stdout);
	CHECK(lost == 0 && early == 0 && account->twice == 0 && account->torn == 0);
}

static void kill_at_random(size_t capacity, long kills)
{
	struct account *account = tine_shared_new(1, sizeof(*account));
	tine_queue_opts opts = { .capacity = capacity, .producers = UINT_MAX };
	struct scene scene = { 0 };
	struct crew crew = { 0 };
	unsigned random = (unsigned)test_seed();
	int64_t since = tine_now();
	uint32_t last = 0;

	CHECK(account && member_self());
	CHECK_EQ(tine_queue_new(&account->queue, sizeof(struct letter), &opts), 0);
	while (crew.kills < kills) {
		int at = rand_r(&random) % (PRODUCERS + CONSUMERS);

		for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
			if (!crew.pid[i])
				hire(account, &crew, i);
		if (rand_r(&random) % 8 == 0) {
			int other = rand_r(&random) % (PRODUCERS + CONSUMERS);

			kill(crew.pid[other], SIGSTOP);
			test_sleep_us(rand_r(&random) % 500);
			kill(crew.pid[other], SIGCONT);
		}
		test_sleep_us(rand_r(&random) % 400);
		fire(account, &crew, at);
		check_progress(account, &last, &since);
	}
	atomic_store(&account->stop, 1);
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		fire(account, &crew, i);
	take_the_rest(account);
	check_account(account, &crew);
	scene.queue = account->queue;
	check_whole(&scene);
	/* The table of members has grown. */
	_exit(0);
}

TEST_LIMIT(killed_at_random, 600)
{
	kill_at_random(16, test_sampled(10000));
}

TEST_LIMIT(killed_at_random_without_a_bound, 600)
{
	kill_at_random(TINE_UNBOUNDED, test_sampled(3000));
}
