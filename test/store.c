/* SPDX-License-Identifier: MIT */
/* What every engine of the store does; what is a folder's own is in store_folder.c. */
#include "store_engines.h"

#include <pthread.h>
#include <sys/resource.h>

/* The limit of a test ends what never ends. */
#define PATIENCE TINE_FOREVER
#define MIB	 ((size_t)1 << 20)

static void set(tine_store *store, const char *key, const char *text)
{
	CHECK_EQ(tine_store_set(store, key, text, strlen(text)), 0);
}

/* The value as a string; "" too when there is none. */
static const char *text_of(tine_store *store, const char *key)
{
	static char buf[4096];
	ssize_t len = tine_store_get(store, key, buf, sizeof(buf) - 1);

	CHECK(len < (ssize_t)sizeof(buf));
	buf[len > 0 ? len : 0] = '\0';
	return buf;
}

static bool is(tine_store *store, const char *key, const char *text)
{
	return strcmp(text_of(store, key), text) == 0;
}

static void push(tine_store *store, const char *list, const char *text)
{
	CHECK_EQ(tine_store_append(store, list, text, strlen(text)), 0);
}

static void put_field(tine_store *store, const char *dict, const char *field,
		      const char *text)
{
	CHECK_EQ(tine_store_put_field(store, dict, field, text, strlen(text)), 0);
}

static bool pops(tine_store *store, const char *list, const char *text)
{
	char buf[64];
	ssize_t len = tine_store_take(store, list, buf, sizeof(buf), TINE_NOWAIT);

	return len == (ssize_t)strlen(text) && memcmp(buf, text, len) == 0;
}

/* n of c, to which a NUL would be the end. */
static char *long_name(char *buf, size_t n, char c)
{
	memset(buf, c, n);
	buf[n] = '\0';
	return buf;
}

/* ---- values ------------------------------------------------------------------------ */

STORE_TEST(values)
{
	tine_store *store = store_open();
	char buf[16] = "untouched";

	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), -ENOENT);
	CHECK_EQ(tine_store_len(store, "key"), -ENOENT);
	CHECK(strcmp(buf, "untouched") == 0);
	CHECK_EQ(tine_store_set(store, "key", "a\0b", 3), 0);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), 3);
	CHECK(memcmp(buf, "a\0bouched", 9) == 0);
	CHECK_EQ(tine_store_len(store, "key"), 3);
	set(store, "key", "longer than before");
	CHECK_EQ(tine_store_get(store, "key", buf, 6), 18);
	CHECK(memcmp(buf, "longerhed", 9) == 0);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), 18);
	CHECK_EQ(tine_store_set(store, "key", NULL, 0), 0);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), 0);
	CHECK_EQ(tine_store_len(store, "key"), 0);
	CHECK_EQ(tine_store_del(store, "key"), 0);
	CHECK_EQ(tine_store_del(store, "key"), -ENOENT);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), -ENOENT);
	tine_store_free(store);
}

STORE_TEST(every_byte_is_kept)
{
	tine_store *store = store_open();
	char all[256], name[256], buf[256];

	for (int i = 0; i < 256; i++) {
		all[i] = (char)i;
		name[i] = (char)(i + 1);
	}
	CHECK_EQ(tine_store_set(store, name, all, 256), 0);
	CHECK_EQ(tine_store_get(store, name, buf, 256), 256);
	CHECK(memcmp(all, buf, 256) == 0);
	CHECK_EQ(tine_store_put_field(store, "dict", name, all, 256), 0);
	CHECK_EQ(tine_store_get_field(store, "dict", name, buf, 256), 256);
	CHECK(memcmp(all, buf, 256) == 0);
	CHECK_EQ(tine_store_append(store, "list", all, 256), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, 256, TINE_NOWAIT), 256);
	CHECK(memcmp(all, buf, 256) == 0);
	tine_store_free(store);
}

STORE_TEST(values_outlive_handles)
{
	tine_store *store = store_open(), *other;

	set(store, "key", "value");
	other = store_open();
	CHECK(is(other, "key", "value"));
	set(other, "key", "other");
	CHECK(is(store, "key", "other"));
	tine_store_free(store);
	set(other, "key", "third");
	tine_store_free(other);
	store = store_open();
	CHECK(is(store, "key", "third"));
	tine_store_free(store);
}

