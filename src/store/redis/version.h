/* SPDX-License-Identifier: MIT */
/* The keys that a session was asked to wait for, and the versions of each. */
#ifndef TINE_VERSION_H
#define TINE_VERSION_H

#include "base/export.h"

#define VERSION_BUCKETS 64

/* A key that was waited for. */
struct told_key {
	struct told_key *next;
	uint64_t version;
	bool armed;	 /* the next change will be told */
	bool there;	 /* when it was armed */
	int64_t expires; /* look at it then; TINE_FOREVER */
	char name[];
};

struct versions {
	struct told_key *buckets[VERSION_BUCKETS];
	uint64_t given; /* so far */
};

/* NULL: no memory. Makes it, with a version of its own, if there is none. */
struct told_key *versions_of(struct versions *, const char *name);
/* NULL: it was not waited for. */
struct told_key *versions_find(struct versions *, const char *name, size_t len);
void versions_end(struct versions *, struct told_key *);
void versions_end_all(struct versions *);
void versions_free(struct versions *);

#endif
