/* SPDX-License-Identifier: MIT */
/*
 * Deaths in a store's folder: at every instruction of a call, and at random. After each
 * all is whole, the next writer does not wait, and who waits is not left asleep.
 */
#include "step.h"
#include "test.h"

#include <sys/stat.h>

/* The limit of a test ends what never ends. */
#define PATIENCE TINE_FOREVER

static char folder[64];

static int open_patiently(tine_store **out, unsigned answer_ms)
{
	char url[80];

	if (!*folder) {
		strcpy(folder, "/dev/shm/tine-kill-XXXXXX");
		CHECK(mkdtemp(folder));
	}
	snprintf(url, sizeof(url), "file:%s", folder);
	return tine_store_open(out, url, &(tine_store_opts){ .answer_ms = answer_ms });
}

static tine_store *open_store(void)
{
	tine_store *store;

	CHECK_EQ(open_patiently(&store, 0), 0);
	return store;
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void remove_files(void)
{
	unlink(path_of("data.mdb"));
	unlink(path_of("lock.mdb"));
	unlink(path_of("tine.wake"));
}

static void clean(tine_store *store)
{
	tine_store_free(store);
	remove_files();
	CHECK_EQ(rmdir(folder), 0);
	*folder = '\0';
}

static int64_t value_of(tine_store *store, const char *key)
{
	int64_t now;

	CHECK_EQ(tine_store_add(store, key, 0, &now), 0);
	return now;
}

static int see_field(void *arg, const char *field, const void *val, size_t len)
{
	(void)field, (void)val, (void)len;
	++*(int *)arg;
	return 0;
}

static int fields_of(tine_store *store, const char *dict)
{
	int n = 0, err = tine_store_fields(store, dict, see_field, &n);

	CHECK(err == 0 || err == -ENOENT);
	return n;
}

static ssize_t len_of(tine_store *store, const char *key)
{
	ssize_t len = tine_store_len(store, key);

	return len == -ENOENT ? 0 : len;
}

/* ---- at every instruction ---------------------------------------------------------- */

struct scene {
	tine_store *store, *own; /* the second is the child's */
	tine_store *impatient;
	int64_t sum;
	int turn, room, which;
	off_t first_size;
};

static void attach(void *arg)
{
	struct scene *scene = arg;

	scene->own = open_store();
	tine_store_len(scene->own, "sum");
}

static void add(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_store_add(scene->own, "sum", 1, NULL), 0);
}

static void sum_is_whole(void *arg, long step)
{
	struct scene *scene = arg;
	int64_t sum = value_of(scene->store, "sum");

	if (sum != scene->sum && sum != scene->sum + 1)
		test_fail(__FILE__, __LINE__, "%" PRId64 " after %" PRId64 " at step %ld",
			  sum, scene->sum, step);
	scene->sum = sum;
}

TEST_LIMIT(killed_at_every_step_of_an_add, 300)
{
	struct scene scene = { .store = open_store() };

	CHECK(test_kill_each_step(&(struct steps){ attach, add, sum_is_whole }, &scene) >
	      500);
	clean(scene.store);
}

static void put_both(void *arg)
{
	struct scene *scene = arg;
	tine_store_item items[] = {
		{ .key = "left", .val = &scene->turn, .len = sizeof(int) },
		{ .key = "right", .val = &scene->turn, .len = sizeof(int) }
	};

	CHECK_EQ(tine_store_set_all(scene->own, items, 2), 0);
}

static void both_are_equal(void *arg, long step)
{
	struct scene *scene = arg;
	int left = 0, right = 0;

	(void)!tine_store_get(scene->store, "left", &left, sizeof(left));
	(void)!tine_store_get(scene->store, "right", &right, sizeof(right));
	if (left != right)
		test_fail(__FILE__, __LINE__, "half of it is done at step %ld", step);
	scene->turn++;
}