STORE_TEST(bad_arguments)
{
	tine_store *store = store_open();
	char longest[256], longer[257], buf[8] = "kept";
	tine_store_item items[2] = { { .key = "good", .val = "x", .len = 1 },
				     { .key = "", .val = "x", .len = 1 } };
	tine_store_opts opts = { .reserved = { [5] = 1 } };
	tine_store *made = store;
	uint64_t version = 7;
	int64_t sum = 7;
	tine_lease lease = 7;

	long_name(longest, 255, 'k');
	long_name(longer, 256, 'k');
	for (int i = 0; i < 3; i++) {
		const char *key = i == 0 ? NULL : i == 1 ? "" : longer;

		CHECK_EQ(tine_store_set(store, key, "x", 1), -EINVAL);
		CHECK_EQ(tine_store_get(store, key, buf, 8), -EINVAL);
		CHECK_EQ(tine_store_add(store, key, 1, &sum), -EINVAL);
		CHECK_EQ(tine_store_compare_set(store, key, "x", 1, "y", 1), -EINVAL);
		CHECK_EQ(tine_store_append(store, key, "x", 1), -EINVAL);
		CHECK_EQ(tine_store_lease(store, key, buf, 8, 1, &lease, TINE_NOWAIT),
			 -EINVAL);
		CHECK_EQ(tine_store_ack(store, key, 1), -EINVAL);
		CHECK_EQ(tine_store_nack(store, key, 1), -EINVAL);
		CHECK_EQ(tine_store_take(store, key, buf, 8, TINE_NOWAIT), -EINVAL);
		CHECK_EQ(tine_store_put_field(store, key, "f", "x", 1), -EINVAL);
		CHECK_EQ(tine_store_put_field(store, "d", key, "x", 1), -EINVAL);
		CHECK_EQ(tine_store_get_field(store, key, "f", buf, 8), -EINVAL);
		CHECK_EQ(tine_store_get_field(store, "d", key, buf, 8), -EINVAL);
		CHECK_EQ(tine_store_del_field(store, key, "f"), -EINVAL);
		CHECK_EQ(tine_store_del_field(store, "d", key), -EINVAL);
		CHECK_EQ(tine_store_len(store, key), -EINVAL);
		CHECK_EQ(tine_store_del(store, key), -EINVAL);
		CHECK_EQ(tine_store_expire(store, key, 1), -EINVAL);
		CHECK_EQ(tine_store_wait(store, key, &version, TINE_NOWAIT), -EINVAL);
	}
	/* A list of that name would have leases of a longer one. */
	CHECK_EQ(tine_store_lease(store, longest, buf, 8, 1, &lease, TINE_NOWAIT),
		 -ENAMETOOLONG);
	CHECK_EQ(tine_store_ack(store, longest + 6, 1), -ENAMETOOLONG);
	CHECK_EQ(tine_store_ack(store, longest + 7, 1), -ENOENT);
	CHECK_EQ(tine_store_lease(store, "key", buf, 8, 0, &lease, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_store_lease(store, "key", buf, 8, 1, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_store_lease(store, "key", NULL, 8, 1, &lease, TINE_NOWAIT),
		 -EINVAL);
	CHECK_EQ(tine_store_set_all(store, items, 2), -EINVAL);
	CHECK_EQ(tine_store_get(store, "good", buf, 8), -ENOENT);
	CHECK_EQ(tine_store_set_all(store, NULL, 1), -EINVAL);
	CHECK_EQ(tine_store_set_all(store, NULL, 0), 0);
	CHECK_EQ(tine_store_set(store, "key", NULL, 1), -EINVAL);
	CHECK_EQ(tine_store_set(store, "key", buf, TINE_STORE_VALUE_MAX + 1), -EMSGSIZE);
	CHECK_EQ(tine_store_append(store, "key", buf, SIZE_MAX), -EMSGSIZE);
	CHECK_EQ(tine_store_put_field(store, "key", "f", buf, TINE_STORE_VALUE_MAX + 1),
		 -EMSGSIZE);
	CHECK_EQ(tine_store_compare_set(store, "key", NULL, 0, buf,
					TINE_STORE_VALUE_MAX + 1),
		 -EMSGSIZE);
	CHECK_EQ(tine_store_expire(store, "key", -1), -EINVAL);
	CHECK_EQ(tine_store_wait(store, "key", NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_store_fields(store, "key", NULL, NULL), -EINVAL);
	CHECK_EQ(tine_store_keys(store, "", NULL, NULL), -EINVAL);
	CHECK_EQ(tine_store_len(store, "key"), -ENOENT);
	CHECK_EQ(tine_store_open(&made, store_url, &opts), -EINVAL);
	CHECK_EQ(tine_store_open(&made, NULL, NULL), -EINVAL);
	CHECK_EQ(tine_store_open(NULL, store_url, NULL), -EINVAL);
	CHECK(made == store && sum == 7 && version == 7 && lease == 7 &&
	      strcmp(buf, "kept") == 0);
	set(store, longest, "fits");
	CHECK(is(store, longest, "fits"));
	put_field(store, "dict", longest, "as well");
	CHECK_EQ(tine_store_len(store, "dict"), 1);
	tine_store_free(store);
	tine_store_free(NULL);
}

static int never(void *arg, const char *field, const void *val, size_t len)
{
	(void)arg, (void)field, (void)val, (void)len;
	CHECK(!"called");
	return 1;
}

STORE_TEST(kinds)
{
	tine_store *store = store_open();
	tine_store_item items[] = { { .key = "fresh", .val = "x", .len = 1 },
				    { .key = "list", .val = "x", .len = 1 } };
	static const char *const keys[] = { "value", "list", "dict" };
	char buf[8];

	set(store, "value", "1");
	push(store, "list", "item");
	put_field(store, "dict", "field", "2");
	for (int i = 0; i < 3; i++) {
		const char *key = keys[i];

		if (i != 0) {
			CHECK_EQ(tine_store_set(store, key, "x", 1), -TINE_EKIND);
			CHECK_EQ(tine_store_get(store, key, buf, 8), -TINE_EKIND);
			CHECK_EQ(tine_store_add(store, key, 1, NULL), -TINE_EKIND);
			CHECK_EQ(tine_store_compare_set(store, key, "x", 1, "y", 1),
				 -TINE_EKIND);
			CHECK_EQ(tine_store_compare_set(store, key, NULL, 0, "y", 1),
				 -TINE_EKIND);
		}
		if (i != 1) {
			CHECK_EQ(tine_store_append(store, key, "x", 1), -TINE_EKIND);
			CHECK_EQ(tine_store_take(store, key, buf, 8, TINE_NOWAIT),
				 -TINE_EKIND);
			CHECK_EQ(tine_store_take(store, key, buf, 8, PATIENCE),
				 -TINE_EKIND);
		}
		if (i != 2) {
			CHECK_EQ(tine_store_put_field(store, key, "f", "x", 1),
				 -TINE_EKIND);
			CHECK_EQ(tine_store_get_field(store, key, "f", buf, 8),
				 -TINE_EKIND);
			CHECK_EQ(tine_store_del_field(store, key, "f"), -TINE_EKIND);
			CHECK_EQ(tine_store_fields(store, key, never, NULL), -TINE_EKIND);
		}
		CHECK_EQ(tine_store_len(store, key), 1);
	}
	CHECK_EQ(tine_store_set_all(store, items, 2), -TINE_EKIND);
	CHECK_EQ(tine_store_len(store, "fresh"), -ENOENT);
	/* What was deleted may come back as anything. */
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_store_del(store, keys[i]), 0);
	push(store, "value", "x");
	put_field(store, "list", "f", "x");
	set(store, "dict", "x");
	tine_store_free(store);
}

STORE_TEST(many_at_once)
{
	enum { N = 500 };
	tine_store *store = store_open();
	static tine_store_item items[N + 1];
	static char keys[N][16];

	for (int i = 0; i < N; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
		items[i] = (tine_store_item){ .key = keys[i],
					      .val = keys[i],
					      .len = strlen(keys[i]) };
	}
	items[N] = (tine_store_item){ .key = "key-7", .val = "the last", .len = 8 };
	CHECK_EQ(tine_store_set_all(store, items, N + 1), 0);
	for (int i = 0; i < N; i++)
		CHECK(is(store, keys[i], i == 7 ? "the last" : keys[i]));
	tine_store_free(store);
}

/* ---- counters ---------------------------------------------------------------------- */

STORE_TEST(counters)
{
	static const char *const no_numbers[] = { "",
						  " 1",
						  "1 ",
						  "+1",
						  "01",
						  "-0",
						  "1.0",
						  "x",
						  "--1",
						  "-",
						  "0x1",
						  "9223372036854775808",
						  "-9223372036854775809",
						  "123456789012345678901234567890" };
	tine_store *store = store_open();
	int64_t now = 0;

	CHECK_EQ(tine_store_add(store, "n", 5, &now), 0);
	CHECK_EQ(now, 5);
	CHECK_EQ(tine_store_add(store, "n", -15, NULL), 0);
	CHECK(is(store, "n", "-10"));
	CHECK_EQ(tine_store_add(store, "n", 10, &now), 0);
	CHECK_EQ(now, 0);
	CHECK(is(store, "n", "0"));
	CHECK_EQ(tine_store_add(store, "new", 0, &now), 0);
	CHECK(is(store, "new", "0"));
	set(store, "n", "41");
	CHECK_EQ(tine_store_add(store, "n", 1, &now), 0);
	CHECK_EQ(now, 42);
	for (size_t i = 0; i < sizeof(no_numbers) / sizeof(*no_numbers); i++) {
		set(store, "text", no_numbers[i]);
		CHECK_EQ(tine_store_add(store, "text", 1, &now), -EINVAL);
		CHECK(is(store, "text", no_numbers[i]));
	}
	CHECK_EQ(tine_store_set(store, "text", "1\0", 2), 0);
	CHECK_EQ(tine_store_add(store, "text", 1, &now), -EINVAL);
	CHECK_EQ(now, 42);
	tine_store_free(store);
}

STORE_TEST(counters_at_their_limits)
{
	tine_store *store = store_open();
	int64_t now = 7;

	CHECK_EQ(tine_store_add(store, "high", INT64_MAX, NULL), 0);
	CHECK(is(store, "high", "9223372036854775807"));
	CHECK_EQ(tine_store_add(store, "high", 1, &now), -ERANGE);
	CHECK_EQ(tine_store_add(store, "high", INT64_MAX, &now), -ERANGE);
	CHECK(is(store, "high", "9223372036854775807"));
	CHECK_EQ(tine_store_add(store, "low", INT64_MIN, NULL), 0);
	CHECK(is(store, "low", "-9223372036854775808"));
	CHECK_EQ(tine_store_add(store, "low", -1, &now), -ERANGE);
	CHECK_EQ(now, 7);
	CHECK_EQ(tine_store_add(store, "low", INT64_MAX, &now), 0);
	CHECK_EQ(now, -1);
	CHECK_EQ(tine_store_add(store, "high", INT64_MIN, &now), 0);
	CHECK_EQ(now, -1);
	tine_store_free(store);
}

static void add_often(void *arg)
{
	tine_store *store = arg;

	for (long i = 0; i < test_sampled(5000); i++)
		CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
}

STORE_TEST(no_increment_is_lost)
{
	tine_store *store = store_open();
	int64_t sum;
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(add_often, store);
	add_often(store);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(tine_store_add(store, "n", 0, &sum), 0);
	CHECK_EQ(sum, 5 * test_sampled(5000));
	tine_store_free(store);
}

/* ---- compare and swap -------------------------------------------------------------- */

STORE_TEST(swap)
{
	tine_store *store = store_open();

	CHECK_EQ(tine_store_compare_set(store, "key", "old", 3, "new", 3), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", "", 0, "new", 3), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", "old", 3, NULL, 0), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", NULL, 0, NULL, 0), 0);
	CHECK_EQ(tine_store_len(store, "key"), -ENOENT);
	CHECK_EQ(tine_store_compare_set(store, "key", NULL, 0, "a\0c", 3), 0);
	CHECK_EQ(tine_store_compare_set(store, "key", NULL, 0, "other", 5), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", NULL, 0, NULL, 0), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", "a\0d", 3, "other", 5), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", "a", 1, "other", 5), -EAGAIN);
	CHECK_EQ(tine_store_compare_set(store, "key", "a\0cd", 4, "other", 5), -EAGAIN);
	CHECK_EQ(tine_store_len(store, "key"), 3);
	CHECK_EQ(tine_store_compare_set(store, "key", "a\0c", 3, "", 0), 0);
	CHECK_EQ(tine_store_len(store, "key"), 0);
	CHECK_EQ(tine_store_compare_set(store, "key", "", 0, "x", 1), 0);
	CHECK(is(store, "key", "x"));
	CHECK_EQ(tine_store_compare_set(store, "key", "x", 1, NULL, 0), 0);
	CHECK_EQ(tine_store_len(store, "key"), -ENOENT);
	tine_store_free(store);
}

static void swap_often(void *arg)
{
	tine_store *store = arg;

	for (long done = 0; done < test_sampled(2000);) {
		char old[32], new[32];
		ssize_t len = tine_store_get(store, "n", old, sizeof(old) - 1);
		int n, err;

		CHECK(len > 0);
		old[len] = '\0';
		n = snprintf(new, sizeof(new), "%ld", atol(old) + 1);
		err = tine_store_compare_set(store, "n", old, (size_t)len, new,
					     (size_t)n);
		CHECK(err == 0 || err == -EAGAIN);
		done += err == 0;
	}
}

STORE_TEST(no_swap_is_lost)
{
	tine_store *store = store_open();
	pid_t pids[4];

	set(store, "n", "0");
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(swap_often, store);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(atol(text_of(store, "n")), 4 * test_sampled(2000));
	tine_store_free(store);
}

/* ---- lists ------------------------------------------------------------------------- */

STORE_TEST(lists)
{
	tine_store *store = store_open();
	char buf[8] = "kept";

	CHECK_EQ(tine_store_take(store, "list", buf, 8, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	push(store, "list", "first");
	push(store, "list", "");
	push(store, "list", "third");
	CHECK_EQ(tine_store_len(store, "list"), 3);
	CHECK_EQ(tine_store_take(store, "list", buf, 4, TINE_NOWAIT), -EMSGSIZE);
	CHECK_EQ(tine_store_take(store, "list", buf, 4, PATIENCE), -EMSGSIZE);
	CHECK(strcmp(buf, "kept") == 0);
	CHECK_EQ(tine_store_len(store, "list"), 3);
	CHECK(pops(store, "list", "first"));
	CHECK(pops(store, "list", ""));
	push(store, "list", "fourth");
	CHECK(pops(store, "list", "third"));
	CHECK(pops(store, "list", "fourth"));
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	push(store, "list", "x");
	CHECK_EQ(tine_store_del(store, "list"), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, 8, TINE_NOWAIT), -ETIMEDOUT);
	push(store, "list", "y");
	CHECK(pops(store, "list", "y"));
	tine_store_free(store);
}

STORE_TEST(a_long_list)
{
	tine_store *store = store_open();
	char text[16];

	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		push(store, "list", text);
	}
	CHECK_EQ(tine_store_len(store, "list"), 3000);
	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		CHECK(pops(store, "list", text));
	}
	for (int i = 0; i < 3000; i++)
		push(store, "list", "again");
	CHECK_EQ(tine_store_del(store, "list"), 0);
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	tine_store_free(store);
}

struct consumers {
	_Atomic int taken[4000], popping;
};

struct worker {
	tine_store *store;
	struct consumers *consumers;
	int first, n;
};

static void consume(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		int number = 0;

		atomic_fetch_add(&worker->consumers->popping, 1);
		CHECK_EQ(tine_store_take(worker->store, "list", &number, sizeof(number),
					 PATIENCE),
			 sizeof(number));
		if (number < 0)
			return;
		atomic_fetch_add(&worker->consumers->taken[number], 1);
	}
}

