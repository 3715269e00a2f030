/* SPDX-License-Identifier: MIT */
/* What travels between callers and hosts: it comes as it was sent, or not at all. */
#include "engine/held.h"
#include "test.h"

static const struct wire_chunk calls = {
	.kind = WIRE_CALLS,
	.flags = WIRE_SEARCH,
	.n = 100,
	.map = UINT64_MAX - 5,
	.in_size = 8,
	.out_size = 24,
	.job_ms = INT64_C(1) << 40,
	.left_ms = 12,
	.grace_ms = 7,
};

static int travel(struct wire_chunk *out, const struct wire_chunk *chunk)
{
	unsigned char header[WIRE_CHUNK_LEN];

	wire_put_chunk(header, chunk);
	return wire_get_chunk(out, header, sizeof(header));
}

TEST(a_chunk_comes_as_it_was_sent)
{
	struct wire_chunk chunk;

	CHECK_EQ(travel(&chunk, &calls), 0);
	CHECK_EQ(chunk.kind, WIRE_CALLS);
	CHECK_EQ(chunk.flags, WIRE_SEARCH);
	CHECK_EQ(chunk.n, 100);
	CHECK(chunk.map == calls.map);
	CHECK_EQ(chunk.in_size, 8);
	CHECK_EQ(chunk.out_size, 24);
	CHECK_EQ(chunk.job_ms, calls.job_ms);
	CHECK_EQ(chunk.left_ms, 12);
	CHECK_EQ(chunk.grace_ms, 7);
	CHECK_EQ(wire_in_len(&chunk), 800);
	CHECK_EQ(wire_out_len(&chunk), 2400);
}

TEST(a_chunk_out_of_bounds_is_refused)
{
	struct wire_chunk out, bad;

#define REFUSE(change)                                                                   \
	do {                                                                             \
		bad = calls;                                                             \
		change;                                                                  \
		CHECK_EQ(travel(&out, &bad), -EPROTO);                                   \
	} while (0)
	REFUSE(bad.n = 0);
	REFUSE(bad.n = WIRE_JOBS + 1);
	REFUSE(bad.in_size = WIRE_MOST / 100 + 1);
	REFUSE(bad.out_size = UINT64_MAX / 100 + 1);
	REFUSE(bad.in_size = UINT64_C(1) << 63);
	REFUSE(bad.map = 0);
	REFUSE(bad.flags = 2);
	REFUSE(bad.first = 1);
	REFUSE(bad.job_ms = -1);
	REFUSE(bad.left_ms = -1);
	REFUSE(bad.grace_ms = INT64_MIN);
	REFUSE(bad.kind = (enum wire_kind)'z');
	REFUSE((bad.kind = WIRE_BYTES, bad.flags = 0, bad.out_size = 0));
	REFUSE((bad.kind = WIRE_EACH, bad.flags = 0, bad.out_size = 0,
		bad.first = UINT64_MAX - 5));
	REFUSE((bad.kind = WIRE_LEAVES, bad.flags = 0, bad.total = 1000,
		bad.leaves = 99));
	REFUSE((bad.kind = WIRE_LEAVES, bad.flags = 0, bad.total = 99, bad.leaves = 100));
#undef REFUSE
}

TEST(each_byte_of_a_header_matters)
{
	unsigned char header[WIRE_CHUNK_LEN + 1] = { 0 }, again[WIRE_CHUNK_LEN];
	struct wire_chunk out;

	for (size_t i = 0; i < WIRE_CHUNK_LEN; i++) {
		wire_put_chunk(header, &calls);
		header[i] ^= 0x80;
		if (wire_get_chunk(&out, header, WIRE_CHUNK_LEN) != 0)
			continue;
		wire_put_chunk(again, &out);
		CHECK(memcmp(again, header, WIRE_CHUNK_LEN) == 0);
	}
	wire_put_chunk(header, &calls);
	CHECK_EQ(wire_get_chunk(&out, header, WIRE_CHUNK_LEN - 1), -EPROTO);
	CHECK_EQ(wire_get_chunk(&out, header, WIRE_CHUNK_LEN + 1), -EPROTO);
}

static const int statuses[] = { 0, -5, 1, INT32_MIN };
static const struct wire_ending endings[] = {
	{ .job = 1, .limit = 2, .how = { .code = -1, .signal = 11, .address = 1 } },
	{ .job = 3, .how = { .code = 7 } },
};

