/* SPDX-License-Identifier: MIT */
/* A pool on a server: what the scripts promise, asked by hand. */
#include "engine_use.h"

static const char *const tasks[] = { "double.0.c.8.8.le", "other.0.c.8.8.le" };
#define TASK tasks[0]

static void take_url(const char *text, const char *rest, const char *pool)
{
	struct engine_url url;

	CHECK_EQ(engine_url_parse(&url, text), 0);
	CHECK(strcmp(url.text, rest) == 0);
	CHECK(strcmp(url.pool, pool) == 0);
	engine_url_free(&url);
}

TEST(a_url_names_a_server_and_a_pool)
{
	struct engine_url url;

	take_url("redis://h/1?pool=a", "redis://h/1", "a");
	take_url("redis://h?pool=a%20b.c", "redis://h", "a%20b%2ec");
	take_url("unix:/s?db=1&pool=p&password=x", "unix:/s?db=1&password=x", "p");
	take_url("unix:/s?pool=p&db=1", "unix:/s?db=1", "p");
	CHECK_EQ(engine_url_parse(&url, "redis://h"), 0);
	CHECK(strncmp(url.pool, "test-engine-", 12) == 0);
	CHECK_EQ(strspn(url.pool + 12, "0123456789abcdef"), 16);
	CHECK_EQ(strlen(url.pool), 28);
	engine_url_free(&url);
	take_url("redis://h?pool=" P200, "redis://h", P200);
	for (const struct false_url *each = false_urls; each->text; each++)
		CHECK_EQ(engine_url_parse(&url, each->text), each->err);
}

static int meaning_of(const char *text)
{
	struct resp resp = { .kind = RESP_ERROR, .text = text, .len = strlen(text) };

	return engine_error(&resp);
}

TEST(errors_are_waited_out_or_not)
{
	CHECK_EQ(meaning_of("LOADING Redis is loading the dataset in memory"), -EAGAIN);
	CHECK_EQ(meaning_of("BUSY Redis is busy running a script."), -EAGAIN);
	CHECK_EQ(meaning_of("MASTERDOWN Link with MASTER is down"), -EAGAIN);
	CHECK_EQ(meaning_of("READONLY You can't write against a read only replica."),
		 -EAGAIN);
	CHECK_EQ(meaning_of("OOM command not allowed when used memory > 'maxmemory'."),
		 -EAGAIN);
	CHECK_EQ(meaning_of("ERR Error running script (call to f_1): @user_script:1: "
			    "-OOM command not allowed"),
		 -EAGAIN);
	CHECK_EQ(meaning_of("CLUSTERDOWN The cluster is down"), -EAGAIN);
	CHECK_EQ(meaning_of("TRYAGAIN Multiple keys request"), -EAGAIN);
	CHECK_EQ(meaning_of("NOGROUP No such key"), -ESTALE);
	CHECK_EQ(meaning_of("UNBLOCKED the stream key no longer exists"), -ESTALE);
	CHECK_EQ(meaning_of("NOSCRIPT No matching script."), -ESTALE);
	CHECK_EQ(meaning_of("MOVED 3999 127.0.0.1:6381"), -EREMOTE);
	CHECK_EQ(meaning_of("NOPERM this user has no permissions"), -EACCES);
	CHECK_EQ(meaning_of("WRONGPASS invalid"), -EACCES);
	CHECK_EQ(meaning_of("WRONGTYPE Operation against a key"), -TINE_EKIND);
}

TEST(the_best_look_at_a_clock_counts_for_a_while)
{
	struct engine_clock clock = { 0 };
	int64_t ms = 1000000;

	engine_clock_note(&clock, 10 * ms, 14 * ms, 0);
	CHECK(!clock.known);
	engine_clock_note(&clock, 10 * ms, 14 * ms, 1012000);
	CHECK(clock.known);
	CHECK_EQ(clock.offset_us, 1000000);
	CHECK_EQ(clock.error_us, 2000);
	engine_clock_note(&clock, 20 * ms, 21 * ms, 1020600);
	CHECK_EQ(clock.offset_us, 1000100);
	CHECK_EQ(clock.error_us, 500);
	/* One that says less. */
	engine_clock_note(&clock, 30 * ms, 32 * ms, 1031500);
	CHECK_EQ(clock.offset_us, 1000100);
	for (int i = 0; i < 10; i++)
		engine_clock_note(&clock, 30 * ms, 32 * ms, 1031500);
	CHECK_EQ(clock.offset_us, 1000500);
}

