/* SPDX-License-Identifier: MIT */
/* What the ear is told, and who waits for it. The protocol is at the head of engine.c. */
#include "store/redis/wait.h"

#include "base/deadline.h"
#include "base/futex.h"

#include <errno.h>
#include <poll.h>

/* The name of each key that changed, or none: all may have. False: that is no such. */
static bool heed(struct session *session, struct resp *resp)
{
	struct resp word, channel, names, name;
	struct told_key *key;

	if (resp->kind != RESP_ARRAY || resp->number != 3 || !resp_next(resp, &word) ||
	    !resp_next(resp, &channel) || !resp_next(resp, &names))
		return false;
	if (names.kind != RESP_ARRAY) {
		versions_end_all(&session->versions);
		return names.kind == RESP_NIL;
	}
	while (resp_next(&names, &name)) {
		key = name.kind == RESP_STRING
			      ? versions_find(&session->versions, name.text, name.len)
			      : NULL;
		if (key)
			versions_end(&session->versions, key);
	}
	return true;
}

/* A server that never stops telling is one that is lost. */
void wait_hear(struct session *session)
{
	int64_t longest = tine_now() + session->longest;
	int64_t until = session->last < longest ? session->last : longest;

	while (session->ear.own.fd >= 0) {
		struct resp resp;
		int err = line_receive(&session->ear, &resp, TINE_NOWAIT);

		if (err == -ETIMEDOUT)
			return;
		if (err || !heed(session, &resp) || tine_now() > until)
			session_drop_ear(session);
	}
}

/* The main line is open. */
static int open_ear(struct session *session)
{
	struct line *ear = &session->ear;
	struct request *request = session_again(session);
	struct resp resp;
	int64_t id;
	int err = session_open_line(session, ear, session->until);

	if (err)
		return err;
	request_add(request, "ss", "CLIENT", "ID");
	err = session_talk(ear, request, &resp, session->until);
	if (err)
		goto close_ear;
	id = resp.number;
	session_again(session);
	request_add(request, "ss", "SUBSCRIBE", "__redis__:invalidate");
	err = resp.kind != RESP_NUMBER
		      ? -EBADMSG
		      : session_talk(ear, request, &resp, session->until);
	if (err)
		goto close_ear;
	session_again(session);
	request_add(request, "ssssis", "CLIENT", "TRACKING", "ON", "REDIRECT", id,
		    "OPTIN");
	err = resp.kind != RESP_ARRAY ? -EBADMSG : session_exchange(session, &resp);
	if (!err && !resp_is_text(&resp, RESP_STATUS, "OK"))
		err = -EBADMSG;
	if (!err)
		return 0;
close_ear:
	line_close(ear);
	return err;
}

/* PTTL is the cheapest question that makes the server remember who asked. */
static int arm_once(struct session *session, struct told_key *key)
{
	struct request *request;
	struct resp resp;
	int err = session_reach(session);

	if (!err && session->ear.own.fd < 0)
		err = open_ear(session);
	if (err)
		return err;
	request = session_again(session);
	request_add(request, "sss", "CLIENT", "CACHING", "YES");
	request_add(request, "ss", "PTTL", key->name);
	err = session_exchange(session, &resp);
	if (err)
		return err;
	if (resp.kind != RESP_NUMBER || resp.number < -2)
		return -EBADMSG;
	key->armed = true;
	key->there = resp.number != -2;
	key->expires = resp.number >= 0 && resp.number < INT64_MAX
			       ? tine_after(resp.number + 1)
			       : TINE_FOREVER;
	return 0;
}

int wait_arm(struct session *session, struct told_key *key)
{
	int err;

	if (tine_now() > session->last)
		return -ETIMEDOUT;
	session_extend(session);
	err = arm_once(session, key);
	return err == -ECONNRESET ? arm_once(session, key) : err;
}

