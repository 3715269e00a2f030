/* SPDX-License-Identifier: MIT */
#include "command.h"

#include "inspect/inspect.h"
#include "inspect/look.h"
#include "inspect/show.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static struct {
	const char *target;
	bool json;
} options;

int open_family(const char *command, struct memory *memory, pid_t pid)
{
	int err = memory_open(memory, pid);

	switch (err) {
	case 0:
		return DONE;
	case -ESRCH:
		return complain(USAGE, "%s: there is no process %d", command, (int)pid);
	case -EACCES:
		return complain(USAGE, "%s: process %d is another user's, or protected",
				command, (int)pid);
	case -ENOENT:
		return complain(USAGE, "%s: process %d has no memory of tine", command,
				(int)pid);
	case -EPROTO:
		return complain(BROKEN,
				"%s: process %d has another version of tine than this "
				"command",
				command, (int)pid);
	case -ENOTSUP:
		return complain(BROKEN, "%s: process %d is in another PID namespace",
				command, (int)pid);
	}
	return complain(BROKEN, "%s: the memory of process %d is damaged", command,
			(int)pid);
}

bool read_pid(const char *text, void *pid)
{
	uint64_t number;

	if (!read_positive(text, &number) || number > INT32_MAX)
		return false;
	*(pid_t *)pid = (pid_t)number;
	return true;
}

