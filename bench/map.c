/* SPDX-License-Identifier: MIT */
/*
 * map cpu|wall N COMMAND [ARGUMENT]...: runs the command with the lines 1 to N on its
 * standard input, and prints the processor time, that of all it has started included, or
 * the time, of each line in microseconds. Output goes to /dev/null. For make the lines
 * are a makefile of as many targets.
 *
 * map again N COMMAND [ARGUMENT]...: as cpu, of a second run, with a new folder as the
 * default cache of both.
 *
 * map last COMMAND [ARGUMENT]...: the time in ms of a second run, for which the variable
 * RUN is another, with lines for sleep: 19 times 0.05, and 0.5 as the last.
 *
 * map memory inputs|behind|large TINE map: the largest memory of tine map, in MB, of a
 * million inputs, of jobs that wait for the first to be printed, and of one that does,
 * with 1 GiB.
 */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* On an unlinked file. */
static int lines_of(uint64_t n, int is_make)
{
	FILE *file = tmpfile();

	if (!file)
		die(1, "no temporary file");
	for (uint64_t i = 1; is_make && i <= n; i++)
		fprintf(file, "%s%llu%s", i == 1 ? "all: " : " ", (unsigned long long)i,
			i == n ? "\n%:\n\t@echo $@\n" : "");
	for (uint64_t i = 1; !is_make && i <= n; i++)
		fprintf(file, "%llu\n", (unsigned long long)i);
	if (fflush(file) != 0)
		die(1, "no room for a temporary file");
	return fileno(file);
}

static int times_of_sleep(void)
{
	FILE *file = tmpfile();

	if (!file)
		die(1, "no temporary file");
	for (int i = 1; i <= 20; i++)
		fprintf(file, "%s\n", i < 20 ? "0.05" : "0.5");
	if (fflush(file) != 0)
		die(1, "no room for a temporary file");
	return fileno(file);
}

static _Noreturn void execute(char **argv, int input)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(input, 0);
	dup2(null, 1);
	/* parallel asks to be cited. */
	dup2(null, 2);
	execvp(argv[0], argv);
	_exit(SKIP);
}

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* The first job waits until the last has removed the file. */
#define WAITS "[ $1 != 1 ] || { while [ -e $WAITS ]; do sleep 0.05; done; exit; }; "

static const struct {
	const char *name, *script; /* NULL: the commands are printed, and not run */
	uint64_t lines;
} memories[] = {
	{ "inputs", NULL, 1000000 },
	{ "behind",
	  WAITS "printf %60000d 0; printf %60000d 0 >&2; [ $1 != 1032 ] || rm $WAITS",
	  1032 },
	{ "large", WAITS "head -c 1073741824 /dev/zero; rm $WAITS", 2 },
};

/* What is to be run: how many lines it wants. */
static uint64_t command_of(const char *name, char **words, char **argv)
{
	char path[] = "/tmp/tine-bench-XXXXXX";
	size_t i = 0;

	while (i < 3 && strcmp(memories[i].name, name) != 0)
		i++;
	if (i == 3)
		die(2, "a memory is missing");
	*argv++ = words[0];
	*argv++ = words[1];
	if (!memories[i].script) {
		*argv++ = "--dry-run";
		*argv++ = "echo";
	} else {
		close(mkstemp(path));
		setenv("WAITS", path, 1);
		*argv++ = "-j2";
		*argv++ = "-c";
		*argv++ = (char *)memories[i].script;
	}
	*argv = NULL;
	return memories[i].lines;
}

static void use_new_cache(void)
{
	if (!mkdtemp(folder))
		die(1, "no temporary folder");
	setenv("TINE_CACHE", folder, 1);
}

struct cost {
	double cpu, wall; /* seconds; wall: until the command itself has ended */
	struct rusage own;
};

/* Runs it to its end, and that of all it has started. */
static struct cost run(char **command, int input)
{
	struct cost cost = { .wall = seconds_now() };
	struct rusage before, after;
	int status;
	pid_t pid;

	getrusage(RUSAGE_CHILDREN, &before);
	lseek(input, 0, SEEK_SET);
	pid = fork();
	if (pid == 0)
		execute(command, input);
	if (pid < 0 || wait4(pid, &status, 0, &cost.own) != pid)
		die(1, "no process");
	cost.wall = seconds_now() - cost.wall;
	while (wait(NULL) > 0 || errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
		die(SKIP, "it is not installed");
	if (status != 0)
		die(1, "it has failed");
	getrusage(RUSAGE_CHILDREN, &after);
	cost.cpu = seconds_of(after.ru_utime) + seconds_of(after.ru_stime) -
		   seconds_of(before.ru_utime) - seconds_of(before.ru_stime);
	return cost;
}

/* Of a run that has the times of another before it. */
static double ms_with_long_last(char **command)
{
	int input = times_of_sleep();
	double ms;

	use_new_cache();
	setenv("RUN", "1", 1);
	run(command, input);
	setenv("RUN", "2", 1);
	ms = run(command, input).wall * 1e3;
	remove_folder();
	return ms;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int is_memory = strcmp(what, "memory") == 0, input;
	char **command = argv + 3, *made[8];
	struct cost cost;
	uint64_t n;

	/* Keepers outlive what they serve, for a moment. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (argc > 2 && strcmp(what, "last") == 0) {
		printf("%.1f\n", ms_with_long_last(argv + 2));
		return 0;
	}
	if (argc < 4 + is_memory)
		die(2, "a command is missing");
	n = is_memory ? command_of(argv[2], argv + 3, made) : number(argv[2]);
	if (is_memory)
		command = made;
	input = lines_of(n, strcmp(command[0], "make") == 0);
	if (strcmp(what, "again") == 0) {
		use_new_cache();
		run(command, input);
	}
	cost = run(command, input);
	if (is_memory)
		printf("%.1f\n", (double)cost.own.ru_maxrss * 1024 / 1e6);
	else
		printf("%.1f\n", (strcmp(what, "wall") == 0 ? cost.wall : cost.cpu) /
					 (double)n * 1e6);
	if (strcmp(what, "again") == 0)
		remove_folder();
	return 0;
}
