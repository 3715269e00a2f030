/* SPDX-License-Identifier: MIT */
#include "store/redis/reply.h"

#include "base/export.h"

#include <errno.h>
#include <string.h>

/* Stands for a string that went where the line says. */
redisReply reply_taken = { .type = REDIS_REPLY_STRING };

void reply_free_object(void *reply)
{
	if (reply != &reply_taken)
		freeReplyObject(reply);
}

void reply_free(redisReply *reply)
{
	if (reply)
		reply_free_object(reply);
}

struct meaning {
	const char *text;
	int err;
};

/* By the first word. */
static const struct meaning words[] = {
	{ "WRONGTYPE", -TINE_EKIND }, { "NOAUTH", -EACCES },
	{ "WRONGPASS", -EACCES },     { "NOPERM", -EACCES },
	{ "DENIED", -EACCES },	      { "READONLY", -EROFS },
	{ "MISCONF", -EROFS },	      { "NOREPLICAS", -EROFS },
	{ "OOM", -ENOMEM },	      { "MOVED", -EREMOTE },
	{ "ASK", -EREMOTE },	      { "CROSSSLOT", -EREMOTE },
	{ "CLUSTERDOWN", -EREMOTE },  { "TRYAGAIN", -EREMOTE },
	{ "LOADING", -EAGAIN },	      { "BUSY", -EAGAIN },
	{ "MASTERDOWN", -EAGAIN },
};

/* By words further on, of those that begin with ERR. */
static const struct meaning phrases[] = {
	{ "would overflow", -ERANGE },
	{ "not an integer", -EINVAL },
	{ "DB index", -EINVAL },
	{ "SELECT is not allowed", -EINVAL },
	{ "invalid expire", -EINVAL },
	{ "invalid password", -EACCES },
	{ "AUTH", -EACCES },
	{ "max number of clients", -ECONNREFUSED },
	{ "invalid bulk length", -EMSGSIZE },
	{ "exceeds maximum allowed size", -EMSGSIZE },
	{ "TRACKING", -EOPNOTSUPP },
	{ "CLIENT subcommand", -EOPNOTSUPP },
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

int reply_error(const redisReply *reply)
{
	const char *text = reply->str;
	bool script = strncmp(text, "ERR Error running script", 24) == 0;

	/* Before Redis 7 what a script met comes further on. */
	for (size_t i = 0; i < COUNT(words); i++) {
		const char *at = script ? strstr(text, words[i].text) : text;
		size_t len = strlen(words[i].text);

		if (at && strncmp(at, words[i].text, len) == 0 &&
		    (at[len] == ' ' || at[len] == '\0'))
			return words[i].err;
	}
	for (size_t i = 0; i < COUNT(phrases); i++)
		if (strstr(text, phrases[i].text))
			return phrases[i].err;
	return -EBADMSG;
}

/* Others may have made names that tine has none for. */
bool reply_is_name(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING && reply->len > 0 &&
	       reply->len <= TINE_STORE_KEY_MAX && strlen(reply->str) == reply->len;
}
