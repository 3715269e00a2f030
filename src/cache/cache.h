/* SPDX-License-Identifier: MIT */
/*
 * The cache: its folder, and what every process that has it open maps of it.
 *
 *	lock		bytes to lock, see below
 *	index		a header, and an array of slots: a slot for each entry, and at the
 *			same time the head of a hash bucket
 *	data		segments of records, in the order in which they were written: a
 *			log, which begins at the tail and is written on at its end
 *	large/N		the key and value of an entry that is too large for a record
 *
 * Writers hold the lock of byte WRITER, one at a time. Readers hold nothing: they follow
 * a chain of slots to a record and copy it out; what they have read is the entry if the
 * key is the one they look for and the checksum is right, whatever was written meanwhile.
 * If there is none, they look once more with the lock. A large file is written before its
 * entry is there, never changed, and stays mapped by who has it when it is removed.
 *
 * To make room the log is eaten from its tail. Of the LOOKED_AT oldest records the least
 * recently used one goes; those before it are copied to the end. Readers note their use
 * in the slot.
 *
 * Every word of the index that a writer changes, it first notes in the header (undo); a
 * change of any length is done at the moment when the notes are dropped.
 *
 *	writer dies in a change		the next that has the lock undoes it
 *	writer dies after it		it is done; a file that was to go with it (doomed)
 *					the next removes
 *	dies while it writes a large	it held a byte of WRITING; who has that next
 *	file				removes the file
 *	dies while it makes the index	its magic says so: it is made again
 *	dies while it computes		it held the byte of that result (FLIGHT): who
 *					waits for it is next
 *	reader dies			nobody misses it
 *
 * After a boot (the machine may have lost power, and pages of the index) the index is
 * read through once. If that, or any step of a writer, finds it inconsistent, the cache
 * is begun anew, in place.
 */
#ifndef TINE_CACHE_H
#define TINE_CACHE_H

#include "base/export.h"
#include "process/lockfd.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define SEGMENT	    ((uint64_t)128 << 10)
#define MOST_SMALL  ((uint64_t)16 << 10) /* bytes of a record, with its key and value */
#define MOST_KEY    ((uint64_t)1 << 10)	 /* of a large entry, that is in its record */
#define SLACK	    (3 * SEGMENT)	 /* less than this free: entries make room */
#define LEAST_BYTES ((uint64_t)1 << 20)	 /* of max_bytes */
#define LOOKED_AT   16
#define MOST_UNDO   160
#define WRITERS	    16 /* of large files at a time */

/* Bytes of the file lock. */
#define WRITER	0
#define WRITING 16		    /* and WRITERS more */
#define FLIGHT	(UINT64_C(1) << 62) /* and 62 bits of a hash */

/* ---- on the disk ------------------------------------------------------------------- */

/* Read while others write them, and relaxed: checksums tell what was read. */
typedef _Atomic uint64_t word;

struct slot {
	word hash[2]; /* of the key, and its kind */
	word place;   /* of the record, in data; 0: the slot is free */
	word used;    /* when it was last; nanoseconds since 1970; readers */
	word born;    /* when it was put */
	word file;    /* N of a large one; 0: none */
	word links;   /* above, the next in the chain, or of the free ones; below, the */
		      /* head of the chain of the bucket of this number; 0: none, else */
		      /* slot + 1 */
	word sizes;   /* above, hash of the task's name; below, pages of the large file */
};

struct record {
	uint64_t sum;	  /* of the value, and of what follows here but the slot */
	uint64_t hash[2]; /* as in the slot */
	uint64_t key_len, val_len;
	uint64_t file;	     /* 0: the value follows; else N */
	uint32_t kind;	     /* KEY_OF_TASK or KEY_OF_CALLER */
	uint32_t key_inside; /* the key follows, then the value; else it is in the file */
	int32_t status;	     /* what the task returned */
	uint32_t slot;
};
enum { KEY_OF_CALLER = 1, KEY_OF_TASK };

struct segment {
	word fill; /* where its records end; the first begins at sizeof(struct segment) */
	word next; /* in its list; 0: the last, else segment + 1 */
	word padding[6];
};

struct large {
	uint64_t magic, number, key_len, val_len, hash[2], sum;
	/*
	 * When it was written, nanoseconds since 1970, which the file's time of
	 * modification is set to: who writes to the file later changes that, and then the
	 * checksum is asked.
	 */
	int64_t stamp;
};

