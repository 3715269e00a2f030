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
 *	no answer in time		-ETIMEDOUT; the connection is closed, or the late
 *					answer would be taken for the next one's
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
#include "store/redis/wire.h"

#include "base/futex.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GRACE	    INT64_C(100000000) /* for an answer, however near the deadline */
#define BUSY_PAUSE  INT64_C(5000000)
#define LONG_VALUES ((size_t)1 << 20) /* from so many bytes on, no scripts */
#define MOST_TRIES  8
#define BUCKETS	    64

/* A key that was waited for. */
struct key {
	struct key *next;
	uint64_t version;
	bool armed;	 /* the next change will be told */
	bool there;	 /* when it was armed */
	int64_t expires; /* look at it then; TINE_FOREVER */
	char name[];
};

struct redis {
	tine_store store;
	unsigned generation; /* of the process that opened the connections */
	struct trust *trust; /* NULL: no TLS */
	struct line main, ear;
	struct request request;
	struct key *keys[BUCKETS];
	uint64_t versions; /* given so far */
};

/* How many forks this process is away from the first. */
static unsigned generation;

static void count_forks(void)
{
	generation++;
}

static void handle_forks(void)
{
	pthread_atfork(NULL, NULL, count_forks);
}

static struct redis *of(tine_store *store)
{
	return (struct redis *)store;
}

/* ---- versions ---------------------------------------------------------------------- */

static void end_version(struct redis *redis, struct key *key)
{
	key->armed = false;
	key->version = ++redis->versions;
}

static void end_versions(struct redis *redis)
{
	for (int i = 0; i < BUCKETS; i++)
		for (struct key *key = redis->keys[i]; key; key = key->next)
			end_version(redis, key);
}

static struct key **bucket_of(struct redis *redis, const char *name, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619u;
	return &redis->keys[hash % BUCKETS];
}

static struct key *find_key(struct redis *redis, const char *name, size_t len)
{
	struct key *key = *bucket_of(redis, name, len);

	while (key && (strncmp(key->name, name, len) != 0 || key->name[len] != '\0'))
		key = key->next;
	return key;
}

/* NULL: no memory. */
static struct key *make_key(struct redis *redis, const char *name)
{
	size_t len = strlen(name);
	struct key *key = find_key(redis, name, len), **bucket;

	if (key)
		return key;
	key = malloc(sizeof(*key) + len + 1);
	if (!key)
		return NULL;
	bucket = bucket_of(redis, name, len);
	*key = (struct key){ .next = *bucket };
	memcpy(key->name, name, len + 1);
	end_version(redis, key);
	*bucket = key;
	return key;
}

/* ---- connections ------------------------------------------------------------------- */

static void drop_ear(struct redis *redis)
{
	line_close(&redis->ear);
	end_versions(redis);
}

static void drop(struct redis *redis)
{
	line_close(&redis->main);
	drop_ear(redis);
}

static void adopt(struct redis *redis)
{
	if (redis->generation == generation)
		return;
	drop(redis);
	redis->generation = generation;
}

/*
 * Asks all, and takes the answers. 0 and the last of them (out may be NULL), or the code
 * of the first that is an error. The line is closed if the next answer on it would not be
 * that of the next question.
 */
static int talk(struct line *line, const struct request *request, redisReply **out,
		int64_t deadline)
{
	redisReply *reply = NULL;
	int err = request->failed ? -ENOMEM : 0, refused = 0;

	if (err)
		return err;
	deadline += request_time(request);
	err = line_send(line, request, deadline);
	/* A server that hangs up may have said why. */
	if (err == -ECONNRESET && line_receive(line, &reply, TINE_NOWAIT) == 0 &&
	    reply->type == REDIS_REPLY_ERROR)
		err = reply_error(reply);
	for (unsigned i = 0; i < request->commands && !err; i++) {
		reply_free(reply);
		reply = NULL;
		err = line_receive(line, &reply, deadline);
		if (!err && !refused && reply->type == REDIS_REPLY_ERROR)
			refused = reply_error(reply);
	}
	if (err)
		line_close(line);
	err = err ? err : refused;
	if (!err && out)
		*out = reply;
	else
		reply_free(reply);
	return err;
}