/* ---- with a server ----------------------------------------------------------------- */

static struct server server;

static struct engine *begin(const char *const *more)
{
	server_start(&server, more);
	return open_pool(&server, "p");
}

static void finish(struct engine *engine)
{
	engine_free(engine);
	server_stop(&server);
}

static void join(struct engine *engine, const char *host, unsigned lease)
{
	int64_t numbers[2] = { 0 };

	engine_add_join(engine, 1, host, "h 1 0 0 0 0 ", lease, tasks, 2, NULL, NULL, 0);
	CHECK_EQ(ask_numbers(engine, numbers, 2), 1);
	CHECK_EQ(numbers[0], lease);
}

static void put(struct engine *engine, const char *caller, const char *seq,
		const void *in, size_t len, char sid[static ENGINE_SID_MAX])
{
	const struct wire_chunk chunk = { .kind = WIRE_CALLS,
					  .n = (uint32_t)(len / 8),
					  .map = 1,
					  .in_size = 8,
					  .out_size = 8 };
	unsigned char header[WIRE_CHUNK_LEN];
	struct engine_answer answer;
	struct resp element;

	wire_put_chunk(header, &chunk);
	engine_add_put(engine, 3, 0, caller,
		       &(struct engine_put){ TASK, seq, header, in, len }, 1);
	answer = ask(engine);
	CHECK_EQ(answer.err, 0);
	CHECK_EQ(answer.what, 3);
	CHECK_EQ(answer.resp.kind, RESP_ARRAY);
	do
		CHECK(resp_next(&answer.resp, &element));
	while (element.kind != RESP_STRING);
	CHECK(engine_copy_word(sid, ENGINE_SID_MAX,
			       (struct engine_word){ element.text, element.len }));
}

/* Takes one entry; false: there is none. */
static bool take(struct engine *engine, const char *host, char sid[static ENGINE_SID_MAX])
{
	struct engine_answer answer;
	struct engine_message message;

	engine_add_take(engine, 4, host, 1, 1, tasks, 2);
	answer = ask_on(engine, ENGINE_READ);
	if (!first_message(&answer, &message))
		return false;
	CHECK(engine_copy_word(sid, ENGINE_SID_MAX, message.sid));
	return true;
}

static int64_t done(struct engine *engine, const char *host, const char *sid,
		    const char *caller, const char *seq, const void *out, size_t len)
{
	const struct engine_done one = { sid, seq, "head", out, 4, len, false };

	engine_add_done(engine, 5, 0, host, TASK, caller, &one, 1);
	return ask_number(engine);
}

/* The next result: 'a' or 'b': done; 'l', 'g'; 0: none. */
static char result(struct engine *engine, const char *caller, const char *last,
		   char sid[static ENGINE_SID_MAX])
{
	struct engine_answer answer;
	struct engine_message message;

	engine_add_results(engine, 6, caller, last, 1, 1);
	answer = ask_on(engine, ENGINE_READ);
	if (!first_message(&answer, &message))
		return 0;
	CHECK(engine_copy_word(sid, ENGINE_SID_MAX, message.sid));
	return message.lost.len != SIZE_MAX    ? 'l'
	       : message.given.len != SIZE_MAX ? 'g'
	       : message.blob.len != SIZE_MAX  ? 'b'
	       : message.data.len != SIZE_MAX  ? 'a'
					       : '?';
}

static bool beat(struct engine *engine, const char *host, unsigned lease, int64_t *lost)
{
	int64_t numbers[3] = { 0 };

	engine_add_beat(engine, 2, host, "h 1 0 0 0 0 ", lease, tasks, 2);
	CHECK_EQ(ask_numbers(engine, numbers, 3), 3);
	if (lost)
		*lost += numbers[1];
	return numbers[0] == 1;
}

/* Beats until something is told lost, and how much is. */
static int64_t await_lost(struct engine *engine, const char *host, unsigned lease)
{
	int64_t lost = 0;

	for (int i = 0; i < 400 && lost == 0; i++) {
		CHECK(beat(engine, host, lease, &lost));
		test_sleep_us(10000);
	}
	return lost;
}

static bool call(struct engine *engine, const char *caller)
{
	int64_t numbers[2] = { 0 };

	engine_add_call(engine, 7, caller, true, NULL, 0);
	CHECK_EQ(ask_numbers(engine, numbers, 2), 2);
	return numbers[1] == 0;
}

