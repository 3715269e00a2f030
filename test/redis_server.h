/* SPDX-License-Identifier: MIT */
/*
 * A redis-server of the test's own: on a Unix socket and on loopback, with a password;
 * and with TLS and certificates of its own, if that is asked for.
 */
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
	char pool[256];		   /* that of a pool there, p */
	/* Of one with TLS: */
	char certificates[32], tls[160];
	char port_text[8], files[3][64];
	const char *more[12];
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
static inline void server_spawn(struct server *server, const char *const *more)
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
}

/* Until it answers, and has loaded its data. */
static inline void server_await(struct server *server)
{
	tine_store *store;

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
		test_sleep_us(5000);
	}
	test_fail(__FILE__, __LINE__, "redis-server does not start");
}

static inline void server_run(struct server *server, const char *const *more)
{
	server_spawn(server, more);
	server_await(server);
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
	snprintf(server->pool, sizeof(server->pool), "%s&pool=p", server->local);
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

/* ---- TLS --------------------------------------------------------------------------- */

/*
 * In a folder: of two authorities, "ca" and "other"; by the first, "server" for this
 * machine, "elsewhere" for another, "client". NAME.crt and NAME.key.
 */
static inline void make_certificates(char *folder)
{
	static const char script[] =
		"cd %s && exec 2>/dev/null && make() { name=$1; shift; openssl req -x509 "
		"-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
		"-keyout $name.key -out $name.crt -subj /CN=$name \"$@\"; } && "
		"by() { make \"$@\" -CA ca.crt -CAkey ca.key; } && "
		"make ca && make other && "
		"by server -addext subjectAltName=DNS:localhost,IP:127.0.0.1 && "
		"by elsewhere -addext subjectAltName=DNS:elsewhere && by client";
	char line[1024];

	strcpy(folder, "/tmp/tine-test-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	snprintf(line, sizeof(line), script, folder);
	CHECK_EQ(system(line), 0);
}

static inline void remove_certificates(const char *folder)
{
	char line[64];

	snprintf(line, sizeof(line), "rm -r %s", folder);
	CHECK_EQ(system(line), 0);
}

/* With that certificate; whether clients must have one. */
static inline void tls_server_start(struct server *server, const char *cert,
				    const char *clients)
{
	static const char *const names[] = { "--tls-cert-file", "--tls-key-file",
					     "--tls-ca-cert-file" };
	int port = free_port();
	tine_store *store;

	snprintf(server->tls, sizeof(server->tls), "rediss://127.0.0.1:%d", port);
	if (tine_store_open(&store, server->tls, NULL) == -EPROTONOSUPPORT)
		test_skip("a build without TLS");
	make_certificates(server->certificates);
	snprintf(server->port_text, sizeof(server->port_text), "%d", port);
	snprintf(server->files[0], 64, "%s/%s.crt", server->certificates, cert);
	snprintf(server->files[1], 64, "%s/%s.key", server->certificates, cert);
	snprintf(server->files[2], 64, "%s/ca.crt", server->certificates);
	snprintf(server->tls, sizeof(server->tls), "rediss://:%s@127.0.0.1:%d?cacert=%s",
		 ESCAPED, port, server->files[2]);
	for (int i = 0; i < 3; i++) {
		server->more[2 * i] = names[i];
		server->more[2 * i + 1] = server->files[i];
	}
	server->more[6] = "--tls-port";
	server->more[7] = server->port_text;
	server->more[8] = "--tls-auth-clients";
	server->more[9] = clients;
	server->more[10] = NULL;
	server_start(server, server->more);
}

static inline void tls_server_stop(struct server *server)
{
	server_stop(server);
	remove_certificates(server->certificates);
}

/* ------------------------------------------------------------------------------------ */

static inline bool becomes(const tine_event *event, bool set)
{
	int64_t end = tine_after(5000);

	while (tine_event_is_set(event) != set && tine_now() < end)
		test_sleep_us(200);
	return tine_event_is_set(event) == set;
}

static inline tine_store *server_open(const struct server *server)
{
	tine_store *store = NULL;

	CHECK_EQ(tine_store_open(&store, server->local, NULL), 0);
	return store;
}

#endif
