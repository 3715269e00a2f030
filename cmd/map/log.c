/* SPDX-License-Identifier: MIT */
#include "map/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int log_file = -1;

int log_open(void)
{
	if (!map_options.log)
		return DONE;
	log_file = open(map_options.log,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
	if (log_file >= 0)
		return DONE;
	return complain(USAGE, "map: --log: '%s': %s", map_options.log, strerror(errno));
}

/* How many bytes of valid UTF-8 are here; 0: it is none. */
static size_t utf8_len(const unsigned char *at)
{
	static const struct {
		unsigned char mask, lead, least_second, most_second;
		size_t len;
	} forms[] = {
		{ 0xe0, 0xc0, 0x80, 0xbf, 2 },
		{ 0xf0, 0xe0, 0x80, 0xbf, 3 },
		{ 0xf8, 0xf0, 0x80, 0xbf, 4 },
	};

	if (*at < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if ((*at & forms[i].mask) != forms[i].lead)
			continue;
		for (size_t k = 1; k < forms[i].len; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		/* Longer than need be, a half of a pair, or past the end of Unicode. */
		if (*at < 0xc2 || (*at == 0xe0 && at[1] < 0xa0) ||
		    (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) ||
		    (*at == 0xf4 && at[1] > 0x8f) || *at > 0xf4)
			return 0;
		return forms[i].len;
	}
	return 0;
}

void add_json(struct bytes *to, const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + len;

	bytes_add(to, "\"", 1);
	while (at < end) {
		size_t valid = utf8_len(at);

		if (valid == 0)
			bytes_print(to, "\\udc%02x", *at);
		else if (*at == '"' || *at == '\\')
			bytes_print(to, "\\%c", *at);
		else if (*at < 0x20 || *at == 0x7f)
			bytes_print(to, "\\u%04x", *at);
		else
			bytes_add(to, (const char *)at, valid);
		at += valid ? valid : 1;
	}
	bytes_add(to, "\"", 1);
}

void add_inputs(struct bytes *to, const struct job *job)
{
	for (size_t i = 0; i < job->row.count; i++) {
		const char *input = strings_at(&job->row, i);

		if (i > 0)
			bytes_add(to, " ", 1);
		bytes_add(to, input, strlen(input));
	}
}

static const char *unit_of(uint64_t *size)
{
	static const char *const units[] = { "", "K", "M", "G" };
	int i = 0;

	while (i < 3 && *size >= 1024 && *size % 1024 == 0) {
		*size /= 1024;
		i++;
	}
	return units[i];
}

void add_reason(struct bytes *to, const struct job *job)
{
	uint64_t size = map_options.memory;
	const char *unit = unit_of(&size);

	switch (job->why) {
	case WHY_EXIT:
		if (job->how.signal && !sigabbrev_np(job->how.signal))
			bytes_print(to, "killed by signal %d", job->how.signal);
		else if (job->how.signal)
			bytes_print(to, "killed by SIG%s", sigabbrev_np(job->how.signal));
		else
			bytes_print(to, "exit %d", job->how.code);
		break;
	case WHY_LATE:
		bytes_print(to, "over %g s", (double)map_options.timeout / 1e9);
		break;
	case WHY_MEMORY:
		bytes_print(to, "over %" PRIu64 "%s of memory", size, unit);
		break;
	case WHY_SYSTEM:
		bytes_print(to, "out of memory");
		break;
	case WHY_TERMINAL:
		bytes_print(to, "stopped: it wants the terminal");
		break;
	case WHY_REFUSED:
		bytes_print(to, "cannot be executed: %s", tine_strerror(job->error));
		break;
	case WHY_MISSING:
		bytes_print(to, "made no ");
		bytes_add(to, job->detail.at, job->detail.len);
		break;
	case WHY_UNWANTED:
		bytes_print(to, "not wanted any more");
		break;
	}
}

/* What a shell would say of it, or -1: it was killed. */
static int code_of(const struct job *job)
{
	if (job->why == WHY_REFUSED)
		return job->error == -ENOENT ? 127 : 126;
	return job->how.signal ? -1 : job->how.code;
}

void add_end(struct bytes *line, const struct job *job)
{
	struct bytes reason = { 0 };

	if (code_of(job) >= 0)
		bytes_print(line, ", \"exit\": %d, \"signal\": null", code_of(job));
	else
		bytes_print(line, ", \"exit\": null, \"signal\": %d", job->how.signal);
	if (!job_is_good(job)) {
		add_reason(&reason, job);
		bytes_print(line, ", \"reason\": ");
		add_json(line, reason.at, reason.len);
		free(reason.at);
	}
}

int log_attempt(const struct job *job, bool last)
{
	static struct bytes line, input;
	struct timespec now;
	int err;

	if (log_file < 0)
		return 0;
	line.len = input.len = 0;
	clock_gettime(CLOCK_REALTIME, &now);
	add_inputs(&input, job);
	bytes_print(&line, "{\"job\": %" PRIu64 ", \"input\": ", job->number);
	add_json(&line, input.len ? input.at : "", input.len);
	bytes_print(&line, ", \"argv\": [");
	for (size_t i = 0; i < job->words.count; i++) {
		const char *word = strings_at(&job->words, i);

		bytes_print(&line, i ? ", " : "");
		add_json(&line, word, strlen(word));
	}
	bytes_print(&line, "], \"slot\": %u, \"attempt\": %u, \"last\": %s", job->slot,
		    job->attempt, last ? "true" : "false");
	add_end(&line, job);
	bytes_print(&line,
		    ", \"kept\": %s, \"ended\": %lld.%03ld, \"seconds\": %.6f, "
		    "\"user_seconds\": %.6f, \"system_seconds\": %.6f, "
		    "\"memory_bytes\": %" PRIu64 "}\n",
		    job->kept ? "true" : "false", (long long)now.tv_sec,
		    now.tv_nsec / 1000000, (double)job->ns / 1e9,
		    (double)job->usage.user_ns / 1e9, (double)job->usage.system_ns / 1e9,
		    job->usage.memory_max);
	err = write_all(log_file, line.at, line.len);
	if (err)
		complain(BROKEN, "map: --log: '%s': %s", map_options.log, strerror(-err));
	return err;
}