static void produce(void *arg)
{
	struct worker *worker = arg;

	for (int i = 0; i < worker->n; i++) {
		int number = worker->first + i;

		/* Now and then all consumers have gone to sleep. */
		if (i % 500 == 0)
			test_sleep_us(20000);
		CHECK_EQ(
			tine_store_append(worker->store, "list", &number, sizeof(number)),
			0);
	}
}

STORE_TEST(each_item_is_popped_once)
{
	tine_store *store = store_open();
	struct consumers *consumers = tine_shared_new(1, sizeof(*consumers));
	int each = (int)test_sampled(2000), end = -1;
	struct worker workers[2] = { { store, consumers, 0, each },
				     { store, consumers, each, each } };
	pid_t consuming[3], producing[2];

	for (int i = 0; i < 3; i++)
		consuming[i] = test_fork(consume, &workers[0]);
	for (int i = 0; i < 2; i++)
		producing[i] = test_fork(produce, &workers[i]);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(test_reap(producing[i]), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_store_append(store, "list", &end, sizeof(end)), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(consuming[i]), 0);
	for (int i = 0; i < 2 * each; i++)
		CHECK_EQ(consumers->taken[i], 1);
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	tine_shared_free(consumers);
	tine_store_free(store);
}

/* ---- dictionaries ------------------------------------------------------------------ */

struct seen {
	int n, fields, stop_at;
	size_t bytes;
};

static int see(void *arg, const char *field, const void *val, size_t len)
{
	struct seen *seen = arg;

	if (strcmp(field, "empty") == 0)
		CHECK_EQ(len, 0);
	else
		CHECK(len == strlen(field) && memcmp(field, val, len) == 0);
	seen->bytes += len;
	return ++seen->n == seen->stop_at ? -4711 : 0;
}

