/* SPDX-License-Identifier: MIT */
/*
 * Make's tokens are bytes in a pipe, which MAKEFLAGS names. A command that make has
 * started has one already, and takes one for each further job; what it took it puts back.
 */
#include "map/gate.h"

#include "map/polls.h"

#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NO_TOKEN = -1, OWN_TOKEN = -2 };
#define LOOK_EVERY (MAP_SECOND / 2)

static struct {
	int reads, writes; /* of the tokens, or -1 */
	bool own_used;
	bool short_of_tokens;
	int64_t due;
} gate = { .reads = -1, .writes = -1, .due = TINE_FOREVER };

/* Jobs do not inherit the descriptors, and make would complain that they are closed. */
static void hide_tokens(const char *flags, const char *word)
{
	size_t before = (size_t)(word - flags);
	char *rest = must(strdup(flags));

	memmove(rest + before, rest + before + strcspn(word, " "),
		strlen(word + strcspn(word, " ")) + 1);
	setenv("MAKEFLAGS", rest, 1);
	free(rest);
}

static void open_tokens(void)
{
	static const char name[] = "--jobserver-auth=", old[] = "--jobserver-fds=";
	const char *flags = getenv("MAKEFLAGS"), *word, *value;
	char path[4096];
	int reads, writes;

	word = flags ? strstr(flags, name) : NULL;
	if (!word)
		word = flags ? strstr(flags, old) : NULL;
	if (!word)
		return;
	value = strchr(word, '=') + 1;
	if (sscanf(value, "fifo:%4095[^ ]", path) == 1) {
		gate.reads = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		gate.writes = gate.reads;
		return;
	}
	if (sscanf(value, "%d,%d", &reads, &writes) == 2) {
		gate.reads = open_pipe_again(reads, O_RDONLY);
		gate.writes = open_pipe_again(writes, O_WRONLY);
		hide_tokens(flags, word);
	}
	if (gate.writes < 0)
		gate.reads = -1;
}

void gate_open(void)
{
	open_tokens();
}

static bool has_memory(void)
{
	gate.due = TINE_FOREVER;
	if (!map_options.memfree || memory_headroom("") >= map_options.memfree)
		return true;
	gate.due = tine_now() + LOOK_EVERY;
	return false;
}

bool gate_take(bool any_runs, int *token)
{
	unsigned char byte;

	*token = NO_TOKEN;
	gate.short_of_tokens = false;
	if (any_runs && !has_memory())
		return false;
	if (gate.reads < 0)
		return true;
	if (!gate.own_used) {
		gate.own_used = true;
		*token = OWN_TOKEN;
		return true;
	}
	if (read(gate.reads, &byte, 1) != 1) {
		gate.short_of_tokens = true;
		return false;
	}
	*token = byte;
	return true;
}

void gate_give(int token)
{
	unsigned char byte = (unsigned char)token;

	if (token == OWN_TOKEN)
		gate.own_used = false;
	else if (token >= 0)
		/* There is room for as many as there were. */
		while (write(gate.writes, &byte, 1) < 0 && errno == EINTR)
			;
}

int gate_fd(void)
{
	return gate.short_of_tokens ? gate.reads : -1;
}

int64_t gate_due(void)
{
	return gate.due;
}