static const uint64_t inputs[4] = { 1, 2, 3, 4 };

TEST(a_chunk_goes_to_a_host_and_its_result_comes_back)
{
	char sid[ENGINE_SID_MAX], taken[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	struct engine *engine = begin(NULL);

	join(engine, "H", 5000);
	CHECK(!call(engine, "C"));
	CHECK(call(engine, "C"));
	put(engine, "C", "7", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "H", taken));
	CHECK(strcmp(sid, taken) == 0);
	CHECK(!take(engine, "H", taken));
	CHECK_EQ(done(engine, "H", sid, "C", "7", inputs, sizeof(inputs)), 1);
	/* The first one wins. */
	CHECK_EQ(done(engine, "H", sid, "C", "7", inputs, sizeof(inputs)), 0);
	CHECK_EQ(result(engine, "C", "0", back), 'a');
	CHECK_EQ(result(engine, "C", back, taken), 0);
	CHECK_EQ(keys_for_ever(engine), 0);
	engine_add_bury(engine, 8, "C");
	CHECK_EQ(ask_number(engine), 1);
	engine_add_leave(engine, 9, "H", tasks, 2);
	CHECK_EQ(ask_number(engine), 1);
	finish(engine);
}

TEST(a_host_of_no_lease_has_its_results_refused)
{
	char sid[ENGINE_SID_MAX], again[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	struct engine *engine = begin(NULL);

	join(engine, "silent", 200);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "silent", again));
	join(engine, "H", 200);
	CHECK_EQ(await_lost(engine, "H", 200), 1);
	CHECK_EQ(result(engine, "C", "0", back), 'l');
	CHECK_EQ(done(engine, "silent", sid, "C", "1", inputs, sizeof(inputs)), -1);
	CHECK(!beat(engine, "silent", 200, NULL));
	/* Sent again, and done by the other: then the late one, as a member once more. */
	put(engine, "C", "1", inputs, sizeof(inputs), again);
	CHECK(take(engine, "H", back));
	join(engine, "silent", 200);
	CHECK_EQ(done(engine, "silent", sid, "C", "1", inputs, sizeof(inputs)), 0);
	CHECK_EQ(done(engine, "H", again, "C", "1", inputs, sizeof(inputs)), 1);
	finish(engine);
}

/* A read that was blocked is served after its reader was given up. */
TEST(what_nobody_holds_is_told_lost)
{
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	struct engine *engine = begin(NULL);

	join(engine, "H", 400);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "ghost", back));
	CHECK_EQ(await_lost(engine, "H", 400), 1);
	CHECK_EQ(result(engine, "C", "0", back), 'l');
	finish(engine);
}

/* A connection that is dead to the host is alive to the server: nothing ran there. */
TEST(what_a_name_of_before_is_given_is_not_lost_with_a_host)
{
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	int64_t numbers[1], lost = 0;
	struct engine *engine = begin(NULL);

	join(engine, "old", 400);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "old", back));
	engine_add_join(engine, 1, "new", "h 1 0 0 0 0 ", 400, tasks, 2, "old", NULL, 0);
	CHECK_EQ(ask_numbers(engine, numbers, 1), 1);
	test_sleep_us(20000);
	put(engine, "C", "2", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "old", back));
	for (int i = 0; i < 400 && lost < 2; i++) {
		CHECK(beat(engine, "new", 400, &lost));
		test_sleep_us(10000);
	}
	CHECK_EQ(lost, 2);
	CHECK_EQ(result(engine, "C", "0", back), 'l');
	CHECK_EQ(result(engine, "C", back, sid), 'g');
	CHECK_EQ(keys_for_ever(engine), 0);
	finish(engine);
}