TEST_LIMIT(killed_at_every_step_of_a_set_of_two, 300)
{
	struct scene scene = { .store = open_store(), .turn = 1 };

	CHECK(test_kill_each_step(&(struct steps){ attach, put_both, both_are_equal },
				  &scene) > 500);
	clean(scene.store);
}

/* Who pops sleeps; whatever was pushed reaches it, though who pushed did not wake it. */
static _Atomic int *popped;

static void pop_all(void *arg)
{
	tine_store *store = arg;
	char buf[8];

	while (tine_store_take(store, "list", buf, sizeof(buf), PATIENCE) == 1 &&
	       buf[0] == 'x')
		atomic_fetch_add(popped, 1);
}

static void push(void *arg)
{
	struct scene *scene = arg;

	CHECK_EQ(tine_store_append(scene->own, "list", "x", 1), 0);
}

static void nobody_sleeps_on(void *arg, long step)
{
	struct scene *scene = arg;
	int64_t deadline = PATIENCE;

	(void)step;
	/* Looks, and changes nothing. */
	while (tine_store_len(scene->store, "list") != -ENOENT) {
		CHECK(tine_now() < deadline);
		test_sleep_us(20);
	}
}

TEST_LIMIT(killed_at_every_step_of_a_push_that_is_waited_for, 300)
{
	struct scene scene = { .store = open_store() };
	pid_t pid;

	popped = tine_shared_new(1, sizeof(*popped));
	pid = test_fork(pop_all, scene.store);
	CHECK(test_kill_each_step(&(struct steps){ attach, push, nobody_sleeps_on },
				  &scene) > 500);
	CHECK(atomic_load(popped) > 0);
	CHECK_EQ(tine_store_append(scene.store, "list", "y", 1), 0);
	CHECK_EQ(test_reap(pid), 0);
	tine_shared_free((void *)popped);
	clean(scene.store);
}

#define HOUR INT64_C(3600000)

static _Atomic int *acknowledging;

static void lease_twice(void *arg)
{
	struct scene *scene = arg;
	tine_lease lease;
	char buf[8];

	CHECK_EQ(tine_store_lease(scene->own, "items", buf, sizeof(buf), HOUR, &lease,
				  PATIENCE),
		 1);
	CHECK_EQ(tine_store_nack(scene->own, "items", lease), 0);
	CHECK_EQ(tine_store_lease(scene->own, "items", buf, sizeof(buf), HOUR, &lease,
				  PATIENCE),
		 1);
	atomic_store(acknowledging, 1);
	CHECK_EQ(tine_store_ack(scene->own, "items", lease), 0);
}

static int name_field(void *arg, const char *field, const void *val, size_t len)
{
	CHECK(len == 1 && *(const char *)val == 'x');
	*(tine_lease *)arg = strtoull(field, NULL, 16);
	return 0;
}

/*
 * In the list, or on lease, and not in both; gone only if it was acknowledged. A write
 * comes first: what the dead committed in its last instructions shows with the next.
 */
static void item_is_there(void *arg, long step)
{
	struct scene *scene = arg;
	ssize_t listed, leased;
	tine_lease lease;

	CHECK_EQ(tine_store_set(scene->store, "after", &step, sizeof(step)), 0);
	listed = len_of(scene->store, "items");
	leased = len_of(scene->store, "items:leases");
	if (listed + leased > 1 || (listed + leased == 0 && !atomic_load(acknowledging)))
		test_fail(__FILE__, __LINE__, "%zd listed, %zd on lease at step %ld",
			  listed, leased, step);
	atomic_store(acknowledging, 0);
	if (listed + leased == 0)
		CHECK_EQ(tine_store_append(scene->store, "items", "x", 1), 0);
	if (leased == 0)
		return;
	scene->turn++;
	CHECK_EQ(tine_store_fields(scene->store, "items:leases", name_field, &lease), 0);
	CHECK_EQ(tine_store_nack(scene->store, "items", lease), 0);
	CHECK_EQ(len_of(scene->store, "items"), 1);
}

