/* SPDX-License-Identifier: MIT */
/*
 * Results that are kept: in a cache, under a key of all that a job depends on, as far as
 * that can be told. The key is compared, and not only hashed; of the files it has their
 * contents' hashes. What a job wrote is kept, and for each file of --out its hash, so
 * that the file is verified and not stored.
 *
 * Of all that want one job, in this process and in others, one has the flight that
 * tine_cache_begin() gives, and runs it. If that process dies, the next has it.
 */
#include "map/keep.h"

#include "map/files.h"
#include "map/job.h"
#include "map/kept.h"
#include "map/show.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is read at the beginning of a job, and must be the same at its end. */
struct keep {
	tine_flight *flight; /* NULL: its result is not kept */
	struct strings names;
	struct file_seen *seen; /* of each name */
	size_t room;
};

/* The value: this, the outs, and the pieces of output. */
struct result {
	int64_t ns;
	tine_usage usage;
	uint64_t outs;
};

struct out {
	uint64_t hash[2], size;
};

static struct {
	tine_cache *cache;
	char folder[PATH_MAX]; /* where jobs run */
	struct word **ins, **outs;
	size_t last_column;
	struct bytes key;
	struct keep now;       /* of the job that is looked at */
	struct strings made;   /* names of its files of --out */
	struct bytes contents; /* a value, as it is put together */
} keep;

bool keep_is_on(void)
{
	return map_options.once || map_options.cache;
}

/* ---- at the beginning -------------------------------------------------------------- */

static int parse_words(struct word ***out, const struct strings *texts,
		       const struct columns *columns, const char *what)
{
	int err = DONE;

	*out = must(calloc(texts->count + 1, sizeof(**out)));
	for (size_t i = 0; err == DONE && i < texts->count; i++) {
		err = word_parse(&(*out)[i], strings_at(texts, i), columns, what);
		if (err == DONE && word_last_column((*out)[i]) > keep.last_column)
			keep.last_column = word_last_column((*out)[i]);
	}
	return err;
}

static int check_variables(void)
{
	for (size_t i = 0; i < map_options.variables.count; i++) {
		const char *name = strings_at(&map_options.variables, i);

		if (!*name || strchr(name, '='))
			return complain(
				USAGE, "map: --env: '%s' is no name of a variable", name);
	}
	return DONE;
}

int keep_open(const struct columns *columns)
{
	int err = check_variables();

	if (!err)
		err = parse_words(&keep.ins, &map_options.inputs, columns, "--in");
	if (!err)
		err = parse_words(&keep.outs, &map_options.outputs, columns, "--out");
	if (err)
		return err;
	if (!getcwd(keep.folder, sizeof(keep.folder)))
		return complain(BROKEN, "map: the working folder: %s", strerror(errno));
	if (!map_options.dry_run)
		return open_cache("map", &keep.cache, map_options.cache, NULL, NULL);
	/* Nothing is made; without a cache nothing is kept. */
	if (tine_cache_open(&keep.cache, map_options.cache,
			    &(tine_cache_opts){ .existing = true }) < 0)
		keep.cache = NULL;
	return DONE;
}

size_t keep_last_column(void)
{
	return keep.last_column;
}

void keep_close(void)
{
	tine_cache_free(keep.cache);
	keep.cache = NULL;
}

/* ---- what is said once ------------------------------------------------------------- */

enum complaint { NO_FILE, HIDDEN_FILE, CHANGED_FILE, NO_OUT_FILE, NOT_KEPT, COMPLAINTS };

/* Whether it was not said yet; then the line of a terminal is out of the way. */
static bool is_news(enum complaint complaint)
{
	static bool said[COMPLAINTS];

	if (said[complaint])
		return false;
	said[complaint] = true;
	show_hide();
	return true;
}

/* ---- the key ----------------------------------------------------------------------- */

static void add_number(uint64_t number)
{
	bytes_add(&keep.key, (const char *)&number, sizeof(number));
}

static void add_bytes(const char *from, size_t len)
{
	add_number(len);
	bytes_add(&keep.key, from, len);
}