TEST(a_host_that_joins_again_keeps_what_it_held)
{
	char sid[3][ENGINE_SID_MAX], taken[ENGINE_SID_MAX];
	const struct engine_entry held[] = { { TASK, sid[0] }, { TASK, sid[2] } };
	int64_t numbers[4] = { 0 }, lost = 0;
	struct engine *engine = begin(NULL);

	join(engine, "old", 400);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid[0]);
	put(engine, "C", "2", inputs, sizeof(inputs), sid[1]);
	CHECK(take(engine, "old", taken));
	/* This answer is lost with the connection. */
	CHECK(take(engine, "old", taken));
	/* This is another's. */
	put(engine, "C", "3", inputs, sizeof(inputs), sid[2]);
	join(engine, "other", 400);
	CHECK(take(engine, "other", taken));
	engine_add_join(engine, 1, "new", "h 1 0 0 0 0 ", 400, tasks, 2, "old", held, 2);
	CHECK_EQ(ask_numbers(engine, numbers, 4), 3);
	CHECK_EQ(numbers[1], 1);
	CHECK_EQ(numbers[2], 0);
	CHECK(!beat(engine, "old", 400, NULL));
	for (int i = 0; i < 400 && lost == 0; i++) {
		CHECK(beat(engine, "new", 400, &lost));
		CHECK(beat(engine, "other", 400, &lost));
		test_sleep_us(10000);
	}
	CHECK_EQ(lost, 1);
	CHECK_EQ(done(engine, "new", sid[1], "C", "2", inputs, sizeof(inputs)), 0);
	CHECK_EQ(done(engine, "other", sid[2], "C", "3", inputs, sizeof(inputs)), 1);
	CHECK_EQ(done(engine, "new", sid[0], "C", "1", inputs, sizeof(inputs)), 1);
	finish(engine);
}

TEST(hosts_are_listed_to_who_asks)
{
	struct engine_answer answer;
	struct engine *engine = begin(NULL);
	struct resp element;

	join(engine, "H", 5000);
	for (int list = 0; list < 2; list++) {
		engine_add_call(engine, 7, "C", list, NULL, 0);
		answer = ask(engine);
		for (int i = 0; i < 5; i++)
			CHECK(resp_next(&answer.resp, &element));
		CHECK_EQ(element.kind, list ? RESP_ARRAY : RESP_NIL);
		/* Lease and time follow. */
		CHECK(resp_next(&answer.resp, &element));
		CHECK_EQ(element.number, 5000);
		CHECK(resp_next(&answer.resp, &element));
		CHECK(element.number > INT64_C(1500000000000000));
	}
	finish(engine);
}

/* One was never read, of one the entry is gone, one the caller has forgotten. */
TEST(of_many_results_each_is_looked_at)
{
	enum { MANY = 6 };
	static const char *const seq[MANY] = { "1", "2", "3", "4", "5", "6" };
	char sid[MANY][ENGINE_SID_MAX], back[ENGINE_SID_MAX], key[ENGINE_KEY_MAX];
	struct engine_done list[MANY];
	struct engine_answer answer;
	struct engine_message message;
	struct engine *engine = begin(NULL);
	unsigned n = 0;

	join(engine, "H", 5000);
	call(engine, "C");
	for (int i = 0; i < MANY; i++) {
		put(engine, "C", seq[i], inputs, sizeof(inputs), sid[i]);
		if (i < MANY - 1)
			CHECK(take(engine, "H", back));
		list[i] = (struct engine_done){ sid[i], seq[i],		"head", inputs,
						4,	sizeof(inputs), false };
	}
	ASK_RAW(engine, "sss", "XDEL", engine_key(engine, key, "q:%s", TASK), sid[1]);
	engine_add_forget(engine, 5, "C", &seq[2], 1);
	CHECK_EQ(ask_number(engine), 1);
	engine_add_done(engine, 5, 0, "H", TASK, "C", list, 4);
	CHECK_EQ(ask_number(engine), 3);
	engine_add_done(engine, 5, 0, "H", TASK, "C", list, MANY);
	CHECK_EQ(ask_number(engine), 2);
	/* In two entries, which say of each chunk what it has. */
	engine_add_results(engine, 6, "C", "0", 1, 1);
	answer = ask_on(engine, ENGINE_READ);
	CHECK(first_message(&answer, &message));
	do
		n += message.data.len == sizeof(inputs) && message.header.len == 4;
	while (engine_next_chunk(&message));
	CHECK_EQ(n, 3);
	CHECK_EQ(
		ASK_RAW(engine, "ss", "HLEN", engine_key(engine, key, "o:C")).resp.number,
		0);
	CHECK_EQ(ASK_RAW(engine, "ss", "XLEN", engine_key(engine, key, "q:%s", TASK))
			 .resp.number,
		 0);
	finish(engine);
}

