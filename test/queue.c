/* SPDX-License-Identifier: MIT */
#include "queue_use.h"

#include "memory/heap.h"

#include <pthread.h>
#include <sys/resource.h>

/* ---- messages ---------------------------------------------------------------------- */

static void fill(unsigned char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(i * 7 + i / 251 + seed);
}

static void one_length(tine_queue *queue, size_t max_len, size_t len)
{
	unsigned char *in = malloc(len), *out = malloc(max_len + 1);
	tine_lease id;

	for (int leased = 0; leased < 2; leased++) {
		fill(in, len, len + leased);
		memset(out, 0xee, max_len + 1);
		CHECK_EQ(tine_queue_put(queue, in, len, TINE_NOWAIT), 0);
		/* The message is a copy. */
		memset(in, 0, len);
		if (leased) {
			CHECK_EQ(tine_queue_lease(queue, out, max_len, &id, TINE_NOWAIT),
				 len);
			CHECK_EQ(tine_queue_ack(queue, id), 0);
		} else {
			CHECK_EQ(tine_queue_get(queue, out, max_len, TINE_NOWAIT), len);
		}
		fill(in, len, len + leased);
		CHECK(memcmp(in, out, len) == 0);
		for (size_t i = len; i <= max_len; i++)
			CHECK_EQ(out[i], 0xee);
	}
	free(in);
	free(out);
}

TEST(lengths_from_one_byte_to_a_mebibyte)
{
	static const size_t lens[] = { 1,      2,     3,       7,      8,
				       9,      15,    16,      17,     63,
				       64,     65,    100,     4095,   4096,
				       4097,   65536, 1 << 19, 999999, (1 << 20) - 1,
				       1 << 20 };

	for (size_t m = 0; m < sizeof(lens) / sizeof(*lens); m++) {
		tine_queue *queue = make_of(lens[m], 2, 1);

		for (size_t i = 0; i <= m; i++)
			one_length(queue, lens[m], lens[i]);
		CHECK_EQ(tine_queue_len(queue), 0);
		tine_queue_free(queue);
	}
}