static void add_strings(const struct strings *strings)
{
	add_number(strings->count);
	add_bytes(strings->text.at, strings->text.len);
}

static void begin_key(const char *kind, size_t len, const struct job *job)
{
	keep.key.len = 0;
	bytes_add(&keep.key, kind, len);
	add_bytes(keep.folder, strlen(keep.folder));
	add_strings(&job->words);
}

static void add_variables(void)
{
	add_number(map_options.variables.count);
	for (size_t i = 0; i < map_options.variables.count; i++) {
		const char *name = strings_at(&map_options.variables, i);
		const char *value = getenv(name);

		add_bytes(name, strlen(name));
		add_number(value != NULL);
		if (value)
			add_bytes(value, strlen(value));
	}
}

static bool is_made(const char *name)
{
	for (size_t i = 0; i < keep.made.count; i++)
		if (strcmp(strings_at(&keep.made, i), name) == 0)
			return true;
	return false;
}

/* False: the job cannot be kept. must_tell: it matters what is in it, whatever it is. */
static bool add_file(const char *name, bool must_tell)
{
	struct keep *now = &keep.now;
	struct file_seen *seen;

	if (is_made(name))
		return true;
	if (now->names.count == now->room) {
		now->room = now->room ? 2 * now->room : 8;
		now->seen = must(realloc(now->seen, now->room * sizeof(*now->seen)));
	}
	seen = &now->seen[now->names.count];
	strings_add(&now->names, name, strlen(name));
	file_look(keep.cache, name, seen);
	if (seen->kind == FILE_REGULAR) {
		add_bytes(name, strlen(name));
		add_number(seen->hash[0]);
		add_number(seen->hash[1]);
		add_number(seen->state[FILE_SIZE]);
	}
	if (seen->kind == FILE_OTHER && must_tell) {
		if (is_news(NO_FILE))
			complain(0,
				 "map: not kept: what is in '%s' cannot be told; name "
				 "the files that jobs read by --in",
				 name);
		return false;
	}
	if (seen->kind == FILE_HIDDEN) {
		if (is_news(HIDDEN_FILE))
			complain(0, "map: not kept: '%s': %s", name,
				 seen->error == -EAGAIN ? "it changes while it is read"
							: strerror(-seen->error));
		return false;
	}
	return true;
}

static bool add_program(const struct job *job)
{
	const char *name = job->words.count ? strings_at(&job->words, 0) : "";
	char path[PATH_MAX];

	/* Without one the job fails, and is not kept. */
	return find_program(name, path, sizeof(path)) != 0 || add_file(path, false);
}

/* Of the command the words that are the same for all jobs, and of the job its inputs. */
static bool add_files(const struct job *job)
{
	struct strings ins = { 0 };
	bool known = add_program(job);

	for (size_t i = 1; known && i < command_count(); i++)
		if (command_plain_word(i))
			known = add_file(command_plain_word(i), false);
	/* Of a folder the user has said what is read there. */
	for (size_t i = 0; known && i < job->row.count; i++)
		known = add_file(strings_at(&job->row, i), map_options.inputs.count == 0);
	for (size_t i = 0; known && i < map_options.inputs.count; i++)
		word_fill(keep.ins[i], &job->row, job->number, &ins);
	for (size_t i = 0; known && i < ins.count; i++)
		known = add_file(strings_at(&ins, i), true);
	strings_free(&ins);
	return known;
}

static void name_outs(const struct job *job)
{
	strings_clear(&keep.made);
	for (size_t i = 0; i < map_options.outputs.count; i++)
		word_fill(keep.outs[i], &job->row, job->number, &keep.made);
}

/* Into keep.key, and what it was made of into keep.now. False: it has none. */
static bool make_key(const struct job *job)
{
	strings_clear(&keep.now.names);
	name_outs(job);
	begin_key(RESULT_KEY, sizeof(RESULT_KEY), job);
	add_number(job->occurrence);
	add_number(map_options.seed.value);
	add_variables();
	add_strings(&keep.made);
	return add_files(job);
}

