/* SPDX-License-Identifier: MIT */
/*
 * The engine of the store that is a Redis server.
 *
 * Everything is stored plainly: values are strings, lists lists, dictionaries hashes.
 * What Redis has no command for is a script, which it runs as one. SET is such: it would
 * put a value in the place of a list. Long values are not for scripts, which copy them:
 * there the keys are watched (WATCH), looked at, and set in a transaction, unless others
 * change them so often that this comes to no end.
 *
 * Two connections. Questions go by the main one. On the first wait the ear is opened,
 * which never asks, and is told which keys have changed that were asked for on the main
 * one (CLIENT TRACKING ... REDIRECT ... OPTIN), once for each time they were asked for. A
 * key that somebody waits for is asked for again (it is armed) before its new version is
 * returned, so whatever changes it later is told. A version ends when a change is told,
 * when either connection is lost (who knows what changed meanwhile), and when the key's
 * time is over, which a server notices late and therefore is asked about in time.
 * Redis tells the names of keys and not in which of its databases they are: a change in
 * another one ends the version as well, and who waited looks once in vain.
 *
 *	server or connection lost	what does no harm twice is asked once more, on a
 *					new connection. Of what does, nobody knows whether
 *					it was done: -ECONNRESET. Unless the loss was seen
 *					before it was sent.
 *	no answer in time, or the	-ETIMEDOUT; the connection is closed, or the late
 *	server is stopped		answer would be taken for the next one's. Of what
 *					does harm twice nobody knows whether it was or
 *					will be done; but from a list nothing is taken
 *					that nobody waits for (list.c)
 *	server says what no Redis	-EBADMSG, or -EMSGSIZE; for what is not
 *	does, or says it for ever	asked nothing is allocated, and no time is given
 *	server loads or runs a script	it has done nothing; it is asked again until the
 *					time for answers is over
 *	caller dies before it has sent	nothing was done
 *	the whole call
 *	caller dies later		all was done; a value that was taken from a list
 *					is gone with who took it
 *	fork				the child closes its copies of both connections,
 *					says nothing by them, and opens its own
 *
 * The keys of tine_store_keys() are those that were there all the time; of others some
 * may be told. All at one moment would stop the server for everybody.
 */
#include "store/redis/calls.h"

static int redis_open(tine_store **out, const struct store_address *address)
{
	struct session *session;
	int err = session_new(&session, address);

	if (!err)
		*out = &session->store;
	return err;
}

static void redis_free(tine_store *store)
{
	session_free(session_of(store));
}

static const struct store_engine engine = {
	.open = redis_open,
	.free = redis_free,
	.set = redis_set,
	.set_all = redis_set_all,
	.get = redis_get,
	.add = redis_add,
	.swap = redis_swap,
	.lock = redis_lock,
	.relock = redis_relock,
	.push = redis_push,
	.pop = redis_pop,
	.put_field = redis_put_field,
	.get_field = redis_get_field,
	.del_field = redis_del_field,
	.fields = redis_fields,
	.len = redis_len,
	.del = redis_del,
	.expire = redis_expire,
	.keys = redis_keys,
	.lease = redis_lease,
	.settle = redis_settle,
	.wait = redis_wait,
};

const struct store_engine *const store_redis_engine = &engine;
