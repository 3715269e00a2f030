/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define MANY ((size_t)3 << 20)

static void new_pipe(int ends[2])
{
	CHECK_EQ(tine_pipe_new(ends), 0);
}

static void close_both(const int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

static void fill(char *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)(i * 31 + i / 251 + seed);
}

static void check_bytes(const char *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != (char)(i * 31 + i / 251 + seed))
			test_fail(__FILE__, __LINE__, "byte %zu of %zu", i, len);
}

static const size_t lengths[] = { 1,	 2,	  8,	    1000,  4096,  65519,
				  65520, 65521,	  65527,    65528, 65529, 65536,
				  70000, 1 << 20, MANY - 1, MANY };
enum { LENGTHS = sizeof(lengths) / sizeof(*lengths) };

TEST(messages_of_any_length)
{
	char *sent = malloc(MANY), *got = malloc(MANY + 1);
	int ends[2];

	new_pipe(ends);
	for (int i = 0; i < 2 * LENGTHS; i++) {
		size_t len = lengths[i / 2];
		int from = ends[i % 2], to = ends[1 - i % 2];

		fill(sent, len, i);
		memset(got, 0x55, len + 1);
		CHECK_EQ(tine_pipe_send(from, sent, len, TINE_NOWAIT), 0);
		CHECK_EQ(tine_pipe_recv(to, got, len, TINE_NOWAIT), len);
		check_bytes(got, len, i);
		CHECK_EQ(got[len], 0x55);
		CHECK_EQ(tine_pipe_recv(to, got, len, TINE_NOWAIT), -ETIMEDOUT);
		CHECK_EQ(tine_pipe_recv(from, got, len, TINE_NOWAIT), -ETIMEDOUT);
	}
	close_both(ends);
	free(sent);
	free(got);
}

TEST(what_does_not_fit_stays)
{
	char *sent = malloc(MANY), *got = malloc(MANY);
	int ends[2];

	new_pipe(ends);
	for (int i = 0; i < LENGTHS; i++) {
		size_t len = lengths[i];

		fill(sent, len, i);
		memset(got, 0x55, len);
		CHECK_EQ(tine_pipe_send(ends[0], sent, len, TINE_NOWAIT), 0);
		CHECK_EQ(tine_pipe_recv(ends[1], got, len - 1, TINE_FOREVER), -EMSGSIZE);
		CHECK_EQ(tine_pipe_recv(ends[1], got, 0, TINE_FOREVER), -EMSGSIZE);
		for (size_t at = 0; at < len; at++)
			CHECK_EQ(got[at], 0x55);
		CHECK_EQ(tine_pipe_recv(ends[1], got, len, TINE_NOWAIT), len);
		check_bytes(got, len, i);
	}
	close_both(ends);
	free(sent);
	free(got);
}

TEST(no_pipe)
{
	int ends[2], plain[2];
	char byte = 1;

	CHECK_EQ(tine_pipe_send(-1, &byte, 1, TINE_FOREVER), -EBADF);
	CHECK_EQ(tine_pipe_recv(-1, &byte, 1, TINE_FOREVER), -EBADF);
	CHECK(pipe(plain) == 0);
	CHECK_EQ(tine_pipe_send(plain[1], &byte, 1, TINE_FOREVER), -ENOTSOCK);
	CHECK_EQ(tine_pipe_recv(plain[0], &byte, 1, TINE_FOREVER), -ENOTSOCK);
	close_both(plain);
	new_pipe(ends);
	CHECK_EQ(tine_pipe_send(ends[0], &byte, 0, TINE_FOREVER), -EINVAL);
	for (int i = 0; i < 2; i++)
		CHECK(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
	close_both(ends);
}

TEST(deadlines)
{
	int64_t begun = tine_now();
	char buf[100] = { 0 };
	int ends[2];

	new_pipe(ends);
	CHECK_EQ(tine_pipe_recv(ends[0], buf, 1, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_pipe_recv(ends[0], buf, 1, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	while (tine_pipe_send(ends[0], buf, sizeof(buf), TINE_NOWAIT) == 0)
		;
	begun = tine_now();
	CHECK_EQ(tine_pipe_send(ends[0], buf, sizeof(buf), tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	close_both(ends);
}

/* So that a sender of long messages cannot fill the memory. */
TEST(long_messages_wait_when_a_few_are_on_their_way)
{
	char *msg = malloc(MANY);
	int ends[2], n = 0;

	new_pipe(ends);
	fill(msg, MANY, 0);
	while (tine_pipe_send(ends[0], msg, MANY, TINE_NOWAIT) == 0)
		CHECK(++n < 32);
	CHECK(n > 0);
	CHECK_EQ(tine_pipe_send(ends[0], msg, MANY, tine_after(5)), -ETIMEDOUT);
	while (n-- > 0) {
		memset(msg, 0, MANY);
		CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), MANY);
		check_bytes(msg, MANY, 0);
	}
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), -ETIMEDOUT);
	close_both(ends);
	free(msg);
}

/* ---- the other end --------------------------------------------------------------- */

TEST(the_end)
{
	char byte = 7;
	int ends[2];

	new_pipe(ends);
	CHECK_EQ(tine_pipe_send(ends[1], &byte, 1, TINE_NOWAIT), 0);
	close(ends[1]);
	CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_FOREVER), -EPIPE);
	byte = 0;
	CHECK_EQ(tine_pipe_recv(ends[0], &byte, 1, TINE_FOREVER), 1);
	CHECK_EQ(byte, 7);
	CHECK_EQ(tine_pipe_recv(ends[0], &byte, 1, TINE_FOREVER), 0);
	CHECK_EQ(tine_pipe_recv(ends[0], &byte, 1, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_NOWAIT), -EPIPE);
	close(ends[0]);
}

