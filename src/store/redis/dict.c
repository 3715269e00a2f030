/* SPDX-License-Identifier: MIT */
/* Dictionaries: hashes of the server. */
#include "store/redis/calls.h"

#include <errno.h>

int redis_put_field(tine_store *store, const char *dict, const char *field,
		    const void *val, size_t len)
{
	request_add(session_begin(store), "sssb", "HSET", dict, field, val, len);
	return session_ask(session_of(store), AGAIN, NULL);
}

ssize_t redis_get_field(tine_store *store, const char *dict, const char *field, void *buf,
			size_t size)
{
	request_add(session_begin(store), "sss", "HGET", dict, field);
	return session_ask_string(session_of(store), AGAIN, buf, size, NULL);
}

int redis_del_field(tine_store *store, const char *dict, const char *field)
{
	request_add(session_begin(store), "sss", "HDEL", dict, field);
	return session_ask_whether(session_of(store), ONCE);
}

int redis_fields(tine_store *store, const char *dict,
		 int (*each)(void *arg, const char *field, const void *val, size_t len),
		 void *arg)
{
	redisReply *reply;
	int err;

	request_add(session_begin(store), "ss", "HGETALL", dict);
	err = session_ask(session_of(store), AGAIN, &reply);
	if (err)
		return err;
	if (reply->type != REDIS_REPLY_ARRAY)
		err = -EBADMSG;
	else if (reply->elements == 0)
		err = -ENOENT;
	for (size_t i = 0; !err && i + 1 < reply->elements; i += 2) {
		const redisReply *field = reply->element[i], *val = reply->element[i + 1];

		if (reply_is_name(field) && val->type == REDIS_REPLY_STRING)
			err = each(arg, field->str, val->str, val->len);
	}
	reply_free(reply);
	return err;
}