STORE_TEST(dictionaries)
{
	tine_store *store = store_open();
	struct seen seen = { 0 };
	char buf[8] = "kept", name[16];

	CHECK_EQ(tine_store_get_field(store, "dict", "f", buf, 8), -ENOENT);
	CHECK_EQ(tine_store_del_field(store, "dict", "f"), -ENOENT);
	CHECK_EQ(tine_store_fields(store, "dict", never, NULL), -ENOENT);
	CHECK(strcmp(buf, "kept") == 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "field-%d", i);
		put_field(store, "dict", name, "first");
		put_field(store, "dict", name, name);
	}
	put_field(store, "dict", "empty", "");
	/* Others, before and after it. */
	put_field(store, "dics", "a", "b");
	put_field(store, "dict1", "a", "b");
	CHECK_EQ(tine_store_len(store, "dict"), 501);
	CHECK_EQ(tine_store_fields(store, "dict", see, &seen), 0);
	CHECK_EQ(seen.n, 501);
	CHECK_EQ(seen.bytes, 10 * 7 + 90 * 8 + 400 * 9);
	seen = (struct seen){ .stop_at = 3 };
	CHECK_EQ(tine_store_fields(store, "dict", see, &seen), -4711);
	CHECK_EQ(seen.n, 3);
	CHECK_EQ(tine_store_get_field(store, "dict", "field-42", buf, 4), 8);
	CHECK(memcmp(buf, "fiel\0", 5) == 0);
	CHECK_EQ(tine_store_get_field(store, "dict", "field", buf, 8), -ENOENT);
	CHECK_EQ(tine_store_get_field(store, "dict", "empty", buf, 8), 0);
	CHECK_EQ(tine_store_del_field(store, "dict", "field"), -ENOENT);
	CHECK_EQ(tine_store_del_field(store, "dict", "empty"), 0);
	CHECK_EQ(tine_store_len(store, "dict"), 500);
	CHECK_EQ(tine_store_del(store, "dict"), 0);
	CHECK_EQ(tine_store_len(store, "dict"), -ENOENT);
	CHECK_EQ(tine_store_del_field(store, "dics", "a"), 0);
	CHECK_EQ(tine_store_len(store, "dics"), -ENOENT);
	CHECK_EQ(tine_store_len(store, "dict1"), 1);
	tine_store_free(store);
}

/* ---- keys -------------------------------------------------------------------------- */

static int count_key(void *arg, const char *key)
{
	struct seen *seen = arg;

	seen->bytes += strlen(key);
	return ++seen->n == seen->stop_at ? 11 : 0;
}

static int keys_with(tine_store *store, const char *prefix)
{
	struct seen seen = { 0 };

	CHECK_EQ(tine_store_keys(store, prefix, count_key, &seen), 0);
	return seen.n;
}

STORE_TEST(keys)
{
	tine_store *store = store_open();
	struct seen seen = { .stop_at = 2 };
	char longest[256], longer[257];

	CHECK_EQ(keys_with(store, ""), 0);
	set(store, "a", "1");
	set(store, "ab", "1");
	push(store, "ab\1", "1");
	push(store, "abc", "1");
	push(store, "abc", "2");
	put_field(store, "abcd", "abcde", "1");
	put_field(store, "abcd", "x", "1");
	set(store, "b*?[]\\", "1");
	set(store, "b", "1");
	set(store, "\xff", "1");
	CHECK_EQ(keys_with(store, ""), 8);
	CHECK_EQ(keys_with(store, "a"), 5);
	CHECK_EQ(keys_with(store, "ab"), 4);
	CHECK_EQ(keys_with(store, "abc"), 2);
	CHECK_EQ(keys_with(store, "abcd"), 1);
	CHECK_EQ(keys_with(store, "abcde"), 0);
	/* Nothing in a prefix is a pattern. */
	CHECK_EQ(keys_with(store, "*"), 0);
	CHECK_EQ(keys_with(store, "?"), 0);
	CHECK_EQ(keys_with(store, "[ab]"), 0);
	CHECK_EQ(keys_with(store, "b*?[]\\"), 1);
	CHECK_EQ(keys_with(store, "\xff"), 1);
	CHECK_EQ(tine_store_keys(store, "ab", count_key, &seen), 11);
	CHECK_EQ(seen.n, 2);
	CHECK_EQ(tine_store_keys(store, long_name(longer, 256, 'k'), count_key, &seen),
		 -EINVAL);
	set(store, long_name(longest, 255, 'k'), "1");
	CHECK_EQ(keys_with(store, longest), 1);
	CHECK_EQ(tine_store_del(store, "abcd"), 0);
	CHECK_EQ(keys_with(store, "abc"), 1);
	tine_store_free(store);
}

/* ---- time -------------------------------------------------------------------------- */

static void wait_until_gone(tine_store *store, const char *key)
{
	int64_t deadline = PATIENCE;

	while (tine_store_len(store, key) != -ENOENT) {
		CHECK(tine_now() < deadline);
		test_sleep_us(1000);
	}
}

STORE_TEST(keys_end_in_time)
{
	static const char *const keys[] = { "value", "list", "dict" };
	tine_store *store = store_open();
	char buf[8];
	int64_t now;

	CHECK_EQ(tine_store_expire(store, "value", 10), -ENOENT);
	CHECK_EQ(tine_store_expire(store, "value", 0), -ENOENT);
	for (int turn = 0; turn < 3; turn++) {
		set(store, "value", "7");
		push(store, "list", "item");
		put_field(store, "dict", "field", "x");
		set(store, "stays", "x");
		for (int i = 0; i < 3; i++)
			CHECK_EQ(tine_store_expire(store, keys[i], 30), 0);
		for (int i = 0; i < 3; i++)
			wait_until_gone(store, keys[i]);
		CHECK_EQ(keys_with(store, ""), 1);
		if (turn == 0) {
			/* Whoever looks at it finds nothing. */
			CHECK_EQ(tine_store_get(store, "value", buf, 8), -ENOENT);
			CHECK_EQ(tine_store_get_field(store, "dict", "field", buf, 8),
				 -ENOENT);
			CHECK_EQ(tine_store_fields(store, "dict", never, NULL), -ENOENT);
			CHECK_EQ(tine_store_del_field(store, "dict", "field"), -ENOENT);
			CHECK_EQ(tine_store_take(store, "list", buf, 8, TINE_NOWAIT),
				 -ETIMEDOUT);
			CHECK_EQ(tine_store_del(store, "value"), -ENOENT);
			CHECK_EQ(tine_store_expire(store, "value", 100), -ENOENT);
			CHECK_EQ(tine_store_compare_set(store, "value", "7", 1, "8", 1),
				 -EAGAIN);
		}
		if (turn == 1) {
			/* It begins anew, also as another kind. */
			CHECK_EQ(tine_store_add(store, "value", 1, &now), 0);
			CHECK_EQ(now, 1);
			push(store, "dict", "x");
			CHECK_EQ(tine_store_len(store, "dict"), 1);
			put_field(store, "list", "f", "x");
			CHECK_EQ(tine_store_len(store, "list"), 1);
			for (int i = 0; i < 3; i++)
				CHECK_EQ(tine_store_del(store, keys[i]), 0);
		}
	}
	CHECK(is(store, "stays", "x"));
	tine_store_free(store);
}

