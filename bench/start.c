/* SPDX-License-Identifier: MIT */
/*
 * What starts cost: the median of STARTS.
 *
 *	start command PROGRAM [ARG]...	microseconds from the start to the end of a
 *					program, its output to /dev/null
 *	start nursery N			milliseconds of what a pool of N workers cannot do
 *					without: a process is forked, which forks N, each
 *					says that it is ready, and all of them end
 */
#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STARTS 100

extern char **environ;

static void run_program(char **argv)
{
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0 ||
	    waitpid(pid, &status, 0) != pid || status != 0)
		die(1, "the program cannot be run");
	posix_spawn_file_actions_destroy(&actions);
}

/* Says that it is ready, and ends with the caller's end of the socket. */
static _Noreturn void be_worker(int fd)
{
	char byte = 0;

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) < 0)
		_exit(1);
	_exit(0);
}

static _Noreturn void be_nursery(int fd, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++)
		if (fork() == 0)
			be_worker(fd);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static void run_nursery(unsigned workers)
{
	int pair[2], status;
	char bytes[64];
	pid_t nursery;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || (nursery = fork()) < 0)
		die(1, "no process");
	if (nursery == 0) {
		close(pair[0]);
		be_nursery(pair[1], workers);
	}
	close(pair[1]);
	for (unsigned ready = 0; ready < workers;) {
		ssize_t n = read(pair[0], bytes, sizeof(bytes));

		if (n <= 0)
			die(1, "a worker is missing");
		ready += (unsigned)n;
	}
	close(pair[0]);
	waitpid(nursery, &status, 0);
}

int main(int argc, char **argv)
{
	double seconds[STARTS];
	bool command = argc > 2 && strcmp(argv[1], "command") == 0;

	if (argc < 3)
		die(2, "start command PROGRAM [ARG]... | nursery N");
	for (int i = 0; i < STARTS; i++) {
		double begun = seconds_now();

		if (command)
			run_program(argv + 2);
		else
			run_nursery((unsigned)number(argv[2]));
		seconds[i] = seconds_now() - begun;
	}
	printf("%f\n", median(seconds, STARTS) * (command ? 1e6 : 1e3));
	return 0;
}