static int print_report(json_t *report, void (*show)(const json_t *))
{
	if (!report)
		return complain(BROKEN, "inspect: %s", strerror(ENOMEM));
	if (options.json) {
		json_dumpf(report, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		printf("\n");
	} else {
		show(report);
	}
	json_decref(report);
	return DONE;
}

static int inspect_process(pid_t pid)
{
	struct memory memory;
	int code = open_family("inspect", &memory, pid);

	if (code != DONE)
		return code;
	code = print_report(look_at_memory(&memory, pid), show_memory);
	memory_close(&memory);
	return code;
}

static int run_inspect(int argc, char **argv)
{
	struct stat folder;
	pid_t pid;

	(void)argc;
	(void)argv;
	if (read_pid(options.target, &pid))
		return inspect_process(pid);
	if (stat(options.target, &folder) != 0)
		return complain(USAGE, "inspect: '%s': %s", options.target,
				strerror(errno));
	if (!S_ISDIR(folder.st_mode))
		return complain(USAGE, "inspect: '%s' is no process and no folder",
				options.target);
	return print_report(look_at_folder(options.target), show_folder);
}

static const struct operand_row operands[] = {
	{ "TARGET", read_text, &options.target, "a process id or a folder",
	  "A process of the family, or the folder of a cache or store. A folder whose "
	  "name "
	  "is a number: ./NUMBER.",
	  NULL, false },
	{ 0 },
};

static const struct option_row rows[] = {
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command inspect_command = {
	.name = "inspect",
	.summary = "show what the processes of a family do, hold and wait for",
	.operand_rows = operands,
	.options = rows,
	.description =
		"For a process id, the command shows the family of the process: its\n"
		"processes, the workers of its pools and their jobs, its queues and\n"
		"the leases on their messages, the locks that threads hold, and\n"
		"what each thread waits for.\n"
		"For the folder of a cache or of a store, the command shows the\n"
		"processes that have a file of it open, what they have locked, and\n"
		"which thread waits for which process.\n"
		".Pp\n"
		"The command only reads, and the processes do nothing for it.\n"
		"It reads memory that changes meanwhile: what it shows of two objects\n"
		"may be of two moments.\n"
		"The processes must belong to the user of the command, or the user is\n"
		"root.\n"
		"What a thread waits for comes from\n"
		".Pa /proc/PID/task/TID/syscall ,\n"
		"which some systems show to root alone.\n"
		".Ss Since when\n"
		"Of a thread that waits, the command shows for how long it has slept,\n"
		"and of a stopped process, since when it is stopped: that is since the\n"
		"thread last ran, by\n"
		".Pa /proc/PID/task/TID/sched .\n"
		"The clock is that of a processor: it stands still while the machine is\n"
		"suspended, and leaves out interrupts and what a hypervisor takes.\n"
		"The duration is missing where the kernel has no such file, and where\n"
		"the command may not use the processor on which the thread ran.\n"
		".Pp\n"
		"Many waits look again now and then, and then sleep anew.\n"
		"Of such a wait one look shows the last sleep only: at most 0.2 s for\n"
		"locks, events, semaphores, conditions, barriers and queues, 0.1 s for\n"
		"a change in a store, and 2 s for a message where a queue is empty.\n"
		"The text has the duration from 0.9 s on, as\n"
		".Dq or more .\n"
		"A thread that waits for a lock on a file without a deadline sleeps\n"
		"once, for the whole time.\n"
		".Xr tine-top 1\n"
		"shows since when it has seen the same.\n"
		"For leases that run out, and for jobs with a time limit, the library\n"
		"itself keeps the time.\n"
		".Ss Of a process\n"
		"The process and the command must be of one version and build of tine.\n"
		"A process that has closed the descriptor of its family's memory cannot\n"
		"be inspected; another process of the family can.\n"
		"Of semaphores with\n"
		".Fa .held\n"
		"and locks to read, the processes that hold something are known.\n"
		"A mutex or a lock that is held to write is known, with its holder,\n"
		"while a thread waits for it; of events, conditions and barriers that\n"
		"a thread waits at, only the address.\n"
		"Locks are found in the first mebibyte of each block.\n"
		"If a thread waits for a lock on a file, a look at the folder of the\n"
		"file shows the holder.\n"
		".Ss Of a folder\n"
		"In a cache, the process with the lock\n"
		".Li writer\n"
		"changes it, one with\n"
		".Li large entry\n"
		"writes the file of an entry, and one with\n"
		".Li result\n"
		"computes the result that others wait for.\n"
		"In a store, the process with\n"
		".Li shape\n"
		"makes, opens or enlarges it, one with\n"
		".Li writing\n"
		"changes it, and one with\n"
		".Li reading\n"
		"is about to read for the first time.\n"
		"Each process that has the store open shares\n"
		".Li presence .\n"
		"Locks of other files are\n"
		".Li bytes .\n"
		".Pp\n"
		"The holders of a lock on a file are those processes that the user of\n"
		"the command may see.\n"
		"A thread that waits for a lock on a file with a deadline, or until a\n"
		"signal comes, looks at the lock again and again, and is not shown.\n"
		"The same holds for each wait for\n"
		".Li writer\n"
		"and\n"
		".Li shape .\n"
		"Processes of another PID namespace are shown; the holders of\n"
		".Li writing\n"
		"and\n"
		".Li reading\n"
		"among them are not known.\n"
		"Leases are not shown: a store knows neither which of its keys are\n"
		"leases nor which process has one.\n"
		".Ss JSON\n"
		"With\n"
		".Fl \\-json\n"
		"the command prints an object.\n"
		"Of a process it has the members\n"
		".Li family , reserved_bytes , used_bytes , whole , processes , pools ,\n"
		".Li queues , locks , holds\n"
		"and\n"
		".Li waits .\n"
		"If the memory changed during the look, or is damaged,\n"
		".Li whole\n"
		"is false, and objects may be missing.\n"
		"Of a folder it has the members\n"
		".Li folder , processes , locks\n"
		"and\n"
		".Li waits .\n"
		"If the system does not tell what threads wait for,\n"
		".Li waits\n"
		"is null.\n"
		"A process id of 0 stands for a process that has ended.\n"
		".Bl -bullet\n"
		".It\n"
		"A wait has the members\n"
		".Li pid , thread , for ,\n"
		"then\n"
		".Li object\n"
		"or\n"
		".Li file\n"
		"with a\n"
		".Li byte\n"
		"or an\n"
		".Li offset ,\n"
		"and what is known of\n"
		".Li holder , holder_state , holders\n"
		"and\n"
		".Li asleep_ms ,\n"
		"the milliseconds since the thread last ran.\n"
		"If\n"
		".Li timed\n"
		"is true, the sleep has a timeout, and the wait may have begun earlier.\n"
		".It\n"
		"A stopped process has the member\n"
		".Li stopped_ms .\n"
		".El\n"
		".Ss Operands and options\n",
	.example = "tine inspect --json $(pgrep -o simulate)",
	.run = run_inspect,
};