/* Who may do other things than this may go on, and a server that loads is one. */
static int greet(struct line *line, struct request *request, int64_t deadline)
{
	redisReply *reply;
	int err;

	request_begin(request);
	request_add(request, "s", "PING");
	err = request->failed ? -ENOMEM : line_send(line, request, deadline);
	err = err ? err : line_receive(line, &reply, deadline);
	if (err)
		return err;
	if (reply->type == REDIS_REPLY_ERROR)
		err = strncmp(reply->str, "NOPERM", 6) == 0 ? 0 : reply_error(reply);
	else if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0)
		err = -EBADMSG;
	reply_free(reply);
	return err == -EAGAIN ? 0 : err;
}

static int log_in(struct redis *redis, struct line *line, int64_t deadline)
{
	const struct store_address *address = &redis->store.address;
	struct request request = { 0 };
	int err = 0;

	if (address->user)
		request_add(&request, "sss", "AUTH", address->user, address->password);
	else if (address->password)
		request_add(&request, "ss", "AUTH", address->password);
	if (address->db)
		request_add(&request, "si", "SELECT", (int64_t)address->db);
	if (request.commands > 0)
		err = talk(line, &request, NULL, deadline);
	if (!err)
		err = greet(line, &request, deadline);
	request_free(&request);
	return err;
}

static int open_line(struct redis *redis, struct line *line, int64_t deadline)
{
	int64_t longest = tine_after(redis->store.address.connect_ms);
	int err;

	deadline = deadline < longest ? deadline : longest;
	err = line_open(line, &redis->store.address, redis->trust, deadline);
	if (err)
		return err;
	err = log_in(redis, line, deadline);
	if (err)
		line_close(line);
	return err;
}

static int reach(struct redis *redis, int64_t deadline)
{
	adopt(redis);
	return redis->main.fd < 0 ? open_line(redis, &redis->main, deadline) : 0;
}

/*
 * An answer to what one deadline bounds, whatever the call is: none is too near for an
 * answer that comes at once, and one that has passed is no deadline for answers.
 */
static int64_t answer_by(const struct redis *redis, int64_t deadline)
{
	int64_t now = tine_now(), latest = now + redis->main.answer;

	if (deadline <= now || deadline > latest)
		return latest;
	deadline = deadline > now + GRACE ? deadline : now + GRACE;
	return deadline < latest ? deadline : latest;
}