struct header {
	word magic;	    /* written last */
	word layout, check; /* of both */
	word boot[2];	    /* when the index was last found consistent */
	word max_bytes, max_check;
	word restarts;
	word clock; /* changes with every eviction, for handles that keep maps */
	/* With the lock, and undone. */
	word doomed;	/* a large file to remove; 0: none */
	word files;	/* numbers given out */
	word slots;	/* in use or free: also how many buckets there are */
	word free_slot; /* 0: none, else slot + 1 */
	word entries;
	word large_bytes;
	word segments; /* that data has had */
	word free_segment, free_segments;
	word hole, holes; /* free ones too, whose blocks were given back */
	word first, last; /* segments of the log, + 1; 0: it is empty */
	word tail;	  /* place of the oldest record */
	word hits, misses, evictions;
	struct {
		word number, size; /* 0: none */
	} writing[WRITERS];
	word undos;
	struct {
		word where, old; /* an offset in the index, or above IN_DATA in data */
	} undo[MOST_UNDO];
};

#define CACHE_MAGIC  UINT64_C(0x6568636163656e74)
#define CACHE_BEGUN  UINT64_C(0x6e75676562656e74) /* for the time of cache_restart() */
#define LARGE_MAGIC  UINT64_C(0x656772616c656e74)
#define CACHE_LAYOUT 1
#define HEADER_SIZE  4096
#define IN_DATA	     (UINT64_C(1) << 63)
#define SLOT_STEP    1024 /* slots that the file grows by */

_Static_assert(sizeof(struct slot) == 64, "a cache line");
_Static_assert(sizeof(struct record) == 64, "a multiple of 16");
_Static_assert(sizeof(struct segment) == 64, "a multiple of 16");
_Static_assert(sizeof(struct large) == 64, "a multiple of 16");
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "a page");

/* ---- in a process ------------------------------------------------------------------ */

/* A file that grows, mapped. Stays mapped where it was when it needs more room. */
struct area {
	pthread_mutex_t mutex; /* whoever maps it anew */
	int fd;
	_Atomic(char *) base;
	word size; /* of the file, as far as it is known here to be there */
	uint64_t room;
	struct outgrown {
		struct outgrown *next;
		void *base;
		uint64_t room;
	} * outgrown;
};

struct mapped;
#define MAP_BUCKETS 256

struct tine_cache {
	pthread_mutex_t
		mutex; /* between threads, what byte WRITER is between processes */
	struct lockfd lock;
	int folder, large;
	char *path; /* of the folder, absolute */
	dev_t device;
	ino_t inode;
	struct area index, data;
	uint64_t max_bytes;	    /* as it was last seen */
	uint64_t max_age;	    /* nanoseconds; 0: none */
	word hits, misses;	    /* not yet in the header */
	pthread_mutex_t maps_mutex; /* of the large files mapped, cache_file.c */
	struct mapped *by_number[MAP_BUCKETS], *by_address[MAP_BUCKETS];
	unsigned idle;	/* mapped, and not in use */
	uint64_t clock; /* of the header, when those were last looked through */
	struct tine_cache *next, *prev; /* of all in this process */
};

/* A key, and what is known of it. */
struct key {
	const void *bytes;
	size_t len;
	int kind;
	uint64_t hash[2];
	uint64_t task;
};

#define get_word(word) atomic_load_explicit(&(word), memory_order_relaxed)

static inline uint64_t high_of(uint64_t links)
{
	return links >> 32;
}

static inline uint64_t low_of(uint64_t links)
{
	return links & UINT32_MAX;
}

/* Nanoseconds since 1970. */
uint64_t cache_now(void);
/* XXH3, of 64 bits. */
uint64_t bytes_hash(const void *, size_t len);
uint64_t record_sum(const struct record *, uint64_t value_hash);

/* ---- cache.c ----------------------------------------------------------------------- */

void key_hash(struct key *);
/* The value of an entry, as found. */
struct found {
	const void *val;
	size_t len;
	int status;
};