TEST_LIMIT(killed_at_every_step_of_a_lease, 300)
{
	struct scene scene = { .store = open_store() };

	acknowledging = tine_shared_new(1, sizeof(*acknowledging));
	CHECK_EQ(tine_store_append(scene.store, "items", "x", 1), 0);
	test_kill_some_steps(&(struct steps){ attach, lease_twice, item_is_there },
			     &scene, 4);
	printf("# %d died with the item\n", scene.turn);
	CHECK(scene.turn > 0);
	tine_shared_free((void *)acknowledging);
	clean(scene.store);
}

/* ---- beside one that is stopped ---------------------------------------------------- */

/* How often each came back, and how: the fault took place where not all could do it. */
struct beside {
	_Atomic long done, late;
};

static struct beside *beside;

#define SHORT_MS 10

static void count(long err)
{
	CHECK(err >= 0 || err == -ETIMEDOUT || err == -ENOENT);
	atomic_fetch_add(err == -ETIMEDOUT ? &beside->late : &beside->done, 1);
}

enum { CALLS = 10 };

/* One call: to come back is a matter of its own deadline alone. */
static void use_store(tine_store *store, int which)
{
	uint64_t version = 0, fence;
	tine_lease lease;
	char buf[8];
	int n = 0;

	switch (which) {
	case 0:
		count(tine_store_get(store, "left", buf, sizeof(buf)));
		break;
	case 1:
		count(tine_store_take(store, "list", buf, sizeof(buf),
				      tine_after(SHORT_MS)));
		break;
	case 2:
		count(tine_store_take(store, "list", buf, sizeof(buf), TINE_NOWAIT));
		break;
	case 3:
		count(tine_store_append(store, "list", "x", 1));
		break;
	case 4:
		count(tine_store_add(store, "beside", 1, NULL));
		break;
	case 5:
		count(tine_store_wait(store, "left", &version, tine_after(SHORT_MS)));
		break;
	case 6:
		count(tine_store_fields(store, "dict", see_field, &n));
		break;
	case 7:
		count(tine_store_lease(store, "list", buf, sizeof(buf), SHORT_MS, &lease,
				       tine_after(SHORT_MS)));
		break;
	case 8:
		count(tine_store_lock(store, "lock", SHORT_MS, &fence,
				      tine_after(SHORT_MS)));
		break;
	default:
		count(tine_store_del(store, "beside"));
	}
}

static void use_inherited(void *arg)
{
	struct scene *scene = arg;

	use_store(scene->impatient, scene->which);
}

static void use_own(void *arg)
{
	struct scene *scene = arg;
	tine_store *store;
	int err = open_patiently(&store, SHORT_MS);

	count(err);
	if (err)
		return;
	use_store(store, scene->which);
	tine_store_free(store);
}

static void call_all(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	scene->which = (scene->which + 1) % CALLS;
	test_call_beside(use_inherited, arg);
	test_call_beside(use_own, arg);
}

static void all_is_whole(void *arg, long step)
{
	struct scene *scene = arg;

	both_are_equal(arg, step);
	CHECK(value_of(scene->store, "beside") >= 0);
}

static void open_both(struct scene *scene)
{
	scene->store = open_store();
	CHECK_EQ(open_patiently(&scene->impatient, SHORT_MS), 0);
	CHECK_EQ(tine_store_append(scene->store, "list", "x", 1), 0);
}

static void start_beside(struct scene *scene)
{
	*scene = (struct scene){ .turn = 1 };
	open_both(scene);
	beside = tine_shared_new(1, sizeof(*beside));
}

static void end_beside(struct scene *scene)
{
	printf("# %ld calls done, %ld late\n", beside->done, beside->late);
	fflush(stdout);
	/* Not in each of a few. */
	CHECK(beside->done + beside->late < 50 || beside->late > 0);
	tine_shared_free(beside);
	tine_store_free(scene->impatient);
	clean(scene->store);
}