static size_t put_four(unsigned char *header, const struct wire_result *result)
{
	wire_put_result(header, result, statuses, 4, endings, 2);
	return wire_result_len(4, 2);
}

TEST(a_result_comes_as_it_was_sent)
{
	const struct wire_result sent = {
		.n = 4, .ran_us = 1234, .lane = 3, .out_len = 32
	};
	const struct wire_chunk chunk = { .kind = WIRE_CALLS, .n = 4, .out_size = 8 };
	unsigned char header[256];
	size_t len = put_four(header, &sent);
	struct wire_result result;
	struct wire_ending ending;

	CHECK_EQ(wire_get_result(&result, &chunk, header, len, 32), 0);
	CHECK_EQ(result.ran_us, 1234);
	CHECK_EQ(result.lane, 3);
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(wire_status(&result, i), statuses[i]);
	CHECK_EQ(result.endings, 2);
	ending = wire_ending(&result, 0);
	CHECK_EQ(ending.job, 1);
	CHECK_EQ(ending.limit, 2);
	CHECK_EQ(ending.how.code, -1);
	CHECK_EQ(ending.how.signal, 11);
	CHECK_EQ(ending.how.address, 1);
	CHECK_EQ(wire_ending(&result, 1).how.code, 7);
}

TEST(a_result_of_zeros_is_short)
{
	const struct wire_result sent = { .n = 4, .out_len = 32 };
	const struct wire_chunk chunk = { .kind = WIRE_CALLS, .n = 4, .out_size = 8 };
	unsigned char header[WIRE_RESULT_LEN];
	struct wire_result result;

	wire_put_result(header, &sent, NULL, 0, NULL, 0);
	CHECK_EQ(wire_get_result(&result, &chunk, header, sizeof(header), 32), 0);
	CHECK_EQ(wire_status(&result, 3), 0);
	CHECK_EQ(result.endings, 0);
}

TEST(a_result_that_is_not_the_chunks_is_refused)
{
	const struct wire_result sent = { .n = 4, .out_len = 32 };
	const struct wire_chunk chunk = { .kind = WIRE_CALLS, .n = 4, .out_size = 8 };
	struct wire_chunk other = chunk;
	unsigned char header[256];
	size_t len = put_four(header, &sent);
	struct wire_result result;

	CHECK_EQ(wire_get_result(&result, &chunk, header, len, 31), -EPROTO);
	CHECK_EQ(wire_get_result(&result, &chunk, header, len - 1, 32), -EPROTO);
	CHECK_EQ(wire_get_result(&result, &chunk, header, len + 1, 32), -EPROTO);
	CHECK_EQ(wire_get_result(&result, &chunk, header, 8, 32), -EPROTO);
	other.n = 5;
	CHECK_EQ(wire_get_result(&result, &other, header, len, 32), -EPROTO);
	other.n = 4;
	other.out_size = 9;
	CHECK_EQ(wire_get_result(&result, &other, header, len, 32), -EPROTO);
	/* An ending of a job that there is not. */
	header[WIRE_RESULT_LEN + 4 * 4] = 4;
	CHECK_EQ(wire_get_result(&result, &chunk, header, len, 32), -EPROTO);
	put_four(header, &sent);
	header[12] = 3;
	CHECK_EQ(wire_get_result(&result, &chunk, header, len, 32), -EPROTO);
}

static int double_it(const void *in, void *out)
{
	(void)in;
	(void)out;
	return 0;
}

TEST(tasks_of_other_kinds_and_sizes_have_other_names)
{
	tine_task task = TINE_TASK(double_it, uint64_t, uint32_t);
	char name[WIRE_TASK_MAX], other[WIRE_TASK_MAX], long_name[WIRE_NAME_MAX + 2];

	CHECK_EQ(wire_task_name(name, &task, WIRE_CALLS), 0);
	CHECK(strncmp(name, "wire%2ec:double_it.0.c.8.4.", 26) == 0);
	task.version = 1;
	CHECK_EQ(wire_task_name(other, &task, WIRE_CALLS), 0);
	CHECK(strcmp(name, other) != 0);
	task.version = 0;
	task.file = NULL;
	CHECK_EQ(wire_task_name(other, &task, WIRE_CALLS), 0);
	CHECK(strncmp(other, "double_it.0.c.8.4.", 18) == 0);
	CHECK_EQ(wire_task_name(name, &task, WIRE_EACH), -EINVAL);
	task.name = "a b{}/%";
	CHECK_EQ(wire_task_name(name, &task, WIRE_CALLS), 0);
	CHECK(strncmp(name, "a%20b%7b%7d%2f%25.", 18) == 0);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[WIRE_NAME_MAX + 1] = '\0';
	task.name = long_name;
	CHECK_EQ(wire_task_name(name, &task, WIRE_CALLS), -ENAMETOOLONG);
	long_name[WIRE_NAME_MAX] = '\0';
	CHECK_EQ(wire_task_name(name, &task, WIRE_CALLS), 0);
	task.name = NULL;
	CHECK_EQ(wire_task_name(name, &task, WIRE_CALLS), -EINVAL);
}

