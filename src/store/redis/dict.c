/* SPDX-License-Identifier: MIT */
/* Dictionaries: hashes of the server. */
#include "store/redis/calls.h"

#include <errno.h>
#include <string.h>

#define MOST_BYTES (2 * TINE_STORE_VALUE_MAX) /* of a whole dictionary */

int redis_put_field(tine_store *store, const char *dict, const char *field,
		    const void *val, size_t len)
{
	request_add(session_begin(store, len), "sssb", "HSET", dict, field, val, len);
	return session_ask_for(session_of(store), AGAIN, RESP_NUMBER);
}

ssize_t redis_get_field(tine_store *store, const char *dict, const char *field, void *buf,
			size_t size)
{
	request_add(session_begin(store, size), "sss", "HGET", dict, field);
	return session_ask_string(session_of(store), AGAIN, buf, size, NULL);
}

int redis_del_field(tine_store *store, const char *dict, const char *field)
{
	request_add(session_begin(store, 0), "sss", "HDEL", dict, field);
	return session_ask_whether(session_of(store), ONCE);
}

/* Whose names others have made, and tine has none for, are left out. */
static int tell_field(const struct resp *field, const struct resp *val,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg)
{
	char name[TINE_STORE_KEY_MAX + 1];

	if (field->kind != RESP_STRING || val->kind != RESP_STRING)
		return -EBADMSG;
	if (!resp_is_name(field))
		return 0;
	memcpy(name, field->text, field->len);
	name[field->len] = '\0';
	return each(arg, name, val->text, val->len);
}

int redis_fields(tine_store *store, const char *dict,
		 int (*each)(void *arg, const char *field, const void *val, size_t len),
		 void *arg)
{
	struct session *session = session_of(store);
	struct resp all, field, val;
	int err;

	request_add(session_begin(store, 0), "ss", "HGETALL", dict);
	session->main.most = MOST_BYTES;
	err = session_ask(session, AGAIN, &all);
	session->main.most = LINE_FEW;
	if (err)
		return err;
	if (all.kind != RESP_ARRAY || all.number % 2 != 0)
		err = -EBADMSG;
	else if (all.number == 0)
		err = -ENOENT;
	while (!err && resp_next(&all, &field) && resp_next(&all, &val))
		err = tell_field(&field, &val, each, arg);
	line_forget(&session->main);
	return err;
}
