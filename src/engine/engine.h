/* SPDX-License-Identifier: MIT */
/*
 * A pool on a server: its keys, its scripts, and the connections by which a caller or a
 * host speaks to it.
 *
 * P is the pool's name, percent-coded; all keys begin with T = "tine:{P}:", so that they
 * lie in one slot of a cluster. C is a caller, H a host: 128 random bits each, new with
 * each process, and of a host with each join. TASK: see wire_task_name().
 *
 *	T q:TASK	stream, group "g": chunks. c=C s=seq h=header, and a=inputs, or
 *			b="" where they are in b:C:seq
 *	T r:C		stream: f=H, and of each chunk that was done at once s=seq,
 *			h=header, and a=outputs, or b="" for B:C:seq; or s=seq l=H: lost
 *			with its host; or s=seq g=H: H has not begun it
 *	T o:C		hash seq -> "": chunks that are outstanding
 *	T b:C:seq, B:C:seq	inputs and outputs of WIRE_BLOB and more
 *	T w		sorted set: hosts by the server's time of their last beat
 *	T g		sorted set: hosts that are none any more, by since when
 *	T i		hash H -> what it says of itself, see wire_put_host()
 *	T c		sorted set: callers, as w
 *	T x		stream: cancels, c=C m=map
 *	T m		hash: layout, lease (milliseconds)
 *	T s		there while no host has to look for the silent
 *
 * Each key ends KEYS_MS after the last beat of anybody who needs it. What is promised, by
 * what:
 *
 *	one result a job	done needs the entry to be pending (XACK), or there, and
 *				the seq to be outstanding (HDEL): the first wins, all
 *				later are dropped, also that of a host that has lost its
 *				lease
 *	none is forgotten	a chunk is unread in q, or pending with a member, or in r;
 *				what is pending with anybody else is told lost by the
 *				next beat of any host. What none of this finds (a key was
 *				deleted, the server has lost its data) the caller learns
 *				by its own beat: it asks for its oldest by name
 *	no work outlives	a host counts its lease from when it *sent* the last beat
 *	its lease		that was answered, so that it ends before the server's
 *				count does
 *
 * A host whose connections are lost joins again under a new name, and takes along what it
 * still works on; what was on its way to the old name is told lost. So no answer that a
 * server sent into a dead connection can lose a chunk, and the jobs go on meanwhile.
 */
#ifndef TINE_ENGINE_H
#define TINE_ENGINE_H

#include "engine/wire.h"
#include "store/redis/line.h"

#define KEYS_MS	       60000
#define CALLER_MS      20000 /* of silence, after which hosts bury a caller */
#define ENGINE_ID_MAX  40    /* of a caller or a host, with its NUL */
#define ENGINE_TAG_MAX 680   /* "tine:{P}:" */
#define ENGINE_KEY_MAX 2048  /* any key */
#define POOL_NAME_MAX  200   /* bytes of P before it is coded */

/* ---- addresses --------------------------------------------------------------------- */

struct engine_url {
	char version[24]; /* what the server said that it is, to engine_open() */
	char *text;	  /* freed by engine_url_free() */
	char pool[3 * POOL_NAME_MAX + 1]; /* coded */
};

/*
 * A URL of a store on a server, and with ?pool=NAME or &pool=NAME the pool's name;
 * without it, the base name of the running program, and which build of it that is, so
 * that programs that are not the same never meet by chance. -EINVAL: no URL, no server's,
 * or an empty name or one with braces; -ENAMETOOLONG; -ENOMEM.
 */
int engine_url_parse(struct engine_url *, const char *url);
void engine_url_free(struct engine_url *);

/* ---- connections ------------------------------------------------------------------- */

/* So that no blocked read keeps others waiting. */
enum engine_way { ENGINE_TALK, ENGINE_READ, ENGINE_LISTEN, ENGINE_WAYS };

struct engine;

/*
 * Connects on all ways and loads the scripts. 0; -EAGAIN: the server is there, and can do
 * nothing yet (it loads, is busy, or no master): ask again. As tine_store_open(); and:
 * -EOPNOTSUPP: it is older than Redis 6.0; -EPROTO: the pool there has another layout;
 * -EREMOTE, -EACCES: its keys lie elsewhere, or are others'. The URL has its version.
 * The deadline bounds all of it.
 */