STORE_TEST(what_ends_the_end)
{
	tine_store *store = store_open();
	tine_store_item item = { .key = "all", .val = "new", .len = 3 };

	/* However late these come, the key is there for good when they have. */
	set(store, "set", "old");
	CHECK_EQ(tine_store_expire(store, "set", 50), 0);
	set(store, "set", "new");
	set(store, "all", "old");
	CHECK_EQ(tine_store_expire(store, "all", 50), 0);
	CHECK_EQ(tine_store_set_all(store, &item, 1), 0);
	set(store, "never", "old");
	CHECK_EQ(tine_store_expire(store, "never", 3600000), 0);
	CHECK_EQ(tine_store_expire(store, "never", 0), 0);
	set(store, "swap", "old");
	CHECK_EQ(tine_store_expire(store, "swap", 20000), 0);
	CHECK_EQ(tine_store_compare_set(store, "swap", "old", 3, "new", 3), 0);
	test_sleep_us(200000);
	CHECK(is(store, "set", "new"));
	CHECK(is(store, "all", "new"));
	CHECK(is(store, "never", "old"));
	CHECK(is(store, "swap", "new"));
	/* These leave it. */
	CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
	push(store, "list", "1");
	put_field(store, "dict", "a", "1");
	CHECK_EQ(tine_store_expire(store, "n", 3000), 0);
	CHECK_EQ(tine_store_expire(store, "list", 3000), 0);
	CHECK_EQ(tine_store_expire(store, "dict", 3000), 0);
	CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
	push(store, "list", "2");
	put_field(store, "dict", "b", "1");
	wait_until_gone(store, "n");
	wait_until_gone(store, "list");
	wait_until_gone(store, "dict");
	/* A time that never comes, and one that was put off. */
	set(store, "set", "x");
	CHECK_EQ(tine_store_expire(store, "set", 50), 0);
	CHECK_EQ(tine_store_expire(store, "set", INT64_C(1) << 50), 0);
	test_sleep_us(100000);
	CHECK(tine_store_len(store, "set") == 1 || tine_store_len(store, "set") < 0);
	tine_store_free(store);
}

STORE_TEST(set_with_an_end)
{
	static char large[2000000];
	tine_store *store = store_open();

	memset(large, 'x', sizeof(large));
	for (size_t len = 3; len <= sizeof(large); len += sizeof(large) - 3) {
		set(store, "key", "old");
		CHECK_EQ(tine_store_set_for(store, "key", large, len, 3600000), 0);
		CHECK_EQ(tine_store_len(store, "key"), (long long)len);
		CHECK_EQ(tine_store_set_for(store, "key", large, len, 30), 0);
		wait_until_gone(store, "key");
		/* The last one counts, also where it has no end. */
		CHECK_EQ(tine_store_set_for(store, "key", large, len, 50), 0);
		CHECK_EQ(tine_store_set_for(store, "key", large, len, 0), 0);
		CHECK_EQ(tine_store_set_for(store, "stays", large, len, INT64_MAX), 0);
		test_sleep_us(100000);
		CHECK_EQ(tine_store_len(store, "key"), (long long)len);
		CHECK_EQ(tine_store_len(store, "stays"), (long long)len);
	}
	push(store, "list", "x");
	CHECK_EQ(tine_store_set_for(store, "list", "x", 1, 10), -TINE_EKIND);
	CHECK_EQ(tine_store_set_for(store, "key", "x", 1, -1), -EINVAL);
	tine_store_free(store);
}

/* ---- locks ------------------------------------------------------------------------- */

static uint64_t locked(tine_store *store, const char *key, int64_t ms, int64_t deadline)
{
	uint64_t fence = 0;

	CHECK_EQ(tine_store_lock(store, key, ms, &fence, deadline), 0);
	CHECK(fence > 0);
	return fence;
}

STORE_TEST(locks_have_fences)
{
	tine_store *store = store_open(), *other = store_open();
	uint64_t fence = 77;

	for (uint64_t i = 1; i < 5; i++) {
		CHECK_EQ(locked(store, "lock", 3600000, TINE_NOWAIT), i);
		CHECK_EQ(tine_store_lock(other, "lock", 10, &fence, TINE_NOWAIT),
			 -ETIMEDOUT);
		CHECK_EQ(tine_store_lock(store, "lock", 10, &fence, tine_after(20)),
			 -ETIMEDOUT);
		CHECK_EQ(fence, 77);
		CHECK_EQ(tine_store_unlock(other, "lock", i + 1), -ENOENT);
		CHECK_EQ(tine_store_unlock(other, "lock", i), 0);
	}
	/* Its time is over: the next has it, and the first has it no more. */
	CHECK_EQ(locked(store, "lock", 20, TINE_NOWAIT), 5);
	CHECK_EQ(locked(other, "lock", 3600000, PATIENCE), 6);
	CHECK_EQ(tine_store_unlock(store, "lock", 5), -ENOENT);
	CHECK_EQ(tine_store_relock(store, "lock", 5, 1000), -ENOENT);
	/* A longer life, and a shorter one. */
	CHECK_EQ(tine_store_relock(other, "lock", 6, INT64_MAX), 0);
	CHECK_EQ(tine_store_lock(store, "lock", 10, &fence, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_store_relock(other, "lock", 6, 20), 0);
	CHECK_EQ(locked(store, "lock", INT64_MAX, PATIENCE), 7);
	CHECK_EQ(tine_store_unlock(store, "lock", 7), 0);
	/* That nobody has taken since is still its own. */
	CHECK_EQ(tine_store_relock(store, "lock", 7, 3600000), 0);
	CHECK_EQ(tine_store_lock(other, "lock", 10, &fence, TINE_NOWAIT), -ETIMEDOUT);
	/* Deleted, it begins anew; one that ends ends. */
	CHECK_EQ(tine_store_del(store, "lock"), 0);
	CHECK_EQ(tine_store_unlock(store, "lock", 7), -ENOENT);
	CHECK_EQ(locked(store, "lock", 3600000, TINE_NOWAIT), 1);
	CHECK_EQ(locked(store, "another", 3600000, TINE_NOWAIT), 1);
	tine_store_free(other);
	tine_store_free(store);
}

STORE_TEST(what_is_no_lock)
{
	static const char *const values[] = { "",    "1",    "1 ",    " 1",  "x 1",
					      "1 x", "-1 5", "1 5 7", "1  5" };
	tine_store *store = store_open();
	uint64_t fence;

	push(store, "list", "x");
	CHECK_EQ(tine_store_lock(store, "list", 10, &fence, TINE_NOWAIT), -TINE_EKIND);
	CHECK_EQ(tine_store_unlock(store, "list", 1), -TINE_EKIND);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		set(store, "key", values[i]);
		CHECK_EQ(tine_store_lock(store, "key", 10, &fence, TINE_NOWAIT), -EINVAL);
		CHECK_EQ(tine_store_unlock(store, "key", 1), -EINVAL);
		CHECK(is(store, "key", values[i]));
	}
	CHECK_EQ(tine_store_lock(store, "lock", 0, &fence, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_store_lock(store, "lock", 1, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_store_relock(store, "lock", 1, 0), -EINVAL);
	CHECK_EQ(tine_store_unlock(store, "lock", 0), -EINVAL);
	tine_store_free(store);
}

struct locking {
	_Atomic uint64_t fences; /* the last that was seen */
	_Atomic int inside, turns;
	tine_event held;
};

static struct locking *locking;

/* What the lock protects: refuses who comes with a fence that is not the newest. */
static void take_turns(void *arg)
{
	tine_store *store = store_open();
	int *turns = arg;

	for (int i = 0; i < *turns; i++) {
		uint64_t fence = locked(store, "lock", 3600000, PATIENCE);

		CHECK_EQ(atomic_fetch_add(&locking->inside, 1), 0);
		CHECK(atomic_exchange(&locking->fences, fence) < fence);
		test_sleep_us(500);
		atomic_fetch_sub(&locking->inside, 1);
		atomic_fetch_add(&locking->turns, 1);
		CHECK_EQ(tine_store_unlock(store, "lock", fence), 0);
	}
	tine_store_free(store);
}

static void hold_and_hang(void *arg)
{
	tine_store *store = store_open();
	uint64_t fence = locked(store, "lock", 300, PATIENCE);

	(void)arg;
	atomic_store(&locking->fences, fence);
	tine_event_set(&locking->held);
	pause();
}

STORE_TEST(processes_take_turns)
{
	int turns = (int)test_scaled(20);
	tine_store *store;
	pid_t pids[4];

	locking = tine_shared_new(1, sizeof(*locking));
	CHECK(locking);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(take_turns, &turns);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(atomic_load(&locking->turns), 4 * turns);
	/*
	 * One that holds it dies, and one is stopped: their time is over, and others go
	 * on.
	 */
	for (int stops = 0; stops < 2; stops++) {
		tine_event_clear(&locking->held);
		pids[0] = test_fork(hold_and_hang, NULL);
		CHECK_EQ(tine_event_wait(&locking->held, PATIENCE), 0);
		if (stops)
			CHECK_EQ(kill(pids[0], SIGSTOP), 0);
		else
			test_kill(pids[0]);
		store = store_open();
		CHECK(locked(store, "lock", 50, PATIENCE) > locking->fences);
		tine_store_free(store);
		if (stops)
			test_kill(pids[0]);
	}
	tine_shared_free(locking);
}

STORE_TEST(many_ends)
{
	tine_store *store = store_open();
	char key[16];

	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		set(store, key, "x");
		CHECK_EQ(tine_store_expire(store, key, 1 + i % 50), 0);
	}
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		wait_until_gone(store, key);
	}
	for (int i = 0; i < 300; i++)
		set(store, "other", "x");
	CHECK_EQ(keys_with(store, ""), 1);
	tine_store_free(store);
}