/* By the main line, which is open. A server that is busy has done nothing. */
static int exchange(struct redis *redis, redisReply **out, int64_t deadline)
{
	for (;;) {
		struct timespec pause = timespec_of(BUSY_PAUSE);
		int err = talk(&redis->main, &redis->request, out, deadline);

		if (redis->main.fd < 0)
			drop(redis);
		if (err != -EAGAIN)
			return err;
		if (redis->main.fd < 0)
			return -ECONNRESET;
		if (tine_now() + BUSY_PAUSE >= deadline)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

enum repeat { ONCE, AGAIN };

static int ask_by(struct redis *redis, enum repeat repeat, redisReply **out,
		  int64_t deadline)
{
	int err;

	adopt(redis);
	/* What is lost before it is sent was not done. */
	if (repeat == ONCE && redis->main.fd >= 0 && !line_is_idle(&redis->main))
		drop(redis);
	err = reach(redis, deadline);
	err = err ? err : exchange(redis, out, deadline);
	if (err != -ECONNRESET || repeat == ONCE)
		return err;
	err = reach(redis, deadline);
	return err ? err : exchange(redis, out, deadline);
}

static int ask(struct redis *redis, enum repeat repeat, redisReply **out)
{
	return ask_by(redis, repeat, out, answer_by(redis, TINE_NOWAIT));
}

/* What is asked for next. */
static struct request *begin(tine_store *store)
{
	struct request *request = &of(store)->request;

	request_begin(request);
	return request;
}

/* Where only one kind of answer is possible: the number, or -EBADMSG. */
static int ask_number(struct redis *redis, enum repeat repeat, int64_t *number)
{
	redisReply *reply;
	int err = ask(redis, repeat, &reply);

	if (err)
		return err;
	if (reply->type == REDIS_REPLY_INTEGER)
		*number = reply->integer;
	else
		err = -EBADMSG;
	reply_free(reply);
	return err;
}

/* What is there: 0; what is not: -ENOENT. */
static int ask_whether(struct redis *redis, enum repeat repeat)
{
	int64_t n = 0;
	int err = ask_number(redis, repeat, &n);

	return err ? err : n > 0 ? 0 : -ENOENT;
}

/*
 * The length of a string, which goes to buf: -ENOENT: nil. Another kind of answer is
 * *other, if the caller knows what to do with it.
 */
static ssize_t ask_string(struct redis *redis, enum repeat repeat, void *buf, size_t size,
			  int64_t *other)
{
	struct line *line = &redis->main;
	redisReply *reply;
	ssize_t len;
	int err;

	line->to_buf = true;
	line->buf = buf;
	line->size = size;
	err = ask(redis, repeat, &reply);
	line->to_buf = false;
	if (err)
		return err;
	len = -EBADMSG;
	if (reply->type == REDIS_REPLY_STRING)
		len = (ssize_t)line->len;
	else if (reply->type == REDIS_REPLY_NIL)
		len = -ENOENT;
	else if (reply->type == REDIS_REPLY_INTEGER && other)
		*other = reply->integer;
	reply_free(reply);
	return len;
}

/* ---- values ------------------------------------------------------------------------ */

/* STRLEN fails for what is no value, and ends the script. */
static const char set_script[] = "redis.call('STRLEN',KEYS[1]) "
				 "redis.call('SET',KEYS[1],ARGV[1])";

/* One MSET is faster than many SET; but Lua hands on some thousand words at most. */
static const char set_many_script[] =
	"local call,keys,vals,all=redis.call,KEYS,ARGV,{} "
	"for i=1,#keys do call('STRLEN',keys[i]) all[2*i-1]=keys[i] all[2*i]=vals[i] end "
	"for i=1,#all,2000 do call('MSET',unpack(all,i,math.min(i+1999,#all))) end";

static void add_script(struct request *request, const char *script, size_t keys,
		       size_t words)
{
	request_head(request, 3 + keys + words);
	request_word(request, "EVAL", 4);
	request_word(request, script, strlen(script));
	/* The count, as one more word. */
	request_number(request, (int64_t)keys);
}

static int set_short(tine_store *store, const tine_store_item *items, size_t n)
{
	struct request *request = begin(store);

	add_script(request, n == 1 ? set_script : set_many_script, n, n);
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].key, strlen(items[i].key));
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].val, items[i].len);
	return ask(of(store), AGAIN, NULL);
}

/* 0; -EAGAIN: somebody changed a key between the look and the setting. */
static int set_watched(tine_store *store, const tine_store_item *items, size_t n)
{
	struct request *request = begin(store);
	redisReply *reply;
	int err;

	request_head(request, n + 1);
	request_word(request, "WATCH", 5);
	for (size_t i = 0; i < n; i++)
		request_word(request, items[i].key, strlen(items[i].key));
	for (size_t i = 0; i < n; i++)
		request_add(request, "ss", "STRLEN", items[i].key);
	err = ask(of(store), AGAIN, NULL);
	request_begin(request);
	if (err) {
		request_add(request, "s", "UNWATCH");
		if (of(store)->main.fd >= 0)
			exchange(of(store), NULL, answer_by(of(store), TINE_NOWAIT));
		return err;
	}
	request_add(request, "s", "MULTI");
	request_head(request, 2 * n + 1);
	request_word(request, "MSET", 4);
	for (size_t i = 0; i < n; i++) {
		request_word(request, items[i].key, strlen(items[i].key));
		request_word(request, items[i].val, items[i].len);
	}
	request_add(request, "s", "EXEC");
	/* Not by ask(), which might take a new connection, where nothing is watched. */
	err = exchange(of(store), &reply, answer_by(of(store), TINE_NOWAIT));
	if (err)
		return err;
	err = reply->type == REDIS_REPLY_NIL ? -EAGAIN : 0;
	reply_free(reply);
	return err;
}

