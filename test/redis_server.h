/* SPDX-License-Identifier: MIT */
/* A redis-server of the test's own: on a Unix socket and on loopback, with a password. */
#ifndef TINE_TEST_REDIS_SERVER_H
#define TINE_TEST_REDIS_SERVER_H

#include "test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PASSWORD "a secret/of:mine"
#define ESCAPED	 "a%20secret%2Fof%3Amine" /* in a URL */

struct server {
	pid_t pid;
	int port;
	char folder[32], path[64];
	char local[128], tcp[128]; /* URLs */
};

/* A cluster's server listens 10,000 ports above as well. */
static inline int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int port = 65535;

	while (port > 55000) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		address.sin_port = 0;
		CHECK(bind(fd, (struct sockaddr *)&address, len) == 0);
		CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
		port = ntohs(address.sin_port);
		close(fd);
	}
	return port;
}

/* With words of configuration more, or NULL; the folder and the port are chosen. */
static inline void server_run(struct server *server, const char *const *more)
{
	char port[16];
	/* clang-format off */
	const char *words[48] = {
		"redis-server", "--port", port, "--bind", "127.0.0.1",
		"--unixsocket", server->path, "--unixsocketperm", "600",
		"--requirepass", PASSWORD, "--save", "", "--appendonly", "no",
		"--dir", server->folder, "--loglevel", "warning",
	};
	/* clang-format on */
	int n = 0;
	tine_store *store;

	snprintf(port, sizeof(port), "%d", server->port);
	while (words[n])
		n++;
	for (; more && *more; more++)
		words[n++] = *more;
	fflush(stdout);
	server->pid = fork();
	CHECK(server->pid >= 0);
	if (server->pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		for (int fd = 3; fd < 256; fd++)
			close(fd);
		execvp(words[0], (char **)words);
		_exit(127);
	}
	for (int i = 0; i < 4000; i++) {
		int err = tine_store_open(&store, server->local, NULL), how = 0;

		if (err == 0) {
			tine_store_free(store);
			return;
		}
		if (waitpid(server->pid, &how, WNOHANG) == server->pid) {
			rmdir(server->folder);
			if (WIFEXITED(how) && WEXITSTATUS(how) == 127)
				test_skip("no redis-server");
			break;
		}
		if (err == -EPROTONOSUPPORT) {
			kill(server->pid, SIGKILL);
			waitpid(server->pid, NULL, 0);
			rmdir(server->folder);
			test_skip("a build without hiredis");
		}
		test_sleep_us(5000);
	}
	test_fail(__FILE__, __LINE__, "redis-server does not start");
}

static inline void server_start(struct server *server, const char *const *more)
{
	strcpy(server->folder, "/tmp/tine-test-XXXXXX");
	CHECK(mkdtemp(server->folder) != NULL);
	server->port = free_port();
	snprintf(server->path, sizeof(server->path), "%s/redis", server->folder);
	snprintf(server->local, sizeof(server->local), "unix:%s?password=%s",
		 server->path, ESCAPED);
	snprintf(server->tcp, sizeof(server->tcp), "redis://:%s@127.0.0.1:%d", ESCAPED,
		 server->port);
	server_run(server, more);
}

/* As a power cut; server_run() starts it again, empty. */
static inline void server_kill(struct server *server)
{
	kill(server->pid, SIGKILL);
	CHECK_EQ(test_reap(server->pid), -SIGKILL);
}

static inline void server_remove(struct server *server)
{
	unlink(server->path);
	CHECK_EQ(rmdir(server->folder), 0);
}

static inline void server_stop(struct server *server)
{
	server_kill(server);
	server_remove(server);
}

static inline tine_store *server_open(const struct server *server)
{
	tine_store *store = NULL;

	CHECK_EQ(tine_store_open(&store, server->local, NULL), 0);
	return store;
}

#endif
