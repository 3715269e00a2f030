/* SPDX-License-Identifier: MIT */
/* A pool on a server of the test's own, asked one thing after another. */
#ifndef TINE_TEST_ENGINE_USE_H
#define TINE_TEST_ENGINE_USE_H

#include "engine/engine.h"
#include "redis_server.h"

#define P50  "pppppppppppppppppppppppppppppppppppppppppppppppppp"
#define P200 P50 P50 P50 P50 /* POOL_NAME_MAX */

static const struct false_url {
	const char *text;
	int err;
} false_urls[] = {
	{ "", -EINVAL },
	{ "h", -EINVAL },
	{ "http://h?pool=a", -EINVAL },
	{ "file:/tmp/x?pool=a", -EINVAL },
	{ "redis://h?pond=a", -EINVAL },
	{ "redis://h?pool=", -EINVAL },
	{ "redis://h?pool=a{b}", -EINVAL },
	{ "redis://h?pool=%7bp%7d", -EINVAL },
	{ "redis://h?pool=a%7b", -EINVAL },
	{ "redis://h?pool=a%0", -EINVAL },
	{ "redis://h?pool=a&pool=b", -EINVAL },
	{ "redis://h?pool=" P200 "p", -ENAMETOOLONG },
	{ "unix:/" P200, -ENAMETOOLONG },
	{ NULL, 0 },
};

static inline struct engine *open_pool(const struct server *server, const char *pool)
{
	struct engine *engine = NULL;
	struct engine_url parsed;
	char url[512];
	int err = 0;

	snprintf(url, sizeof(url), "%s&pool=%s", server->local, pool);
	CHECK_EQ(engine_url_parse(&parsed, url), 0);
	/* It may load still, or be slow beside others. */
	for (int i = 0; i < 2000; i++) {
		err = engine_open(&engine, &parsed, tine_after(5000));
		if (err != -EAGAIN && err != -ETIMEDOUT)
			break;
		test_sleep_us(5000);
	}
	CHECK_EQ(err, 0);
	engine_url_free(&parsed);
	return engine;
}

/* The answer to what was added last. */
static inline struct engine_answer ask_on(struct engine *engine, enum engine_way way)
{
	struct engine_answer answer = { 0 };

	CHECK_EQ(engine_send(engine, way, tine_after(5000)), 0);
	CHECK_EQ(engine_await(engine, way, &answer, tine_after(20000)), 0);
	return answer;
}

static inline struct engine_answer ask(struct engine *engine)
{
	return ask_on(engine, ENGINE_TALK);
}

static inline int64_t ask_number(struct engine *engine)
{
	struct engine_answer answer = ask(engine);

	CHECK_EQ(answer.err, 0);
	CHECK_EQ(answer.resp.kind, RESP_NUMBER);
	return answer.resp.number;
}

/* The numbers that are the first in an array. */
static inline unsigned ask_numbers(struct engine *engine, int64_t *numbers, unsigned most)
{
	struct engine_answer answer = ask(engine);
	struct resp element;
	unsigned n = 0;

	CHECK_EQ(answer.err, 0);
	CHECK_EQ(answer.resp.kind, RESP_ARRAY);
	while (n < most && resp_next(&answer.resp, &element) &&
	       element.kind == RESP_NUMBER)
		numbers[n++] = element.number;
	return n;
}

/* A command of the test's own. */
#define ASK_RAW(engine, ...)                                                             \
	(request_add(engine_add(engine, ENGINE_TALK, 0, 0), __VA_ARGS__), ask(engine))

/* The next message, of a stream of one; false: none. It is lent. */
static inline bool first_message(struct engine_answer *answer,
				 struct engine_message *message)
{
	struct resp key, entries;

	CHECK_EQ(answer->err, 0);
	return engine_next_stream(&answer->resp, &key, &entries) &&
	       engine_next_message(&entries, message);
}

/* Keys of the pool without a time to live, or with more than a minute of it. */
static inline unsigned keys_for_ever(struct engine *engine)
{
	struct engine_answer answer;
	static const char script[] =
		"local n=0 for _,k in ipairs(redis.call('KEYS',ARGV[1])) do "
		"local ms=redis.call('PTTL',k) if ms==-1 or ms>60000 then n=n+1 end end "
		"return n";
	char pattern[ENGINE_TAG_MAX + 1];

	snprintf(pattern, sizeof(pattern), "%s*", engine_tag(engine));
	answer = ASK_RAW(engine, "ssss", "EVAL", script, "0", pattern);
	CHECK_EQ(answer.resp.kind, RESP_NUMBER);
	return (unsigned)answer.resp.number;
}

#endif
