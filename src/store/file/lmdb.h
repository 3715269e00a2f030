/* SPDX-License-Identifier: MIT */
/*
 * LMDB, which the first folder of a process loads: linked, it would be a part of the
 * start of every program of tine's. lmdb.get() is mdb_get().
 */
#ifndef TINE_STORE_FILE_LMDB_H
#define TINE_STORE_FILE_LMDB_H

#include <lmdb.h>

#define EACH_LMDB_FUNCTION(DO)                                                           \
	DO(cursor_close)                                                                 \
	DO(cursor_del)                                                                   \
	DO(cursor_get)                                                                   \
	DO(cursor_open)                                                                  \
	DO(dbi_flags)                                                                    \
	DO(dbi_open)                                                                     \
	DO(del)                                                                          \
	DO(env_close)                                                                    \
	DO(env_create)                                                                   \
	DO(env_get_fd)                                                                   \
	DO(env_info)                                                                     \
	DO(env_open)                                                                     \
	DO(env_set_mapsize)                                                              \
	DO(env_set_maxreaders)                                                           \
	DO(env_stat)                                                                     \
	DO(get)                                                                          \
	DO(put)                                                                          \
	DO(reader_check)                                                                 \
	DO(stat)                                                                         \
	DO(txn_abort)                                                                    \
	DO(txn_begin)                                                                    \
	DO(txn_commit)                                                                   \
	DO(txn_id)                                                                       \
	DO(txn_renew)                                                                    \
	DO(txn_reset)

#define LMDB_MEMBER(name) __typeof__(mdb_##name) *name;
extern struct lmdb {
	EACH_LMDB_FUNCTION(LMDB_MEMBER)
} lmdb;
#undef LMDB_MEMBER

/* 0, also if it was loaded before; or as library_load(). */
int lmdb_load(void);

#endif
