/* SPDX-License-Identifier: MIT */
/* The calls of the engine, a file for each noun; as in store.h. */
#ifndef TINE_CALLS_H
#define TINE_CALLS_H

#include "store/redis/session.h"

/* Milliseconds until a key ends: the server adds the time of day to them. */
#define LATEST_END (INT64_MAX / 4)

/* value.c */
int redis_set(tine_store *, const char *key, const void *val, size_t len, int64_t ms);
int redis_set_all(tine_store *, const tine_store_item *, size_t n);
ssize_t redis_get(tine_store *, const char *key, void *buf, size_t size);
int redis_add(tine_store *, const char *key, int64_t by, int64_t *now);
int redis_swap(tine_store *, const char *key, const void *old, size_t old_len,
	       const void *val, size_t len);
int redis_lock(tine_store *, const char *key, int64_t ms, uint64_t *fence, int64_t *left,
	       int64_t deadline);
int redis_relock(tine_store *, const char *key, uint64_t fence, int64_t ms);
/* list.c */
int redis_push(tine_store *, const char *list, const void *val, size_t len);
ssize_t redis_pop(tine_store *, const char *list, void *buf, size_t size,
		  int64_t deadline);
/* dict.c */
int redis_put_field(tine_store *, const char *dict, const char *field, const void *val,
		    size_t len);
ssize_t redis_get_field(tine_store *, const char *dict, const char *field, void *buf,
			size_t size);
int redis_del_field(tine_store *, const char *dict, const char *field);
int redis_fields(tine_store *, const char *dict,
		 int (*each)(void *arg, const char *field, const void *val, size_t len),
		 void *arg);
/* keys.c */
ssize_t redis_len(tine_store *, const char *key);
int redis_del(tine_store *, const char *key);
int redis_expire(tine_store *, const char *key, int64_t ms);
int redis_keys(tine_store *, const char *prefix, int (*each)(void *arg, const char *key),
	       void *arg);
/* lease.c */
ssize_t redis_lease(tine_store *, const char *list, const char *leases, void *buf,
		    size_t size, int64_t ms, tine_lease *, int64_t *left,
		    int64_t deadline);
int redis_settle(tine_store *, const char *list, const char *leases, tine_lease,
		 bool back);
/* wait.c */
int redis_wait(tine_store *, struct store_wait *, size_t n, int64_t deadline);

#endif
