/* SPDX-License-Identifier: MIT */
/*
 * Stores beside servers that are none: whatever they say, in whatever pieces and for
 * however long, each call comes back with an error or a right answer.
 *
 * Half of the answers of the false server are what Redis would say, half are drawn from a
 * grammar of RESP and of what nearly is RESP; some never come to an end.
 */
#include "redis_server.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define GUARD INT64_C(20000000000) /* nanoseconds; a call takes a hundredth of it */

enum verdict { NOT_ASKED, RIGHT, WRONG };

struct peer {
	char path[64], url[96];
	pid_t pid;
	struct shared {
		_Atomic uint64_t seed;
		_Atomic long call; /* the number of the one under test */
		_Atomic int
			expected; /* the kind of answer that the call under test wants */
		_Atomic int verdict; /* of the last that it got */
		_Atomic int wrongs, rights;
	} * shared;
	/* What is said to each question but the first, PING; NULL: the grammar. */
	void (*says)(int fd, const char *command);
};

/* ---- what it says ------------------------------------------------------------------ */

static _Thread_local uint64_t state;

static unsigned draw(unsigned below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 20) % below);
}

struct text {
	char bytes[60000];
	size_t len;
};

static void put(struct text *text, const char *bytes, size_t len)
{
	if (len > sizeof(text->bytes) - text->len)
		return;
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

static void say(struct text *text, const char *string)
{
	put(text, string, strlen(string));
}

static const char *one_of(const char *const *all, size_t n)
{
	return all[draw((unsigned)n)];
}

#define ONE_OF(array) one_of(array, sizeof(array) / sizeof(*(array)))

static void draw_string(struct text *text)
{
	size_t len = draw(30);
	char head[16];

	say(text, (snprintf(head, sizeof(head), "$%zu\r\n", len), head));
	for (size_t i = 0; i < len; i++)
		put(text, &(char){ (char)draw(256) }, 1);
	say(text, draw(20) ? "\r\n" : "xy");
}

static void draw_answer(struct text *text, int depth)
{
	static const char *const errors[] = { "-ERR no\r\n",	"-OOM no\r\n",
					      "-BUSY no\r\n",	"-LOADING no\r\n",
					      "-MOVED 1 x\r\n", "-WRONGTYPE no\r\n" };
	static const char *const numbers[] = {
		":0\r\n",
		":1\r\n",
		":-1\r\n",
		":9223372036854775807\r\n",
		":\r\n",
		":-9223372036854775808\r\n",
		":-\r\n",
		":9223372036854775808\r\n",
		":0x1\r\n",
		":99999999999999999999999\r\n",
		":1\n",
		": 1\r\n",
		":18446744073709551616\r\n",
		":1 \r\n",
	};
	static const char *const announced[] = {
		"*2147483647\r\n",
		"*9223372036854775807\r\n",
		"$2147483647\r\n",
		"$536870912\r\n",
		"$536870913\r\n",
		"$-2\r\n",
		"*-2\r\n",
		"$9223372036854775807\r\n",
		"*1000000000000000000000\r\n",
		"*60000\r\n",
		"*3\r\n",
		"$40\r\n",
	};
	static const char *const strange[] = { "",	 "\r\n",
					       "+",	 "*",
					       "$",	 "HTTP/1.1 200\r\n",
					       "%1\r\n", ">2\r\n",
					       "+OK\n",	 "$3\r\nabcd\r\n" };
	unsigned n;

	switch (draw(12)) {
	case 0:
		say(text, draw(2) ? "+OK\r\n" : "+QUEUED\r\n");
		break;
	case 1:
		say(text, ONE_OF(errors));
		break;
	case 2:
	case 3:
		say(text, ONE_OF(numbers));
		break;
	case 4:
	case 5:
		draw_string(text);
		break;
	case 6:
		say(text, draw(2) ? "$-1\r\n" : "*-1\r\n");
		break;
	case 7:
	case 8:
		n = draw(depth > 5 ? 1 : 4);
		put(text, "*", 1);
		put(text, &"0123"[n], 1);
		say(text, "\r\n");
		while (n-- > 0)
			draw_answer(text, depth + 1);
		break;
	case 9:
		say(text, ONE_OF(announced));
		break;
	case 10:
		say(text, ONE_OF(strange));
		break;
	default:
		for (n = 0; n < 5000 && depth == 0; n++)
			say(text, "-ever");
	}
}

/* False: the peer is gone. */
static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t sent = write(fd, bytes, len);

		if (sent <= 0)
			return false;
		bytes += sent;
		len -= (size_t)sent;
	}
	return true;
}

