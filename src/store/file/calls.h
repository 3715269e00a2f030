/* SPDX-License-Identifier: MIT */
/* The calls of the engine, as store.h has them. */
#ifndef TINE_STORE_CALLS_H
#define TINE_STORE_CALLS_H

#include "store/store.h"

int file_set(tine_store *, const char *key, const void *val, size_t len, int64_t ms);
int file_set_all(tine_store *, const tine_store_item *, size_t n);
ssize_t file_get(tine_store *, const char *key, void *buf, size_t size);
int file_add(tine_store *, const char *key, int64_t by, int64_t *now);
int file_swap(tine_store *, const char *key, const void *old, size_t old_len,
	      const void *val, size_t len);
int file_lock(tine_store *, const char *key, int64_t ms, uint64_t *fence, int64_t *left,
	      int64_t deadline);
int file_relock(tine_store *, const char *key, uint64_t fence, int64_t ms);
int file_push(tine_store *, const char *list, const void *val, size_t len);
ssize_t file_pop(tine_store *, const char *list, void *buf, size_t size,
		 int64_t deadline);
int file_put_field(tine_store *, const char *dict, const char *field, const void *val,
		   size_t len);
ssize_t file_get_field(tine_store *, const char *dict, const char *field, void *buf,
		       size_t size);
int file_del_field(tine_store *, const char *dict, const char *field);
int file_fields(tine_store *, const char *dict,
		int (*each)(void *arg, const char *field, const void *val, size_t len),
		void *arg);
ssize_t file_len(tine_store *, const char *key);
int file_del(tine_store *, const char *key);
int file_expire(tine_store *, const char *key, int64_t ms);
int file_keys(tine_store *, const char *prefix, int (*each)(void *arg, const char *key),
	      void *arg);
ssize_t file_lease(tine_store *, const char *list, const char *leases, void *buf,
		   size_t size, int64_t ms, tine_lease *, int64_t *left,
		   int64_t deadline);
int file_settle(tine_store *, const char *list, const char *leases, tine_lease,
		bool back);
int file_wait(tine_store *, struct store_wait *, size_t n, int64_t deadline);

#endif
