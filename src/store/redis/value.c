/* SPDX-License-Identifier: MIT */
/* Values: strings of the server; locks too. */
#include "store/redis/calls.h"

#include <errno.h>
#include <string.h>

#define LONG_VALUES ((size_t)1 << 20) /* from so many bytes on, no scripts */
#define MOST_TRIES  8

/* STRLEN fails for what is no value, and ends the script. */
static const char set_script[] = "redis.call('STRLEN',KEYS[1]) "
				 "redis.call('SET',KEYS[1],ARGV[1])";
static const char set_for_script[] = "redis.call('STRLEN',KEYS[1]) "
				     "redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[2])";

/* One MSET is faster than many SET; but Lua hands on some thousand words at most. */
static const char set_many_script[] =
	"local call,keys,vals,all=redis.call,KEYS,ARGV,{} "
	"for i=1,#keys do call('STRLEN',keys[i]) all[2*i-1]=keys[i] all[2*i]=vals[i] end "
	"for i=1,#all,2000 do call('MSET',unpack(all,i,math.min(i+1999,#all))) end";

static size_t bytes_of(const tine_store_item *items, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += items[i].len;
	return total;
}

/* ms: of one alone. */
static int set_by_script(struct session *session, const tine_store_item *items, size_t n,
			 int64_t ms)
{
	struct request *request = session_again(session);
	const char *script = ms ? set_for_script : n == 1 ? set_script : set_many_script;

	request_script(request, script, n, n + (ms != 0));
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].key, strlen(items[i].key));
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].val, items[i].len);
	if (ms)
		request_number(request, ms);
	return session_ask_for(session, AGAIN, RESP_NIL);
}

/* What the transaction has answered: its one command has to have been done. */
static int check_done(struct resp *resp)
{
	struct resp done;

	if (resp->kind == RESP_NIL)
		return -EAGAIN;
	return resp->kind == RESP_ARRAY && resp->number == 1 && resp_next(resp, &done) &&
			       resp_is_text(&done, RESP_STATUS, "OK")
		       ? 0
		       : -EBADMSG;
}

/* 0; -EAGAIN: somebody changed a key between the look and the setting. */
static int set_watched(struct session *session, const tine_store_item *items, size_t n,
		       int64_t ms)
{
	struct request *request = session_again(session);
	struct resp resp;
	int err;

	request_head(request, n + 1);
	request_word(request, "WATCH", 5);
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].key, strlen(items[i].key));
	for (size_t i = 0; i < n; i++)
		request_add(request, "ss", "STRLEN", items[i].key);
	err = session_ask_for(session, AGAIN, RESP_NUMBER);
	session_again(session);
	if (err) {
		request_add(request, "s", "UNWATCH");
		if (session->main.own.fd >= 0)
			session_exchange(session, NULL);
		return err;
	}
	request_add(request, "s", "MULTI");
	request_head(request, 2 * n + 1 + (ms ? 2 : 0));
	request_word(request, ms ? "SET" : "MSET", ms ? 3 : 4);
	for (size_t i = 0; i < n; i++) {
		request_word(request, items[i].key, strlen(items[i].key));
		request_word(request, items[i].val, items[i].len);
	}
	if (ms) {
		request_word(request, "PX", 2);
		request_number(request, ms);
	}
	request_add(request, "s", "EXEC");
	/* Once, and on this connection: elsewhere, and afterwards, nothing is watched. */
	err = session_talk(&session->main, request, &resp, session->until);
	if (session->main.own.fd < 0)
		session_drop(session);
	return err ? err : check_done(&resp);
}

static int set_items(tine_store *store, const tine_store_item *items, size_t n,
		     int64_t ms)
{
	struct session *session = session_of(store);
	size_t total = bytes_of(items, n);
	bool again = true;
	int err;

	session_begin(store, total);
	for (int tries = 0; total >= LONG_VALUES && tries < MOST_TRIES; tries++) {
		err = set_watched(session, items, n, ms);
		if (err != -EAGAIN && (err != -ECONNRESET || !again))
			return err;
		again = again && err != -ECONNRESET;
	}
	/* Short ones, or others change them all the time. */
	return set_by_script(session, items, n, ms);
}

int redis_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	return set_items(store, items, n, 0);
}