static void write_text(int fd, const char *text)
{
	if (!write_all(fd, text, strlen(text)))
		_exit(0);
}

/* Until the peer is gone. */
static _Noreturn void say_for_ever(int fd, const char *text, long pause_us)
{
	for (;;) {
		write_text(fd, text);
		if (pause_us > 0)
			test_sleep_us(pause_us);
	}
}

#define PUSH "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$5\r\nother\r\n"
#define PAGE "*2\r\n$1\r\n7\r\n*1\r\n$3\r\nkey\r\n"

/* What never ends. */
static _Noreturn void never_end(int fd)
{
	static const char *const texts[] = { "*1\r\n",	"*2\r\n:1\r\n", ":1\r\n",
					     "+OK\r\n", PUSH,		PAGE,
					     "x",	"$-1\r\n" };
	static const char *const first[] = { "", "$536870912\r\n", "*20000\r\n", "+" };

	write_text(fd, ONE_OF(first));
	say_for_ever(fd, ONE_OF(texts), draw(2) ? 0 : 1000);
}

/* ---- what it is asked -------------------------------------------------------------- */

/* One byte after another is slow, and what is asked is short but for one value. */
static int next_byte(int fd)
{
	static _Thread_local char buf[65536];
	static _Thread_local ssize_t at, len;

	if (at == len) {
		at = 0;
		len = read(fd, buf, sizeof(buf));
		if (len <= 0)
			_exit(0);
	}
	return (unsigned char)buf[at++];
}

static long next_number(int fd, char mark)
{
	long n = 0;
	int c = next_byte(fd);

	if (c != mark)
		_exit(3);
	while ((c = next_byte(fd)) != '\r')
		n = n * 10 + (c - '0');
	next_byte(fd);
	return n;
}

/* Which call it is of, as the keys say: what came late is not judged. */
static _Thread_local long call_number;

#define MARK "key#"

static void next_command(int fd, char *command, size_t size)
{
	long words = next_number(fd, '*');

	for (long i = 0; i < words; i++) {
		long len = next_number(fd, '$');
		char word[64] = "";

		for (long k = 0; k < len + 2; k++) {
			int c = next_byte(fd);

			if (k < len && k < (long)sizeof(word) - 1)
				word[k] = (char)c;
		}
		if (i == 0)
			snprintf(command, size, "%.15s", word);
		if (strncmp(word, MARK, strlen(MARK)) == 0)
			call_number = atol(word + strlen(MARK));
	}
}