#define HOUR INT64_C(3600000)

/* ---- leases ------------------------------------------------------------------------ */

static tine_lease leases(tine_store *store, const char *text, int64_t ms)
{
	char buf[64];
	tine_lease lease;

	CHECK_EQ(tine_store_lease(store, "list", buf, sizeof(buf), ms, &lease, PATIENCE),
		 (ssize_t)strlen(text));
	CHECK(memcmp(buf, text, strlen(text)) == 0);
	return lease;
}

STORE_TEST(items_on_lease)
{
	tine_store *store = store_open(), *other = store_open();
	tine_lease a, b, again;
	char buf[8] = "kept";

	push(store, "list", "a");
	push(store, "list", "b");
	push(store, "list", "");
	a = leases(store, "a", HOUR);
	b = leases(other, "b", INT64_MAX);
	CHECK(a != b);
	CHECK_EQ(tine_store_len(store, "list"), 1);
	CHECK_EQ(tine_store_len(store, "list:leases"), 2);
	CHECK_EQ(tine_store_nack(other, "list", a), 0);
	CHECK_EQ(tine_store_nack(other, "list", a), -ENOENT);
	CHECK_EQ(tine_store_ack(store, "list", a), -ENOENT);
	/* In front of what is there. */
	CHECK_EQ(tine_store_len(store, "list"), 2);
	again = leases(other, "a", HOUR);
	CHECK(again != a && again != b);
	CHECK_EQ(tine_store_ack(store, "list", a), -ENOENT);
	CHECK_EQ(tine_store_ack(store, "list", again), 0);
	CHECK_EQ(tine_store_ack(store, "list", again), -ENOENT);
	a = leases(store, "", HOUR);
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	CHECK_EQ(tine_store_lease(store, "list", buf, 8, HOUR, &again, TINE_NOWAIT),
		 -ETIMEDOUT);
	CHECK_EQ(tine_store_lease(store, "list", buf, 8, HOUR, &again, tine_after(20)),
		 -ETIMEDOUT);
	CHECK(strcmp(buf, "kept") == 0);
	CHECK_EQ(tine_store_ack(store, "list", b), 0);
	CHECK_EQ(tine_store_nack(store, "list", a), 0);
	CHECK_EQ(tine_store_len(store, "list:leases"), -ENOENT);
	CHECK(pops(store, "list", ""));
	/* What is too long for a caller stays, in the list and among the leases. */
	push(store, "list", "longer");
	CHECK_EQ(tine_store_lease(store, "list", buf, 5, HOUR, &again, TINE_NOWAIT),
		 -EMSGSIZE);
	CHECK_EQ(tine_store_len(store, "list"), 1);
	leases(store, "longer", 1);
	test_sleep_us(20000);
	CHECK_EQ(tine_store_lease(store, "list", buf, 5, HOUR, &again, PATIENCE),
		 -EMSGSIZE);
	leases(store, "longer", HOUR);
	tine_store_free(other);
	tine_store_free(store);
}

STORE_TEST(leases_of_other_kinds)
{
	tine_store *store = store_open();
	char buf[8];
	tine_lease lease;

	set(store, "list", "x");
	CHECK_EQ(tine_store_lease(store, "list", buf, 8, 1, &lease, TINE_NOWAIT),
		 -TINE_EKIND);
	CHECK_EQ(tine_store_del(store, "list"), 0);
	push(store, "list", "item");
	set(store, "list:leases", "x");
	CHECK_EQ(tine_store_lease(store, "list", buf, 8, 1, &lease, TINE_NOWAIT),
		 -TINE_EKIND);
	CHECK_EQ(tine_store_ack(store, "list", 1), -TINE_EKIND);
	CHECK_EQ(tine_store_del(store, "list:leases"), 0);
	lease = leases(store, "item", HOUR);
	/* No place to go back to: the lease stays. */
	set(store, "list", "x");
	CHECK_EQ(tine_store_nack(store, "list", lease), -TINE_EKIND);
	CHECK_EQ(tine_store_len(store, "list:leases"), 1);
	CHECK_EQ(tine_store_ack(store, "list", lease), 0);
	tine_store_free(store);
}

static void lease_and_die(void *store)
{
	leases(store, "a", 50);
	raise(SIGKILL);
}

static void lease_and_end(void *store)
{
	CHECK_EQ(tine_store_ack(store, "list", leases(store, "a", HOUR)), 0);
}

STORE_TEST(a_dead_process_loses_no_item)
{
	tine_store *store = store_open();
	tine_lease late;
	pid_t pid;

	push(store, "list", "a");
	push(store, "list", "b");
	CHECK_EQ(test_reap(test_fork(lease_and_die, store)), -SIGKILL);
	CHECK_EQ(tine_store_len(store, "list:leases"), 1);
	CHECK(pops(store, "list", "b"));
	/* A waiting caller gets what has ended meanwhile, and what is given back. */
	late = leases(store, "a", 50);
	CHECK_EQ(tine_store_nack(store, "list", late), 0);
	late = leases(store, "a", HOUR);
	pid = test_fork(lease_and_end, store);
	test_sleep_us(50000);
	CHECK_EQ(tine_store_nack(store, "list", late), 0);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_store_ack(store, "list", late), -ENOENT);
	CHECK_EQ(tine_store_len(store, "list:leases"), -ENOENT);
	CHECK_EQ(tine_store_len(store, "list"), -ENOENT);
	tine_store_free(store);
}