TEST_LIMIT(beside_one_stopped_in_a_write, 300)
{
	struct scene scene;

	start_beside(&scene);
	test_stop_some_steps(
		&(struct stops){ attach, put_both, call_all, all_is_whole, false },
		&scene, 100);
	end_beside(&scene);
}

static void open_and_read(void *arg)
{
	tine_store *store = open_store();

	(void)arg;
	tine_store_len(store, "sum");
	tine_store_free(store);
}

TEST_LIMIT(beside_one_stopped_in_an_open, 300)
{
	struct scene scene;

	start_beside(&scene);
	test_stop_some_steps(
		&(struct stops){ NULL, open_and_read, call_all, all_is_whole, false },
		&scene, 300);
	end_beside(&scene);
}

static void open_only(void *arg)
{
	((struct scene *)arg)->own = open_store();
}

static void read_first(void *arg)
{
	struct scene *scene = arg;

	tine_store_len(scene->own, "sum");
}

TEST_LIMIT(beside_one_stopped_in_its_first_read, 300)
{
	struct scene scene;

	start_beside(&scene);
	test_stop_some_steps(
		&(struct stops){ open_only, read_first, call_all, all_is_whole, false },
		&scene, 50);
	end_beside(&scene);
}

static void put_numbered(tine_store *store, int i)
{
	static char value[20000];
	char key[32];

	snprintf(key, sizeof(key), "filler-%d", i);
	CHECK_EQ(tine_store_set(store, key, value, sizeof(value)), 0);
}

static off_t file_size(void)
{
	struct stat now;

	CHECK_EQ(stat(path_of("data.mdb"), &now), 0);
	return now.st_size;
}

/* So many are in a file of the first size; one more, and it grows. */
static void fill_up(void *arg)
{
	struct scene *scene = arg;

	attach(arg);
	for (int i = 0; i < scene->room; i++)
		put_numbered(scene->own, i);
}

static void put_one_more(void *arg)
{
	struct scene *scene = arg;

	put_numbered(scene->own, scene->room);
}

static void it_has_grown(void *arg, long step)
{
	struct scene *scene = arg;

	CHECK(file_size() > scene->first_size);
	all_is_whole(arg, step);
	tine_store_free(scene->impatient);
	tine_store_free(scene->store);
	remove_files();
	open_both(scene);
}

TEST_LIMIT(beside_one_stopped_while_it_grows, 300)
{
	struct scene scene;

	start_beside(&scene);
	scene.first_size = file_size();
	while (file_size() == scene.first_size)
		put_numbered(scene.store, scene.room++);
	scene.room--;
	it_has_grown(&scene, 0);
	test_stop_some_steps(
		&(struct stops){ fill_up, put_one_more, call_all, it_has_grown, false },
		&scene, 1000);
	end_beside(&scene);
}

/* ---- at random --------------------------------------------------------------------- */

enum { WRITERS = 2 };

/* What a writer has done for sure; what it was doing when it died may be done as well. */
struct record {
	_Atomic int64_t sum, pairs, pushed;
	_Atomic uint64_t fence;
};

struct writer {
	tine_store *store; /* inherited, so that the child opens it anew */
	struct record *record;
	unsigned number, random;
};

static void name(char *buf, const char *noun, unsigned number)
{
	snprintf(buf, 32, "%s-%u", noun, number);
}

static void write_pair(struct writer *writer, int64_t turn)
{
	static char left[60000], right[60000];
	char keys[2][32];
	/* Now and then so long that the folder grows, or has pages to give back. */
	size_t len = turn % 16 == 0 ? sizeof(left) : 100 + (size_t)turn % 3000;
	tine_store_item items[] = { { .key = keys[0], .val = left, .len = len },
				    { .key = keys[1], .val = right, .len = len } };

	name(keys[0], "left", writer->number);
	name(keys[1], "right", writer->number);
	memset(left, (int)turn, len);
	memset(right, (int)turn, len);
	CHECK_EQ(tine_store_set_all(writer->store, items, 2), 0);
}

/*
 * Whoever has died with it delays others by some milliseconds, and gives no fence back.
 */