int engine_open(struct engine **, struct engine_url *, int64_t deadline);
void engine_free(struct engine *);
const char *engine_tag(const struct engine *);
int engine_fd(const struct engine *, enum engine_way);
/* T and the rest, as printf(3). */
const char *engine_key(const struct engine *, char out[static ENGINE_KEY_MAX],
		       const char *format, ...) __attribute__((format(printf, 3, 4)));
/* 128 random bits, in letters. */
void engine_make_id(char out[static ENGINE_ID_MAX]);

/*
 * What is added here is sent by engine_send(), in order; each command says what its
 * answer is for (what, and a number of the asker's), and engine_next() has it back. Long
 * words are not copied: they stay until engine_send() has returned.
 */
struct request *engine_add(struct engine *, enum engine_way, int what, uint64_t number);
/* 0; -ETIMEDOUT, -ECONNRESET, ...: the connection is of no more use. */
int engine_send(struct engine *, enum engine_way, int64_t deadline);
bool engine_has_unsent(const struct engine *, enum engine_way);
/* How many answers are owed. */
unsigned engine_owed(const struct engine *, enum engine_way);

#define ENGINE_QUIET (-1) /* what: nobody has the answer, but for an error of it */

struct engine_answer {
	int what;
	uint64_t number;
	struct resp resp; /* lent until the next call for that way */
	int err;	  /* 0; or what engine_error() says of the error that it is */
};

/* Never waits: 1; 0: nothing has come; else the connection is of no more use. */
int engine_next(struct engine *, enum engine_way, struct engine_answer *);
/* The same, but waits until the deadline: -ETIMEDOUT. */
int engine_await(struct engine *, enum engine_way, struct engine_answer *,
		 int64_t deadline);

/*
 * What an error means, for whoever waits and asks again: -EAGAIN: the server cannot at
 * the moment (LOADING, BUSY, MASTERDOWN, READONLY, MISCONF, NOREPLICAS, OOM, CLUSTERDOWN,
 * TRYAGAIN); -ESTALE: it has lost its data (NOGROUP, NOSCRIPT, a stream deleted): join
 * again. Else there is no use in asking: -EREMOTE: MOVED, it is a part of a cluster, and
 * the keys lie with another; -EACCES; others of tine_store_open().
 */
int engine_error(const struct resp *);

/* ---- what is asked: on ENGINE_TALK, but where said --------------------------------- */

/* An entry of a task's stream. */
struct engine_entry {
	const char *task; /* a wire_task_name() */
	const char *sid;  /* the entry's name in the stream */
};

#define ENGINE_SID_MAX 48

/*
 * A host joins, under a name of its own. old: the name under which it held entries, or
 * NULL. Answer: an array: the lease in milliseconds, then for each entry 1 (it is held
 * under the new name) or 0 (it is another's). A number: the layout of those who are
 * there.
 */
void engine_add_join(struct engine *, int what, const char *host, const char *info,
		     unsigned lease_ms, const char *const *tasks, size_t n,
		     const char *old, const struct engine_entry *held, size_t n_held);
/*
 * Its beat, which sweeps. Answer: an array: whether it is a member (0: its lease is over,
 * or its stream is gone: join again), how many chunks were told lost, how many callers
 * buried.
 */
void engine_add_beat(struct engine *, int what, const char *host, const char *info,
		     unsigned lease_ms, const char *const *tasks, size_t n);

/* A chunk that is done. */
struct engine_done {
	const char *sid, *seq;
	const void *header, *out;
	size_t header_len, out_len; /* from WIRE_BLOB on beside the stream */
	bool in_blob;		    /* its inputs were */
};

#define ENGINE_DONE_MOST 64

/*
 * Up to ENGINE_DONE_MOST of one task and one caller. Answer: a number: how many were
 * accepted; -1: not a member.
 */
void engine_add_done(struct engine *, int what, uint64_t number, const char *host,
		     const char *task, const char *caller, const struct engine_done *,
		     size_t n);
/*
 * What is not to be done here, lost: its inputs are gone; else: it was not begun. Answer:
 * a number: how many.
 */
void engine_add_give(struct engine *, int what, const char *host, bool lost,
		     const struct engine_entry *, size_t n);
/* Leaves, holding nothing. Answer: a number. */
void engine_add_leave(struct engine *, int what, const char *host,
		      const char *const *tasks, size_t n);
/*
 * ENGINE_READ: at most count entries of each of the tasks, as XREADGROUP answers; never
 * more than ms milliseconds. Nil: none.
 */
void engine_add_take(struct engine *, int what, const char *host, size_t count,
		     int64_t ms, const char *const *tasks, size_t n);