TEST(what_is_given_back_or_taken_back_is_done_by_nobody)
{
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	struct engine_answer answer;
	struct engine *engine = begin(NULL);
	struct resp element;

	join(engine, "H", 5000);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "H", back));
	/* What is read cannot be taken back. */
	engine_add_take_back(engine, 8, "C",
			     &(struct engine_asked){ { TASK, sid }, "1", false }, 1);
	answer = ask(engine);
	CHECK_EQ(answer.resp.kind, RESP_ARRAY);
	CHECK(!resp_next(&answer.resp, &element));
	engine_add_give(engine, 8, "H", false, &(struct engine_entry){ TASK, sid }, 1);
	CHECK_EQ(ask_number(engine), 1);
	CHECK_EQ(result(engine, "C", "0", back), 'g');
	put(engine, "C", "2", inputs, sizeof(inputs), sid);
	engine_add_take_back(engine, 8, "C",
			     &(struct engine_asked){ { TASK, sid }, "2", false }, 1);
	answer = ask(engine);
	CHECK(resp_next(&answer.resp, &element));
	CHECK(resp_is_text(&element, RESP_STRING, "2"));
	CHECK(!take(engine, "H", back));
	finish(engine);
}

TEST(large_inputs_and_outputs_lie_beside_the_stream)
{
	enum { LEN = 3 << 20 };
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	unsigned char *bytes = malloc(LEN);
	struct engine_answer answer;
	struct engine *engine = begin(NULL);

	for (size_t i = 0; i < LEN; i++)
		bytes[i] = (unsigned char)(i * 7 + i / 251);
	join(engine, "H", 5000);
	call(engine, "C");
	put(engine, "C", "1", bytes, 131072, sid);
	CHECK(take(engine, "H", back));
	engine_add_fetch(engine, 8, 5, 'b', "C", "1");
	answer = ask(engine);
	CHECK_EQ(answer.number, 5);
	CHECK_EQ(answer.resp.len, 131072);
	CHECK(memcmp(answer.resp.text, bytes, 131072) == 0);
	CHECK_EQ(done(engine, "H", sid, "C", "1", bytes, LEN), 1);
	CHECK_EQ(result(engine, "C", "0", back), 'b');
	engine_add_fetch(engine, 8, 5, 'B', "C", "1");
	answer = ask(engine);
	CHECK_EQ(answer.resp.len, LEN);
	CHECK(memcmp(answer.resp.text, bytes, LEN) == 0);
	/* One that is refused leaves nothing. */
	CHECK_EQ(done(engine, "H", sid, "C", "9", bytes, LEN), 0);
	engine_add_fetch(engine, 8, 5, 'B', "C", "9");
	CHECK_EQ(ask(engine).resp.kind, RESP_NIL);
	CHECK_EQ(keys_for_ever(engine), 0);
	finish(engine);
	free(bytes);
}

/* How many of the chunks asked for are not outstanding, and whether it is known. */
static unsigned ask_gone(struct engine *engine, const char *caller, const char *sid,
			 const char *seq, bool *known)
{
	const struct engine_asked asked = { { TASK, sid }, seq, false };
	struct engine_answer answer;
	struct resp element;
	unsigned n = 0;

	engine_add_call(engine, 7, caller, true, &asked, 1);
	answer = ask(engine);
	CHECK_EQ(answer.err, 0);
	for (int i = 0; i < 4; i++) {
		CHECK(resp_next(&answer.resp, &element));
		if (i == 1)
			*known = element.number == 0;
	}
	CHECK_EQ(element.kind, RESP_ARRAY);
	while (n < 10 && element.number > n)
		n++;
	return n;
}

TEST(a_caller_learns_what_the_server_has_lost)
{
	char sid[ENGINE_SID_MAX], key[ENGINE_KEY_MAX];
	struct engine *engine = begin(NULL);
	bool known;

	join(engine, "H", 5000);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK_EQ(ask_gone(engine, "C", sid, "1", &known), 0);
	CHECK(known);
	ASK_RAW(engine, "ss", "DEL", engine_key(engine, key, "q:%s", TASK));
	CHECK_EQ(ask_gone(engine, "C", sid, "1", &known), 1);
	CHECK(known);
	CHECK(!beat(engine, "H", 5000, NULL));
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	ASK_RAW(engine, "ss", "DEL", engine_key(engine, key, "o:C"));
	CHECK_EQ(ask_gone(engine, "C", sid, "1", &known), 1);
	CHECK(known);
	ASK_RAW(engine, "s", "FLUSHALL");
	CHECK_EQ(ask_gone(engine, "C", sid, "1", &known), 1);
	CHECK(!known);
	CHECK_EQ(keys_for_ever(engine), 0);
	finish(engine);
}