/* When it had not read all, the kernel calls the end a reset. */
TEST(the_end_of_a_peer_with_messages_unread)
{
	char *msg = malloc(MANY), byte = 0;
	int ends[2];

	for (int first = 0; first < 2; first++) {
		new_pipe(ends);
		fill(msg, MANY, 1);
		CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_NOWAIT), 0);
		CHECK_EQ(tine_pipe_send(ends[1], msg, MANY, TINE_NOWAIT), 0);
		close(ends[1]);
		if (first)
			CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_NOWAIT), -EPIPE);
		CHECK_EQ(tine_pipe_recv(ends[0], msg, 1, TINE_NOWAIT), -EMSGSIZE);
		CHECK_EQ(tine_pipe_recv(ends[0], msg, MANY, TINE_NOWAIT), MANY);
		check_bytes(msg, MANY, 1);
		CHECK_EQ(tine_pipe_recv(ends[0], msg, MANY, TINE_NOWAIT), 0);
		CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_NOWAIT), -EPIPE);
		close(ends[0]);
	}
	free(msg);
}

static void send_and_die(void *arg)
{
	const int *ends = arg;
	char *msg = malloc(MANY);

	close(ends[0]);
	fill(msg, MANY, 2);
	CHECK_EQ(tine_pipe_send(ends[1], msg, 10, TINE_FOREVER), 0);
	CHECK_EQ(tine_pipe_send(ends[1], msg, MANY, TINE_FOREVER), 0);
	raise(SIGKILL);
}

TEST(what_the_killed_sent_is_received)
{
	char *msg = malloc(MANY);
	int ends[2];
	pid_t pid;

	new_pipe(ends);
	pid = test_fork(send_and_die, ends);
	close(ends[1]);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	CHECK_EQ(tine_pipe_recv(ends[0], msg, MANY, TINE_FOREVER), 10);
	check_bytes(msg, 10, 2);
	CHECK_EQ(tine_pipe_recv(ends[0], msg, MANY, TINE_FOREVER), MANY);
	check_bytes(msg, MANY, 2);
	CHECK_EQ(tine_pipe_recv(ends[0], msg, MANY, TINE_FOREVER), 0);
	close(ends[0]);
	free(msg);
}

static void sleep_and_die(void *arg)
{
	const int *ends = arg;

	close(ends[0]);
	test_sleep_us(20000);
	raise(SIGKILL);
}

TEST(who_waits_hears_of_the_end)
{
	char buf[1000] = { 0 };
	int ends[2], err;
	pid_t pid;

	for (int sends = 0; sends < 2; sends++) {
		new_pipe(ends);
		pid = test_fork(sleep_and_die, ends);
		close(ends[1]);
		do {
			err = sends ? tine_pipe_send(ends[0], buf, 1000, TINE_FOREVER)
				    : tine_pipe_recv(ends[0], buf, 1000, TINE_FOREVER);
		} while (sends && err == 0);
		CHECK_EQ(err, sends ? -EPIPE : 0);
		CHECK_EQ(test_reap(pid), -SIGKILL);
		close(ends[0]);
	}
}