/* What Redis would say. */
static const char *right_answer(const char *command, int expected)
{
	static const struct {
		const char *command, *answer;
	} known[] = {
		{ "PING", "+PONG\r\n" },
		{ "CLIENT", "+OK\r\n" },
		{ "SUBSCRIBE",
		  "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n" },
		{ "PTTL", ":-1\r\n" },
		{ "TIME", "*2\r\n$10\r\n1800000000\r\n$1\r\n5\r\n" },
		{ "WATCH", "+OK\r\n" },
		{ "UNWATCH", "+OK\r\n" },
		{ "STRLEN", ":0\r\n" },
		{ "MULTI", "+OK\r\n" },
		{ "MSET", "+QUEUED\r\n" },
		{ "EXEC", "*1\r\n+OK\r\n" },
		{ "SCAN", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n" },
		{ "HGETALL", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(command, known[i].command) == 0)
			return known[i].answer;
	return expected == '_' ? "$-1\r\n" : expected == ':' ? ":1\r\n" : "$2\r\nas\r\n";
}

/* Whether the call under test stands or falls with it. */
static bool decides(const char *command)
{
	static const char *const those[] = { "EVAL",	"GET",	"INCRBY", "RPUSH",
					     "HSET",	"HGET", "HDEL",	  "DEL",
					     "PEXPIRE", "EXEC", "SCAN",	  "HGETALL",
					     "MULTI",	"WATCH" };

	for (size_t i = 0; i < sizeof(those) / sizeof(*those); i++)
		if (strcmp(command, those[i]) == 0)
			return true;
	return false;
}

static void judge(struct shared *shared, const char *command, enum verdict verdict)
{
	atomic_fetch_add(verdict == RIGHT ? &shared->rights : &shared->wrongs, 1);
	if (decides(command) && call_number == shared->call &&
	    (verdict == WRONG || (strcmp(command, "MULTI") && strcmp(command, "WATCH"))))
		shared->verdict = verdict;
}

static void answer_by_grammar(struct shared *shared, int fd, const char *command)
{
	const char *right = right_answer(command, shared->expected);
	struct text text = { .len = 0 };

	if (draw(2)) {
		judge(shared, command, RIGHT);
		write_text(fd, right);
		/* The ear is told things from then on. */
		if (strcmp(command, "SUBSCRIBE") == 0 && draw(3) == 0)
			never_end(fd);
		return;
	}
	draw_answer(&text, 0);
	/* It may come to be right, or begin like it. */
	judge(shared, command,
	      text.len > 0 && (text.bytes[0] == *right || text.bytes[1] == '-') &&
			      !memmem(text.bytes, text.len, "\n-", 2)
		      ? NOT_ASKED
		      : WRONG);
	switch (draw(8)) {
	case 0:
		/* Which may begin with what is right. */
		judge(shared, command, NOT_ASKED);
		never_end(fd);
	case 1:
		judge(shared, command, WRONG);
		text.len = text.len > 0 ? text.len - 1 : 0;
		break;
	case 2:
		for (size_t i = 0; i < text.len && i < 40; i++) {
			if (!write_all(fd, text.bytes + i, 1))
				_exit(0);
			test_sleep_us(100);
		}
		return;
	case 3:
		judge(shared, command, WRONG);
		_exit(0);
	}
	if (!write_all(fd, text.bytes, text.len))
		_exit(0);
}

static _Noreturn void serve(const struct peer *peer, int fd, unsigned nth)
{
	signal(SIGPIPE, SIG_IGN);
	state = (peer->shared->seed + nth) * 0x9e3779b97f4a7c15u | 1;
	for (;;) {
		char command[16] = "";

		next_command(fd, command, sizeof(command));
		if (!peer->says || strcmp(command, "PING") == 0)
			peer->says ? write_text(fd, "+PONG\r\n")
				   : answer_by_grammar(peer->shared, fd, command);
		else
			peer->says(fd, command);
	}
}

static void be_peer(const struct peer *peer, int listener)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	for (unsigned nth = 1;; nth++) {
		int fd = accept(listener, NULL, NULL);

		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			serve(peer, fd, nth);
		}
		close(fd);
	}
}

static void peer_start(struct peer *peer, void (*says)(int fd, const char *command))
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	peer->shared = tine_shared_new(1, sizeof(*peer->shared));
	CHECK(peer->shared != NULL);
	peer->says = says;
	snprintf(peer->path, sizeof(peer->path), "/tmp/tine-test-%d.peer", getpid());
	snprintf(peer->url, sizeof(peer->url), "unix:%s", peer->path);
	strcpy(address.sun_path, peer->path);
	unlink(peer->path);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 64) == 0);
	fflush(stdout);
	peer->pid = fork();
	CHECK(peer->pid >= 0);
	if (peer->pid == 0) {
		be_peer(peer, fd);
	}
	close(fd);
}

static void peer_stop(struct peer *peer)
{
	kill(peer->pid, SIGKILL);
	CHECK_EQ(test_reap(peer->pid), -SIGKILL);
	/* Those of its connections have come to this process. */
	while (wait(NULL) > 0)
		;
	unlink(peer->path);
	tine_shared_free(peer->shared);
}

/* ---- the calls --------------------------------------------------------------------- */

enum { LARGE = 5 << 18 };

static char large[LARGE];
static char key[32] = "key";

static int any(void *arg, const char *name)
{
	(void)arg;
	CHECK(strlen(name) > 0 && strlen(name) <= TINE_STORE_KEY_MAX);
	return 0;
}

static int any_field(void *arg, const char *name, const void *val, size_t len)
{
	volatile char sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (char)(sum ^ ((const char *)val)[i]);
	return any(arg, name);
}

/*
 * At most that is written which was there; what a length says is not above what may be.
 */
static int64_t into(ssize_t (*get)(tine_store *, void *buf, size_t size),
		    tine_store *store)
{
	char buf[16];
	ssize_t len;

	memset(buf, 'x', sizeof(buf));
	len = get(store, buf, 8);
	for (int i = len < 0 ? 0 : len < 8 ? (int)len : 8; i < 16; i++)
		CHECK(buf[i] == 'x');
	CHECK(len <= (ssize_t)TINE_STORE_VALUE_MAX);
	return len;
}

