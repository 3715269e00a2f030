/* SPDX-License-Identifier: MIT */
/*
 * spawn tine|posix|xargs N [MIB]: N times true, two at a time, its output to /dev/null;
 * prints the processor time of each in microseconds, that of the keeper included. With
 * MIB, from a process that has touched so much memory.
 */
#include "bench.h"

#include <poll.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#define SLOTS 2
extern char **environ;

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Of this process and the children that it has waited for. */
static double used(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return seconds_of(self.ru_utime) + seconds_of(self.ru_stime) +
	       seconds_of(children.ru_utime) + seconds_of(children.ru_stime);
}

/* Of a process and the children that it has waited for; its parent too. */
static double used_by(pid_t pid, pid_t *parent)
{
	unsigned long user, system, waited_user, waited_system;
	char path[64], text[1024] = "", *end;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat = fopen(path, "r");
	if (!stat || !fgets(text, sizeof(text), stat))
		die(SKIP, "no /proc");
	fclose(stat);
	end = strrchr(text, ')');
	if (!end ||
	    sscanf(end, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
		   parent, &user, &system, &waited_user, &waited_system) != 5)
		die(1, "stat cannot be read");
	return (double)(user + system + waited_user + waited_system) /
	       (double)sysconf(_SC_CLK_TCK);
}

static pid_t keeper;

static int begin_tine(tine_process **process)
{
	static const char *argv[] = { "true", NULL };
	int fds[] = { -1, -1, 2 };

	if (tine_process_spawn(process, &(tine_command){ .argv = argv, .fds = fds },
			       NULL))
		die(1, "true cannot be spawned");
	if (!keeper)
		used_by(tine_process_pid(*process), &keeper);
	return tine_process_fd(*process);
}

static double by_tine(uint64_t n)
{
	tine_process *process[SLOTS] = { NULL };
	double begun = used();
	uint64_t started = 0, ended = 0;
	pid_t unused;

	while (ended < n) {
		struct pollfd polled[SLOTS];

		for (int i = 0; i < SLOTS; i++) {
			if (process[i] &&
			    tine_process_wait(process[i], NULL, TINE_NOWAIT) == 0) {
				tine_process_free(process[i]);
				process[i] = NULL;
				ended++;
			}
			if (!process[i] && started < n) {
				started++;
				begin_tine(&process[i]);
			}
			polled[i] = (struct pollfd){
				process[i] ? tine_process_fd(process[i]) : -1, POLLIN, 0
			};
		}
		if (ended < n)
			poll(polled, SLOTS, -1);
	}
	return used() - begun + used_by(keeper, &unused);
}

static double by_posix_spawn(uint64_t n)
{
	char *argv[] = { "true", NULL };
	double begun = used();
	uint64_t started = 0;

	for (uint64_t ended = 0; ended < n; ended++) {
		pid_t pid;

		while (started < n && started - ended < SLOTS) {
			if (posix_spawnp(&pid, "true", NULL, NULL, argv, environ))
				die(1, "true cannot be spawned");
			started++;
		}
		wait(NULL);
	}
	return used() - begun;
}

static double by_xargs(uint64_t n)
{
	char command[128];
	double begun = used();

	snprintf(command, sizeof(command), "seq %llu | xargs -P %d -n 1 true >/dev/null",
		 (unsigned long long)n, SLOTS);
	if (system(command) != 0)
		die(SKIP, "no xargs");
	return used() - begun;
}

int main(int argc, char **argv)
{
	uint64_t n = number(argc > 2 ? argv[2] : NULL);
	size_t size = argc > 3 ? (size_t)number(argv[3]) << 20 : 0;
	double seconds;

	if (size) {
		char *memory = malloc(size);

		if (!memory)
			die(SKIP, "no memory");
		memset(memory, 1, size);
		__asm__ volatile("" ::"r"(memory) : "memory");
	}
	if (!strcmp(argv[1], "tine"))
		seconds = by_tine(n);
	else if (!strcmp(argv[1], "posix"))
		seconds = by_posix_spawn(n);
	else
		seconds = by_xargs(n);
	printf("%.1f\n", seconds / (double)n * 1e6);
	return 0;
}