static void take_lock(struct writer *writer, unsigned random)
{
	struct record *record = &writer->record[writer->number];
	uint64_t fence = 0;

	CHECK_EQ(tine_store_lock(writer->store, "lock", 1 + random % 8, &fence, PATIENCE),
		 0);
	CHECK(fence > atomic_exchange(&record->fence, fence));
	if (random & 8)
		tine_store_unlock(writer->store, "lock", fence);
}

static void write_on(void *arg)
{
	struct writer *writer = arg;
	struct record *record = &writer->record[writer->number];
	char sum[32], list[32], dict[32], passing[32];

	name(sum, "sum", writer->number);
	name(list, "list", writer->number);
	name(dict, "dict", writer->number);
	for (;;) {
		unsigned random = (unsigned)rand_r(&writer->random);
		char field[32];

		CHECK_EQ(tine_store_add(writer->store, sum, 1, NULL), 0);
		atomic_fetch_add(&record->sum, 1);
		CHECK_EQ(tine_store_add(writer->store, "all", 1, NULL), 0);
		write_pair(writer, atomic_fetch_add(&record->pairs, 1) + 1);
		{
			int64_t item = atomic_load(&record->pushed) + 1;

			CHECK_EQ(tine_store_append(writer->store, list, &item,
						   sizeof(item)),
				 0);
			atomic_store(&record->pushed, item);
		}
		name(field, "field", random % 50);
		if (random & 64)
			CHECK_EQ(tine_store_put_field(writer->store, dict, field, &random,
						      sizeof(random)),
				 0);
		else
			tine_store_del_field(writer->store, dict, field);
		name(passing, "passing", random % 100);
		CHECK_EQ(tine_store_set(writer->store, passing, &random, 4), 0);
		tine_store_expire(writer->store, passing, 1 + random % 8);
		CHECK_EQ(tine_store_set_for(writer->store, passing, &random, 4,
					    1 + random % 8),
			 0);
		if (random % 4 == 0)
			take_lock(writer, random);
	}
}

static void check_pair(tine_store *store, unsigned number)
{
	static char left[60000], right[60000];
	char key[32];
	ssize_t len, other;

	name(key, "left", number);
	len = tine_store_get(store, key, left, sizeof(left));
	name(key, "right", number);
	other = tine_store_get(store, key, right, sizeof(right));
	CHECK_EQ(len, other);
	if (len <= 0)
		return;
	CHECK(memcmp(left, right, (size_t)len) == 0);
	CHECK_EQ(left[0], left[len - 1]);
}

/* last: the number that was taken from the list. */
static void check_list(tine_store *store, struct record *record, unsigned number,
		       int64_t *last)
{
	char list[32];
	int64_t item;
	ssize_t len;

	name(list, "list", number);
	while (len_of(store, list) > 0) {
		len = tine_store_take(store, list, &item, sizeof(item), PATIENCE);
		CHECK_EQ(len, sizeof(item));
		CHECK_EQ(item, *last + 1);
		*last = item;
	}
	CHECK(*last == record->pushed || *last == record->pushed + 1);
	record->pushed = *last;
}

static void check_writer(tine_store *store, struct record *record, unsigned number,
			 int64_t *last)
{
	char key[32];
	int64_t sum;

	name(key, "sum", number);
	sum = value_of(store, key);
	CHECK(sum == record->sum || sum == record->sum + 1);
	record->sum = sum;
	check_pair(store, number);
	check_list(store, record, number, last);
	name(key, "dict", number);
	CHECK_EQ(len_of(store, key), fields_of(store, key));
}