/* Each item is counted by the process that acknowledges it; some die before. */
static void lease_all(void *arg)
{
	struct worker *worker = arg;

	for (int turn = worker->first;; turn++) {
		int number = 0;
		tine_lease lease;
		ssize_t len = tine_store_lease(worker->store, "list", &number,
					       sizeof(number), worker->n ? 200 : HOUR,
					       &lease, PATIENCE);

		CHECK_EQ(len, sizeof(number));
		if (number < 0) {
			CHECK_EQ(tine_store_nack(worker->store, "list", lease), 0);
			return;
		}
		if (worker->n && turn == worker->n)
			raise(SIGKILL);
		/* One that is late finds that somebody else has the item. */
		if (turn % 3 == 0)
			tine_store_nack(worker->store, "list", lease);
		else if (tine_store_ack(worker->store, "list", lease) == 0)
			atomic_fetch_add(&worker->consumers->taken[number], 1);
	}
}

STORE_TEST(each_item_is_acknowledged_once)
{
	tine_store *store = store_open();
	struct consumers *consumers = tine_shared_new(1, sizeof(*consumers));
	int each = 50 + (int)test_sampled(1000), end = -1;
	struct worker dies = { store, consumers, 0, 10 },
		      lives = { store, consumers, 1, 0 };
	struct worker producer = { store, consumers, 0, each };
	pid_t dying[3], living[2], producing = test_fork(produce, &producer);

	for (int i = 0; i < 3; i++)
		dying[i] = test_fork(lease_all, &dies);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(dying[i]), -SIGKILL);
	for (int i = 0; i < 2; i++)
		living[i] = test_fork(lease_all, &lives);
	CHECK_EQ(test_reap(producing), 0);
	for (int i = 0; i < each; i++)
		while (consumers->taken[i] == 0)
			test_sleep_us(1000);
	CHECK_EQ(tine_store_append(store, "list", &end, sizeof(end)), 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(test_reap(living[i]), 0);
	for (int i = 0; i < each; i++)
		CHECK_EQ(consumers->taken[i], 1);
	CHECK_EQ(tine_store_len(store, "list:leases"), -ENOENT);
	tine_shared_free(consumers);
	tine_store_free(store);
}

/* ---- waiting ----------------------------------------------------------------------- */

/* The present version; the key has not changed since. */
static uint64_t version_of(tine_store *store, const char *key)
{
	uint64_t version = 0;

	CHECK_EQ(tine_store_wait(store, key, &version, TINE_NOWAIT), 0);
	CHECK(version != 0);
	return version;
}

static bool changed(tine_store *store, const char *key, uint64_t *version)
{
	uint64_t before = *version;
	int err = tine_store_wait(store, key, version, TINE_NOWAIT);

	CHECK(err == 0 || (err == -ETIMEDOUT && *version == before));
	return err == 0;
}

STORE_TEST(versions)
{
	tine_store *store = store_open(), *other = store_open();
	uint64_t none = version_of(store, "key"), there, before;

	CHECK(!changed(store, "key", &none));
	CHECK_EQ(tine_store_wait(store, "key", &none, tine_after(30)), -ETIMEDOUT);
	set(other, "elsewhere", "x");
	CHECK(!changed(store, "key", &none));
	set(other, "key", "1");
	there = none;
	CHECK_EQ(tine_store_wait(store, "key", &there, PATIENCE), 0);
	CHECK(!changed(store, "key", &there));
	/* Deleted and made again is a change, both ways. */
	before = there;
	CHECK_EQ(tine_store_del(other, "key"), 0);
	set(other, "key", "1");
	CHECK_EQ(tine_store_wait(store, "key", &there, PATIENCE), 0);
	CHECK(there != before);
	CHECK_EQ(tine_store_del(other, "key"), 0);
	CHECK_EQ(tine_store_wait(store, "key", &there, PATIENCE), 0);
	CHECK(!changed(store, "key", &there));
	set(other, "key", "1");
	CHECK_EQ(tine_store_del(other, "key"), 0);
	CHECK_EQ(tine_store_wait(store, "key", &there, PATIENCE), 0);
	CHECK(!changed(store, "key", &there));
	tine_store_free(other);
	tine_store_free(store);
}

static void change_list(tine_store *store, int turn)
{
	char buf[8];

	if (turn % 2 == 0)
		push(store, "list", "x");
	else
		CHECK_EQ(tine_store_take(store, "list", buf, 8, TINE_NOWAIT), 1);
}

static void change_dict(tine_store *store, int turn)
{
	if (turn % 2 == 0)
		put_field(store, "dict", "f", "x");
	else
		CHECK_EQ(tine_store_del_field(store, "dict", "f"), 0);
}

static void change_value(tine_store *store, int turn)
{
	tine_store_item item = { .key = "value", .val = "z", .len = 1 };

	switch (turn % 5) {
	case 0:
		set(store, "value", "3");
		break;
	case 1:
		CHECK_EQ(tine_store_add(store, "value", 1, NULL), 0);
		break;
	case 2:
		CHECK_EQ(tine_store_compare_set(store, "value", "4", 1, "5", 1), 0);
		break;
	case 3:
		CHECK_EQ(tine_store_set_all(store, &item, 1), 0);
		break;
	case 4:
		CHECK_EQ(tine_store_compare_set(store, "value", "z", 1, NULL, 0), 0);
		break;
	}
}

STORE_TEST(every_call_that_changes_is_told)
{
	static const struct {
		const char *key;
		void (*change)(tine_store *, int turn);
	} kinds[] = { { "list", change_list },
		      { "dict", change_dict },
		      { "value", change_value } };
	tine_store *store = store_open(), *other = store_open();

	for (int i = 0; i < 3; i++) {
		uint64_t version = version_of(store, kinds[i].key);

		for (int turn = 0; turn < 10; turn++) {
			kinds[i].change(other, turn);
			CHECK_EQ(tine_store_wait(store, kinds[i].key, &version, PATIENCE),
				 0);
		}
		CHECK(!changed(store, kinds[i].key, &version));
	}
	tine_store_free(other);
	tine_store_free(store);
}

STORE_TEST(the_end_of_time_is_told)
{
	tine_store *store = store_open(), *other = store_open();
	uint64_t version;

	set(other, "key", "x");
	version = version_of(store, "key");
	CHECK_EQ(tine_store_expire(other, "key", 100), 0);
	/* A note that the time was set may come first. */
	do
		CHECK_EQ(tine_store_wait(store, "key", &version, PATIENCE), 0);
	while (tine_store_len(store, "key") != -ENOENT);
	/* It was set anew, and ended again, while nobody looked. */
	set(other, "key", "x");
	CHECK_EQ(tine_store_expire(other, "key", 1), 0);
	wait_until_gone(other, "key");
	for (int i = 0; i < 20; i++)
		set(other, "elsewhere", "x");
	CHECK_EQ(tine_store_wait(store, "key", &version, PATIENCE), 0);
	tine_store_free(other);
	tine_store_free(store);
}

static void await(tine_store *store, const char *key, uint64_t *version, long number)
{
	while (atol(text_of(store, key)) != number)
		CHECK_EQ(tine_store_wait(store, key, version, PATIENCE), 0);
}

#define TURNS 2000

static void answer(void *arg)
{
	tine_store *store = arg;
	uint64_t version = 0;

	for (int i = 1; i <= test_sampled(TURNS); i++) {
		await(store, "question", &version, i);
		CHECK_EQ(tine_store_add(store, "answer", 1, NULL), 0);
	}
}

/* Far too long a test if a single wait were ended by a second look. */
STORE_TEST(questions_and_answers)
{
	tine_store *store = store_open();
	uint64_t version = 0;
	pid_t pid = test_fork(answer, store);

	for (int i = 1; i <= test_sampled(TURNS); i++) {
		CHECK_EQ(tine_store_add(store, "question", 1, NULL), 0);
		await(store, "answer", &version, i);
	}
	CHECK_EQ(test_reap(pid), 0);
	tine_store_free(store);
}