static int redis_set_all(tine_store *store, const tine_store_item *items, size_t n)
{
	bool again = true;
	size_t total = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		total += items[i].len;
	if (total < LONG_VALUES)
		return set_short(store, items, n);
	for (int tries = 0; tries < MOST_TRIES; tries++) {
		err = set_watched(store, items, n);
		if (err != -EAGAIN && (err != -ECONNRESET || !again))
			return err;
		again = again && err != -ECONNRESET;
	}
	/* Others change them all the time. */
	return set_short(store, items, n);
}

static int redis_set(tine_store *store, const char *key, const void *val, size_t len)
{
	tine_store_item item = { key, val, len };

	return redis_set_all(store, &item, 1);
}

static ssize_t redis_get(tine_store *store, const char *key, void *buf, size_t size)
{
	request_add(begin(store), "ss", "GET", key);
	return ask_string(of(store), AGAIN, buf, size, NULL);
}

static int redis_add(tine_store *store, const char *key, int64_t by, int64_t *now)
{
	int64_t sum = 0;
	int err;

	request_add(begin(store), "ssi", "INCRBY", key, by);
	err = ask_number(of(store), ONCE, &sum);
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

static int redis_swap(tine_store *store, const char *key, const void *old, size_t old_len,
		      const void *val, size_t len)
{
	struct request *request = begin(store);
	int err;

	add_script(request, swap_script, 1, 4);
	request_word(request, key, strlen(key));
	request_word(request, old ? "1" : "0", 1);
	request_word(request, old, old ? old_len : 0);
	request_word(request, val ? "1" : "0", 1);
	request_word(request, val, val ? len : 0);
	err = ask_whether(of(store), ONCE);
	return err == -ENOENT ? -EAGAIN : err;
}

/* ---- dictionaries ------------------------------------------------------------------ */

static int redis_put_field(tine_store *store, const char *dict, const char *field,
			   const void *val, size_t len)
{
	request_add(begin(store), "sssb", "HSET", dict, field, val, len);
	return ask(of(store), AGAIN, NULL);
}

static ssize_t redis_get_field(tine_store *store, const char *dict, const char *field,
			       void *buf, size_t size)
{
	request_add(begin(store), "sss", "HGET", dict, field);
	return ask_string(of(store), AGAIN, buf, size, NULL);
}

static int redis_del_field(tine_store *store, const char *dict, const char *field)
{
	request_add(begin(store), "sss", "HDEL", dict, field);
	return ask_whether(of(store), ONCE);
}

/* Others may have made names that tine has none for. */
static bool is_name(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING && reply->len > 0 &&
	       reply->len <= TINE_STORE_KEY_MAX && strlen(reply->str) == reply->len;
}

static int redis_fields(tine_store *store, const char *dict,
			int (*each)(void *arg, const char *field, const void *val,
				    size_t len),
			void *arg)
{
	redisReply *reply;
	int err;

	request_add(begin(store), "ss", "HGETALL", dict);
	err = ask(of(store), AGAIN, &reply);
	if (err)
		return err;
	if (reply->type != REDIS_REPLY_ARRAY)
		err = -EBADMSG;
	else if (reply->elements == 0)
		err = -ENOENT;
	for (size_t i = 0; !err && i + 1 < reply->elements; i += 2) {
		const redisReply *field = reply->element[i], *val = reply->element[i + 1];

		if (is_name(field) && val->type == REDIS_REPLY_STRING)
			err = each(arg, field->str, val->str, val->len);
	}
	reply_free(reply);
	return err;
}

/* ---- keys -------------------------------------------------------------------------- */

static const char len_script[] =
	"local kind=redis.call('TYPE',KEYS[1]).ok "
	"if kind=='string' then return redis.call('STRLEN',KEYS[1]) "
	"elseif kind=='list' then return redis.call('LLEN',KEYS[1]) "
	"elseif kind=='hash' then return redis.call('HLEN',KEYS[1]) "
	"elseif kind=='none' then return -1 else return -2 end";

static ssize_t redis_len(tine_store *store, const char *key)
{
	struct request *request = begin(store);
	int64_t len = 0;
	int err;

	add_script(request, len_script, 1, 0);
	request_word(request, key, strlen(key));
	err = ask_number(of(store), AGAIN, &len);
	return err ? err : len == -1 ? -ENOENT : len < 0 ? -TINE_EKIND : (ssize_t)len;
}

static int redis_del(tine_store *store, const char *key)
{
	request_add(begin(store), "ss", "DEL", key);
	return ask_whether(of(store), ONCE);
}

static const char persist_script[] =
	"redis.call('PERSIST',KEYS[1]) return redis.call('EXISTS',KEYS[1])";

static int redis_expire(tine_store *store, const char *key, int64_t ms)
{
	struct request *request = begin(store);
	int64_t most = INT64_MAX / 4; /* the server adds the time of day to it */

	if (ms > 0) {
		request_add(request, "ssi", "PEXPIRE", key, ms < most ? ms : most);
	} else {
		add_script(request, persist_script, 1, 0);
		request_word(request, key, strlen(key));
	}
	return ask_whether(of(store), AGAIN);
}

struct names {
	char **all;
	size_t n, most;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->all[i]);
	free(names->all);
	*names = (struct names){ 0 };
}