/* ---- a result that is there -------------------------------------------------------- */

static bool outs_are_as_they_were(const struct out *outs)
{
	for (size_t i = 0; i < keep.made.count; i++) {
		struct file_seen now;

		file_look(keep.cache, strings_at(&keep.made, i), &now);
		if (now.kind != FILE_REGULAR || now.hash[0] != outs[i].hash[0] ||
		    now.hash[1] != outs[i].hash[1] ||
		    now.state[FILE_SIZE] != outs[i].size)
			return false;
	}
	return true;
}

/* Whether the value is one, and its files are there. *pieces: where those begin. */
static bool is_result(const void *val, size_t len, const char **pieces)
{
	const struct result *result = val;
	const struct out *outs = (const struct out *)(result + 1);
	const char *at;
	size_t piece;
	bool error;

	if (len < sizeof(*result) || result->outs != keep.made.count ||
	    (len - sizeof(*result)) / sizeof(*outs) < result->outs)
		return false;
	at = *pieces = (const char *)(outs + result->outs);
	len -= (size_t)(at - (const char *)val);
	while (len > 0) {
		if (!output_piece(&at, &len, &piece, &error))
			return false;
		at += piece;
		len -= piece;
	}
	return outs_are_as_they_were(outs);
}

/* 1; 0: it is none any more; or a negative error. Unless 1, nothing of it was taken. */
static int take_result(struct job *job, const void *val, size_t len)
{
	const struct result *result = val;
	const char *pieces;
	int err;

	if (!is_result(val, len, &pieces))
		return 0;
	err = job_replay(job, pieces, len - (size_t)(pieces - (const char *)val));
	if (err) {
		job_forget(job);
		return err;
	}
	job->ns = result->ns;
	job->usage = result->usage;
	return 1;
}

/* The job will run: what it was made of is looked at once more at its end. */
static enum keep_answer take_off(struct job *job, tine_flight *flight)
{
	struct keep *own = must(malloc(sizeof(*own)));

	*own = keep.now;
	own->flight = flight;
	keep.now = (struct keep){ 0 };
	job->keep = own;
	return KEEP_RUN;
}

enum keep_answer keep_look(struct job *job)
{
	tine_flight *flight = NULL;
	const void *val;
	size_t len;
	int err, taken;

	if (!make_key(job))
		return take_off(job, NULL);
	err = tine_cache_begin(keep.cache, keep.key.at, keep.key.len, &val, &len, &flight,
			       TINE_NOWAIT);
	if (err == 1) {
		taken = take_result(job, val, len);
		tine_cache_release(keep.cache, val);
		if (taken == 1)
			return KEEP_HIT;
		/* Nor is there room for what the job will write, which is said then. */
		if (taken < 0)
			return take_off(job, NULL);
		/* Its files are others by now: of all that see it one runs it. */
		tine_cache_del(keep.cache, keep.key.at, keep.key.len);
		err = tine_cache_begin(keep.cache, keep.key.at, keep.key.len, &val, &len,
				       &flight, TINE_NOWAIT);
		if (err == 1)
			tine_cache_release(keep.cache, val);
	}
	if (err == 1 || err == -ETIMEDOUT)
		return KEEP_BUSY;
	return take_off(job, flight);
}

bool keep_would_hit(struct job *job)
{
	const char *pieces;
	const void *val;
	size_t len;
	bool hit;

	if (!keep.cache || !make_key(job) ||
	    tine_cache_get(keep.cache, keep.key.at, keep.key.len, &val, &len) != 0)
		return false;
	hit = is_result(val, len, &pieces);
	tine_cache_release(keep.cache, val);
	return hit;
}

/* ---- a job that has ended ---------------------------------------------------------- */

/*
 * Adds what is in the files of --out. False: the job is not kept. One that is missing
 * fails it.
 */
