/* SPDX-License-Identifier: MIT */
/*
 * The store, as far as it is the same for all engines: the arguments are
 * checked here, once; the work is the engine's. No state is kept here that
 * a death could break.
 */
#include "store/store.h"

#include "base/deadline.h"
#include "base/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 800
#define ANSWER_MS  5000

#ifndef HAVE_LMDB
const struct store_engine *const store_file_engine = NULL;
#endif

/* ---- handles ----------------------------------------------------------------------- */

int tine_store_open(tine_store **out, const char *url, const tine_store_opts *opts)
{
	static const tine_store_opts defaults;
	struct store_address address = { 0 };
	const struct store_engine *engine;
	tine_store *store;
	char *strings;
	int err;

	opts = opts ? opts : &defaults;
	if (!out || !url || !TAIL_IS_ZERO(opts))
		return -EINVAL;
	address.connect_ms = opts->connect_ms ? opts->connect_ms : CONNECT_MS;
	address.answer_ms = opts->answer_ms ? opts->answer_ms : ANSWER_MS;
	strings = strdup(url);
	if (!strings)
		return -ENOMEM;
	err = store_parse_url(strings, &address);
	engine = address.kind == STORE_FILE ? store_file_engine : store_redis_engine;
	if (!err && !engine)
		err = -EPROTONOSUPPORT;
	if (!err)
		err = engine->open(&store, &address);
	if (err) {
		free(strings);
		return err;
	}
	store->engine = engine;
	store->address = address;
	store->strings = strings;
	store->watcher = NULL;
	*out = store;
	return 0;
}

void tine_store_free(tine_store *store)
{
	char *strings;

	if (!store)
		return;
	store_unwatch_all(store);
	strings = store->strings;
	store->engine->free(store);
	free(strings);
}

/* ---- calls ------------------------------------------------------------------------- */

/* Of a key or a field: 1 to TINE_STORE_KEY_MAX bytes. */
static bool is_name(const char *text)
{
	return text && *text &&
	       strnlen(text, TINE_STORE_KEY_MAX + 1) <= TINE_STORE_KEY_MAX;
}

static int check_value(const void *val, size_t len)
{
	if (!val && len > 0)
		return -EINVAL;
	return len > TINE_STORE_VALUE_MAX ? -EMSGSIZE : 0;
}

int tine_store_set_for(tine_store *store, const char *key, const void *val, size_t len,
		       int64_t ms)
{
	int err = store && is_name(key) && ms >= 0 ? check_value(val, len) : -EINVAL;

	return err ? err : store->engine->set(store, key, val, len, ms);
}

int tine_store_set(tine_store *store, const char *key, const void *val, size_t len)
{
	return tine_store_set_for(store, key, val, len, 0);
}

ssize_t tine_store_get(tine_store *store, const char *key, void *buf, size_t size)
{
	if (!store || !is_name(key) || (!buf && size > 0))
		return -EINVAL;
	return store->engine->get(store, key, buf, size);
}

int tine_store_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	if (!store || (!items && n > 0))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int err = !items[i].reserved && is_name(items[i].key)
				  ? check_value(items[i].val, items[i].len)
				  : -EINVAL;

		if (err)
			return err;
	}
	return n > 0 ? store->engine->set_all(store, items, n) : 0;
}

int tine_store_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	return store && is_name(key) ? store->engine->add(store, key, by, now) : -EINVAL;
}

int tine_store_compare_set(tine_store *store, const char *key, const void *old,
			   size_t old_len, const void *val, size_t len)
{
	int err = store && is_name(key) ? check_value(old, old_len) : -EINVAL;

	err = err ? err : check_value(val, len);
	return err ? err : store->engine->swap(store, key, old, old_len, val, len);
}

int tine_store_append(tine_store *store, const char *list, const void *val, size_t len)
{
	int err = store && is_name(list) ? check_value(val, len) : -EINVAL;

	return err ? err : store->engine->push(store, list, val, len);
}

ssize_t tine_store_take(tine_store *store, const char *list, void *buf, size_t size,
			int64_t deadline)
{
	if (!store || !is_name(list) || (!buf && size > 0) || is_no_deadline(deadline))
		return -EINVAL;
	return store->engine->pop(store, list, buf, size, deadline);
}

int tine_store_put_field(tine_store *store, const char *dict, const char *field,
			 const void *val, size_t len)
{
	int err = store && is_name(dict) && is_name(field) ? check_value(val, len)
							   : -EINVAL;

	return err ? err : store->engine->put_field(store, dict, field, val, len);
}

ssize_t tine_store_get_field(tine_store *store, const char *dict, const char *field,
			     void *buf, size_t size)
{
	if (!store || !is_name(dict) || !is_name(field) || (!buf && size > 0))
		return -EINVAL;
	return store->engine->get_field(store, dict, field, buf, size);
}

int tine_store_del_field(tine_store *store, const char *dict, const char *field)
{
	if (!store || !is_name(dict) || !is_name(field))
		return -EINVAL;
	return store->engine->del_field(store, dict, field);
}

int tine_store_fields(tine_store *store, const char *dict,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg)
{
	if (!store || !is_name(dict) || !each)
		return -EINVAL;
	return store->engine->fields(store, dict, each, arg);
}