/* ---- many messages --------------------------------------------------------------- */

struct talk {
	int ends[2];
	long turns;
};

/* Receives and answers with the same, until the other end is gone. */
static void echo(void *arg)
{
	struct talk *talk = arg;
	char *msg = malloc(MANY);
	ssize_t n;

	close(talk->ends[0]);
	while ((n = tine_pipe_recv(talk->ends[1], msg, MANY, TINE_FOREVER)) > 0)
		CHECK_EQ(tine_pipe_send(talk->ends[1], msg, n, TINE_FOREVER), 0);
	CHECK_EQ(n, 0);
	free(msg);
}

TEST(there_and_back)
{
	struct talk talk = { .turns = test_scaled(3000) };
	char *msg = malloc(MANY);
	unsigned random = (unsigned)test_seed();
	pid_t pid;

	new_pipe(talk.ends);
	pid = test_fork(echo, &talk);
	close(talk.ends[1]);
	for (long i = 0; i < talk.turns; i++) {
		size_t len = 1 + rand_r(&random) % (i % 50 ? 100 : MANY);

		fill(msg, len, i);
		CHECK_EQ(tine_pipe_send(talk.ends[0], msg, len, TINE_FOREVER), 0);
		memset(msg, 0, len);
		CHECK_EQ(tine_pipe_recv(talk.ends[0], msg, MANY, TINE_FOREVER), len);
		check_bytes(msg, len, i);
	}
	close(talk.ends[0]);
	CHECK_EQ(test_reap(pid), 0);
	free(msg);
}

static void *send_all(void *arg)
{
	struct talk *talk = arg;
	char *msg = malloc(MANY);

	for (long i = 0; i < talk->turns; i++) {
		size_t len = i % 40 ? 1 + (size_t)i % 500
				    : 50000 + (size_t)i * 1000 % MANY;

		fill(msg, len, len);
		CHECK_EQ(tine_pipe_send(talk->ends[0], msg, len, TINE_FOREVER), 0);
	}
	free(msg);
	return NULL;
}

static void receive_and_send_all(void *arg)
{
	struct talk *talk = arg, other = { { talk->ends[1], -1 }, talk->turns };
	char *msg = malloc(MANY);
	pthread_t thread;

	close(talk->ends[0]);
	CHECK_EQ(pthread_create(&thread, NULL, send_all, &other), 0);
	for (long i = 0; i < 2 * talk->turns; i++) {
		ssize_t n = tine_pipe_recv(talk->ends[1], msg, MANY, TINE_FOREVER);

		CHECK(n > 0);
		check_bytes(msg, n, n);
	}
	pthread_join(thread, NULL);
	free(msg);
}

/* Two that send on one end, while their peer sends as well; no message is torn. */
TEST(both_ways_at_once)
{
	struct talk talk = { .turns = test_scaled(800) };
	char *msg = malloc(MANY);
	pthread_t threads[2];
	pid_t pid;

	new_pipe(talk.ends);
	pid = test_fork(receive_and_send_all, &talk);
	close(talk.ends[1]);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, send_all, &talk), 0);
	for (long i = 0; i < talk.turns; i++) {
		ssize_t n = tine_pipe_recv(talk.ends[0], msg, MANY, TINE_FOREVER);

		CHECK(n > 0);
		check_bytes(msg, n, n);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_pipe_recv(talk.ends[0], msg, MANY, TINE_FOREVER), 0);
	close(talk.ends[0]);
	free(msg);
}

TEST(an_end_can_be_polled)
{
	struct pollfd ready = { .events = POLLIN };
	char byte = 1;
	int ends[2];

	new_pipe(ends);
	ready.fd = ends[0];
	CHECK_EQ(poll(&ready, 1, 0), 0);
	CHECK_EQ(tine_pipe_send(ends[1], &byte, 1, TINE_NOWAIT), 0);
	CHECK_EQ(poll(&ready, 1, 0), 1);
	CHECK_EQ(tine_pipe_recv(ends[0], &byte, 1, TINE_NOWAIT), 1);
	CHECK_EQ(poll(&ready, 1, 0), 0);
	close(ends[1]);
	CHECK_EQ(poll(&ready, 1, 0), 1);
	close(ends[0]);
}