TEST(what_a_host_says_comes_as_it_was_sent)
{
	struct wire_host sent = { "a host", 4, 3, 2, 1000, UINT64_MAX }, host;
	char text[WIRE_HOST_MAX + 16];
	const char *tasks;
	size_t len;
	int n = wire_put_host(text, &sent);

	strcpy(text + n, "x y");
	CHECK_EQ(wire_get_host(&host, text, (size_t)n + 3, &tasks, &len), 0);
	CHECK(strcmp(host.name, "a host") == 0);
	CHECK_EQ(host.workers, 4);
	CHECK_EQ(host.busy, 3);
	CHECK_EQ(host.queued, 2);
	CHECK_EQ(host.crashing, 1000);
	CHECK(host.done == UINT64_MAX);
	CHECK(len == 3 && memcmp(tasks, "x y", 3) == 0);
	for (size_t cut = 0; cut + 1 < (size_t)n; cut++)
		CHECK_EQ(wire_get_host(&host, text, cut, &tasks, &len), -EPROTO);
	/* Nothing that is shown moves a cursor. */
	strcpy(text, "a%1b[2J 1 0 0 0 0 ");
	CHECK_EQ(wire_get_host(&host, text, strlen(text), &tasks, &len), -EPROTO);
	strcpy(text, "a 4294967296 0 0 0 0 ");
	CHECK_EQ(wire_get_host(&host, text, strlen(text), &tasks, &len), -EPROTO);
}

/* A chunk of one call, whose inputs lie beside the stream. */
static void hold_large(struct hold *hold, size_t len)
{
	const struct engine_word none = { NULL, SIZE_MAX }, word = { "1", 1 };
	const struct wire_chunk chunk = {
		.kind = WIRE_BYTES, .n = 1, .map = 1, .in_size = len
	};
	static const struct stream stream = { .kind = WIRE_BYTES };
	unsigned char header[WIRE_CHUNK_LEN];
	struct held *held;

	wire_put_chunk(header, &chunk);
	CHECK_EQ(hold_take(hold, &stream,
			   &(struct engine_message){
				   .sid = word,
				   .caller = word,
				   .seq = word,
				   .header = { (const char *)header, sizeof(header) },
				   .data = none,
				   .blob = { "", 0 },
				   .lost = none,
				   .given = none,
				   .map = none },
			   &held),
		 0);
}

/* How many more are to be fetched. */
static unsigned fetch_all(struct hold *hold, unsigned workers)
{
	struct held *held;
	unsigned n = 0;

	for (; (held = hold_next_afar(hold, workers)); n++)
		held->state = HELD_FETCHED;
	return n;
}

TEST(a_host_fetches_what_it_works_on_and_64_mib_more)
{
	struct hold hold;

	CHECK_EQ(hold_new(&hold, NULL, 16), 0);
	for (int i = 0; i < 16; i++)
		hold_large(&hold, WIRE_MOST / 4);
	CHECK_EQ(fetch_all(&hold, 2), 4);
	/* In turn. */
	CHECK(hold.all[0].state == HELD_FETCHED && hold.all[4].state == HELD_AFAR);
	hold.all[0].state = hold.all[1].state = HELD_RUNNING;
	CHECK_EQ(fetch_all(&hold, 2), 2);
	/* Results count, until the server has them. */
	hold.all[0].state = HELD_DONE;
	hold.all[0].out_len = WIRE_MOST / 2;
	CHECK_EQ(fetch_all(&hold, 2), 0);
	held_forget(&hold, &hold.all[0]);
	hold.all[2].state = HELD_RUNNING;
	CHECK_EQ(fetch_all(&hold, 2), 1);
	/* No worker waits for it. */
	CHECK_EQ(fetch_all(&hold, 9), 3);
	hold_free(&hold);
}
