/* SPDX-License-Identifier: MIT */
/* Lists: pushed at their right, popped at their left. */
#include "store/redis/wait.h"

#include <errno.h>
#include <string.h>

#define NS_OF_MS    INT64_C(1000000)
#define LATEST_TIME INT64_C(5000000000) /* seconds; no clock is beyond */
#define MARGIN	    INT64_C(100000000)	/* at most, for an answer to come back */

int redis_push(tine_store *store, const char *list, const void *val, size_t len)
{
	request_add(session_begin(store, len), "ssb", "RPUSH", list, val, len);
	return session_ask_for(session_of(store), ONCE, RESP_NUMBER);
}

/* ---- the server's clock ------------------------------------------------------------ */

static bool read_part(struct resp *array, int64_t most, int64_t *out)
{
	struct resp part;
	int64_t number = 0;

	if (!resp_next(array, &part) || part.kind != RESP_STRING || part.len == 0)
		return false;
	for (size_t i = 0; i < part.len; i++) {
		if (part.text[i] < '0' || part.text[i] > '9' || number > most)
			return false;
		number = number * 10 + (part.text[i] - '0');
	}
	*out = number;
	return number <= most;
}

/* It is asked before ours is: a moment of ours is none of the server's that is later. */
static int learn_time(struct session *session)
{
	int64_t seconds, micros;
	struct resp resp;
	int err;

	if (session->knows_time)
		return 0;
	request_add(session_again(session), "s", "TIME");
	err = session_ask(session, AGAIN, &resp);
	if (err)
		return err;
	if (resp.kind != RESP_ARRAY || resp.number != 2 ||
	    !read_part(&resp, LATEST_TIME, &seconds) ||
	    !read_part(&resp, 999999, &micros))
		return -EBADMSG;
	session->ahead = seconds * 1000000000 + micros * 1000 - tine_now();
	session->knows_time = true;
	return 0;
}

/*
 * The last moment, in milliseconds of the server's clock, at which it may take an item.
 */
static int64_t last_moment(const struct session *session)
{
	int64_t margin = (session->until - tine_now()) / 4;

	margin = margin < MARGIN ? margin : MARGIN;
	return (session->until - margin + session->ahead) / NS_OF_MS;
}

/* ---- pop --------------------------------------------------------------------------- */

/* A number says that the first is too long; -1: that the question came too late. */
static const char pop_script[] =
	"local call=redis.call local first=call('LINDEX',KEYS[1],0) "
	"if not first then return false end "
	"if #first>tonumber(ARGV[1]) then return #first end "
	"local now=call('TIME') "
	"if now[1]*1000+now[2]/1000>tonumber(ARGV[2]) then return -1 end "
	"call('LPOP',KEYS[1]) return first";

/* -ENOENT: there is none; -EAGAIN: there was no time left. */
static ssize_t pop_now(struct session *session, const char *list, void *buf, size_t size)
{
	struct request *request;
	int64_t other = -2;
	ssize_t len = learn_time(session);

	if (len)
		return len;
	size = size < TINE_STORE_VALUE_MAX ? size : TINE_STORE_VALUE_MAX;
	request = session_again(session);
	request_script(request, pop_script, 1, 2);
	request_word(request, list, strlen(list));
	request_number(request, (int64_t)size);
	request_number(request, last_moment(session));
	len = session_ask_string(session, ONCE, buf, size, &other);
	if (len == -EBADMSG && other == -1) {
		session->knows_time = false;
		return -EAGAIN;
	}
	return len == -EBADMSG && other >= 0 ? -EMSGSIZE : len;
}

/*
 * BLPOP would take what is too long for the caller, and what it takes after the caller
 * has given up is lost. So the server takes nothing after a moment that it knows: one
 * that was stopped, and goes on, finds that it is too late. One whose clock was set may
 * find that with time left, and is asked once more.
 */
ssize_t redis_pop(tine_store *store, const char *list, void *buf, size_t size,
		  int64_t deadline)
{
	struct session *session = session_of(store);
	struct told_key *key = NULL;
	bool late = false;
	int err;

	session_begin_by(store, size, deadline);
	session_adopt(session);
	for (;;) {
		ssize_t len = pop_now(session, list, buf, size);

		if (len == -EAGAIN && !late && tine_now() < session->until) {
			late = true;
			continue;
		}
		if (len != -ENOENT)
			return len == -EAGAIN ? -ETIMEDOUT : len;
		late = false;
		if (deadline <= tine_now())
			return -ETIMEDOUT;
		key = key ? key : versions_of(&session->versions, list);
		if (!key)
			return -ENOMEM;
		err = wait_arm(session, key);
		wait_hear(session);
		while (!err && key->armed && !key->there && deadline > tine_now()) {
			err = wait_until_told(session, key, deadline);
			wait_hear(session);
		}
		if (err)
			return err;
		if (key->armed && !key->there)
			return -ETIMEDOUT;
		session_extend(session);
	}
}