/* ---- limits ---------------------------------------------------------------------- */

static void limit_descriptors(rlim_t n)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = n;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

TEST(without_a_descriptor_left)
{
	char *msg = malloc(MANY), byte = 1;
	struct rlimit before;
	int ends[2], none[2] = { 5, 5 };

	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	new_pipe(ends);
	fill(msg, MANY, 3);
	CHECK_EQ(tine_pipe_send(ends[0], msg, MANY, TINE_NOWAIT), 0);
	limit_descriptors(ends[0]);
	CHECK_EQ(tine_pipe_new(none), -EMFILE);
	CHECK(none[0] == 5 && none[1] == 5);
	CHECK_EQ(tine_pipe_send(ends[0], msg, MANY, TINE_NOWAIT), -EMFILE);
	CHECK_EQ(tine_pipe_send(ends[0], &byte, 1, TINE_NOWAIT), 0);
	memset(msg, 0, MANY);
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), -EMFILE);
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), -EMFILE);
	limit_descriptors(before.rlim_cur);
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), MANY);
	check_bytes(msg, MANY, 3);
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), 1);
	close_both(ends);
	free(msg);
}

TEST(where_the_limit_on_buffers_is_low)
{
	char *msg = malloc(MANY);
	int ends[2], small = 2304;

	new_pipe(ends);
	for (int i = 0; i < 2; i++)
		CHECK(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) ==
		      0);
	for (int i = 0; i < LENGTHS; i++) {
		size_t len = lengths[i];

		fill(msg, len, i);
		CHECK_EQ(tine_pipe_send(ends[0], msg, len, TINE_NOWAIT), 0);
		memset(msg, 0, len);
		CHECK_EQ(tine_pipe_recv(ends[1], msg, len, TINE_NOWAIT), len);
		check_bytes(msg, len, i);
	}
	close_both(ends);
	free(msg);
}

TEST(where_files_may_not_be_long)
{
	struct rlimit limit = { 4096, RLIM_INFINITY };
	char *msg = malloc(MANY);
	int ends[2];

	new_pipe(ends);
	fill(msg, MANY, 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK_EQ(tine_pipe_send(ends[0], msg, MANY, TINE_NOWAIT), -ENOMEM);
	CHECK_EQ(tine_pipe_send(ends[0], msg, 60000, TINE_NOWAIT), 0);
	CHECK_EQ(tine_pipe_recv(ends[1], msg, MANY, TINE_NOWAIT), 60000);
	close_both(ends);
	free(msg);
}

/* ---- several children -------------------------------------------------------------- */

static int count_messages(void *arg)
{
	int *ends = arg;
	char byte;
	int n = 0;

	close(ends[0]);
	while (tine_pipe_recv(ends[1], &byte, 1, tine_after(60000)) == 1)
		n++;
	return n;
}

/* As the page says: a sibling has the parent's end too, and lives on. */
TEST(a_shutdown_ends_a_pipe_for_all_copies)
{
	tine_process *processes[2];
	int ends[2][2];
	tine_exit how = { 0 };

	for (int i = 0; i < 2; i++) {
		new_pipe(ends[i]);
		CHECK_EQ(tine_process_start(&processes[i], count_messages, ends[i], NULL),
			 0);
		close(ends[i][1]);
	}
	for (int n = 0; n < 3; n++)
		CHECK_EQ(tine_pipe_send(ends[0][0], "x", 1, TINE_FOREVER), 0);
	CHECK_EQ(shutdown(ends[0][0], SHUT_WR), 0);
	close(ends[0][0]);
	CHECK_EQ(tine_process_wait(processes[0], &how, tine_after(60000)), 0);
	CHECK_EQ(how.code, 3);
	CHECK_EQ(tine_process_wait(processes[1], NULL, TINE_NOWAIT), -ETIMEDOUT);
	close(ends[1][0]);
	CHECK_EQ(tine_process_wait(processes[1], &how, tine_after(60000)), 0);
	CHECK_EQ(how.code, 0);
	tine_process_free(processes[0]);
	tine_process_free(processes[1]);
}