/* One of the two counts. */
static inline void count(word *number)
{
	atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

/* 0, and to be released; -ENOENT; an error. A damaged entry is dropped. */
int cache_find(tine_cache *, const struct key *, struct found *);
/* Copies a small value out: -EUCLEAN: it is not what the checksum says. */
int small_read(tine_cache *, const struct key *, uint64_t place, const struct record *,
	       struct found *);
int cache_keep(tine_cache *, const struct key *, const void *val, size_t val_len,
	       int status);
/*
 * With the lock: ends a change as it went, and what is left of its error. -EAGAIN: the
 * cache was damaged, and has been begun anew.
 */
int cache_settle(tine_cache *, int err);

/* ---- cache_call.c ------------------------------------------------------------------ */

uint64_t task_hash(const char *name);
/* 1: the result is there, and taken; 0: it is not; an error. And the hash of its key. */
int cache_take(tine_cache *, const tine_task *, const void *in, void *out, int *status,
	       uint64_t hash[2]);

/* ---- cache_index.c: files, the lock, undo, slots ----------------------------------- */

int area_open(struct area *, int folder, const char *name, uint64_t room);
void area_close(struct area *);
/* Where those bytes are; NULL: the file does not reach so far. */
void *area_at(struct area *, uint64_t offset, uint64_t len);
/* Makes it reach so far: -ENOSPC, or as mmap(2). */
int area_grow(struct area *, uint64_t size);

struct header *cache_header(tine_cache *);
struct slot *slot_at(tine_cache *, uint64_t index); /* NULL: there is none */
uint64_t slot_index(tine_cache *, const struct slot *);

/*
 * The writer's lock, with what a death had left mended. -EUCLEAN, here and below: the
 * index is inconsistent; cache_restart() is all that can be done about it.
 */
int cache_lock(tine_cache *);
void cache_unlock(tine_cache *);
int cache_set_max(tine_cache *, uint64_t max_bytes);
/* With the lock: begins the cache anew, for damage or another reason. */
int cache_restart(tine_cache *, bool damaged);
/* With the lock: reads the index through. */
int cache_check(tine_cache *);
/* With the lock: notes that this boot found it consistent, which cache_check() says. */
int cache_greet(tine_cache *);

/* Changes, with the lock. */
int change(tine_cache *, word *, uint64_t to);
/* All since the last are done, and cannot be undone; removes the file that is doomed. */
void commit(tine_cache *);
void undo(tine_cache *);

/*
 * Walks the chain of the hash: the slot after that one (NULL: the first) that has the
 * hash; NULL: no more. steps counts down, from CHAIN, against circles.
 */
struct slot *chain_find(tine_cache *, const uint64_t hash[2], struct slot *after,
			unsigned *steps);
#define CHAIN 4096
/* A slot for the hash, linked; its record is yet to be written. */
int slot_take(tine_cache *, const uint64_t hash[2], uint64_t *index);
/* Unlinks the slot of an entry, and dooms its file: only one for each commit(). */
int slot_drop(tine_cache *, uint64_t index);

/* ---- cache_log.c: records, and room for them --------------------------------------- */

uint64_t record_size(const struct record *);
/* The record at a place: a copy; false: there is none, or there cannot be. */
bool record_read(tine_cache *, uint64_t place, struct record *);
const word *record_key(tine_cache *, uint64_t place, const struct record *);
const word *record_value(tine_cache *, uint64_t place, const struct record *);
/* Writes a record at the end of the log, with the lock; there is room (log_room). */
int log_append(tine_cache *, const struct record *, const void *key, const void *val,
	       uint64_t *place);
/*
 * With the lock: makes room for a record and so many bytes beside the log, a part of the
 * work at a time: -EAGAIN: more is to be done; let others have the lock in between.
 */
int log_room(tine_cache *, uint64_t record, uint64_t beside);
/* With the lock: gives back what is at the tail and dead. */
int log_trim(tine_cache *);
/* With the lock: gives blocks of free segments back: 1: there are more; 0. */
int log_give_back(tine_cache *);
/* Bytes of the disk that the cache uses, or has promised. */
uint64_t cache_bytes(tine_cache *);

void words_load(void *to, const word *from, size_t len);
void words_store(word *to, const void *from, size_t len);
bool words_equal(const word *words, const void *bytes, size_t len);

/* ---- cache_file.c: large entries --------------------------------------------------- */

/*
 * The value of a large entry, mapped, and in use until large_release(). -ENOENT: there is
 * no such file, or it is another; -EUCLEAN: its value is damaged.
 */
int large_get(tine_cache *, const struct key *, const struct record *, const void **val);
/* Whether val was one, that is now released. */
bool large_release(tine_cache *, const void *val);
/* Reads all of it: 0, -ENOENT, -EUCLEAN. */
int large_verify(tine_cache *, const struct record *);
/* A copy of the key, to be freed. */
int large_key(tine_cache *, const struct record *, void **key);
void large_remove(tine_cache *, uint64_t number);
/* With the lock. Who is writing one finds its row gone, and drops it. */
void large_remove_all(tine_cache *);

/* To write one: begin with the lock, which write is without, and end with the lock. */
struct writing {
	struct lockfd claim;
	unsigned row;
	uint64_t number, size;
};
/* With the lock. -EAGAIN: let go of it, and try again: others write. */
int large_begin(tine_cache *, struct writing *, uint64_t size);
int large_write(tine_cache *, const struct writing *, const struct key *, const void *val,
		uint64_t val_len);
/* With the lock: gives up what writers that died had begun. */
int large_reap(tine_cache *);
/* With the lock: it is part of a change (keep), or not wanted. */
int large_end(tine_cache *, struct writing *, bool keep);
void large_unclaim(struct writing *);
uint64_t large_size(uint64_t key_len, uint64_t val_len);
void large_close_all(tine_cache *);

#endif