static void follow(void *arg)
{
	tine_store *store = arg;
	uint64_t version = 0;
	long seen = -1;

	while (seen < test_sampled(3000)) {
		long now;

		CHECK_EQ(tine_store_wait(store, "n", &version, PATIENCE), 0);
		now = atol(text_of(store, "n"));
		CHECK(now >= seen);
		seen = now;
	}
}

STORE_TEST(no_change_is_missed)
{
	tine_store *store = store_open();
	pid_t pids[3];

	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(follow, store);
	for (long i = 0; i < test_sampled(3000); i++) {
		CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
		if (i % 100 == 0)
			test_sleep_us(1000);
	}
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_store_free(store);
}

/* ---- large ------------------------------------------------------------------------- */

STORE_TEST(large_values)
{
	enum { LEN = 64 << 20 };
	tine_store *store = store_open();
	char *value = malloc(LEN), *back = malloc(LEN);

	CHECK(value && back);
	for (size_t i = 0; i < LEN; i++)
		value[i] = (char)(i * 2654435761u >> 13);
	CHECK_EQ(tine_store_set(store, "large", value, LEN), 0);
	CHECK_EQ(tine_store_len(store, "large"), LEN);
	memset(back, 0, LEN);
	CHECK_EQ(tine_store_get(store, "large", back, LEN), LEN);
	CHECK(memcmp(value, back, LEN) == 0);
	CHECK_EQ(tine_store_get(store, "large", back, 5), LEN);
	CHECK_EQ(tine_store_expire(store, "large", 3600000), 0);
	CHECK_EQ(tine_store_compare_set(store, "large", value, LEN, value + 1, LEN - 1),
		 0);
	CHECK_EQ(tine_store_len(store, "large"), LEN - 1);
	CHECK_EQ(tine_store_append(store, "list", value, 8 * MIB), 0);
	CHECK_EQ(tine_store_take(store, "list", back, LEN, TINE_NOWAIT), 8 * MIB);
	CHECK(memcmp(value, back, 8 * MIB) == 0);
	CHECK_EQ(tine_store_put_field(store, "dict", "f", value, 8 * MIB), 0);
	memset(back, 0, LEN);
	CHECK_EQ(tine_store_get_field(store, "dict", "f", back, LEN), 8 * MIB);
	CHECK(memcmp(value, back, 8 * MIB) == 0);
	CHECK_EQ(tine_store_del(store, "large"), 0);
	free(value);
	free(back);
	tine_store_free(store);
}

/* ---- forks, threads, strangers ----------------------------------------------------- */

static void use(tine_store *store, const char *key)
{
	char text[16];

	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "%d", i);
		set(store, key, text);
		CHECK(is(store, key, text));
	}
}

static void use_in_child(void *arg)
{
	use(arg, "child");
}

static void use_and_fork(void *arg)
{
	pid_t pid;

	use(arg, "child");
	pid = test_fork(use_in_child, arg);
	CHECK_EQ(test_reap(pid), 0);
	use(arg, "child");
	tine_store_free(arg);
}

static void only_free(void *arg)
{
	tine_store_free(arg);
}

STORE_TEST(parent_and_child_go_on)
{
	tine_store *store = store_open(), *second = store_open();

	use(store, "parent");
	for (int i = 0; i < 5; i++) {
		pid_t pid = test_fork(use_and_fork, i % 2 ? store : second);

		use(store, "parent");
		CHECK_EQ(test_reap(pid), 0);
		CHECK_EQ(test_reap(test_fork(only_free, store)), 0);
		use(second, "parent");
	}
	tine_store_free(store);
	use(second, "parent");
	tine_store_free(second);
}

static void read_once_each(void *arg)
{
	/* The child's first call is a read, then a write, then a wait. */
	tine_store *store = arg;
	uint64_t version = 0;

	CHECK(is(store, "key", "value"));
	set(store, "other", "x");
	CHECK_EQ(tine_store_wait(store, "key", &version, TINE_NOWAIT), 0);
}

STORE_TEST(many_children)
{
	tine_store *store = store_open();

	set(store, "key", "value");
	CHECK(is(store, "key", "value"));
	for (long i = 0; i < test_sampled(300); i++)
		CHECK_EQ(test_reap(test_fork(read_once_each, store)), 0);
	CHECK(is(store, "key", "value"));
	tine_store_free(store);
}

static void *use_in_thread(void *key)
{
	for (int i = 0; i < 5; i++) {
		tine_store *store = store_open();

		for (int k = 0; k < 200; k++) {
			CHECK_EQ(tine_store_add(store, "sum", 1, NULL), 0);
			CHECK_EQ(tine_store_add(store, key, 1, NULL), 0);
			CHECK(tine_store_len(store, key) > 0);
		}
		tine_store_free(store);
	}
	return NULL;
}

STORE_TEST(threads_with_handles_of_their_own)
{
	tine_store *store = store_open();
	pthread_t threads[4];
	static char keys[4][8];

	for (int i = 0; i < 4; i++) {
		snprintf(keys[i], sizeof(keys[i]), "key-%d", i);
		CHECK_EQ(pthread_create(&threads[i], NULL, use_in_thread, keys[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(is(store, "sum", "4000"));
	for (int i = 0; i < 4; i++)
		CHECK(is(store, keys[i], "1000"));
	tine_store_free(store);
}

static void be_stranger(void)
{
	tine_store *store = store_open();
	uint64_t version = 0;

	await(store, "go", &version, 1);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
	push(store, "list", "from afar");
	tine_store_free(store);
}

__attribute__((constructor)) static void stranger(void)
{
	store_url = getenv("TINE_TEST_STORE");
	if (!store_url)
		return;
	be_stranger();
	_exit(0);
}

static void become_stranger(void *arg)
{
	char *args[] = { "stranger", NULL };

	(void)arg;
	setenv("TINE_TEST_STORE", store_url, 1);
	execv("/proc/self/exe", args);
	_exit(99);
}

STORE_TEST(strangers_meet)
{
	tine_store *store = store_open();
	char buf[16];
	pid_t pid;

	if (test_under_valgrind())
		test_skip("no programs execute themselves here");
	pid = test_fork(become_stranger, NULL);
	set(store, "go", "1");
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(tine_store_add(store, "n", 1, NULL), 0);
	CHECK_EQ(tine_store_take(store, "list", buf, sizeof(buf), PATIENCE), 9);
	CHECK_EQ(test_reap(pid), 0);
	CHECK(is(store, "n", "2000"));
	tine_store_free(store);
}

/* ---- libraries --------------------------------------------------------------------- */

static int open_error(const char *url)
{
	tine_store *store;

	return tine_store_open(&store, url, NULL);
}

static void open_where_there_is_nothing(void *url)
{
	_exit(open_error(url) == -EPROTONOSUPPORT);
}

/* In a process that has loaded none yet: the engine's own is loaded when it can be. */
TEST(a_library_that_no_descriptor_is_left_for)
{
	static char *const urls[] = { "file:/nowhere/at/all", "rediss://127.0.0.1:1" };
	struct rlimit limit, none;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	for (int i = 0; i < 2; i++) {
		if (test_reap(test_fork(open_where_there_is_nothing, urls[i])) != 0)
			continue; /* a build without it */
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
		CHECK_EQ(open_error(urls[i]), -EMFILE);
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
		CHECK_EQ(open_error(urls[i]), i ? -ECONNREFUSED : -ENOENT);
	}
}
