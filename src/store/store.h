/* SPDX-License-Identifier: MIT */
/*
 * What an engine of the store does. The calls of tine.h check their arguments (keys,
 * lengths, pointers) in store.c and hand on here; an engine is told nothing invalid, and
 * answers as tine.h says. A prefix may be empty; set_all has at least one item.
 */
#ifndef TINE_STORE_H
#define TINE_STORE_H

#include "base/export.h"

/* Of tine_store_open(), taken apart and unescaped. No string is NULL but where said. */
struct store_address {
	enum { STORE_FILE, STORE_TCP, STORE_UNIX } kind;
	bool tls;
	bool shared;	  /* STORE_FILE: with other users, who are trusted */
	const char *path; /* STORE_FILE, STORE_UNIX; else NULL */
	const char *host; /* STORE_TCP; else NULL */
	unsigned port, db;
	const char *user, *password;	 /* NULL: none */
	const char *cacert, *cert, *key; /* files for TLS; NULL: none */
	unsigned connect_ms, answer_ms;
};

/* url.c: cuts the text, which the address then points into. -EINVAL, -ENAMETOOLONG. */
int store_parse_url(char *text, struct store_address *);

/* Longer lives of locks are cut: sums with a time of day stay exact, in Lua as well. */
#define STORE_MOST_MS INT64_C(1000000000000000)

/* A key that is waited for. */
struct store_wait {
	const char *key;
	uint64_t version; /* that the caller knows, or 0: none; then the present one */
	bool changed;	  /* since that */
	/* The engine's, while it waits. */
	uint64_t seen;
	void *known;
};

struct store_engine {
	/*
	 * The strings of the address live as long as the handle; the address itself is
	 * only lent, and copied into the handle after a success.
	 */
	int (*open)(tine_store **out, const struct store_address *);
	void (*free)(tine_store *);
	/* ms: after which it ends; 0: never. */
	int (*set)(tine_store *, const char *key, const void *val, size_t len,
		   int64_t ms);
	int (*set_all)(tine_store *, const tine_store_item *, size_t n);
	ssize_t (*get)(tine_store *, const char *key, void *buf, size_t size);
	int (*add)(tine_store *, const char *key, int64_t by, int64_t *now);
	int (*swap)(tine_store *, const char *key, const void *old, size_t old_len,
		    const void *val, size_t len);
	/*
	 * Once: 0 and the fence; -EAGAIN and the milliseconds that it is still held. ms
	 * is at most STORE_MOST_MS. relock: ms 0: it ends at once; -ENOENT: the fence is
	 * another. -EINVAL: the value is no lock.
	 */
	int (*lock)(tine_store *, const char *key, int64_t ms, uint64_t *fence,
		    int64_t *left, int64_t deadline);
	int (*relock)(tine_store *, const char *key, uint64_t fence, int64_t ms);
	int (*push)(tine_store *, const char *list, const void *val, size_t len);
	ssize_t (*pop)(tine_store *, const char *list, void *buf, size_t size,
		       int64_t deadline);
	int (*put_field)(tine_store *, const char *dict, const char *field,
			 const void *val, size_t len);
	ssize_t (*get_field)(tine_store *, const char *dict, const char *field, void *buf,
			     size_t size);
	int (*del_field)(tine_store *, const char *dict, const char *field);
	int (*fields)(tine_store *, const char *dict,
		      int (*each)(void *arg, const char *field, const void *val,
				  size_t len),
		      void *arg);
	ssize_t (*len)(tine_store *, const char *key);
	int (*del)(tine_store *, const char *key);
	int (*expire)(tine_store *, const char *key, int64_t ms);
	int (*keys)(tine_store *, const char *prefix,
		    int (*each)(void *arg, const char *key), void *arg);
	/*
	 * leases: the dictionary of those of the list. -ENOENT: there is no item; left is
	 * how long the first lease lasts, in milliseconds, or -1: there is none. settle:
	 * back to the front of the list, or away.
	 */
	ssize_t (*lease)(tine_store *, const char *list, const char *leases, void *buf,
			 size_t size, int64_t ms, tine_lease *, int64_t *left,
			 int64_t deadline);
	int (*settle)(tine_store *, const char *list, const char *leases, tine_lease,
		      bool back);
	/*
	 * Until at least one of them has changed; on failure their versions are as they
	 * were. At least one key, and none twice with other versions.
	 */
	int (*wait)(tine_store *, struct store_wait *, size_t n, int64_t deadline);
};

/* Engines embed it first; store.c sets all but what an engine's open() has made. */
struct tine_store {
	const struct store_engine *engine;
	struct store_address address;
	char *strings;		 /* of the address */
	struct watcher *watcher; /* watch.c; NULL: nothing is watched */
};

/* That of folders is NULL where the build is without its library. */
extern const struct store_engine *const store_file_engine, *const store_redis_engine;

/* watch.c: ends all that this handle watches. */
void store_unwatch_all(tine_store *);

#endif
