/* SPDX-License-Identifier: MIT */
/*
 * A job: a program that is started with two pipes, what is read from them, and its end.
 * It is over when its first process has ended: what else it started is ended then, so
 * that a daemon which holds a pipe holds up nobody, and the rest of the pipes is read.
 */
#include "map/job.h"

#include "base/cgroup.h"
#include "map/keep.h"
#include "map/seen.h"
#include "map/words.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MOST_OF_LINE = 64 << 10, PIECE = 64 << 10 };

#define FIRST_PAUSE MAP_SECOND
#define MOST_PAUSE  (60 * MAP_SECOND)

struct output *job_lines;
bool job_muted;
int job_results_error;
static struct job *spare_jobs;

struct job *job_new(void)
{
	struct job *job = spare_jobs;
	struct job fresh = { .pipes = { -1, -1 }, .results = { -1, -1 } };

	if (!job)
		job = must(calloc(1, sizeof(*job)));
	else
		spare_jobs = job->next;
	/* What it has grown is used again. */
	fresh.row = job->row;
	fresh.words = job->words;
	fresh.detail = job->detail;
	for (int i = 0; i < 2; i++)
		fresh.lines[i] = job->lines[i];
	fresh.detail.len = fresh.lines[0].len = fresh.lines[1].len = 0;
	strings_clear(&fresh.row);
	*job = fresh;
	return job;
}

void job_fill(struct job *job)
{
	const struct bytes *text = &job->words.text;

	command_fill(&job->row, job->number, &job->words);
	job->occurrence = seen_before(XXH3_64bits(text->at, text->len));
}

void job_prepare(struct job *job)
{
	job_fill(job);
	if (map_options.output == OUTPUT_ORDER)
		job->turn = output_reserve();
}

void job_open_output(struct job *job)
{
	if (map_options.output == OUTPUT_LINES && !keep_is_on())
		return;
	job->output = output_new(keep_is_on());
	job->output->held = map_options.retries > 0;
	if (map_options.output == OUTPUT_ORDER)
		output_place(job->output, job->turn);
}

/* ---- its start --------------------------------------------------------------------- */

/* Of the seed, the command and its occurrence, and of no place. */
static uint64_t seed_of(const struct job *job)
{
	const struct bytes *text = &job->words.text;
	tine_rng rng;

	tine_rng_init(&rng, map_options.seed.value,
		      XXH3_64bits_withSeed(text->at, text->len, job->occurrence));
	return tine_rng_u64(&rng);
}

int job_open_results(struct job *job)
{
	static const char *const names[] = { "stdout", "stderr" };
	char path[PATH_MAX];

	for (int i = 0; map_options.results && i < 2; i++) {
		if (snprintf(path, sizeof(path), "%s/%06" PRIu64, map_options.results,
			     job->number) > PATH_MAX - 10)
			return -ENAMETOOLONG;
		if (mkdir(path, 0777) != 0 && errno != EEXIST)
			return -errno;
		strcat(strcat(path, "/"), names[i]);
		if (job->results[i] >= 0)
			close(job->results[i]);
		/* A pipe that somebody put there is not waited for. */
		job->results[i] = open(path,
				       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
					       O_NOCTTY | O_NONBLOCK,
				       0666);
		if (job->results[i] < 0)
			return -errno;
	}
	return 0;
}