static ssize_t get_value(tine_store *store, void *buf, size_t size)
{
	return tine_store_get(store, key, buf, size);
}

static ssize_t get_field(tine_store *store, void *buf, size_t size)
{
	return tine_store_get_field(store, key, "field", buf, size);
}

static ssize_t pop_soon(tine_store *store, void *buf, size_t size)
{
	ssize_t len = tine_store_take(store, key, buf, size, tine_after(30));

	CHECK(len <= (ssize_t)size);
	return len;
}

static ssize_t pop_at_once(tine_store *store, void *buf, size_t size)
{
	ssize_t len = tine_store_take(store, key, buf, size, TINE_NOWAIT);

	CHECK(len <= (ssize_t)size);
	return len;
}

static int64_t call_set(tine_store *store)
{
	return tine_store_set(store, key, "val", 3);
}

static int64_t call_set_large(tine_store *store)
{
	return tine_store_set(store, key, large, sizeof(large));
}

static int64_t call_set_all(tine_store *store)
{
	tine_store_item items[] = { { .key = key, .val = "1", .len = 1 },
				    { .key = "b", .val = "2", .len = 1 } };

	return tine_store_set_all(store, items, 2);
}

static int64_t call_get(tine_store *store)
{
	return into(get_value, store);
}

static int64_t call_get_field(tine_store *store)
{
	return into(get_field, store);
}

static int64_t call_pop(tine_store *store)
{
	return into(pop_soon, store);
}

static int64_t call_pop_at_once(tine_store *store)
{
	return into(pop_at_once, store);
}

static int64_t call_add(tine_store *store)
{
	int64_t now = 77;
	int err = tine_store_add(store, key, 1, &now);

	CHECK(err == 0 || now == 77);
	return err;
}

static int64_t call_swap(tine_store *store)
{
	return tine_store_compare_set(store, key, "old", 3, "new", 3);
}

static int64_t call_push(tine_store *store)
{
	return tine_store_append(store, key, "item", 4);
}

static int64_t call_put_field(tine_store *store)
{
	return tine_store_put_field(store, key, "field", "val", 3);
}

static int64_t call_del_field(tine_store *store)
{
	return tine_store_del_field(store, key, "field");
}

static int64_t call_fields(tine_store *store)
{
	return tine_store_fields(store, key, any_field, NULL);
}

static int64_t call_len(tine_store *store)
{
	return tine_store_len(store, key);
}

static int64_t call_del(tine_store *store)
{
	return tine_store_del(store, key);
}

static int64_t call_expire(tine_store *store)
{
	return tine_store_expire(store, key, 1000);
}

static int64_t call_set_for(tine_store *store)
{
	return tine_store_set_for(store, key, "val", 3, 1000);
}

static int64_t call_lock(tine_store *store)
{
	uint64_t fence;

	return tine_store_lock(store, key, 1000, &fence, TINE_NOWAIT);
}

static int64_t call_relock(tine_store *store)
{
	return tine_store_relock(store, key, 1, 1000);
}

static int64_t call_unlock(tine_store *store)
{
	return tine_store_unlock(store, key, 1);
}

static int64_t call_stay(tine_store *store)
{
	return tine_store_expire(store, key, 0);
}

static int64_t call_keys(tine_store *store)
{
	return tine_store_keys(store, key, any, NULL);
}

static int64_t call_wait(tine_store *store)
{
	static uint64_t version;

	return tine_store_wait(store, key, &version, tine_after(30));
}

static int64_t call_look(tine_store *store)
{
	static uint64_t version;

	return tine_store_wait(store, key, &version, TINE_NOWAIT);
}

/*
 * Beside one that is watched already, by whatever the server lets that come to. Answers
 * are not judged by the key: the process goes on to ask when the call has come back.
 */
static int64_t call_watch(tine_store *store)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	int64_t err;
	int left;

	CHECK(events != NULL);
	tine_store_watch(store, "other", events);
	err = tine_store_watch(store, "watched", events + 1);
	left = tine_store_unwatch(store, events + 1);
	CHECK_EQ(left, err ? -ENOENT : 0);
	tine_store_unwatch(store, events);
	CHECK_EQ(tine_store_unwatch(store, events), -ENOENT);
	tine_shared_free(events);
	return err;
}