int redis_set(tine_store *store, const char *key, const void *val, size_t len, int64_t ms)
{
	tine_store_item item = { .key = key, .val = val, .len = len };

	return set_items(store, &item, 1, ms < LATEST_END ? ms : LATEST_END);
}

ssize_t redis_get(tine_store *store, const char *key, void *buf, size_t size)
{
	request_add(session_begin(store, size), "ss", "GET", key);
	return session_ask_string(session_of(store), AGAIN, buf, size, NULL);
}

int redis_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	int64_t sum = 0;
	int err;

	request_add(session_begin(store, 0), "ssi", "INCRBY", key, by);
	err = session_ask_number(session_of(store), ONCE, &sum);
	if (!err && now)
		*now = sum;
	return err;
}

/* ARGV: whether there is an old one, it; whether there is a new one, it. */
static const char swap_script[] = "local now=redis.call('GET',KEYS[1]) "
				  "if ARGV[1]=='0' then if now then return 0 end "
				  "elseif now~=ARGV[2] then return 0 end "
				  "if ARGV[3]=='0' then redis.call('DEL',KEYS[1]) "
				  "else redis.call('SET',KEYS[1],ARGV[4]) end return 1";

int redis_swap(tine_store *store, const char *key, const void *old, size_t old_len,
	       const void *val, size_t len)
{
	struct request *request = session_begin(store, old_len + len);
	int err;

	request_script(request, swap_script, 1, 4);
	request_word(request, key, strlen(key));
	request_word(request, old ? "1" : "0", 1);
	request_word(request, old, old ? old_len : 0);
	request_word(request, val ? "1" : "0", 1);
	request_word(request, val, val ? len : 0);
	err = session_ask_whether(session_of(store), ONCE);
	return err == -ENOENT ? -EAGAIN : err;
}

/* ---- locks ------------------------------------------------------------------------- */

/* What is under the key: a fence, and until when it is held; or they are nil. */
#define READ_LOCK                                                                        \
	"local call=redis.call local now=call('TIME') "                                  \
	"now=now[1]*1000+math.floor(now[2]/1000) "                                       \
	"local val=call('GET',KEYS[1]) local fence,till='0','0' "                        \
	"if val then fence,till=string.match(val,'^(%d+) (%d+)$') end "

/* A fence; or below 0: so many milliseconds it is still held; 0: the value is no lock. */
static const char lock_script[] = READ_LOCK
	"if not fence then return 0 end till=tonumber(till) "
	"if till>now then return now-till end fence=fence+1 "
	"call('SET',KEYS[1],string.format('%.0f %.0f',fence,now+ARGV[1])) "
	"return fence";

/* 1; 0: the fence is another; -1: the value is no lock. */
static const char relock_script[] = READ_LOCK
	"if not fence then return -1 end "
	"if not val or fence~=ARGV[1] then return 0 end "
	"till=0 if ARGV[2]~='0' then till=now+ARGV[2] end "
	"call('SET',KEYS[1],string.format('%s %.0f',fence,till)) return 1";

int redis_lock(tine_store *store, const char *key, int64_t ms, uint64_t *fence,
	       int64_t *left, int64_t deadline)
{
	struct request *request = session_begin_by(store, 0, deadline);
	int64_t answer = 0;
	int err;

	request_script(request, lock_script, 1, 1);
	request_word(request, key, strlen(key));
	request_number(request, ms);
	err = session_ask_number(session_of(store), ONCE, &answer);
	if (err)
		return err;
	if (answer > 0)
		*fence = (uint64_t)answer;
	else
		*left = -answer;
	return answer > 0 ? 0 : answer < 0 ? -EAGAIN : -EINVAL;
}

int redis_relock(tine_store *store, const char *key, uint64_t fence, int64_t ms)
{
	struct request *request = session_begin(store, 0);
	int64_t answer = 0;
	int err;

	request_script(request, relock_script, 1, 2);
	request_word(request, key, strlen(key));
	request_number(request, (int64_t)fence);
	request_number(request, ms);
	err = session_ask_number(session_of(store), AGAIN, &answer);
	if (err)
		return err;
	return answer == 1    ? 0
	       : answer == 0  ? -ENOENT
	       : answer == -1 ? -EINVAL
			      : -EBADMSG;
}