/* Also where it changes while hosts are there. */
TEST(another_layout_is_refused)
{
	struct engine_answer answer;
	char key[ENGINE_KEY_MAX];
	struct engine *engine = begin(NULL);

	ASK_RAW(engine, "ssss", "HSET", engine_key(engine, key, "m"), "layout", "99");
	engine_add_join(engine, 1, "H", "", 5000, tasks, 2, NULL, NULL, 0);
	answer = ask(engine);
	CHECK_EQ(answer.resp.kind, RESP_NUMBER);
	CHECK_EQ(answer.resp.number, 99);
	finish(engine);
}

TEST(the_lease_of_the_first_is_that_of_all)
{
	int64_t numbers[1];
	struct engine *engine = begin(NULL);

	join(engine, "H", 1234);
	engine_add_join(engine, 1, "I", "", 5000, tasks, 2, NULL, NULL, 0);
	CHECK_EQ(ask_numbers(engine, numbers, 1), 1);
	CHECK_EQ(numbers[0], 1234);
	finish(engine);
}

/* Bytes of others in every key: sweeps and callers go on. */
TEST(strangers_bytes_stop_nobody)
{
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX], key[ENGINE_KEY_MAX];
	struct engine_message message;
	struct engine_answer answer;
	struct engine *engine = begin(NULL);

	join(engine, "H", 200);
	call(engine, "C");
	engine_key(engine, key, "q:%s", TASK);
	ASK_RAW(engine, "sssss", "XADD", key, "*", "x", "");
	ASK_RAW(engine, "sssssss", "XADD", key, "*", "c", "", "s", "");
	ASK_RAW(engine, "sssssss", "XADD", key, "*", "c", "wrong", "s", "1");
	ASK_RAW(engine, "sssb", "SET", engine_key(engine, key, "o:wrong"), "x", "", 0ul);
	ASK_RAW(engine, "sss", "SET", engine_key(engine, key, "o:wrong"), "x");
	ASK_RAW(engine, "sssss", "XADD", engine_key(engine, key, "x"), "*", "q", "r");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	for (int i = 0; i < 4; i++)
		CHECK(take(engine, "ghost", back));
	CHECK_EQ(await_lost(engine, "H", 200), 1);
	engine_add_listen(engine, 8, "0", 1);
	answer = ask_on(engine, ENGINE_LISTEN);
	CHECK(first_message(&answer, &message));
	CHECK_EQ(message.map.len, SIZE_MAX);
	finish(engine);
}

TEST(a_cancel_is_heard)
{
	struct engine_message message;
	struct engine_answer answer;
	struct engine *engine = begin(NULL);
	char caller[8], map[24];

	engine_add_listen(engine, 8, "$", 10000);
	CHECK_EQ(engine_send(engine, ENGINE_LISTEN, tine_after(5000)), 0);
	CHECK_EQ(engine_next(engine, ENGINE_LISTEN, &answer), 0);
	/* It may not be blocked yet: the second is heard then. */
	for (int i = 0; i < 50; i++) {
		engine_add_cancel(engine, 9, "C", 42);
		CHECK_EQ(ask(engine).err, 0);
		if (engine_await(engine, ENGINE_LISTEN, &answer, tine_after(100)) == 0)
			break;
	}
	CHECK(first_message(&answer, &message));
	CHECK(engine_copy_word(caller, sizeof(caller), message.caller));
	CHECK(strcmp(caller, "C") == 0);
	CHECK(engine_copy_word(map, sizeof(map), message.map));
	CHECK(strcmp(map, "42") == 0);
	CHECK_EQ(keys_for_ever(engine), 0);
	finish(engine);
}