/* ENGINE_LISTEN: cancels after that one ("$": from now on), as XREAD answers. */
void engine_add_listen(struct engine *, int what, const char *last, int64_t ms);
/* The inputs of a chunk, as a string; nil: they are gone. */
void engine_add_fetch(struct engine *, int what, uint64_t number, char kind,
		      const char *caller, const char *seq);

/* A chunk that is sent. */
struct engine_put {
	const char *task, *seq;
	const void *header, *in; /* header: WIRE_CHUNK_LEN */
	size_t in_len;
};

/*
 * A caller sends chunks, all or none. Answer: an array; the strings in it (RESP_STRING)
 * are the entries' names, in the order of the chunks.
 */
void engine_add_put(struct engine *, int what, uint64_t number, const char *caller,
		    const struct engine_put *, size_t n);

/* A chunk that a caller asks for. */
struct engine_asked {
	struct engine_entry entry;
	const char *seq;
	bool blob;
};

/*
 * A caller's beat. Answer: an array: how many chunks are outstanding; whether the caller
 * was unknown (then the server has lost its data, or a host has buried it); the last id
 * in r:C ("0-0": none); an array of the seqs asked for that are not outstanding any more
 * (done and in r, or, where r has been read up to that id without them, forgotten); an
 * array as engine_add_hosts(), or nil where no list is asked for; the lease of hosts in
 * milliseconds, 0: there are none; the server's time in microseconds.
 */
void engine_add_call(struct engine *, int what, const char *caller, bool list,
		     const struct engine_asked *, size_t n);
/* ENGINE_READ: results after that id, as XREAD answers. Nil: none. */
void engine_add_results(struct engine *, int what, const char *caller, const char *last,
			size_t count, int64_t ms);
/* Results that were read, and may go. Answer: a number. */
void engine_add_read(struct engine *, int what, const char *caller,
		     const char *const *sids, size_t n);
/* All seqs that are outstanding: HKEYS. */
void engine_add_known(struct engine *, int what, const char *caller);
/* Inputs ('b') or outputs ('B') that were read, or are unwanted. No answer. */
void engine_add_drop_blob(struct engine *, char kind, const char *caller,
			  const char *seq);
/* They are wanted no longer, whoever has them. Answer: a number. */
void engine_add_forget(struct engine *, int what, const char *caller,
		       const char *const *seqs, size_t n);
/* Takes back what nobody has read. Answer: an array of the seqs that were. */
void engine_add_take_back(struct engine *, int what, const char *caller,
			  const struct engine_asked *, size_t n);
/* Tells all hosts that the jobs of that map are unwanted. Answer: a string. */
void engine_add_cancel(struct engine *, int what, const char *caller, uint64_t map);
/* It is gone, or done with. Answer: a number. */
void engine_add_bury(struct engine *, int what, const char *caller);
/*
 * The hosts. Answer: an array, for each its name, the milliseconds since its last beat (a
 * number), and what it says of itself (wire_get_host()).
 */
void engine_add_hosts(struct engine *, int what);

/* ---- what is answered -------------------------------------------------------------- */

/* How far the server's clock is from this machine's, as an answer with its time shows. */
struct engine_clock {
	bool known;
	int64_t offset_us; /* to be added to this one's */
	int64_t error_us;  /* at most */
};

/* Keeps the better of what it knows, which gets worse, and this. In nanoseconds. */
void engine_clock_note(struct engine_clock *, int64_t sent, int64_t came,
		       int64_t server_us);
/* That of this connection, which is first known when it is open. */
struct engine_clock *engine_clock(struct engine *);

/* Of XREAD and XREADGROUP; false: no more. The names are keys, with T. */
bool engine_next_stream(struct resp *answer, struct resp *key, struct resp *entries);

/*
 * What an entry of a stream says of a chunk, whoever wrote it: what is not there has a
 * length of SIZE_MAX.
 */
struct engine_message {
	struct engine_word {
		const char *text;
		size_t len;
	} sid, caller, seq, header, data, blob, lost, given, map, from;
	struct resp rest;	 /* of the entry */
	struct engine_word next; /* seq */
};

bool engine_next_message(struct resp *entries, struct engine_message *);
/* What the same entry says of another chunk. */
bool engine_next_chunk(struct engine_message *);
/* As a string of its own; false: it is not there, too long, or has a NUL. */
bool engine_copy_word(char *out, size_t size, struct engine_word);
/* Of INFO: 6 of 6.2.1, and all of it; 0: that says nothing. */
int engine_major(const struct resp *, char version[static 24]);

#endif