/* Until something is told, or a connection is lost, which drops it. */
static void sleep_by_ear(struct session *session, int64_t until)
{
	struct pollfd polled[] = { { .fd = session->ear.own.fd, .events = POLLIN },
				   { .fd = session->main.own.fd, .events = POLLIN } };
	int64_t left = until - tine_now();
	struct timespec ts = timespec_of(left > 0 ? left : 0);
	/* Bound: the caller's deadline. */
	int n = ppoll(polled, 2, until == TINE_FOREVER ? NULL : &ts, NULL);

	if (n < 0)
		interrupt_note(errno);
	/* Nothing was asked there; TLS may have had something to say to itself. */
	if (n > 0 && polled[1].revents && !line_is_idle(&session->main))
		session_drop(session);
}

/*
 * An armed key that has the version still, and whose time is over: is it there? Its time
 * may have been made longer, too.
 */
static int look_at_time(struct session *session, struct told_key *key, uint64_t version)
{
	int err;

	if (key->version != version || tine_now() < key->expires)
		return 0;
	err = wait_arm(session, key);
	if (!err && !key->there && key->version == version)
		versions_end(&session->versions, key);
	return err;
}

int wait_until_told(struct session *session, struct told_key *key, int64_t deadline)
{
	uint64_t version = key->version;

	if (interrupt_take())
		return -EINTR;
	sleep_by_ear(session, earlier(key->expires, deadline));
	wait_hear(session);
	return look_at_time(session, key, version);
}

/* ---- wait -------------------------------------------------------------------------- */

static int know_all(struct session *session, struct store_wait *waits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		waits[i].known = versions_of(&session->versions, waits[i].key);
		if (!waits[i].known)
			return -ENOMEM;
	}
	return 0;
}

static struct told_key *one_unarmed(const struct store_wait *waits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((struct told_key *)waits[i].known)->armed)
			return waits[i].known;
	return NULL;
}

/*
 * 1: some were not armed, and all are; 0: all were. What is lost for one disarms those
 * before it.
 */
static int arm_missing(struct session *session, const struct store_wait *waits, size_t n)
{
	struct told_key *key;
	int armed = 0;

	while ((key = one_unarmed(waits, n)) != NULL) {
		int err = wait_arm(session, key);

		if (err)
			return err;
		armed = 1;
	}
	return armed;
}

static bool take_changes(struct store_wait *waits, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const struct told_key *key = waits[i].known;

		waits[i].changed = key->version != waits[i].version;
		waits[i].version = key->version;
		any |= waits[i].changed;
	}
	return any;
}

static int sleep_on_all(struct session *session, struct store_wait *waits, size_t n,
			int64_t deadline)
{
	int64_t until = deadline;
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		const struct told_key *key = waits[i].known;

		until = key->expires < until ? key->expires : until;
	}
	if (interrupt_take())
		return -EINTR;
	sleep_by_ear(session, until);
	wait_hear(session);
	for (size_t i = 0; i < n && !err; i++)
		err = look_at_time(session, waits[i].known, waits[i].version);
	return err;
}

/* What was changed before this is told before the answer. */
static int arm_all(struct session *session, struct store_wait *waits, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = wait_arm(session, waits[i].known);
	return err;
}

/*
 * A version is taken as soon as its key is armed, and nothing is heard in between: where
 * several keys change all the time, there might be no moment at which none has.
 */
int redis_wait(tine_store *store, struct store_wait *waits, size_t n, int64_t deadline)
{
	struct session *session = session_of(store);
	bool looked = false;
	int err = know_all(session, waits, n);

	if (err)
		return err;
	session_begin_by(store, 0, deadline);
	session_adopt(session);
	for (;;) {
		wait_hear(session);
		err = arm_missing(session, waits, n);
		if (err < 0)
			return err;
		looked |= err;
		if (take_changes(waits, n))
			return 0;
		if (deadline > tine_now())
			err = sleep_on_all(session, waits, n, deadline);
		else if (looked)
			return -ETIMEDOUT;
		else
			err = arm_all(session, waits, n);
		if (err)
			return err;
		looked = true;
	}
}