static int add_name(struct names *names, const char *name)
{
	size_t most = names->most ? 2 * names->most : 64;
	char **all;

	if (names->n == names->most) {
		all = realloc(names->all, most * sizeof(*all));
		if (!all)
			return -ENOMEM;
		names->all = all;
		names->most = most;
	}
	names->all[names->n] = strdup(name);
	return names->all[names->n] ? (names->n++, 0) : -ENOMEM;
}

/* What SCAN answers: the next cursor, and names. */
static int take_names(struct names *names, const redisReply *reply, char *cursor,
		      size_t size)
{
	const redisReply *list;
	int err = 0;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[0]->type != REDIS_REPLY_STRING ||
	    reply->element[0]->len >= size ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY)
		return -EBADMSG;
	strcpy(cursor, reply->element[0]->str);
	list = reply->element[1];
	for (size_t i = 0; i < list->elements && !err; i++)
		if (is_name(list->element[i]))
			err = add_name(names, list->element[i]->str);
	return err;
}

static void write_pattern(char *pattern, const char *prefix)
{
	for (; *prefix; prefix++) {
		if (strchr("*?[]\\", *prefix))
			*pattern++ = '\\';
		*pattern++ = *prefix;
	}
	strcpy(pattern, "*");
}

static int scan(tine_store *store, const char *prefix, struct names *names)
{
	char pattern[2 * TINE_STORE_KEY_MAX + 2], cursor[32] = "0";
	/* The cursor of a server that was lost says nothing to the next. */
	enum repeat repeat = AGAIN;
	int err;

	write_pattern(pattern, prefix);
	do {
		redisReply *reply;

		request_add(begin(store), "ssssss", "SCAN", cursor, "MATCH", pattern,
			    "COUNT", "1000");
		err = ask(of(store), repeat, &reply);
		if (err)
			return err;
		err = take_names(names, reply, cursor, sizeof(cursor));
		reply_free(reply);
		repeat = ONCE;
	} while (!err && strcmp(cursor, "0") != 0);
	return err;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* SCAN may tell a key more than once. */
static int redis_keys(tine_store *store, const char *prefix,
		      int (*each)(void *arg, const char *key), void *arg)
{
	struct names names = { 0 };
	int err = scan(store, prefix, &names);

	if (err == -ECONNRESET) {
		free_names(&names);
		err = scan(store, prefix, &names);
	}
	if (names.n > 0)
		qsort(names.all, names.n, sizeof(*names.all), compare_names);
	for (size_t i = 0; i < names.n && !err; i++)
		if (i == 0 || strcmp(names.all[i], names.all[i - 1]) != 0)
			err = each(arg, names.all[i]);
	free_names(&names);
	return err;
}

/* ---- waiting ----------------------------------------------------------------------- */

/* The name of each key that changed, or none: all may have. */
static void heed(struct redis *redis, const redisReply *reply)
{
	const redisReply *names;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
		return;
	names = reply->element[2];
	if (names->type != REDIS_REPLY_ARRAY) {
		end_versions(redis);
		return;
	}
	for (size_t i = 0; i < names->elements; i++) {
		const redisReply *name = names->element[i];
		struct key *key = name->type == REDIS_REPLY_STRING
					  ? find_key(redis, name->str, name->len)
					  : NULL;

		if (key)
			end_version(redis, key);
	}
}

/* All that was told until now. */
static void hear(struct redis *redis)
{
	while (redis->ear.fd >= 0) {
		redisReply *reply;
		int err = line_receive(&redis->ear, &reply, TINE_NOWAIT);

		if (err == -ETIMEDOUT)
			return;
		if (err) {
			drop_ear(redis);
			return;
		}
		heed(redis, reply);
		reply_free(reply);
	}
}

/* The main line is open. */
static int open_ear(struct redis *redis, int64_t deadline)
{
	struct line *ear = &redis->ear;
	struct request *request = &redis->request;
	redisReply *reply;
	int64_t id;
	int err = open_line(redis, ear, deadline);

	if (err)
		return err;
	request_begin(request);
	request_add(request, "ss", "CLIENT", "ID");
	err = talk(ear, request, &reply, deadline);
	if (err)
		goto close_ear;
	id = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
	reply_free(reply);
	request_begin(request);
	request_add(request, "ss", "SUBSCRIBE", "__redis__:invalidate");
	err = talk(ear, request, NULL, deadline);
	if (err)
		goto close_ear;
	request_begin(request);
	request_add(request, "ssssis", "CLIENT", "TRACKING", "ON", "REDIRECT", id,
		    "OPTIN");
	err = exchange(redis, NULL, deadline);
	if (!err)
		return 0;
close_ear:
	line_close(ear);
	return err;
}

/* PTTL is the cheapest question that makes the server remember who asked. */
static int arm_by(struct redis *redis, struct key *key, int64_t deadline)
{
	redisReply *reply;
	int err = reach(redis, deadline);

	if (!err && redis->ear.fd < 0)
		err = open_ear(redis, deadline);
	if (err)
		return err;
	request_begin(&redis->request);
	request_add(&redis->request, "sss", "CLIENT", "CACHING", "YES");
	request_add(&redis->request, "ss", "PTTL", key->name);
	err = exchange(redis, &reply, deadline);
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

static int arm(struct redis *redis, struct key *key, int64_t deadline)
{
	int err;

	deadline = answer_by(redis, deadline);
	err = arm_by(redis, key, deadline);
	return err == -ECONNRESET ? arm_by(redis, key, deadline) : err;
}

/* Until something is told, or a connection is lost, which drops it. */
static void sleep_by_ear(struct redis *redis, int64_t until)
{
	struct pollfd polled[] = { { .fd = redis->ear.fd, .events = POLLIN },
				   { .fd = redis->main.fd, .events = POLLIN } };
	int64_t left = until - tine_now();
	struct timespec ts = timespec_of(left > 0 ? left : 0);
	int n = ppoll(polled, 2, until == TINE_FOREVER ? NULL : &ts, NULL);

	/* Nothing was asked there; TLS may have had something to say to itself. */
	if (n > 0 && polled[1].revents && !line_is_idle(&redis->main))
		drop(redis);
}

/* Sleeps while the armed key has this version; 0: look again. */
static int await_end(struct redis *redis, struct key *key, int64_t deadline)
{
	int64_t until = key->expires < deadline ? key->expires : deadline;
	uint64_t version = key->version;
	int err = 0;

	sleep_by_ear(redis, until);
	hear(redis);
	if (key->version != version || tine_now() < key->expires)
		return 0;
	/* Its time may have been made longer, too. */
	err = arm(redis, key, TINE_NOWAIT);
	if (!err && !key->there && key->version == version)
		end_version(redis, key);
	return err;
}

static int redis_wait(tine_store *store, const char *name, uint64_t *version,
		      int64_t deadline)
{
	struct redis *redis = of(store);
	struct key *key = make_key(redis, name);
	bool looked = false;

	if (!key)
		return -ENOMEM;
	adopt(redis);
	for (;;) {
		int err = 0;

		hear(redis);
		if (!key->armed) {
			err = arm(redis, key, deadline);
			looked = true;
		} else if (key->version != *version) {
			*version = key->version;
			return 0;
		} else if (deadline > tine_now()) {
			err = await_end(redis, key, deadline);
			looked = true;
		} else if (looked) {
			return -ETIMEDOUT;
		} else {
			/* What was changed before this is told before the answer. */
			err = arm(redis, key, deadline);
			looked = true;
		}
		if (err)
			return err;
	}
}

/* ---- lists ------------------------------------------------------------------------- */

static int redis_push(tine_store *store, const char *list, const void *val, size_t len)
{
	request_add(begin(store), "ssb", "RPUSH", list, val, len);
	return ask(of(store), ONCE, NULL);
}

/* The number says that it is too long. */
static const char pop_script[] = "local first=redis.call('LINDEX',KEYS[1],0) "
				 "if not first then return false end "
				 "if #first>tonumber(ARGV[1]) then return #first end "
				 "redis.call('LPOP',KEYS[1]) return first";

/* -ENOENT: there is none. */
static ssize_t pop_now(tine_store *store, const char *list, void *buf, size_t size)
{
	struct request *request = begin(store);
	int64_t too_long = -1;
	ssize_t len;

	add_script(request, pop_script, 1, 1);
	request_word(request, list, strlen(list));
	request_number(
		request,
		(int64_t)(size < TINE_STORE_VALUE_MAX ? size : TINE_STORE_VALUE_MAX));
	len = ask_string(of(store), ONCE, buf, size, &too_long);
	return len == -EBADMSG && too_long >= 0 ? -EMSGSIZE : len;
}

/*
 * BLPOP would take what is too long for the caller. Where the deadline is near, the
 * server is asked first whether there is anything: what it takes from the list after the
 * caller has given up would be lost.
 */
static ssize_t redis_pop(tine_store *store, const char *list, void *buf, size_t size,
			 int64_t deadline)
{
	struct redis *redis = of(store);
	int64_t now = tine_now();
	bool try = deadline <= now || deadline - now >= redis->main.answer;
	struct key *key = NULL;

	adopt(redis);
	for (;;) {
		ssize_t len = try ? pop_now(store, list, buf, size) : -ENOENT;
		int err;

		if (len != -ENOENT)
			return len;
		if (try && deadline <= tine_now())
			return -ETIMEDOUT;
		key = key ? key : make_key(redis, list);
		if (!key)
			return -ENOMEM;
		err = arm(redis, key, deadline);
		hear(redis);
		while (!err && key->armed && !key->there && deadline > tine_now()) {
			err = await_end(redis, key, deadline);
			hear(redis);
		}
		if (err)
			return err;
		try = true;
		if (key->armed && !key->there)
			return -ETIMEDOUT;
	}
}

/* ---- handles ----------------------------------------------------------------------- */

static int redis_open(tine_store **out, const struct store_address *address)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct redis *redis = malloc(sizeof(*redis));
	int err;

	if (!redis)
		return -ENOMEM;
	pthread_once(&once, handle_forks);
	memset(redis, 0, sizeof(*redis));
	redis->store.address = *address;
	redis->main.fd = redis->ear.fd = -1;
	redis->main.answer = address->answer_ms * INT64_C(1000000);
	/* So that one of another handle is not taken for one of this. */
	redis->versions = (uint64_t)tine_now();
	redis->generation = generation;
	err = trust_new(&redis->trust, address);
	if (err)
		goto free_redis;
	err = open_line(redis, &redis->main, TINE_FOREVER);
	if (err)
		goto free_trust;
	*out = &redis->store;
	return 0;

free_trust:
	trust_free(redis->trust);
free_redis:
	free(redis);
	return err;
}

static void redis_free(tine_store *store)
{
	struct redis *redis = of(store);

	drop(redis);
	trust_free(redis->trust);
	request_free(&redis->request);
	for (int i = 0; i < BUCKETS; i++)
		while (redis->keys[i]) {
			struct key *key = redis->keys[i];

			redis->keys[i] = key->next;
			free(key);
		}
	free(redis);
}

static const struct store_engine engine = {
	.open = redis_open,
	.free = redis_free,
	.set = redis_set,
	.set_all = redis_set_all,
	.get = redis_get,
	.add = redis_add,
	.swap = redis_swap,
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
	.wait = redis_wait,
};

const struct store_engine *const store_redis_engine = &engine;
