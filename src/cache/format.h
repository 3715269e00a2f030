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
 * If there is none, they look again, and believe it if no change was under way and none
 * was done meanwhile (undos, commits). Only where changes follow each other without a
 * pause, or a writer has left one half done, or an entry is damaged, they ask for the
 * lock. A large file is written before its entry is there, never changed, and stays
 * mapped by the readers that have it when it is removed.
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
 * A process that is stopped (SIGSTOP) where it holds the lock keeps it. The others wait
 * for it until their deadlines, and not longer than PATIENCE_MS; then a call computes,
 * what it has computed is not kept, a get is a miss, and other calls are -ETIMEDOUT. A
 * handle that has waited so in vain waits for nobody until it has had the lock once. A
 * process that is stopped while it writes a large file keeps one of the WRITERS rows and
 * what it was promised of the disk; one that is stopped while it computes keeps others
 * from that result alone, until their deadlines. A reader that is stopped keeps nothing.
 *
 * After a boot (the machine may have lost power, and pages of the index) the index is
 * read through once. If that, or any step of a writer, finds it inconsistent, the cache
 * is begun anew, in place.
 *
 * Files of this folder, each of which uses those before it:
 *
 *	format hash fs		this, checksums and clocks, what is removed
 *	area handle undo	mapped files, what a process has open, changes
 *	slots turn log large	the index, its lock, the records, the files
 *	cache flight call	looking and putting, turns to compute, calls
 *	walk check folder	all entries, damage, open and free
 */
#ifndef TINE_CACHE_FORMAT_H
#define TINE_CACHE_FORMAT_H

#include <stdatomic.h>
#include <stdint.h>

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

/* Read while others write them, and relaxed: checksums tell what was read. */
typedef _Atomic uint64_t word;

struct slot {
	word hash[2]; /* of the key, and its kind */
	word place;   /* of the record, in data; 0: the slot is free */
	word used;    /* when it was last; nanoseconds since 1970; readers */
	word born;    /* when it was put; of a large one, its file's time of change */
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
	uint64_t file;		 /* 0: the value follows; else N */
	uint32_t kind;		 /* KEY_OF_TASK or KEY_OF_CALLER */
	uint32_t key_inside : 1; /* the key follows, then the value; or the file has it */
	uint32_t in_seconds : 1; /* the unit of age; else milliseconds */
	uint32_t age : 30;	 /* after which it is not found; 0: no limit */
	int32_t status;		 /* what the task returned */
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
	 * modification is set to. A later write changes that, or at least the time of
	 * change, which nobody can set; then the checksum is asked.
	 */
	int64_t stamp;
};

struct index_header {
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
	word commits; /* changes that were done or undone, since the index was made */
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
_Static_assert(sizeof(struct index_header) <= HEADER_SIZE, "a page");

#define get_word(word) atomic_load_explicit(&(word), memory_order_relaxed)

static inline uint64_t high_half(uint64_t links)
{
	return links >> 32;
}

static inline uint64_t low_half(uint64_t links)
{
	return links & UINT32_MAX;
}

#endif