static const struct call {
	int64_t (*run)(tine_store *);
	char expected; /* kind of the answer that decides */
} calls[] = {
	{ call_set, '_' },	   { call_set_large, '*' }, { call_set_all, '_' },
	{ call_get, '$' },	   { call_get_field, '$' }, { call_pop, '$' },
	{ call_pop_at_once, '$' }, { call_add, ':' },	    { call_swap, ':' },
	{ call_push, ':' },	   { call_put_field, ':' }, { call_del_field, ':' },
	{ call_fields, '*' },	   { call_len, ':' },	    { call_del, ':' },
	{ call_expire, ':' },	   { call_stay, ':' },	    { call_keys, '*' },
	{ call_set_for, '_' },	   { call_lock, ':' },	    { call_relock, ':' },
	{ call_unlock, ':' },	   { call_wait, 0 },	    { call_look, 0 },
	{ call_watch, 0 },
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

/* ---- tests ------------------------------------------------------------------------- */

static const tine_store_opts hasty = { .connect_ms = 20000, .answer_ms = 60 };
/* Half of what does not come is a greeting. */
static const tine_store_opts hastier = { .connect_ms = 200, .answer_ms = 60 };

TEST_LIMIT(no_answer_is_taken_for_success, 240)
{
	struct peer peer;
	int opened = 0, done = 0, failed = 0;

	peer_start(&peer, NULL);
	peer.shared->seed = test_seed();
	for (long i = 0; i < test_sampled(1200); i++) {
		const struct call *call = &calls[i % CALLS];
		int64_t begun = tine_now();
		tine_store *store;
		int64_t result;

		if (tine_store_open(&store, peer.url, &hastier) != 0)
			continue;
		opened++;
		CHECK(tine_now() - begun < GUARD);
		for (int times = call->run == call_watch ? 2 : 0; times < 3; times++) {
			peer.shared->expected = call->expected;
			peer.shared->verdict = NOT_ASKED;
			snprintf(key, sizeof(key), MARK "%ld", ++peer.shared->call);
			begun = tine_now();
			result = call->run(store);
			CHECK(tine_now() - begun < GUARD);
			if (result >= 0 && peer.shared->verdict == WRONG)
				test_fail(__FILE__, __LINE__,
					  "call %d took a wrong answer for success",
					  (int)(call - calls));
			done += result >= 0;
			failed += result < 0;
		}
		tine_store_free(store);
	}
	/* What was to be tried was tried. */
	CHECK(opened > 0 && done > 0 && failed > 0);
	CHECK(peer.shared->rights > 0 && peer.shared->wrongs > 0);
	peer_stop(&peer);
}

static void says_bomb(int fd, const char *command)
{
	if (strcmp(command, "TIME") == 0)
		write_text(fd, right_answer(command, 0));
	else if (call_number % 2)
		write_text(fd, "*2147483647\r\n");
	else
		write_text(fd, "*50000\r\n");
}

/* Thirteen bytes are no reason to wait, nor for 16 GB. */
TEST(an_announcement_is_no_answer)
{
	static const tine_store_opts patient = { .connect_ms = 20000,
						 .answer_ms = 3600000 };
	struct peer peer;
	tine_store *store;

	peer_start(&peer, says_bomb);
	CHECK_EQ(tine_store_open(&store, peer.url, &patient), 0);
	for (size_t i = 0; i < 2 * CALLS; i++) {
		const struct call *call = &calls[i % CALLS];
		int64_t result;

		/* Those whose answers may be long wait for what may still come. */
		if (i >= CALLS && (call->run == call_fields || call->run == call_keys))
			continue;
		snprintf(key, sizeof(key), MARK "%d", i < CALLS ? 1 : 2);
		result = call->run(store);

		CHECK(result == -EBADMSG || result == -EMSGSIZE || result == -ETIMEDOUT);
		CHECK(result != -ETIMEDOUT || call->run == call_wait);
	}
	tine_store_free(store);
	peer_stop(&peer);
}

static void scans_for_ever(int fd, const char *command)
{
	write_text(fd, strcmp(command, "SCAN") == 0 ? PAGE : right_answer(command, ':'));
}

TEST(a_scan_without_an_end)
{
	struct peer peer;
	tine_store *store;

	peer_start(&peer, scans_for_ever);
	CHECK_EQ(tine_store_open(&store, peer.url, &hasty), 0);
	CHECK_EQ(tine_store_keys(store, "", any, NULL), -ETIMEDOUT);
	tine_store_free(store);
	peer_stop(&peer);
}

static void tells_for_ever(int fd, const char *command)
{
	write_text(fd, right_answer(command, ':'));
	if (strcmp(command, "SUBSCRIBE") == 0) {
		static struct text text;

		while (text.len + sizeof(PUSH) < 50000)
			say(&text, PUSH);
		text.bytes[text.len] = '\0';
		say_for_ever(fd, text.bytes, 0);
	}
}

static void answers_id(int fd, const char *command)
{
	static bool asked;

	/* The first CLIENT on each connection is for its number. */
	if (strcmp(command, "CLIENT") == 0 && !asked) {
		asked = true;
		write_text(fd, ":5\r\n");
		return;
	}
	tells_for_ever(fd, command);
}

TEST(what_is_told_without_an_end)
{
	uint64_t version = 0;
	struct peer peer;
	tine_store *store;
	int err;

	peer_start(&peer, answers_id);
	CHECK_EQ(tine_store_open(&store, peer.url, &hasty), 0);
	for (int i = 0; i < 5; i++) {
		err = tine_store_wait(store, "key", &version, tine_after(100));
		CHECK(err == 0 || err == -ETIMEDOUT || err == -EBADMSG);
		err = tine_store_wait(store, "key", &version, TINE_NOWAIT);
		CHECK(err == 0 || err == -ETIMEDOUT || err == -EBADMSG);
	}
	tine_store_free(store);
	peer_stop(&peer);
}

/* Each byte comes in time; all of them never do. */
static void drips(int fd, const char *command)
{
	(void)command;
	write_text(fd, "$500000000\r\n");
	say_for_ever(fd, "0123456789", 1000);
}

static void floods(int fd, const char *command)
{
	static char block[60000];

	(void)command;
	memset(block, 'x', sizeof(block) - 1);
	write_text(fd, "$500000000\r\n");
	say_for_ever(fd, block, 0);
}

TEST(many_bytes_buy_no_time)
{
	struct peer peer;
	tine_store *store;

	peer_start(&peer, floods);
	CHECK_EQ(tine_store_open(&store, peer.url, &hasty), 0);
	CHECK_EQ(tine_store_get(store, "key", NULL, 0), -ETIMEDOUT);
	tine_store_free(store);
	peer_stop(&peer);
}

TEST(bytes_buy_no_time)
{
	struct peer peer;
	tine_store *store;
	char buf[8] = "as it is";

	peer_start(&peer, drips);
	CHECK_EQ(tine_store_open(&store, peer.url, &hasty), 0);
	CHECK_EQ(tine_store_get(store, "key", buf, sizeof(buf)), -ETIMEDOUT);
	CHECK(memcmp(buf, "as it is", 8) == 0);
	tine_store_free(store);
	peer_stop(&peer);
}

static void refuses_inside(int fd, const char *command)
{
	write_text(fd, strcmp(command, "EXEC") == 0 ? "*1\r\n-OOM command not allowed\r\n"
						    : right_answer(command, ':'));
}

static void does_something_else(int fd, const char *command)
{
	write_text(fd, strcmp(command, "EXEC") == 0 ? "*1\r\n:1\r\n"
						    : right_answer(command, ':'));
}

TEST(an_answer_to_another_question)
{
	static const tine_store_opts patient = { .connect_ms = 20000,
						 .answer_ms = 20000 };
	struct peer peer;
	tine_store *store;

	peer_start(&peer, does_something_else);
	CHECK_EQ(tine_store_open(&store, peer.url, &patient), 0);
	CHECK_EQ(tine_store_set(store, "key", large, sizeof(large)), -EBADMSG);
	CHECK_EQ(tine_store_set(store, "key", "val", 3), -EBADMSG);
	tine_store_free(store);
	peer_stop(&peer);
}

TEST(an_error_inside_an_answer)
{
	static const tine_store_opts patient = { .connect_ms = 20000,
						 .answer_ms = 20000 };
	struct peer peer;
	tine_store *store;

	peer_start(&peer, refuses_inside);
	CHECK_EQ(tine_store_open(&store, peer.url, &patient), 0);
	CHECK_EQ(tine_store_set(store, "key", large, sizeof(large)), -ENOMEM);
	tine_store_free(store);
	peer_stop(&peer);
}