static bool add_outs(struct job *job)
{
	bool known = true;

	for (size_t i = 0; i < keep.made.count; i++) {
		const char *name = strings_at(&keep.made, i);
		struct file_seen seen;
		struct out out;

		file_look(keep.cache, name, &seen);
		out = (struct out){ { seen.hash[0], seen.hash[1] },
				    seen.state[FILE_SIZE] };
		bytes_add(&keep.contents, (const char *)&out, sizeof(out));
		if (seen.kind == FILE_NONE) {
			job->why = WHY_MISSING;
			job->detail.len = 0;
			bytes_add(&job->detail, name, strlen(name));
			return false;
		}
		if (seen.kind == FILE_REGULAR)
			continue;
		known = false;
		if (is_news(NO_OUT_FILE))
			complain(0, "map: not kept: '%s', of --out, %s", name,
				 seen.kind == FILE_OTHER ? "is no regular file"
							 : "cannot be read");
	}
	return known;
}

static bool inputs_are_the_same(const struct keep *own)
{
	for (size_t i = 0; i < own->names.count; i++) {
		const char *name = strings_at(&own->names, i);

		if (file_is_same(keep.cache, name, &own->seen[i]))
			continue;
		if (is_news(CHANGED_FILE))
			complain(0, "map: not kept: '%s' was changed while a job ran",
				 name);
		return false;
	}
	return true;
}

/* 0, or a negative error. */
static int add_pieces(const struct job *job)
{
	uint64_t size = output_size(job->output), from = 0;
	tine_cache_stats stats;
	int err = tine_cache_stat(keep.cache, &stats);

	if (err)
		return err;
	if (size > stats.max_bytes / 2)
		return -EFBIG;
	bytes_reserve(&keep.contents, size + 1);
	while (from < size) {
		ssize_t len = output_read(job->output, from,
					  keep.contents.at + keep.contents.len,
					  size - from);

		if (len < 0)
			return (int)len;
		from += (uint64_t)len;
		keep.contents.len += (size_t)len;
	}
	return 0;
}

static void keep_result(struct keep *own, const struct job *job)
{
	int err = add_pieces(job);

	if (!err) {
		err = tine_flight_finish(own->flight, keep.contents.at, keep.contents.len,
					 0);
		own->flight = NULL;
	}
	/* A long one has had its turn. */
	if (keep.contents.room > 1 << 20) {
		free(keep.contents.at);
		keep.contents = (struct bytes){ 0 };
	}
	if (err && is_news(NOT_KEPT))
		complain(0, "map: not kept: %s",
			 err == -EFBIG ? "output of more than half of the cache"
				       : tine_strerror(err));
}

/* Of a job that has run, for the next time it is asked how long it will. */
static void keep_time(const struct job *job)
{
	begin_key(TIME_KEY, sizeof(TIME_KEY), job);
	/* Without it there is no guess. */
	tine_cache_put(keep.cache, keep.key.at, keep.key.len, &job->ns, sizeof(job->ns));
}

int64_t keep_guess(struct job *job)
{
	const void *val;
	int64_t ns = 0;
	size_t len;

	begin_key(TIME_KEY, sizeof(TIME_KEY), job);
	if (tine_cache_get(keep.cache, keep.key.at, keep.key.len, &val, &len) != 0)
		return 0;
	if (len == sizeof(ns))
		memcpy(&ns, val, len);
	tine_cache_release(keep.cache, val);
	return ns;
}

void keep_end(struct job *job)
{
	struct keep *own = job->keep;
	struct result result = { .ns = job->ns, .usage = job->usage };

	if (job_is_good(job)) {
		name_outs(job);
		result.outs = keep.made.count;
		keep.contents.len = 0;
		bytes_add(&keep.contents, (const char *)&result, sizeof(result));
		if (add_outs(job) && own->flight && inputs_are_the_same(own))
			keep_result(own, job);
	}
	if (job->why != WHY_UNWANTED)
		keep_time(job);
}

void keep_drop(struct job *job)
{
	struct keep *own = job->keep;

	if (!own)
		return;
	tine_flight_free(own->flight);
	strings_free(&own->names);
	free(own->seen);
	free(own);
	job->keep = NULL;
}
