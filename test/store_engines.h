/* SPDX-License-Identifier: MIT */
/*
 * The engines that every test of a store runs with. To add one, write
 *
 *	NAME_start()	starts it with nothing in it, and returns its URL; skips the test
 *			where that cannot be
 *	NAME_stop()	nobody uses it any more: nothing is left of it
 *
 * and an entry in EACH_ENGINE: each test is then there once more, as NAME_test.
 */
#ifndef TINE_TEST_STORE_ENGINES_H
#define TINE_TEST_STORE_ENGINES_H

#include "redis_server.h"

/* ---- file -------------------------------------------------------------------------- */

static char store_folder[64];

static const char *file_start(void)
{
	static char url[80];
	tine_store *store;

	strcpy(store_folder, "/tmp/tine-store-XXXXXX");
	CHECK(mkdtemp(store_folder));
	snprintf(url, sizeof(url), "file:%s", store_folder);
	if (tine_store_open(&store, "file:/nowhere/at/all", NULL) == -EPROTONOSUPPORT) {
		rmdir(store_folder);
		test_skip("built without LMDB");
	}
	return url;
}

static void file_stop(void)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "tine.wake" };
	char path[128];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", store_folder, names[i]);
		unlink(path);
	}
	CHECK_EQ(rmdir(store_folder), 0);
}

/* ---- Redis, on a Unix socket ------------------------------------------------------- */

static tine_manager *store_server;

static const char *redis_start(void)
{
	int err = tine_manager_start(&store_server, NULL);

	if (err == -ENOENT)
		test_skip("no redis-server");
	CHECK_EQ(err, 0);
	return tine_manager_url(store_server);
}

static void redis_stop(void)
{
	tine_manager_free(store_server);
}

/* ---- Redis, on loopback, with a password ------------------------------------------- */

static struct server store_tcp_server;

static const char *tcp_start(void)
{
	server_start(&store_tcp_server, NULL);
	return store_tcp_server.tcp;
}

static void tcp_stop(void)
{
	server_stop(&store_tcp_server);
}

/* ---- Redis, on loopback, by TLS ---------------------------------------------------- */

static const char *tls_start(void)
{
	tls_server_start(&store_tcp_server, "server", "no");
	return store_tcp_server.tls;
}

static void tls_stop(void)
{
	tls_server_stop(&store_tcp_server);
}

/* ---- each -------------------------------------------------------------------------- */

#define EACH_ENGINE(DO, id)                                                              \
	DO(file, id)                                                                     \
	DO(redis, id)                                                                    \
	DO(tcp, id)                                                                      \
	DO(tls, id)

static const char *store_url;

#define RUN_WITH(engine, id)                                                             \
	TEST_LIMIT(engine##_##id, 120)                                                   \
	{                                                                                \
		store_url = engine##_start();                                            \
		id();                                                                    \
		engine##_stop();                                                         \
	}

/* A test of every engine: may open store_url, and leaves no handle behind. */
#define STORE_TEST(id)                                                                   \
	static void id(void);                                                            \
	EACH_ENGINE(RUN_WITH, id)                                                        \
	static void id(void)

static tine_store *store_open(void)
{
	/* A busy machine is none that does not answer. */
	static const tine_store_opts patient = { .connect_ms = 30000,
						 .answer_ms = 30000 };
	tine_store *store;

	CHECK_EQ(tine_store_open(&store, store_url, &patient), 0);
	return store;
}

#endif
