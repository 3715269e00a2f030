/* SPDX-License-Identifier: MIT */
/* Lists: pushed at their right, popped at their left. */
#include "store/redis/wait.h"

#include <errno.h>
#include <string.h>

int redis_push(tine_store *store, const char *list, const void *val, size_t len)
{
	request_add(session_begin(store), "ssb", "RPUSH", list, val, len);
	return session_ask(session_of(store), ONCE, NULL);
}

/* The number says that it is too long. */
static const char pop_script[] = "local first=redis.call('LINDEX',KEYS[1],0) "
				 "if not first then return false end "
				 "if #first>tonumber(ARGV[1]) then return #first end "
				 "redis.call('LPOP',KEYS[1]) return first";

/* -ENOENT: there is none. */
static ssize_t pop_now(tine_store *store, const char *list, void *buf, size_t size)
{
	struct request *request = session_begin(store);
	int64_t too_long = -1;
	ssize_t len;

	request_script(request, pop_script, 1, 1);
	request_word(request, list, strlen(list));
	request_number(
		request,
		(int64_t)(size < TINE_STORE_VALUE_MAX ? size : TINE_STORE_VALUE_MAX));
	len = session_ask_string(session_of(store), ONCE, buf, size, &too_long);
	return len == -EBADMSG && too_long >= 0 ? -EMSGSIZE : len;
}

/*
 * BLPOP would take what is too long for the caller. Where the deadline is near, the
 * server is asked first whether there is anything: what it takes from the list after the
 * caller has given up would be lost.
 */
ssize_t redis_pop(tine_store *store, const char *list, void *buf, size_t size,
		  int64_t deadline)
{
	struct session *session = session_of(store);
	int64_t now = tine_now();
	bool try = deadline <= now || deadline - now >= session->main.answer;
	struct told_key *key = NULL;

	session_adopt(session);
	for (;;) {
		ssize_t len = try ? pop_now(store, list, buf, size) : -ENOENT;
		int err;

		if (len != -ENOENT)
			return len;
		if (try && deadline <= tine_now())
			return -ETIMEDOUT;
		key = key ? key : versions_of(&session->versions, list);
		if (!key)
			return -ENOMEM;
		err = wait_arm(session, key, deadline);
		wait_hear(session);
		while (!err && key->armed && !key->there && deadline > tine_now()) {
			err = wait_for_end(session, key, deadline);
			wait_hear(session);
		}
		if (err)
			return err;
		try = true;
		if (key->armed && !key->there)
			return -ETIMEDOUT;
	}
}