TEST_LIMIT(writers_killed_at_random, 300)
{
	uint64_t seed = test_seed();
	unsigned random = (unsigned)seed;
	tine_store *store = open_store();
	struct record *records = tine_shared_new(WRITERS, sizeof(*records));
	int64_t last[WRITERS] = { 0 }, before = 0, items = 0;
	struct stat now;
	pid_t pids[WRITERS] = { 0 };

	for (long i = 0; i < test_sampled(2000) + WRITERS; i++) {
		unsigned at = i % WRITERS;
		struct writer writer = { store, records, at, random + (unsigned)i };
		int64_t all;

		if (pids[at]) {
			test_kill(pids[at]);
			check_writer(store, &records[at], at, &last[at]);
			all = value_of(store, "all");
			CHECK(all >= before);
			before = all;
		}
		pids[at] = test_fork(write_on, &writer);
		test_sleep_us(rand_r(&random) % 3000);
	}
	for (int i = 0; i < WRITERS; i++) {
		kill(pids[i], SIGKILL);
		test_reap(pids[i]);
		check_writer(store, &records[i], i, &last[i]);
		items += last[i];
	}
	printf("# %" PRId64 " writes of a kind, %" PRId64 " items\n", records[0].sum,
	       last[0]);
	fflush(stdout);
	/* What the dead had begun to use is used again. */
	CHECK_EQ(stat(path_of("data.mdb"), &now), 0);
	CHECK(now.st_size <= (16 << 20) + 200 * items);
	tine_shared_free(records);
	clean(store);
}

static void read_on(void *arg)
{
	static char buf[60000];

	for (;;)
		(void)!tine_store_get(arg, "left-0", buf, sizeof(buf));
}

/* Their slots are taken again, and the pages that they held. */
TEST_LIMIT(readers_killed_at_random, 300)
{
	unsigned random = (unsigned)test_seed();
	tine_store *store = open_store();
	struct record *record = tine_shared_new(1, sizeof(*record));
	struct writer writer = { store, record, 0, 1 };
	struct stat now;
	char buf[8];
	pid_t pid = test_fork(write_on, &writer);

	for (long i = 0; i < test_sampled(1500); i++) {
		pid_t reader = test_fork(read_on, store);

		test_sleep_us(rand_r(&random) % 1500);
		test_kill(reader);
		CHECK(tine_store_get(store, "left-0", buf, sizeof(buf)) >= -ENOENT);
		/* Also that of the list, which nobody else pops. */
		while (tine_store_take(store, "list-0", buf, 8, TINE_NOWAIT) > 0)
			;
	}
	CHECK(test_alive(pid));
	test_kill(pid);
	CHECK_EQ(stat(path_of("data.mdb"), &now), 0);
	/* A slot that nobody cleared would hold all that was written since. */
	CHECK(now.st_size <= 1 << 30);
	tine_shared_free(record);
	clean(store);
}

static void wait_on(void *arg)
{
	tine_store *store = arg;
	uint64_t version = 0;

	for (;;) {
		CHECK_EQ(tine_store_wait(store, "n", &version, PATIENCE), 0);
		atomic_store(popped, (int)value_of(store, "n"));
		if (*popped < 0)
			return;
	}
}

static void add_on(void *arg)
{
	for (;;)
		CHECK_EQ(tine_store_add(arg, "n", 1, NULL), 0);
}

TEST_LIMIT(waiters_are_not_left_asleep, 300)
{
	unsigned random = (unsigned)test_seed();
	tine_store *store = open_store();
	pid_t waiter;

	popped = tine_shared_new(1, sizeof(*popped));
	CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
	waiter = test_fork(wait_on, store);
	for (long i = 0; i < test_sampled(500); i++) {
		pid_t writer = test_fork(add_on, store);
		int64_t deadline;
		char buf[16] = "";

		test_sleep_us(rand_r(&random) % 1500);
		test_kill(writer);
		CHECK(tine_store_get(store, "n", buf, sizeof(buf) - 1) > 0);
		deadline = PATIENCE;
		while (atomic_load(popped) != atoi(buf)) {
			CHECK(tine_now() < deadline);
			test_sleep_us(50);
		}
	}
	CHECK_EQ(tine_store_set(store, "n", "-1", 2), 0);
	CHECK_EQ(test_reap(waiter), 0);
	tine_shared_free((void *)popped);
	clean(store);
}
