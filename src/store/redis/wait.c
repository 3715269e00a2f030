/* SPDX-License-Identifier: MIT */
/* What the ear is told, and who waits for it. The protocol is at the head of engine.c. */
#include "store/redis/wait.h"

#include "base/futex.h"

#include <errno.h>
#include <poll.h>

/* The name of each key that changed, or none: all may have. */
static void heed(struct session *session, const redisReply *reply)
{
	const redisReply *names;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
		return;
	names = reply->element[2];
	if (names->type != REDIS_REPLY_ARRAY) {
		versions_end_all(&session->versions);
		return;
	}
	for (size_t i = 0; i < names->elements; i++) {
		const redisReply *name = names->element[i];
		struct told_key *key = name->type == REDIS_REPLY_STRING
					       ? versions_find(&session->versions,
							       name->str, name->len)
					       : NULL;

		if (key)
			versions_end(&session->versions, key);
	}
}

/* All that was told until now. */
void wait_hear(struct session *session)
{
	while (session->ear.fd >= 0) {
		redisReply *reply;
		int err = line_receive(&session->ear, &reply, TINE_NOWAIT);

		if (err == -ETIMEDOUT)
			return;
		if (err) {
			session_drop_ear(session);
			return;
		}
		heed(session, reply);
		reply_free(reply);
	}
}

/* The main line is open. */
static int open_ear(struct session *session, int64_t deadline)
{
	struct line *ear = &session->ear;
	struct request *request = &session->request;
	redisReply *reply;
	int64_t id;
	int err = session_open_line(session, ear, deadline);

	if (err)
		return err;
	request_begin(request);
	request_add(request, "ss", "CLIENT", "ID");
	err = session_talk(ear, request, &reply, deadline);
	if (err)
		goto close_ear;
	id = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
	reply_free(reply);
	request_begin(request);
	request_add(request, "ss", "SUBSCRIBE", "__redis__:invalidate");
	err = session_talk(ear, request, NULL, deadline);
	if (err)
		goto close_ear;
	request_begin(request);
	request_add(request, "ssssis", "CLIENT", "TRACKING", "ON", "REDIRECT", id,
		    "OPTIN");
	err = session_exchange(session, NULL, deadline);
	if (!err)
		return 0;
close_ear:
	line_close(ear);
	return err;
}

/* PTTL is the cheapest question that makes the server remember who asked. */
static int arm_by(struct session *session, struct told_key *key, int64_t deadline)
{
	redisReply *reply;
	int err = session_reach(session, deadline);

	if (!err && session->ear.fd < 0)
		err = open_ear(session, deadline);
	if (err)
		return err;
	request_begin(&session->request);
	request_add(&session->request, "sss", "CLIENT", "CACHING", "YES");
	request_add(&session->request, "ss", "PTTL", key->name);
	err = session_exchange(session, &reply, deadline);
	if (err)
		return err;
	if (reply->type == REDIS_REPLY_INTEGER) {
		key->armed = true;
		key->there = reply->integer != -2;
		key->expires = reply->integer >= 0 ? tine_after(reply->integer + 1)
						   : TINE_FOREVER;
	} else {
		err = -EBADMSG;
	}
	reply_free(reply);
	return err;
}

int wait_arm(struct session *session, struct told_key *key, int64_t deadline)
{
	int err;

	deadline = session_answer_by(session, deadline);
	err = arm_by(session, key, deadline);
	return err == -ECONNRESET ? arm_by(session, key, deadline) : err;
}

/* Until something is told, or a connection is lost, which drops it. */
static void sleep_by_ear(struct session *session, int64_t until)
{
	struct pollfd polled[] = { { .fd = session->ear.fd, .events = POLLIN },
				   { .fd = session->main.fd, .events = POLLIN } };
	int64_t left = until - tine_now();
	struct timespec ts = timespec_of(left > 0 ? left : 0);
	int n = ppoll(polled, 2, until == TINE_FOREVER ? NULL : &ts, NULL);

	/* Nothing was asked there; TLS may have had something to say to itself. */
	if (n > 0 && polled[1].revents && !line_is_idle(&session->main))
		session_drop(session);
}

/* Sleeps while the armed key has this version; 0: look again. */
int wait_for_end(struct session *session, struct told_key *key, int64_t deadline)
{
	int64_t until = key->expires < deadline ? key->expires : deadline;
	uint64_t version = key->version;
	int err = 0;

	sleep_by_ear(session, until);
	wait_hear(session);
	if (key->version != version || tine_now() < key->expires)
		return 0;
	/* Its time may have been made longer, too. */
	err = wait_arm(session, key, TINE_NOWAIT);
	if (!err && !key->there && key->version == version)
		versions_end(&session->versions, key);
	return err;
}

int redis_wait(tine_store *store, const char *name, uint64_t *version, int64_t deadline)
{
	struct session *session = session_of(store);
	struct told_key *key = versions_of(&session->versions, name);
	bool looked = false;

	if (!key)
		return -ENOMEM;
	session_adopt(session);
	for (;;) {
		int err = 0;

		wait_hear(session);
		if (!key->armed) {
			err = wait_arm(session, key, deadline);
			looked = true;
		} else if (key->version != *version) {
			*version = key->version;
			return 0;
		} else if (deadline > tine_now()) {
			err = wait_for_end(session, key, deadline);
			looked = true;
		} else if (looked) {
			return -ETIMEDOUT;
		} else {
			/* What was changed before this is told before the answer. */
			err = wait_arm(session, key, deadline);
			looked = true;
		}
		if (err)
			return err;
	}
}
