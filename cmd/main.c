/* SPDX-License-Identifier: MIT */
/* The tine command: an ordinary user of the library. One file a subcommand. */
#include "command.h"

#include <fcntl.h>
#include <string.h>
#include <tine.h>

const struct command *const commands[] = { &cache_command,
					   &doctor_command,
					   &inspect_command,
					   &isprime_command,
					   &manager_command,
					   &map_command,
					   &pi_command,
					   &primes_command,
					   &top_command,
					   &tour_command,
					   &worker_command,
					   &workers_command,
					   NULL };

static const struct command *find(const char *name)
{
	for (const struct command *const *each = commands; *each; each++)
		if (strcmp((*each)->name, name) == 0)
			return *each;
	return NULL;
}

static int no_such(const char *name)
{
	struct suggestion nearest = { 0 };

	for (const struct command *const *each = commands; *each; each++)
		suggest(&nearest, name, (*each)->name);
	suggest(&nearest, name, "help");
	if (nearest.word)
		return complain(USAGE, "no command '%s'; did you mean '%s'?", name,
				nearest.word);
	return complain(USAGE, "no command '%s'; 'tine help' lists them", name);
}

/* help --manual NAME and help --completion are for the build. */
static int help(int argc, char **argv)
{
	const struct command *command = NULL;
	bool manual = argc > 0 && strcmp(argv[0], "--manual") == 0;

	if (argc > 0 && strcmp(argv[0], "--completion") == 0) {
		print_completion(stdout);
		return DONE;
	}
	/* Help on help is this. */
	if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
		argc = 0;
	if (argc > 1 + manual)
		return complain(USAGE, "help: give one command, not also '%s'",
				argv[1 + manual]);
	if (argc > manual && strcmp(argv[manual], "tine") != 0) {
		command = find(argv[manual]);
		if (!command)
			return no_such(argv[manual]);
	}
	if (manual)
		print_manual(command, stdout);
	else
		print_help(command, stdout);
	return DONE;
}

static int run(int argc, char **argv)
{
	const struct command *command;
	int err, first = 0;

	if (argc < 2) {
		print_help(NULL, stderr);
		return USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		if (argc > 2)
			return complain(USAGE, "--version: unexpected operand '%s'",
					argv[2]);
		printf("tine %s\n", tine_version());
		return DONE;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return help(argc - 2, argv + 2);
	if (argv[1][0] == '-')
		return complain(USAGE, "no option '%s'; try 'tine help'", argv[1]);
	command = find(argv[1]);
	if (!command)
		return no_such(argv[1]);
	err = options_parse(command, argc - 1, argv + 1, &first);
	if (err == DONE)
		err = begin_trace(command->name);
	if (err)
		return err < 0 ? DONE : err;
	return command->run(argc - 1 - first, argv + 1 + first);
}

/*
 * What is closed would be the next file that is opened, and results would go there.
 * Opened the wrong way round, it fails as it should.
 */
static void hold_standard_streams(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	int code;

	hold_standard_streams();
	code = run(argc, argv);

	/* A result that was not written is none. A command that broke has said why. */
	if (code != BROKEN && (fflush(stdout) != 0 || ferror(stdout)))
		return lose_output(NULL);
	return code;
}