TEST(what_cannot_be_made)
{
	tine_queue *const untouched = (void *)&errno;
	tine_queue *queue = untouched;
	static const size_t too_many[] = { SIZE_MAX - 1, SIZE_MAX / 2 + 2,
					   SIZE_MAX / 8 + 2, SIZE_MAX / 16 + 2,
					   ((size_t)1 << 31) + 1 };

	CHECK_EQ(tine_queue_new(NULL, 8, NULL), -EINVAL);
	CHECK_EQ(tine_queue_new(&queue, (1 << 20) + 1, NULL), -EINVAL);
	CHECK_EQ(tine_queue_new(&queue, SIZE_MAX, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(too_many) / sizeof(*too_many); i++) {
		tine_queue_opts opts = { .capacity = too_many[i] };

		CHECK_EQ(tine_queue_new(&queue, 8, &opts), -EINVAL);
		CHECK_EQ(tine_queue_new(&queue, 1 << 20, &opts), -EINVAL);
	}
	for (int i = 0; i < 5; i++) {
		tine_queue_opts opts = { .capacity = 1 };

		opts.reserved[i] = 1;
		CHECK_EQ(tine_queue_new(&queue, 8, &opts), -EINVAL);
	}
	/* Two pebibytes. */
	CHECK_EQ(tine_queue_new(&queue, 1 << 20,
				&(tine_queue_opts){ .capacity = (size_t)1 << 31 }),
		 -ENOMEM);
	CHECK(queue == untouched);
	tine_queue_free(NULL);
}

TEST(what_is_refused_changes_nothing)
{
	tine_queue *queue = make_of(8, 4, 1);
	char text[16] = "a";
	tine_lease id = 77;

	CHECK_EQ(tine_queue_put(NULL, text, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_put(queue, NULL, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_put(queue, text, 0, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_put(queue, text, 9, TINE_NOWAIT), -EMSGSIZE);
	CHECK_EQ(tine_queue_put(queue, text, SIZE_MAX, TINE_NOWAIT), -EMSGSIZE);
	CHECK_EQ(tine_queue_put_many(NULL, text, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_put_many(queue, NULL, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_put_many(queue, NULL, 0, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_len(queue), 0);
	CHECK_EQ(tine_queue_put(queue, text, 8, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_get(NULL, text, 8, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_get(queue, NULL, 8, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_lease(NULL, text, 8, &id, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_lease(queue, NULL, 8, &id, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_lease(queue, text, 8, NULL, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_get_many(NULL, text, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_get_many(queue, NULL, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_get_many(queue, text, 0, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_ack(NULL, 0), -EINVAL);
	CHECK_EQ(tine_queue_ack(queue, 0), -ENOENT);
	CHECK_EQ(tine_queue_ack(queue, UINT64_MAX), -ENOENT);
	CHECK_EQ(tine_queue_close(NULL), -EINVAL);
	CHECK_EQ(tine_queue_join(NULL), -EINVAL);
	CHECK_EQ(tine_queue_len(queue), 1);
	CHECK_EQ(id, 77);
	tine_queue_free(queue);
}

TEST(a_buffer_too_small_leaves_the_message)
{
	tine_queue *queue = make_of(100, 4, 1);
	char text[100] = "0123456789", buf[100] = "";
	tine_lease id = 77;

	CHECK_EQ(tine_queue_put(queue, text, 10, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_put(queue, text, 5, TINE_NOWAIT), 0);
	for (int i = 0; i < 9; i++) {
		CHECK_EQ(tine_queue_get(queue, buf, i, TINE_FOREVER), -EMSGSIZE);
		CHECK_EQ(tine_queue_lease(queue, buf, i, &id, TINE_FOREVER), -EMSGSIZE);
		CHECK_EQ(tine_queue_get(queue, NULL, 0, TINE_FOREVER), -EMSGSIZE);
	}
	CHECK_EQ(buf[0], 0);
	CHECK_EQ(id, 77);
	CHECK_EQ(tine_queue_len(queue), 2);
	CHECK_EQ(tine_queue_get(queue, buf, 10, TINE_FOREVER), 10);
	CHECK(memcmp(buf, text, 10) == 0);
	CHECK_EQ(tine_queue_get(queue, buf, 4, TINE_FOREVER), -EMSGSIZE);
	CHECK_EQ(tine_queue_get(queue, buf, 5, TINE_FOREVER), 5);
	tine_queue_free(queue);
}

TEST(the_usual_capacity)
{
	static const size_t lens[] = { 1, 8, 4096, 65536, 1 << 20 };

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		size_t used = shared_used(), n = 0, len = lens[i];
		unsigned char *buf = calloc(1, len);
		tine_queue *queue;

		CHECK_EQ(tine_queue_new(&queue, len, NULL), 0);
		CHECK(shared_used() - used < ((size_t)65 << 20));
		while (tine_queue_put(queue, buf, len, TINE_NOWAIT) == 0)
			n++;
		if (len < 60000)
			CHECK_EQ(n, 1024);
		CHECK(n >= 16 && n <= 1024 && n * len <= (size_t)64 << 20);
		tine_queue_free(queue);
		free(buf);
	}
}

TEST(a_zero_option_is_the_usual)
{
	tine_queue_opts opts = { 0 };
	tine_queue *queue;

	for (int i = 0; i < 2; i++) {
		CHECK_EQ(tine_queue_new(&queue, 8, i ? &opts : NULL), 0);
		for (int k = 0; k < 1024; k++)
			CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
		CHECK_EQ(put(queue, 1, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_queue_close(queue), 0);
		for (int k = 0; k < 1024; k++)
			CHECK_EQ(get(queue, TINE_NOWAIT), 1);
		ended(queue);
		tine_queue_free(queue);
	}
}

/* ---- capacity ---------------------------------------------------------------------- */

TEST(it_holds_exactly_its_capacity)
{
	for (size_t c = 0; c < CAPACITIES; c++) {
		int64_t capacity = (int64_t)capacities[c], in = 1, out = 1;
		tine_queue *queue = make(capacities[c], 1);

		for (int lap = 0; lap < 5; lap++) {
			while (in - out < capacity) {
				CHECK_EQ(tine_queue_len(queue), in - out);
				CHECK_EQ(put(queue, in++, TINE_NOWAIT), 0);
			}
			CHECK_EQ(put(queue, in, TINE_NOWAIT), -ETIMEDOUT);
			CHECK_EQ(tine_queue_len(queue), capacity);
			/* So that the laps begin at different cells. */
			for (int64_t i = 0; i < (capacity + lap) / 2 + 1; i++)
				if (out < in)
					CHECK_EQ(get(queue, TINE_NOWAIT), out++);
		}
		while (out < in)
			CHECK_EQ(get(queue, TINE_NOWAIT), out++);
		CHECK_EQ(get(queue, TINE_NOWAIT), -ETIMEDOUT);
		tine_queue_free(queue);
	}
}

TEST(what_is_on_lease_takes_no_room_and_has_a_limit_of_its_own)
{
	for (size_t c = 0; c < CAPACITIES; c++) {
		int64_t capacity = (int64_t)capacities[c], in = 1, out = 1;
		tine_queue *queue = make(capacities[c], 1);
		tine_lease *ids = calloc(capacities[c] + 1, sizeof(*ids));

		while (in <= capacity)
			CHECK_EQ(put(queue, in++, TINE_NOWAIT), 0);
		for (int64_t i = 0; i < capacity; i++) {
			CHECK_EQ(put(queue, in, TINE_NOWAIT), -ETIMEDOUT);
			CHECK_EQ(lease(queue, &ids[i], TINE_NOWAIT), out++);
			CHECK_EQ(tine_queue_len(queue), capacity - 1);
			CHECK_EQ(put(queue, in++, TINE_NOWAIT), 0);
		}
		/* So many in the queue, and as many on lease. */
		CHECK_EQ(lease(queue, &ids[capacity], TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(get(queue, TINE_NOWAIT), out++);
		CHECK_EQ(put(queue, in++, TINE_NOWAIT), 0);
		CHECK_EQ(lease(queue, &ids[capacity], tine_after(1)), -ETIMEDOUT);
		CHECK_EQ(tine_queue_ack(queue, ids[capacity / 2]), 0);
		CHECK_EQ(lease(queue, &ids[capacity / 2], TINE_NOWAIT), out++);
		for (int64_t i = 0; i < capacity; i++)
			CHECK_EQ(tine_queue_ack(queue, ids[i]), 0);
		while (out < in)
			CHECK_EQ(get(queue, TINE_NOWAIT), out++);
		free(ids);
		tine_queue_free(queue);
	}
}

/* ---- many at once ------------------------------------------------------------------ */

TEST(many_are_moved_as_far_as_they_go)
{
	tine_queue *queue = make(7, 1);
	int64_t in[10], out[100];

	for (int i = 0; i < 10; i++)
		in[i] = i + 1;
	for (int lap = 0; lap < 5; lap++) {
		memset(out, 0xee, sizeof(out));
		CHECK_EQ(tine_queue_get_many(queue, out, 100, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_queue_put_many(queue, in, 3, TINE_NOWAIT), 3);
		CHECK_EQ(tine_queue_put_many(queue, in + 3, 7, TINE_NOWAIT), 4);
		CHECK_EQ(tine_queue_put_many(queue, in + 7, 3, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_queue_len(queue), 7);
		CHECK_EQ(tine_queue_get_many(queue, out, 2, TINE_NOWAIT), 2);
		CHECK_EQ(out[2], INT64_C(0xeeeeeeeeeeeeeeee));
		CHECK_EQ(tine_queue_put_many(queue, in + 7, 3, tine_after(1)), 2);
		CHECK_EQ(tine_queue_get_many(queue, out + 2, 98, TINE_FOREVER), 7);
		for (int i = 0; i < 9; i++)
			CHECK_EQ(out[i], i + 1);
		CHECK_EQ(out[9], INT64_C(0xeeeeeeeeeeeeeeee));
	}
	CHECK_EQ(tine_queue_put_many(queue, in, 3, TINE_NOWAIT), 3);
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(tine_queue_put_many(queue, in, 3, TINE_NOWAIT), -EPIPE);
	CHECK_EQ(tine_queue_get_many(queue, out, 100, TINE_NOWAIT), 3);
	CHECK_EQ(tine_queue_get_many(queue, out, 100, TINE_NOWAIT), 0);
	tine_queue_free(queue);
}

TEST(shorter_messages_are_filled_up_with_zeros)
{
	tine_queue *queue = make_of(11, 8, 1);
	char buf[4][11], text[12] = "abcdefghijk";

	for (int len = 1; len <= 11; len += 5)
		CHECK_EQ(tine_queue_put(queue, text, len, TINE_NOWAIT), 0);
	memset(buf, 0xee, sizeof(buf));
	CHECK_EQ(tine_queue_get_many(queue, buf, 4, TINE_NOWAIT), 3);
	CHECK(memcmp(buf[0], "a\0\0\0\0\0\0\0\0\0", 11) == 0);
	CHECK(memcmp(buf[1], "abcdef\0\0\0\0", 11) == 0);
	CHECK(memcmp(buf[2], "abcdefghijk", 11) == 0);
	for (int i = 0; i < 11; i++)
		CHECK_EQ((unsigned char)buf[3][i], 0xee);
	/* Those of put_many have the full length. */
	CHECK_EQ(tine_queue_put_many(queue, buf, 2, TINE_NOWAIT), 2);
	CHECK_EQ(tine_queue_get(queue, text, 10, TINE_NOWAIT), -EMSGSIZE);
	CHECK_EQ(tine_queue_get(queue, text, 11, TINE_NOWAIT), 11);
	tine_queue_free(queue);
}

enum { MANY = 20000 };

static void put_very_many(void *queue)
{
	int64_t *numbers = calloc(MANY, sizeof(*numbers));

	for (int64_t i = 0; i < MANY; i++)
		numbers[i] = i + 1;
	CHECK_EQ(tine_queue_put_many(queue, numbers, MANY, TINE_FOREVER), MANY);
	free(numbers);
}

/* More than fit into one claim, or into the queue. */
TEST(very_many_at_once)
{
	for (size_t capacity = 100; capacity <= 32768; capacity = capacity * 17 + 5) {
		tine_queue *queue = make(capacity, 1);
		int64_t *out = calloc(MANY, sizeof(*out));
		pid_t pid = test_fork(put_very_many, queue);
		ssize_t n, done = 0;

		while ((n = tine_queue_get_many(queue, out + done, MANY, SOON)) > 0)
			done += n;
		CHECK_EQ(n, 0);
		CHECK_EQ(done, MANY);
		for (int64_t i = 0; i < MANY; i++)
			CHECK_EQ(out[i], i + 1);
		CHECK_EQ(test_reap(pid), 0);
		free(out);
		tine_queue_free(queue);
	}
}

/* ---- order, and each once ---------------------------------------------------------- */

enum { PRODUCERS = 3, CONSUMERS = 3 };
enum how { ONE, SEVERAL, ON_LEASE, MIXED };

struct traffic {
	tine_queue *queue;
	enum how how;
	uint32_t each;
	_Atomic uint32_t came; /* gives those who come their numbers */
	_Atomic uint8_t *seen;
};

static void produce_as(struct traffic *traffic, uint32_t self)
{
	struct message messages[13];
	uint32_t at = 0;

	while (at < traffic->each) {
		uint32_t n = traffic->how == ONE ? 1 : at % 13 + 1;

		n = n < traffic->each - at ? n : traffic->each - at;
		for (uint32_t i = 0; i < n; i++)
			messages[i] = (struct message){ self, at + i };
		if (n == 1)
			CHECK_EQ(tine_queue_put(traffic->queue, messages,
						sizeof(*messages), SOON),
				 0);
		else
			CHECK_EQ(tine_queue_put_many(traffic->queue, messages, n, SOON),
				 n);
		at += n;
	}
}

static void produce(void *arg)
{
	struct traffic *traffic = arg;
	uint32_t self = atomic_fetch_add(&traffic->came, 1);

	produce_as(traffic, self);
	/* The others just end. */
	if (self % 2)
		CHECK_EQ(tine_queue_close(traffic->queue), 0);
}

static ssize_t take(struct traffic *traffic, struct message *messages, uint32_t turn)
{
	enum how how = traffic->how == MIXED ? turn % MIXED : traffic->how;
	tine_lease id;
	ssize_t n;

	if (how == SEVERAL)
		return tine_queue_get_many(traffic->queue, messages, 11, SOON);
	if (how == ONE)
		n = tine_queue_get(traffic->queue, messages, sizeof(*messages), SOON);
	else
		n = tine_queue_lease(traffic->queue, messages, sizeof(*messages), &id,
				     SOON);
	if (how == ON_LEASE && n > 0)
		CHECK_EQ(tine_queue_ack(traffic->queue, id), 0);
	return n > 0 ? 1 : n;
}

static void consume(void *arg)
{
	struct traffic *traffic = arg;
	uint32_t next[PRODUCERS] = { 0 };
	struct message messages[11];
	ssize_t n;

	for (uint32_t turn = 0; (n = take(traffic, messages, turn)) > 0; turn++)
		for (ssize_t i = 0; i < n; i++) {
			struct message *message = &messages[i];

			CHECK(message->producer < PRODUCERS);
			CHECK(message->number >= next[message->producer]);
			CHECK(message->number < traffic->each);
			next[message->producer] = message->number + 1;
			atomic_fetch_add(
				&traffic->seen[message->producer * traffic->each +
					       message->number],
				1);
		}
	CHECK_EQ(n, 0);
}

static struct traffic *begin_traffic(size_t capacity, unsigned producers, enum how how,
				     uint32_t each)
{
	struct traffic *traffic = tine_shared_new(1, sizeof(*traffic));

	CHECK(traffic);
	traffic->queue = make_of(sizeof(struct message), capacity, producers);
	traffic->how = how;
	traffic->each = each;
	traffic->seen = tine_shared_new(PRODUCERS, each);
	CHECK(traffic->seen);
	return traffic;
}

static void end_traffic(struct traffic *traffic)
{
	for (uint32_t i = 0; i < PRODUCERS * traffic->each; i++)
		CHECK_EQ(traffic->seen[i], 1);
	tine_queue_free(traffic->queue);
	tine_shared_free((void *)traffic->seen);
	tine_shared_free(traffic);
}

TEST(each_once_and_in_the_order_of_its_producer)
{
	for (size_t c = 0; c < TRAFFIC_CAPACITIES; c++)
		for (enum how how = ONE; how <= MIXED; how++) {
			struct traffic *traffic = begin_traffic(
				capacities[c], PRODUCERS, how,
				test_scaled(capacities[c] < 4 ? 250 : 2000));
			pid_t pids[PRODUCERS + CONSUMERS];

			for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
				pids[i] = test_fork(i % 2 ? produce : consume, traffic);
			for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
				CHECK_EQ(test_reap(pids[i]), 0);
			end_traffic(traffic);
		}
}

static void *produce_in_thread(void *arg)
{
	struct traffic *traffic = arg;

	produce_as(traffic, atomic_fetch_add(&traffic->came, 1));
	return NULL;
}

static void *consume_in_thread(void *traffic)
{
	consume(traffic);
	return NULL;
}

static void with_threads(struct traffic *traffic, int producers, int consumers)
{
	pthread_t threads[PRODUCERS + CONSUMERS];
	int n = producers + consumers;

	for (int i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL,
					i < producers ? produce_in_thread
						      : consume_in_thread,
					traffic),
			 0);
	for (int i = 0; i < producers; i++)
		pthread_join(threads[i], NULL);
	/* One producer, whatever its threads. */
	CHECK_EQ(tine_queue_close(traffic->queue), 0);
	for (int i = producers; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void one_with_threads(void *traffic)
{
	with_threads(traffic, 1, 2);
}

TEST(threads_are_producers_and_consumers)
{
	for (size_t c = 0; c < TRAFFIC_CAPACITIES; c++)
		for (enum how how = ONE; how <= MIXED; how++) {
			uint32_t each = test_scaled(capacities[c] < 4 ? 200 : 1000);
			struct traffic *traffic = begin_traffic(capacities[c], 1, how,
								each);
			pid_t pid;

			with_threads(traffic, PRODUCERS, CONSUMERS);
			end_traffic(traffic);

			traffic = begin_traffic(capacities[c], 2, how, each);
			pid = test_fork(one_with_threads, traffic);
			with_threads(traffic, PRODUCERS - 1, 2);
			CHECK_EQ(test_reap(pid), 0);
			end_traffic(traffic);
		}
}

/* ---- waiting ----------------------------------------------------------------------- */

TEST(deadlines)
{
	tine_queue *queue = make(1, 1);
	int64_t number = 1, begun;
	tine_lease id;
	const int64_t past[] = { TINE_NOWAIT, INT64_MIN,      -1,
				 1000000000,  tine_now() - 1, tine_now() };

	for (size_t i = 0; i < sizeof(past) / sizeof(*past); i++) {
		CHECK_EQ(get(queue, past[i]), -ETIMEDOUT);
		CHECK_EQ(lease(queue, &id, past[i]), -ETIMEDOUT);
		CHECK_EQ(tine_queue_get_many(queue, &number, 1, past[i]), -ETIMEDOUT);
		/* What needs no waiting is done all the same. */
		CHECK_EQ(put(queue, 5, past[i]), 0);
		CHECK_EQ(put(queue, 6, past[i]), -ETIMEDOUT);
		CHECK_EQ(tine_queue_put_many(queue, &number, 1, past[i]), -ETIMEDOUT);
		CHECK_EQ(get(queue, past[i]), 5);
	}
	for (int i = 0; i < 5; i++) {
		if (i == 3)
			CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
		begun = tine_now();
		switch (i) {
		case 0:
			CHECK_EQ(get(queue, tine_after(20)), -ETIMEDOUT);
			break;
		case 1:
			CHECK_EQ(lease(queue, &id, tine_after(20)), -ETIMEDOUT);
			break;
		case 2:
			CHECK_EQ(tine_queue_get_many(queue, &number, 1, tine_after(20)),
				 -ETIMEDOUT);
			break;
		case 3:
			CHECK_EQ(put(queue, 2, tine_after(20)), -ETIMEDOUT);
			break;
		case 4:
			CHECK_EQ(tine_queue_put_many(queue, &number, 1, tine_after(20)),
				 -ETIMEDOUT);
			break;
		}
		CHECK(tine_now() - begun >= 20000000);
	}
	tine_queue_free(queue);
}

/* What each waits for, and what it is that wakes it. */
enum wait {
	PUT_FOR_GET,
	GET_FOR_PUT,
	ACK_FOR_ROOM,
	ACK_FOR_END,
	CLOSE_FOR_END,
	CLOSE_FOR_PUT
};
enum { WAITS = CLOSE_FOR_PUT + 1 };

struct sleeper {
	tine_queue *queue;
	enum wait wait;
	tine_lease id;
	_Atomic int woke;
};

static void sleep_and_tell(void *arg)
{
	struct sleeper *sleeper = arg;
	tine_queue *queue = sleeper->queue;

	switch (sleeper->wait) {
	case PUT_FOR_GET:
		CHECK_EQ(get(queue, TINE_FOREVER), 1);
		break;
	case GET_FOR_PUT:
		CHECK_EQ(put(queue, 2, TINE_FOREVER), 0);
		break;
	case ACK_FOR_ROOM:
		CHECK_EQ(lease(queue, &sleeper->id, TINE_FOREVER), 2);
		break;
	case ACK_FOR_END:
	case CLOSE_FOR_END:
		CHECK_EQ(get(queue, TINE_FOREVER), 0);
		break;
	case CLOSE_FOR_PUT:
		CHECK_EQ(put(queue, 2, TINE_FOREVER), -EPIPE);
		break;
	}
	atomic_store(&sleeper->woke, 1);
}

static void prepare(struct sleeper *sleeper, enum wait wait)
{
	tine_queue *queue = make(1, 1);

	/* Nobody looks by itself before the test has failed. */
	queue->nap = INT64_C(600000000000);
	*sleeper = (struct sleeper){ .queue = queue, .wait = wait };
	if (wait != PUT_FOR_GET && wait != CLOSE_FOR_END)
		CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	if (wait == ACK_FOR_ROOM || wait == ACK_FOR_END)
		CHECK_EQ(lease(queue, &sleeper->id, TINE_NOWAIT), 1);
	if (wait == ACK_FOR_ROOM)
		CHECK_EQ(put(queue, 2, TINE_NOWAIT), 0);
	if (wait == ACK_FOR_END)
		CHECK_EQ(tine_queue_close(queue), 0);
}

static void wake(struct sleeper *sleeper)
{
	switch (sleeper->wait) {
	case PUT_FOR_GET:
		CHECK_EQ(put(sleeper->queue, 1, TINE_NOWAIT), 0);
		break;
	case GET_FOR_PUT:
		CHECK_EQ(get(sleeper->queue, TINE_NOWAIT), 1);
		break;
	case ACK_FOR_ROOM:
	case ACK_FOR_END:
		CHECK_EQ(tine_queue_ack(sleeper->queue, sleeper->id), 0);
		break;
	case CLOSE_FOR_END:
	case CLOSE_FOR_PUT:
		CHECK_EQ(tine_queue_close(sleeper->queue), 0);
		break;
	}
}

static bool is_asleep(const struct sleeper *sleeper, pid_t pid)
{
	struct sleepers *items = &sleeper->queue->items, *room = &sleeper->queue->room;
	char path[64], state = 0;
	FILE *file;

	if (!sleepers_any(items) && !sleepers_any(room))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	CHECK(file);
	CHECK_EQ(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state == 'S';
}

TEST(who_sleeps_is_woken)
{
	struct sleeper *sleepers = tine_shared_new(WAITS, sizeof(*sleepers));
	int64_t guard = SOON;
	pid_t pids[WAITS];

	for (int i = 0; i < WAITS; i++) {
		prepare(&sleepers[i], i);
		pids[i] = test_fork(sleep_and_tell, &sleepers[i]);
	}
	for (int i = 0; i < WAITS; i++) {
		while (!is_asleep(&sleepers[i], pids[i])) {
			CHECK(tine_now() < guard);
			test_sleep_us(1000);
		}
		wake(&sleepers[i]);
	}
	for (int i = 0; i < WAITS; i++) {
		wait_for(&sleepers[i].woke, 1);
		CHECK_EQ(test_reap(pids[i]), 0);
		tine_queue_free(sleepers[i].queue);
	}
	tine_shared_free(sleepers);
}

struct idler {
	tine_queue *queue;
	_Atomic int ready;
};

static void idle(void (*wait)(struct idler *), struct idler *idler)
{
	struct rusage begun, now;
	int64_t us;

	getrusage(RUSAGE_SELF, &begun);
	wait(idler);
	getrusage(RUSAGE_SELF, &now);
	us = (now.ru_utime.tv_sec + now.ru_stime.tv_sec - begun.ru_utime.tv_sec -
	      begun.ru_stime.tv_sec) *
		     INT64_C(1000000) +
	     now.ru_utime.tv_usec + now.ru_stime.tv_usec - begun.ru_utime.tv_usec -
	     begun.ru_stime.tv_usec;
	if (us >= 20000)
		test_fail(__FILE__, __LINE__, "%" PRId64 " us", us);
}

static void wait_to_get(struct idler *idler)
{
	CHECK_EQ(get(idler->queue, tine_after(2000)), -ETIMEDOUT);
}

static void wait_to_lease(struct idler *idler)
{
	tine_lease id;

	CHECK_EQ(lease(idler->queue, &id, tine_after(2000)), -ETIMEDOUT);
}

static void idle_in_get(void *idler)
{
	idle(wait_to_get, idler);
}

static void idle_in_lease(void *idler)
{
	idle(wait_to_lease, idler);
}

static void wait_to_put(struct idler *idler)
{
	CHECK_EQ(put(idler->queue, 1, tine_after(2000)), -ETIMEDOUT);
}

static void idle_in_put(void *idler)
{
	idle(wait_to_put, idler);
}

/* Nor at the end of a stream that waits for the lease of somebody else. */
TEST(who_waits_uses_no_processor)
{
	struct idler *idlers = tine_shared_new(3, sizeof(*idlers));
	pid_t pids[8];
	tine_lease id;

	for (int i = 0; i < 3; i++)
		idlers[i].queue = make(1, i == 1 ? 3 : 1);
	CHECK_EQ(put(idlers[1].queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(put(idlers[2].queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(lease(idlers[2].queue, &id, TINE_NOWAIT), 1);
	CHECK_EQ(tine_queue_close(idlers[2].queue), 0);
	for (int i = 0; i < 8; i++)
		pids[i] = test_fork(i < 2   ? idle_in_get
				    : i < 4 ? idle_in_lease
				    : i < 6 ? idle_in_put
				    : i < 7 ? idle_in_get
					    : idle_in_lease,
				    &idlers[i < 4   ? 0
					    : i < 6 ? 1
						    : 2]);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	for (int i = 0; i < 3; i++)
		tine_queue_free(idlers[i].queue);
	tine_shared_free(idlers);
}

/* ---- the end of the stream --------------------------------------------------------- */

static void close_it_twice(void *queue)
{
	close_it(queue);
	close_it(queue);
}

static void put_and_close(void *queue)
{
	CHECK_EQ(put(queue, 7, TINE_NOWAIT), 0);
	close_it_twice(queue);
}

TEST(it_ends_with_the_last_close_and_after_the_last_message)
{
	tine_queue *queue = make(8, 5);

	/* Before anything was put; by a process that never puts; again and again. */
	in_a_child(close_it, queue);
	in_a_child(close_it_twice, queue);
	in_a_child(put_and_close, queue);
	CHECK_EQ(put(queue, 8, TINE_NOWAIT), 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(put(queue, 1, TINE_FOREVER), -EPIPE);
	CHECK_EQ(get(queue, TINE_NOWAIT), 7);
	CHECK_EQ(get(queue, TINE_NOWAIT), 8);
	not_ended(queue);
	in_a_child(put_and_close, queue);
	CHECK_EQ(get(queue, TINE_NOWAIT), 7);
	ended(queue);
	/* More than there are producers. */
	in_a_child(close_it_twice, queue);
	ended(queue);
	tine_queue_free(queue);
}

TEST(when_all_have_closed_others_may_not_put_either)
{
	tine_queue *queue = make(2, 1);

	in_a_child(put_and_close, queue);
	CHECK_EQ(put(queue, 1, TINE_FOREVER), -EPIPE);
	CHECK_EQ(get(queue, TINE_NOWAIT), 7);
	ended(queue);
	tine_queue_free(queue);
}

static void lease_the_end(void *queue)
{
	tine_lease id;

	CHECK_EQ(lease(queue, &id, SOON), 0);
}

static void put_part_until_the_end(void *queue)
{
	int64_t numbers[3] = { 1, 2, 3 };

	CHECK_EQ(tine_queue_put_many(queue, numbers, 3, SOON), 2);
}

TEST(who_waits_hears_of_the_end)
{
	tine_queue *empty = make(2, 1), *full = make(2, 1);
	pid_t pids[6];

	pids[0] = test_fork(put_part_until_the_end, full);
	wait_for_len(full, 2);
	pids[1] = test_fork(get_the_end, empty);
	pids[2] = test_fork(get_the_end, empty);
	pids[3] = test_fork(lease_the_end, empty);
	pids[4] = test_fork(put_until_the_end, full);
	pids[5] = test_fork(put_until_the_end, full);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(tine_queue_close(empty), 0);
	CHECK_EQ(tine_queue_close(full), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_queue_free(empty);
	tine_queue_free(full);
}

/* ---- leases ------------------------------------------------------------------------ */

TEST(an_ack_is_the_holders_and_once)
{
	struct holder *holder = make_holder(4, 1);
	tine_lease own, other;
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(put(holder->queue, 2, TINE_NOWAIT), 0);
	CHECK_EQ(put(holder->queue, 3, TINE_NOWAIT), 0);
	CHECK_EQ(lease(holder->queue, &own, TINE_NOWAIT), 1);
	pid = start_holder(holder, hold_then_ack);
	other = holder->id;
	CHECK_EQ(holder->number, 2);
	CHECK(other != own);
	CHECK_EQ(tine_queue_ack(holder->queue, other), -ENOENT);
	CHECK_EQ(tine_queue_ack(holder->queue, own), 0);
	CHECK_EQ(tine_queue_ack(holder->queue, own), -ENOENT);
	atomic_store(&holder->go, 1);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_queue_ack(holder->queue, other), -ENOENT);
	/* In the place of an earlier one: that stays void. */
	for (int i = 0; i < 100; i++) {
		tine_lease old = own;

		CHECK_EQ(lease(holder->queue, &own, TINE_NOWAIT), 3 + i);
		CHECK_EQ(tine_queue_ack(holder->queue, old), -ENOENT);
		CHECK_EQ(tine_queue_ack(holder->queue, own), 0);
		CHECK_EQ(put(holder->queue, 4 + i, TINE_NOWAIT), 0);
	}
	CHECK_EQ(tine_queue_ack(holder->queue, UINT64_MAX), -ENOENT);
	CHECK_EQ(tine_queue_len(holder->queue), 1);
	free_holder(holder);
}

TEST(acks_in_any_order)
{
	tine_queue *queue = make(16, 1);
	tine_lease ids[16];

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 16; i++)
			CHECK_EQ(put(queue, i + 1, TINE_NOWAIT), 0);
		for (int i = 0; i < 16; i++)
			CHECK_EQ(lease(queue, &ids[i], TINE_NOWAIT), i + 1);
		for (int i = 0; i < 16; i++)
			CHECK_EQ(tine_queue_ack(queue, ids[i * 7 % 16]), 0);
		for (int i = 0; i < 16; i++)
			CHECK_EQ(tine_queue_ack(queue, ids[i]), -ENOENT);
	}
	tine_queue_free(queue);
}

static void lease_when_one_is_acked(void *arg)
{
	struct holder *holder = arg;

	CHECK_EQ(lease(holder->queue, &holder->id, SOON), 2);
}

TEST(who_waits_for_a_place_on_lease_is_woken)
{
	struct holder *holder = make_holder(1, 1);
	tine_lease id;
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(lease(holder->queue, &id, TINE_NOWAIT), 1);
	CHECK_EQ(put(holder->queue, 2, TINE_NOWAIT), 0);
	pid = test_fork(lease_when_one_is_acked, holder);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
	CHECK_EQ(test_reap(pid), 0);
	free_holder(holder);
}

TEST(a_lease_given_back_is_delivered_before_what_waits)
{
	tine_queue *queue = make(4, 1);
	tine_lease id;

	for (int i = 1; i <= 3; i++)
		CHECK_EQ(put(queue, i, TINE_NOWAIT), 0);
	/* From the ring, and then each time from the box where it is. */
	for (int i = 0; i < 9; i++) {
		CHECK_EQ(lease(queue, &id, TINE_NOWAIT), 1);
		CHECK_EQ(tine_queue_nack(queue, id), 0);
		CHECK_EQ(tine_queue_nack(queue, id), -ENOENT);
		CHECK_EQ(tine_queue_ack(queue, id), -ENOENT);
		CHECK_EQ(tine_queue_len(queue), 3);
	}
	for (int i = 1; i <= 3; i++)
		CHECK_EQ(get(queue, TINE_NOWAIT), i);
	CHECK_EQ(tine_queue_nack(queue, id), -ENOENT);
	CHECK_EQ(tine_queue_nack(queue, UINT64_MAX), -ENOENT);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	tine_queue_free(queue);
}

static void nack_of_another(void *arg)
{
	struct holder *holder = arg;
	tine_lease id;

	CHECK_EQ(tine_queue_nack(holder->queue, holder->id), -ENOENT);
	CHECK_EQ(put(holder->queue, 2, TINE_NOWAIT), 0);
	CHECK_EQ(lease(holder->queue, &id, TINE_NOWAIT), 2);
	CHECK_EQ(tine_queue_nack(holder->queue, holder->id), -ENOENT);
	CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
}

static void get_one_and_the_end(void *queue)
{
	CHECK_EQ(get(queue, SOON), 1);
	CHECK_EQ(get(queue, SOON), 0);
}

TEST(who_waits_for_the_end_gets_what_is_given_back)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(lease(holder->queue, &holder->id, TINE_NOWAIT), 1);
	CHECK_EQ(test_reap(test_fork(nack_of_another, holder)), 0);
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	pid = test_fork(get_one_and_the_end, holder->queue);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	CHECK_EQ(tine_queue_nack(holder->queue, holder->id), 0);
	CHECK_EQ(test_reap(pid), 0);
	free_holder(holder);
}

static tine_queue *make_with_leases(int64_t ms)
{
	tine_queue_opts opts = { .capacity = 4, .lease_ms = ms };
	tine_queue *queue;

	CHECK_EQ(tine_queue_new(&queue, sizeof(int64_t), &opts), 0);
	return queue;
}

static void lease_and_stop(void *arg)
{
	struct holder *holder = arg;

	hold(holder);
	raise(SIGSTOP);
	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), -ENOENT);
	CHECK_EQ(tine_queue_nack(holder->queue, holder->id), -ENOENT);
}

TEST(a_lease_that_runs_out_is_delivered_again)
{
	struct holder *holder = tine_shared_new(1, sizeof(*holder));
	tine_lease id;
	pid_t pid;

	holder->queue = make_with_leases(40);
	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	pid = start_holder(holder, lease_and_stop);
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	/* The end of the stream waits for it. */
	CHECK_EQ(lease(holder->queue, &id, SOON), 1);
	/* This one runs out too; its process gets the message back. */
	CHECK_EQ(get(holder->queue, tine_after(LONG_NAP / 1000)), 0);
	CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
	ended(holder->queue);
	CHECK_EQ(kill(pid, SIGCONT), 0);
	CHECK_EQ(test_reap(pid), 0);
	free_holder(holder);
}

TEST(a_lease_that_has_not_run_out_is_not_delivered_again)
{
	tine_queue *queue = make_with_leases(600000);
	tine_lease id;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), 1);
	not_ended(queue);
	CHECK_EQ(tine_queue_ack(queue, id), 0);
	tine_queue_free(queue);
	CHECK_EQ(tine_queue_new(&queue, 8, &(tine_queue_opts){ .lease_ms = -1 }),
		 -EINVAL);
	CHECK_EQ(tine_queue_new(&queue, 8, &(tine_queue_opts){ .lease_ms = INT64_MAX }),
		 -EINVAL);
}

TEST(an_open_stream_does_not_end)
{
	tine_queue *queue = make(4, TINE_OPEN);

	in_a_child(close_it, queue);
	in_a_child(close_it, queue);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	not_ended(queue);
	tine_queue_free(queue);
}

/* ---- until all is done ------------------------------------------------------------- */

static void wait_until_drained(void *arg)
{
	struct holder *holder = arg;

	CHECK_EQ(tine_queue_drained(holder->queue, SOON), 0);
	CHECK_EQ(tine_queue_len(holder->queue), 0);
	CHECK_EQ(atomic_load(&holder->go), 1);
}

TEST(drained_is_a_queue_with_nothing_in_it_nor_on_lease)
{
	struct holder *holder = make_holder(4, 1);
	tine_queue *queue = holder->queue;
	tine_lease id;
	pid_t pid;

	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), 1);
	CHECK_EQ(tine_queue_drained(queue, tine_after(2)), -ETIMEDOUT);
	CHECK_EQ(tine_queue_nack(queue, id), 0);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), -ETIMEDOUT);
	/* Nobody looks by itself before the test has failed: it is the ack that wakes. */
	queue->nap = INT64_C(600000000000);
	pid = test_fork(wait_until_drained, holder);
	CHECK_EQ(lease(queue, &id, TINE_NOWAIT), 1);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	atomic_store(&holder->go, 1);
	CHECK_EQ(tine_queue_ack(queue, id), 0);
	CHECK_EQ(test_reap(pid), 0);
	/* Or the consumer that comes for more. */
	atomic_store(&holder->go, 0);
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	pid = test_fork(wait_until_drained, holder);
	test_sleep_us(LONG_NAP);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	atomic_store(&holder->go, 1);
	CHECK_EQ(get(queue, TINE_NOWAIT), 1);
	CHECK_EQ(get(queue, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(test_reap(pid), 0);
	free_holder(holder);
}

TEST(what_the_dead_had_on_lease_is_not_done)
{
	struct holder *holder = make_holder(4, 1);
	pid_t pid;

	CHECK_EQ(put(holder->queue, 1, TINE_NOWAIT), 0);
	pid = start_holder(holder, hold_and_stay);
	CHECK_EQ(tine_queue_drained(holder->queue, TINE_NOWAIT), -ETIMEDOUT);
	test_kill(pid);
	CHECK_EQ(tine_queue_drained(holder->queue, tine_after(20)), -ETIMEDOUT);
	CHECK_EQ(get(holder->queue, SOON), 1);
	CHECK_EQ(tine_queue_drained(holder->queue, SOON), 0);
	free_holder(holder);
}

/* ---- messages of any length -------------------------------------------------------- */

static const size_t lengths[] = { 1, 8, 56, 57, 63, 64, 65, 200, 4096, 65536, 5000000 };
#define LENGTHS (sizeof(lengths) / sizeof(*lengths))

static tine_queue *make_any(size_t capacity)
{
	return make_of(0, capacity, 1);
}

static char *new_text(size_t len)
{
	char *text = malloc(len);

	CHECK(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(i * 31 + len);
	return text;
}

static void put_text(tine_queue *queue, size_t len)
{
	char *text = new_text(len);

	CHECK_EQ(tine_queue_put(queue, text, len, TINE_NOWAIT), 0);
	free(text);
}

static void is_text(const void *got, size_t len)
{
	char *text = new_text(len);

	CHECK(memcmp(got, text, len) == 0);
	free(text);
}

TEST(messages_of_any_length)
{
	tine_queue *queue = make_any(2 * LENGTHS);
	char *buf = malloc(lengths[LENGTHS - 1]);
	tine_lease id;

	for (int leased = 0; leased < 2; leased++) {
		for (size_t i = 0; i < LENGTHS; i++)
			put_text(queue, lengths[i]);
		for (size_t i = 0; i < LENGTHS; i++) {
			size_t len = lengths[i];

			/* A buffer that is too small leaves it where it is. */
			CHECK_EQ(tine_queue_get(queue, buf, len - 1, TINE_NOWAIT),
				 -EMSGSIZE);
			CHECK_EQ(tine_queue_lease(queue, buf, len - 1, &id, TINE_NOWAIT),
				 -EMSGSIZE);
			memset(buf, 0, len);
			if (!leased) {
				CHECK_EQ(tine_queue_get(queue, buf, len, TINE_NOWAIT),
					 len);
				is_text(buf, len);
				continue;
			}
			for (int n = 0; n < 3; n++) {
				CHECK_EQ(tine_queue_lease(queue, buf, len, &id,
							  TINE_NOWAIT),
					 len);
				is_text(buf, len);
				memset(buf, 0, len);
				if (n < 2)
					CHECK_EQ(tine_queue_nack(queue, id), 0);
			}
			CHECK_EQ(tine_queue_ack(queue, id), 0);
			CHECK_EQ(tine_queue_ack(queue, id), -ENOENT);
		}
		CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), 0);
	}
	free(buf);
	tine_queue_free(queue);
}

TEST(messages_in_place)
{
	tine_queue *queue = make_any(2);
	const void *msg;
	void *mem;

	for (size_t i = 0; i < LENGTHS; i++) {
		char *text = new_text(lengths[i]);

		put_text(queue, lengths[i]);
		CHECK_EQ(tine_queue_take(queue, &msg, TINE_NOWAIT), lengths[i]);
		is_text(msg, lengths[i]);
		CHECK_EQ(tine_queue_release(queue, msg), 0);
		CHECK_EQ(tine_queue_reserve(queue, lengths[i], &mem), 0);
		memcpy(mem, text, lengths[i]);
		CHECK_EQ(tine_queue_commit(queue, mem, lengths[i], TINE_NOWAIT), 0);
		/* It is the queue's now. */
		CHECK_EQ(tine_queue_commit(queue, mem, lengths[i], TINE_NOWAIT), -ENOENT);
		CHECK_EQ(tine_queue_release(queue, mem), -ENOENT);
		CHECK_EQ(tine_queue_take(queue, &msg, TINE_NOWAIT), lengths[i]);
		CHECK(msg == mem);
		is_text(msg, lengths[i]);
		CHECK_EQ(tine_queue_release(queue, msg), 0);
		free(text);
	}
	/* Where there is no room, what was reserved is as it was. */
	put_text(queue, 100);
	put_text(queue, 100);
	CHECK_EQ(tine_queue_reserve(queue, 300, &mem), 0);
	CHECK_EQ(tine_queue_commit(queue, mem, 300, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_queue_put(queue, queue, 100, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_queue_release(queue, mem), 0);
	CHECK_EQ(tine_queue_release(queue, mem), -ENOENT);
	CHECK_EQ(tine_queue_take(queue, &msg, TINE_NOWAIT), 100);
	CHECK_EQ(tine_queue_close(queue), 0);
	/* What is in it is freed with it; what was taken is the caller's. */
	tine_queue_free(queue);
	tine_shared_free((void *)msg);
	queue = make_any(2);
	CHECK_EQ(tine_queue_close(queue), 0);
	CHECK_EQ(tine_queue_take(queue, &msg, TINE_NOWAIT), 0);
	tine_queue_free(queue);
}

TEST(what_a_queue_with_a_length_does_not_do)
{
	tine_queue *queue = make(2, 1), *any = make_any(2);
	const void *msg = NULL;
	int64_t number = 1;
	void *mem = NULL;

	CHECK_EQ(tine_queue_reserve(queue, 8, &mem), -EINVAL);
	CHECK_EQ(tine_queue_commit(queue, &number, 8, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_take(queue, &msg, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_release(queue, &number), -EINVAL);
	CHECK(!mem && !msg);
	CHECK_EQ(tine_queue_put(queue, any, 100, TINE_NOWAIT), -EMSGSIZE);
	/* And one without. */
	CHECK_EQ(tine_queue_put_many(any, &number, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_get_many(any, &number, 1, TINE_NOWAIT), -EINVAL);
	CHECK_EQ(tine_queue_reserve(any, 0, &mem), -EINVAL);
	CHECK_EQ(tine_queue_reserve(any, SIZE_MAX / 2, &mem), -ENOMEM);
	CHECK_EQ(tine_queue_commit(any, &number, 8, TINE_NOWAIT), -ENOENT);
	CHECK_EQ(tine_queue_release(any, &number), -ENOENT);
	CHECK_EQ(tine_queue_take(any, &msg, TINE_NOWAIT), -ETIMEDOUT);
	tine_queue_free(queue);
	tine_queue_free(any);
}

static void pass_texts_on(void *arg)
{
	tine_queue **queues = arg;
	const void *msg;
	ssize_t len;
	void *mem;

	while ((len = tine_queue_take(queues[0], &msg, SOON)) > 0) {
		CHECK_EQ(tine_queue_reserve(queues[1], (size_t)len, &mem), 0);
		memcpy(mem, msg, (size_t)len);
		CHECK_EQ(tine_queue_release(queues[0], msg), 0);
		CHECK_EQ(tine_queue_commit(queues[1], mem, (size_t)len, SOON), 0);
	}
	CHECK_EQ(len, 0);
}

TEST(long_messages_between_processes)
{
	tine_queue *queues[2] = { make_any(3), make_of(0, 3, 2) };
	pid_t pids[2];
	char buf[4096];
	size_t n = 0;

	for (int i = 0; i < 2; i++)
		pids[i] = test_fork(pass_texts_on, queues);
	for (size_t i = 0; i < 300; i++) {
		char *text = new_text(i * 7 % 4096 + 1);

		CHECK_EQ(tine_queue_put(queues[0], text, i * 7 % 4096 + 1, SOON), 0);
		free(text);
		while (tine_queue_len(queues[1]) == 3) {
			ssize_t len = tine_queue_get(queues[1], buf, sizeof(buf), SOON);

			CHECK(len > 0);
			is_text(buf, (size_t)len);
			n++;
		}
	}
	CHECK_EQ(tine_queue_close(queues[0]), 0);
	for (ssize_t len; (len = tine_queue_get(queues[1], buf, sizeof(buf), SOON)) > 0;
	     n++)
		is_text(buf, (size_t)len);
	CHECK_EQ(n, 300);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	tine_queue_free(queues[0]);
	tine_queue_free(queues[1]);
}

/* ---- the family -------------------------------------------------------------------- */

static void make_one_and_send_it(void *arg)
{
	tine_queue **posts = arg, *queue = make_of(100, 4, 1);
	char text[100];

	CHECK_EQ(tine_queue_put(queue, "hello", 6, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_put(posts[0], &queue, sizeof(queue), TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_get(posts[1], text, sizeof(text), SOON), 8);
}

TEST(one_made_after_the_fork_is_sent_through_another)
{
	tine_queue *posts[2] = { make_of(8, 4, 1), make_of(8, 4, 1) }, *queue;
	pid_t pid = test_fork(make_one_and_send_it, posts);
	char text[100];

	CHECK_EQ(tine_queue_get(posts[0], &queue, sizeof(queue), SOON), sizeof(queue));
	CHECK_EQ(tine_queue_get(queue, text, sizeof(text), SOON), 6);
	CHECK(strcmp(text, "hello") == 0);
	CHECK_EQ(put(posts[1], 1, TINE_NOWAIT), 0);
	CHECK_EQ(test_reap(pid), 0);
	/* It outlives its maker, which was its producer. */
	CHECK_EQ(get(queue, SOON), 0);
	tine_queue_free(queue);
	tine_queue_free(posts[0]);
	tine_queue_free(posts[1]);
}

static void be_ones_own_process(void *arg)
{
	struct holder *holder = arg;
	tine_lease id;

	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), -ENOENT);
	CHECK_EQ(put(holder->queue, 3, TINE_NOWAIT), 0);
	CHECK_EQ(lease(holder->queue, &id, TINE_NOWAIT), 2);
	CHECK_EQ(tine_queue_ack(holder->queue, holder->id), -ENOENT);
	CHECK_EQ(tine_queue_close(holder->queue), 0);
	CHECK_EQ(put(holder->queue, 4, TINE_NOWAIT), -EPIPE);
	CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
}

TEST(a_child_of_a_user_is_another_user)
{
	struct holder *holder = make_holder(4, 2);
	tine_queue *queue = holder->queue;

	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(put(queue, 2, TINE_NOWAIT), 0);
	CHECK_EQ(lease(queue, &holder->id, TINE_NOWAIT), 1);
	CHECK_EQ(test_reap(test_fork(be_ones_own_process, holder)), 0);
	/* Its close and its end were its own. */
	CHECK_EQ(put(queue, 5, TINE_NOWAIT), 0);
	CHECK_EQ(get(queue, SOON), 3);
	CHECK_EQ(get(queue, SOON), 5);
	not_ended(queue);
	CHECK_EQ(tine_queue_ack(queue, holder->id), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
	ended(queue);
	free_holder(holder);
}

enum { AT_ONCE = 100 };

static void enter_and_stay(void *arg)
{
	_Atomic int *entered = arg;

	CHECK(member_self());
	atomic_fetch_add(entered, 1);
	pause();
}

static void start_members(_Atomic int *entered, pid_t *pids)
{
	atomic_store(entered, 0);
	for (int i = 0; i < AT_ONCE; i++)
		pids[i] = test_fork(enter_and_stay, entered);
	wait_for(entered, AT_ONCE);
}

static void end_members(const pid_t *pids)
{
	for (int i = 0; i < AT_ONCE; i++)
		test_kill(pids[i]);
}

/* The table of members grows, and never shrinks. */
static void grow_table(void)
{
	_Atomic int *entered = tine_shared_new(1, sizeof(*entered));
	pid_t pids[AT_ONCE];

	start_members(entered, pids);
	end_members(pids);
	tine_shared_free((void *)entered);
	test_grows_no_further();
}

static void put_then_wait_and_get(void *arg)
{
	struct holder *holder = arg;
	tine_lease id;

	CHECK_EQ(put(holder->queue, 1, SOON), 0);
	CHECK_EQ(lease(holder->queue, &id, SOON), 1);
	atomic_fetch_add(&holder->held, 1);
	wait_for(&holder->go, 1);
	if (getpid() % 2) {
		CHECK_EQ(tine_queue_ack(holder->queue, id), 0);
		atomic_fetch_add(&holder->held, 1);
	}
}

TEST(a_hundred_processes_at_once)
{
	struct holder *holder;
	pid_t pids[AT_ONCE];
	int acked;

	grow_table();
	holder = make_holder(AT_ONCE, AT_ONCE);
	for (int i = 0; i < AT_ONCE; i++)
		pids[i] = test_fork(put_then_wait_and_get, holder);
	wait_for(&holder->held, AT_ONCE);
	CHECK_EQ(get(holder->queue, TINE_NOWAIT), -ETIMEDOUT);
	atomic_store(&holder->go, 1);
	for (int i = 0; i < AT_ONCE; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	acked = atomic_load(&holder->held) - AT_ONCE;
	for (int i = acked; i < AT_ONCE; i++)
		CHECK_EQ(get(holder->queue, SOON), 1);
	ended(holder->queue);
	free_holder(holder);
}

static void put_and_close_late(void *queue)
{
	CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_queue_close(queue), 0);
}

static void get_late(void *queue)
{
	CHECK_EQ(get(queue, SOON), 1);
	CHECK_EQ(get(queue, SOON), 0);
}

/* Only members use it whose numbers are high. */
TEST(a_queue_of_those_who_came_late)
{
	struct holder *holder;
	_Atomic int *entered;
	pid_t pids[AT_ONCE], holding, getting;

	grow_table();
	entered = tine_shared_new(1, sizeof(*entered));
	holder = make_holder(4, 1);
	start_members(entered, pids);
	in_a_child(put_and_close_late, holder->queue);
	holding = start_holder(holder, hold_and_stay);
	/* It is here before the other dies, or it would get its number. */
	getting = test_fork(get_late, holder->queue);
	test_sleep_us(50000);
	test_kill(holding);
	CHECK_EQ(test_reap(getting), 0);
	end_members(pids);
	tine_shared_free((void *)entered);
	free_holder(holder);
}

TEST(thousands_of_queues)
{
	size_t used = shared_used();

	for (long i = 0; i < test_scaled(5000); i++) {
		tine_queue *queue = make_of(1 + i % 100, 1 + i % 9, 1 + i % 2);
		char text[100] = "x", buf[100];
		tine_lease id;

		CHECK_EQ(tine_queue_put(queue, text, 1 + i % 100, TINE_NOWAIT), 0);
		if (i % 2)
			CHECK_EQ(tine_queue_get(queue, buf, 100, TINE_NOWAIT),
				 1 + i % 100);
		else
			CHECK_EQ(tine_queue_lease(queue, buf, 100, &id, TINE_NOWAIT),
				 1 + i % 100);
		if (i % 3)
			CHECK_EQ(tine_queue_close(queue), 0);
		tine_queue_free(queue);
		CHECK_EQ(shared_used(), used);
	}
}

/* Everything that may allocate, and may be done again when there is memory. */
static int use_once(tine_queue **queue)
{
	int err = *queue ? 0 : tine_queue_new(queue, 8, NULL);
	int64_t number = 5;
	tine_lease id;

	if (!err && tine_queue_len(*queue) == 0)
		err = put(*queue, number, TINE_NOWAIT);
	if (err)
		return err;
	err = (int)tine_queue_lease(*queue, &number, 8, &id, TINE_NOWAIT);
	if (err < 0)
		return err;
	CHECK_EQ(number, 5);
	CHECK_EQ(tine_queue_ack(*queue, id), 0);
	return tine_queue_close(*queue);
}

TEST(any_allocation_may_fail)
{
	size_t used = shared_used();
	int failed = 0;

	for (long n = 1;; n++) {
		tine_queue *queue = NULL;
		int err;

		test_fail_allocation(n);
		err = use_once(&queue);
		if (test_allocation_failed())
			CHECK_EQ(err, -ENOMEM);
		else
			CHECK_EQ(err, 0);
		if (err)
			CHECK_EQ(use_once(&queue), 0);
		tine_queue_free(queue);
		CHECK_EQ(shared_used(), used);
		if (!err)
			break;
		failed++;
	}
	/* The queue, this process's place at it, and places for leases. */
	CHECK(failed >= 3);
}

TEST(each_call_fails_when_there_is_no_place_for_the_process)
{
	int64_t number = 1;
	tine_lease id;

	for (int i = 0; i < 7; i++) {
		tine_queue *queue = make(4, 1);
		int err = 0;

		test_fail_allocation(1);
		switch (i) {
		case 0:
			err = put(queue, 1, TINE_FOREVER);
			break;
		case 1:
			err = (int)get(queue, TINE_FOREVER);
			break;
		case 2:
			err = (int)lease(queue, &id, TINE_FOREVER);
			break;
		case 3:
			err = tine_queue_ack(queue, 0);
			break;
		case 4:
			err = tine_queue_close(queue);
			break;
		case 5:
			err = (int)tine_queue_put_many(queue, &number, 1, TINE_FOREVER);
			break;
		case 6:
			err = (int)tine_queue_get_many(queue, &number, 1, TINE_FOREVER);
			break;
		}
		test_fail_allocation(0);
		/* To say that one has no lease needs none. */
		CHECK_EQ(err, i == 3 ? -ENOENT : -ENOMEM);
		CHECK_EQ(put(queue, 1, TINE_NOWAIT), 0);
		CHECK_EQ(get(queue, TINE_NOWAIT), 1);
		tine_queue_free(queue);
	}
}