/* The rules of tine-engines(7), of the pool p, as a command. */
static void add_rules_of_page(struct engine *engine)
{
	FILE *page = fopen(OLD_FOLDERS "/../../man/tine-engines.7", "re");
	char line[256], words[64][64];
	size_t n = 0;
	bool inside = false;
	struct request *request;

	CHECK(page != NULL);
	while (fgets(line, sizeof(line), page)) {
		inside |= strncmp(line, "ACL SETUSER ", 12) == 0;
		if (inside && *line == '.')
			break;
		for (char *word = strtok(line, " \n"); inside && word;
		     word = strtok(NULL, " \n")) {
			CHECK(n < 64);
			snprintf(words[n++], 64, "%s", word);
		}
	}
	fclose(page);
	CHECK(n > 30);
	request = engine_add(engine, ENGINE_TALK, 0, 0);
	request_head(request, n);
	for (size_t i = 0; i < n; i++)
		request_word(request, words[i], strlen(words[i]));
	CHECK_EQ(ask(engine).err, 0);
}

TEST(a_user_has_the_keys_of_its_pool_alone)
{
	char url[512], sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];
	struct engine *engine = begin(NULL), *mine = NULL;
	struct engine_url parsed;

	add_rules_of_page(engine);
	snprintf(url, sizeof(url), "unix:%s?user=worker&password=password&pool=p",
		 server.path);
	CHECK_EQ(engine_url_parse(&parsed, url), 0);
	CHECK_EQ(engine_open(&mine, &parsed, tine_after(5000)), 0);
	engine_url_free(&parsed);
	join(mine, "H", 5000);
	call(mine, "C");
	put(mine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(mine, "H", back));
	CHECK_EQ(done(mine, "H", sid, "C", "1", inputs, sizeof(inputs)), 1);
	CHECK_EQ(result(mine, "C", "0", back), 'a');
	CHECK_EQ(ASK_RAW(mine, "sss", "HGET", "tine:{q}:m", "lease").err, -EACCES);
	engine_free(mine);
	/* That of another pool cannot be joined. */
	snprintf(url, sizeof(url), "unix:%s?user=worker&password=password&pool=q",
		 server.path);
	CHECK_EQ(engine_url_parse(&parsed, url), 0);
	CHECK_EQ(engine_open(&mine, &parsed, tine_after(5000)), -EACCES);
	engine_url_free(&parsed);
	/* Nor without the password. */
	snprintf(url, sizeof(url), "unix:%s?user=worker&password=no&pool=p", server.path);
	CHECK_EQ(engine_url_parse(&parsed, url), 0);
	CHECK_EQ(engine_open(&mine, &parsed, tine_after(5000)), -EACCES);
	engine_url_free(&parsed);
	finish(engine);
}

TEST(a_pool_is_reached_by_tls)
{
	struct engine *engine = NULL;
	struct engine_url parsed;
	char url[512], sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX];

	tls_server_start(&server, "server", "no");
	snprintf(url, sizeof(url), "%s&pool=p", server.tls);
	CHECK_EQ(engine_url_parse(&parsed, url), 0);
	CHECK_EQ(engine_open(&engine, &parsed, tine_after(20000)), 0);
	engine_url_free(&parsed);
	join(engine, "H", 5000);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "H", back));
	CHECK_EQ(done(engine, "H", sid, "C", "1", inputs, sizeof(inputs)), 1);
	engine_free(engine);
	tls_server_stop(&server);
}

/* All keys of a pool lie in one slot: what a node of a cluster demands. */
TEST(a_node_of_a_cluster_will_do)
{
	static const char *const more[] = { "--cluster-enabled", "yes", NULL };
	char sid[ENGINE_SID_MAX], back[ENGINE_SID_MAX], path[128];
	struct engine_answer answer;
	struct engine *engine = begin(more);

	engine_add_join(engine, 1, "H", "", 5000, tasks, 2, NULL, NULL, 0);
	CHECK_EQ(ask(engine).err, -EAGAIN);
	CHECK_EQ(ASK_RAW(engine, "ssss", "CLUSTER", "ADDSLOTSRANGE", "0", "16383").err,
		 0);
	for (int i = 0; i < 2000; i++) {
		engine_add_join(engine, 1, "H", "", 5000, tasks, 2, NULL, NULL, 0);
		answer = ask(engine);
		if (answer.err != -EAGAIN)
			break;
		test_sleep_us(10000);
	}
	CHECK_EQ(answer.err, 0);
	call(engine, "C");
	put(engine, "C", "1", inputs, sizeof(inputs), sid);
	CHECK(take(engine, "H", back));
	CHECK_EQ(done(engine, "H", sid, "C", "1", inputs, sizeof(inputs)), 1);
	engine_free(engine);
	snprintf(path, sizeof(path), "%s/nodes.conf", server.folder);
	unlink(path);
	server_stop(&server);
}
