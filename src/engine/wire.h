/* SPDX-License-Identifier: MIT */
/*
 * Chunks of jobs and their results, as they travel: a header, little-endian whatever the
 * machine, and the bytes of inputs or outputs beside it. What comes from a server may
 * have been written by anybody: each length is checked against the bytes that are there,
 * and nothing that travels is a pointer or a path.
 */
#ifndef TINE_WIRE_H
#define TINE_WIRE_H

#include "base/export.h"

#define WIRE_LAYOUT 1
/* Bytes from which on inputs and outputs are plain values beside the stream. */
#define WIRE_BLOB ((size_t)64 << 10)
#define WIRE_MOST ((size_t)64 << 20) /* bytes of all inputs, or outputs, of a chunk */
#define WIRE_JOBS ((uint32_t)1 << 14)
/* Chunks so short that to take and to answer them one by one would cost more. */
#define WIRE_BRIEF_US 1000
#define WIRE_BRIEF    16 /* of them at once, for each worker */

/* How the jobs of a task are called; a part of the task's identity. */
enum wire_kind {
	WIRE_CALLS = 'c',  /* fn of an item */
	WIRE_EACH = 'e',   /* each of an index */
	WIRE_RANGE = 'r',  /* range of all n indexes, which is one job */
	WIRE_LEAVES = 'l', /* range of leaves first to first + n - 1, a slot each */
	WIRE_BYTES = 'b',  /* bytes: one job, which answers what it likes */
};

#define WIRE_SEARCH 1u /* a status of 1 is a hit: no later job of the chunk begins */
#define WIRE_FIRST  2u /* nor one of its map: the first hit is enough */

/*
 * in: of WIRE_CALLS n items of in_size bytes; of WIRE_BYTES one of in_size; of the others
 * one argument of in_size.
 */
struct wire_chunk {
	enum wire_kind kind;
	unsigned flags;
	uint32_t n;		       /* jobs; of WIRE_RANGE, indexes */
	uint64_t map;		       /* which map of its caller, for cancels; never 0 */
	uint64_t in_size, out_size;    /* of a job */
	uint64_t first, total, leaves; /* WIRE_EACH, _RANGE: first; WIRE_LEAVES: all */
	int64_t job_ms;		       /* milliseconds that a job may run; 0: no limit */
	int64_t left_ms;  /* of the call, counted from arrival; 0: no limit */
	int64_t grace_ms; /* after a cancel, until the job is ended; 0: no limit */
};

#define WIRE_CHUNK_LEN 96

/* The header, of WIRE_CHUNK_LEN bytes. */
void wire_put_chunk(unsigned char *header, const struct wire_chunk *);
/* Bytes of all its inputs, or outputs. */
size_t wire_in_len(const struct wire_chunk *);
size_t wire_out_len(const struct wire_chunk *); /* of WIRE_BYTES: 0 */
/* 0; -EPROTO: it is none, or of another layout, or its sizes are out of bounds. */
int wire_get_chunk(struct wire_chunk *, const void *header, size_t len);

/* How a job ended that did not return. */
struct wire_ending {
	uint32_t job; /* of the chunk, counted from 0 */
	int limit;
	tine_exit how;
};

/*
 * What became of the jobs of a chunk. Beside it, the outputs: n of out_size, whatever
 * the statuses; or of bytes, what the job answered.
 */
struct wire_result {
	uint32_t n;	   /* as the chunk's; of WIRE_RANGE too, with one status */
	uint32_t statuses; /* that are there: n, 1 of WIRE_RANGE, or 0: all are 0 */
	uint32_t endings;
	int64_t ran_us;	  /* from its first job's beginning to its last one's end */
	int64_t begun_us; /* by the server's clock; 0: its host did not know that */
	uint32_t lane;	  /* the worker of its host */
	uint64_t out_len;
	const unsigned char *status_at, *ending_at; /* lent, for the two below */
};

#define WIRE_RESULT_LEN 48 /* then the statuses, then the endings */
#define WIRE_ENDING_LEN 24

/* Bytes of the header with all that follows in it. */
size_t wire_result_len(uint32_t statuses, uint32_t endings);
/* n, times, lane and out_len from the result; status may be NULL: all are 0. */
void wire_put_result(unsigned char *header, const struct wire_result *, const int *status,
		     uint32_t statuses, const struct wire_ending *endings,
		     uint32_t n_endings);
/* 0; -EPROTO: it is none of that chunk, whose outputs would be so many bytes. */
int wire_get_result(struct wire_result *, const struct wire_chunk *, const void *header,
		    size_t len, size_t out_len);
int wire_status(const struct wire_result *, uint32_t job);
struct wire_ending wire_ending(const struct wire_result *, uint32_t i);

/*
 * The stream of a task: of its name (after the base name of its file, where it has one),
 * version, kind and sizes and the machine's byte order. Where a sum of the name's bytes
 * would not fit, -ENAMETOOLONG; -EINVAL: no name, or no function of that kind's.
 */
#define WIRE_NAME_MAX 200 /* bytes of a task's name */
#define WIRE_TASK_MAX 1024
int wire_task_name(char out[static WIRE_TASK_MAX], const tine_task *, enum wire_kind);
/* Percent-coded, but for letters, digits, '-' and '_'. The length, as snprintf(3). */
size_t wire_escape(char *out, size_t size, const char *text);

/* What a host says of itself. */
struct wire_host {
	char name[64];
	uint32_t workers, busy, queued;
	uint32_t crashing; /* milliseconds that it pauses, since all crashes there */
	uint64_t done;	   /* jobs, since it joined */
};

/* As text, for `tine workers`; the tasks are wire_task_name()s, separated by a blank. */
#define WIRE_HOST_MAX 256
int wire_put_host(char out[static WIRE_HOST_MAX], const struct wire_host *);
/* tasks: what follows, lent, not ended by NUL. -EPROTO. */
int wire_get_host(struct wire_host *, const char *text, size_t len, const char **tasks,
		  size_t *tasks_len);
bool wire_has_task(const char *tasks, size_t len, const char *task);

#endif