static void close_both(int *fds)
{
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static int spawn_job(struct job *job, const int *writes)
{
	static unsigned share;
	char text[4][40];
	const char *env[] = { text[0], text[1], text[2], text[3], NULL };
	int fds[] = { -1, writes[0], writes[1] };
	tine_command command = { .argv = (const char *const *)strings_table(&job->words),
				 .env = env,
				 .fds = fds };

	if (!share)
		share = tine_cpus() / map_options.workers;
	if (!share)
		share = 1;
	snprintf(text[0], sizeof(text[0]), "TINE_JOB=%" PRIu64, job->number);
	snprintf(text[1], sizeof(text[1]), "TINE_SLOT=%u", job->slot);
	snprintf(text[2], sizeof(text[2]), "TINE_SEED=%" PRIu64, seed_of(job));
	snprintf(text[3], sizeof(text[3]), "TINE_WORKERS=%u", share);
	return tine_process_spawn(&job->process, &command, NULL);
}

int job_start(struct job *job)
{
	int out[2], error[2], err;

	if (pipe2(out, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(error, O_CLOEXEC) != 0) {
		err = -errno;
		close_both(out);
		return err;
	}
	err = spawn_job(job, (int[]){ out[1], error[1] });
	close(out[1]);
	close(error[1]);
	job->pipes[0] = out[0];
	job->pipes[1] = error[0];
	if (err) {
		close_both(job->pipes);
		return err;
	}
	job->attempt++;
	job->state = JOB_RUNS;
	job->killed = job->gone = false;
	job->stopped = 0;
	job->why = WHY_EXIT;
	job->begun = tine_now();
	job->due = map_options.timeout ? job->begun + map_options.timeout : TINE_FOREVER;
	return 0;
}

/* ---- what it writes ---------------------------------------------------------------- */

/*
 * Behind the input, in which each newline is a '?', and a tab; a line that has no newline
 * gets one.
 */
static int add_line(struct job *job, bool error, const char *line, size_t len)
{
	struct bytes whole = { 0 };
	char *newline;
	int err;

	for (size_t i = 0; i < job->row.count; i++)
		bytes_print(&whole, "%s%c", strings_at(&job->row, i),
			    i + 1 < job->row.count ? ' ' : '\t');
	while (whole.len > 0 && (newline = memchr(whole.at, '\n', whole.len)))
		*newline = '?';
	bytes_add(&whole, line, len);
	if (len == 0 || line[len - 1] != '\n')
		bytes_add(&whole, "\n", 1);
	err = output_add(job_lines, error, whole.at, whole.len);
	free(whole.at);
	return err;
}

static int add_lines(struct job *job, bool error, const char *at, size_t len)
{
	struct bytes *rest = &job->lines[error];

	while (len > 0) {
		const char *newline = memchr(at, '\n', len);
		size_t part = newline ? (size_t)(newline + 1 - at) : len;

		bytes_add(rest, at, part);
		if (newline || rest->len >= MOST_OF_LINE) {
			int err = add_line(job, error, rest->at, rest->len);

			if (err)
				return err;
			rest->len = 0;
		}
		at += part;
		len -= part;
	}
	return 0;
}

static int job_wrote(struct job *job, bool error, const char *at, size_t len)
{
	int err = 0;

	if (job_muted)
		return 0;
	if (job->results[error] >= 0)
		err = job_results_error = write_all(job->results[error], at, len);
	if (!err && map_options.output == OUTPUT_LINES)
		err = add_lines(job, error, at, len);
	if (!err && job->output)
		err = output_add(job->output, error, at, len);
	return err;
}

int job_replay(struct job *job, const void *pieces, size_t len)
{
	const char *at = pieces;
	int err = job_open_results(job);

	while (!err && len > 0) {
		size_t piece;
		bool error;

		if (!output_piece(&at, &len, &piece, &error))
			return -EINVAL;
		err = job_wrote(job, error, at, piece);
		at += piece;
		len -= piece;
	}
	return err;
}

bool job_streams(const struct job *job)
{
	return map_options.output == OUTPUT_LINES ||
	       (job->output && output_has_turn(job->output) && !job->output->held);
}

/* No more than fits, where it can be printed before the next is read. */
static size_t most_to_read(const struct job *job)
{
	if (!job->output || job->output->kept || !job_streams(job))
		return PIECE;
	return output_room(job->output) < PIECE ? output_room(job->output) : PIECE;
}

/* How many bytes, 0 at the end; or a negative error of a file. */
static ssize_t read_piece(struct job *job, bool error, size_t most)
{
	static char piece[PIECE];
	ssize_t len = read(job->pipes[error], piece, most < PIECE ? most : PIECE);
	int err;

	if (len <= 0) {
		if (len < 0 && (errno == EINTR || errno == EAGAIN))
			return 0;
		close(job->pipes[error]);
		job->pipes[error] = -1;
		return 0;
	}
	err = job_wrote(job, error, piece, (size_t)len);
	return err ? err : len;
}

int job_read(struct job *job, bool error)
{
	size_t most = most_to_read(job);
	ssize_t len = most > 0 ? read_piece(job, error, most) : 0;

	return len < 0 ? (int)len : 0;
}

/* ---- its end ----------------------------------------------------------------------- */

void job_stop(struct job *job, enum why why)
{
	if (job->state == JOB_ENDS)
		return;
	job->why = why;
	job->state = JOB_ENDS;
	job->due = tine_now() + MAP_SECOND;
	tine_process_kill(job->process, SIGTERM);
	/* One that is stopped would not see it. */
	tine_process_kill(job->process, SIGCONT);
}

void job_kill(struct job *job)
{
	job->state = JOB_ENDS;
	job->killed = true;
	job->due = tine_now() + 2 * MAP_SECOND;
	tine_process_kill(job->process, SIGKILL);
}

/* What is in the pipe now; what comes later is not waited for. */
static int read_rest(struct job *job, bool error)
{
	int left;

	if (job->pipes[error] < 0 || ioctl(job->pipes[error], FIONREAD, &left) != 0)
		return 0;
	while (left > 0) {
		ssize_t len = read_piece(job, error, (size_t)left);

		if (len < 0)
			return (int)len;
		if (len == 0)
			break;
		left -= (int)len;
	}
	return 0;
}

/* Whether the system has killed a process for its memory since this was asked. */
static bool system_killed(void)
{
	static uint64_t last;
	uint64_t now = memory_kills("");
	bool more = now > last;

	last = now;
	return more;
}

void job_open(void)
{
	system_killed();
}

int job_finish(struct job *job)
{
	int err, keeper = tine_process_wait(job->process, &job->how, TINE_NOWAIT);

	if (keeper == -ETIMEDOUT) {
		/* It was killed, and the kernel has not ended it. */
		job->how = (tine_exit){ .code = -1, .signal = SIGKILL };
		keeper = 0;
	} else {
		tine_process_usage(job->process, &job->usage);
	}
	job->ns = tine_now() - job->begun;
	tine_process_free(job->process);
	job->process = NULL;
	err = read_rest(job, false);
	if (!err)
		err = read_rest(job, true);
	close_both(job->pipes);
	if (job->why == WHY_EXIT && job->how.signal == SIGKILL && system_killed())
		job->why = WHY_SYSTEM;
	return keeper ? -EPIPE : err;
}

void job_shift(struct job *job, int64_t ns)
{
	job->begun += ns;
	if (job->due != TINE_FOREVER)
		job->due += ns;
}

void job_pause(struct job *job)
{
	int64_t pause = FIRST_PAUSE;

	for (unsigned i = 1; i < job->attempt && pause < MOST_PAUSE; i++)
		pause *= 2;
	job->state = JOB_PAUSES;
	job->due = tine_now() + (pause < MOST_PAUSE ? pause : MOST_PAUSE);
}

void job_forget(struct job *job)
{
	job->lines[0].len = job->lines[1].len = 0;
	if (job->output)
		output_clear(job->output);
}

int job_release(struct job *job)
{
	int err = 0;

	for (int i = 0; i < 2 && !err; i++)
		if (job->lines[i].len > 0)
			err = add_line(job, i, job->lines[i].at, job->lines[i].len);
	close_both(job->results);
	if (job->output && map_options.output == OUTPUT_DONE)
		output_queue(job->output);
	if (job->output && map_options.output != OUTPUT_LINES)
		err = err ? err : output_end(job->output);
	else if (job->output)
		output_free(job->output);
	job->next = spare_jobs;
	spare_jobs = job;
	return err;
}