ssize_t tine_store_len(tine_store *store, const char *key)
{
	return store && is_name(key) ? store->engine->len(store, key) : -EINVAL;
}

int tine_store_del(tine_store *store, const char *key)
{
	return store && is_name(key) ? store->engine->del(store, key) : -EINVAL;
}

int tine_store_expire(tine_store *store, const char *key, int64_t ms)
{
	if (!store || !is_name(key) || ms < 0)
		return -EINVAL;
	return store->engine->expire(store, key, ms);
}

int tine_store_keys(tine_store *store, const char *prefix,
		    int (*each)(void *arg, const char *key), void *arg)
{
	if (!store || !prefix || !each ||
	    strnlen(prefix, TINE_STORE_KEY_MAX + 1) > TINE_STORE_KEY_MAX)
		return -EINVAL;
	return store->engine->keys(store, prefix, each, arg);
}

/*
 * Of what is held for left milliseconds more (-1: for ever): 0 when it is worth another
 * attempt. The version is learnt before each attempt: what gives it back after that is a
 * change. Its time ends without one.
 */
static int wait_for_turn(tine_store *store, struct store_wait *wait, int64_t left,
			 int64_t deadline)
{
	int64_t now = tine_now(), until = TINE_FOREVER;
	int err;

	if (deadline <= now)
		return -ETIMEDOUT;
	if (left >= 0 && left < STORE_MOST_MS / 1000000)
		until = now + left * 1000000;
	/* Bound: the caller's deadline. */
	err = store->engine->wait(store, wait, 1, earlier(until, deadline));
	return err == -ETIMEDOUT ? 0 : err;
}

int tine_store_lock(tine_store *store, const char *key, int64_t ms, uint64_t *fence,
		    int64_t deadline)
{
	struct store_wait wait = { .key = key };
	int64_t left = 0;
	int err;

	if (!store || !is_name(key) || ms <= 0 || !fence || is_no_deadline(deadline))
		return -EINVAL;
	ms = ms < STORE_MOST_MS ? ms : STORE_MOST_MS;
	for (;;) {
		err = store->engine->lock(store, key, ms, fence, &left, deadline);
		if (err != -EAGAIN)
			return err;
		err = wait_for_turn(store, &wait, left, deadline);
		if (err)
			return err;
	}
}

int tine_store_unlock(tine_store *store, const char *key, uint64_t fence)
{
	if (!store || !is_name(key) || fence == 0)
		return -EINVAL;
	return store->engine->relock(store, key, fence, 0);
}

int tine_store_relock(tine_store *store, const char *key, uint64_t fence, int64_t ms)
{
	if (!store || !is_name(key) || fence == 0 || ms <= 0)
		return -EINVAL;
	return store->engine->relock(store, key, fence,
				     ms < STORE_MOST_MS ? ms : STORE_MOST_MS);
}

/* Milliseconds, 139 years: the end of a lease is in 44 of its bits. */
#define LONGEST_LEASE (INT64_C(1) << 42)

/* The dictionary of a list's leases. */
static int name_leases(char *leases, const char *list)
{
	static const char end[] = ":leases";
	size_t len;

	if (!is_name(list))
		return -EINVAL;
	len = strlen(list);
	if (len + sizeof(end) > TINE_STORE_KEY_MAX + 1)
		return -ENAMETOOLONG;
	memcpy(leases, list, len);
	memcpy(leases + len, end, sizeof(end));
	return 0;
}

ssize_t tine_store_lease(tine_store *store, const char *list, void *buf, size_t size,
			 int64_t ms, tine_lease *lease, int64_t deadline)
{
	char leases[TINE_STORE_KEY_MAX + 1];
	struct store_wait wait = { .key = list };
	ssize_t len;

	if (!store || (!buf && size > 0) || ms <= 0 || !lease || is_no_deadline(deadline))
		return -EINVAL;
	len = name_leases(leases, list);
	ms = ms < LONGEST_LEASE ? ms : LONGEST_LEASE;
	while (len == 0) {
		int64_t left = -1;

		len = store->engine->lease(store, list, leases, buf, size, ms, lease,
					   &left, deadline);
		if (len != -ENOENT)
			break;
		len = wait_for_turn(store, &wait, left, deadline);
	}
	return len;
}

static int settle_lease(tine_store *store, const char *list, tine_lease lease, bool back)
{
	char leases[TINE_STORE_KEY_MAX + 1];
	int err = store ? name_leases(leases, list) : -EINVAL;

	return err ? err : store->engine->settle(store, list, leases, lease, back);
}

int tine_store_ack(tine_store *store, const char *list, tine_lease lease)
{
	return settle_lease(store, list, lease, false);
}

int tine_store_nack(tine_store *store, const char *list, tine_lease lease)
{
	return settle_lease(store, list, lease, true);
}

int tine_store_wait(tine_store *store, const char *key, uint64_t *version,
		    int64_t deadline)
{
	struct store_wait wait = { .key = key };
	int err;

	if (!store || !is_name(key) || !version || is_no_deadline(deadline))
		return -EINVAL;
	wait.version = *version;
	err = store->engine->wait(store, &wait, 1, deadline);
	if (!err)
		*version = wait.version;
	return err;
}
