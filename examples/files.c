/* SPDX-License-Identifier: MIT */
/*
 * files COMMAND FILE...: runs COMMAND FILE, four at a time, each for two seconds at most,
 * its output in FILE.out. What a command has started ends with it, and all with this one.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <tine.h>
#include <unistd.h>

#define SLOTS 4
static struct pollfd ends[SLOTS]; /* each is readable once its process has ended */
static tine_process *process[SLOTS];
static int64_t deadline[SLOTS];
static int failed;

static void begin(int i, const char *command, const char *file)
{
	const char *argv[] = { command, file, NULL };
	char output[4096];
	int err, fds[] = { -1, -1, 2 };

	snprintf(output, sizeof(output), "%s.out", file);
	fds[1] = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	err = tine_process_spawn(&process[i], &(tine_command){ argv, .fds = fds }, NULL);
	close(fds[1]);
	deadline[i] = tine_after(2000);
	ends[i] = (struct pollfd){ err ? -1 : tine_process_fd(process[i]), POLLIN, 0 };
	failed += err && fprintf(stderr, "%s: %s\n", file, tine_strerror(err));
}

static void end(int i, const char *file)
{
	tine_exit how = { 0 };
	int late = tine_process_wait(process[i], &how, TINE_NOWAIT);

	if (late || how.code != 0)
		failed += fprintf(stderr, "%s: %s\n", file, late ? "late" : "failed") > 0;
	tine_process_free(process[i]);
	process[i] = NULL;
}

int main(int argc, char **argv)
{
	const char *file[SLOTS];
	int next = 2, running;

	do {
		for (int i = running = 0; i < SLOTS; i++) {
			if (process[i] && (ends[i].revents || tine_now() > deadline[i]))
				end(i, file[i]);
			if (!process[i] && next < argc)
				begin(i, argv[1], file[i] = argv[next++]);
			running += process[i] != NULL;
		}
	} while (next < argc || (running && poll(ends, SLOTS, 100) >= 0));
	return failed > 0;
}
