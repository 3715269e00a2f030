/* SPDX-License-Identifier: MIT */
/* server [ANSWERS]: answers datagrams, numbers, with their least divisors. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <tine.h>

static struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { 0x100007f } };
static socklen_t size = sizeof(at);

static int divide(const void *in, void *out)
{
	uint64_t n = *(const uint64_t *)in, d = 2;

	while (d <= n / d && n % d != 0)
		d++;
	*(uint64_t *)out = d > n / d ? n : d;
	return 0;
}

static void ask(tine_pool *pool, int server)
{
	static const tine_task task = TINE_TASK(divide, uint64_t, uint64_t);
	char text[32] = "";
	ssize_t len = recvfrom(server, text, 31, MSG_DONTWAIT, (void *)&at, &size);
	uint64_t n = atol(text);

	if (len > 0 && tine_pool_submit(pool, &task, &n, at.sin_port, TINE_NOWAIT) != 0)
		fprintf(stderr, "too many\n");
}

int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : -1, server = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd polled[2] = { { server, POLLIN, 0 }, { -1, POLLIN, 0 } };
	uint64_t divisor;
	char text[32] = "";
	tine_pool *pool;
	tine_done done;

	if (bind(server, (void *)&at, size) || getsockname(server, (void *)&at, &size) ||
	    tine_pool_new(&pool, &(tine_pool_opts){ .job_ms = 2000 }) ||
	    (polled[1].fd = tine_pool_fd(pool)) < 0 ||
	    printf("port %d\n", ntohs(at.sin_port)) < 0)
		return 1;
	while (fflush(stdout) == 0 && left && poll(polled, 2, 1000) >= 0) {
		ask(pool, server);
		while (tine_pool_next(pool, &divisor, 8, &done, TINE_NOWAIT) == 1) {
			at.sin_port = done.tag;
			sprintf(text, "%lu", done.status ? 0 : divisor);
			left -= sendto(server, text, 32, 0, (void *)&at, size) > 0;
		}
	}
	tine_pool_free(pool);
	return 0;
}
