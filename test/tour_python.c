/* SPDX-License-Identifier: MIT */
/* Python programs that fail, lie or stay, as tour_python runs them. */
#include "test.h"

#include "tour/embedded.h"
#include "tour/tour.h"

#include <fcntl.h>
#include <sys/stat.h>

static const char says[] =
	"import sys\n"
	"words = {'all': '{\"seconds\": 2, \"answer\": 9223372036854775807, \"look\": "
	"1e-9,'\n"
	"                '\"died\": 0.5, \"estimates\": [3, 3.25], \"note\": "
	"\"noted\"}',\n"
	"         'least': '{\"seconds\": 1.5}',\n"
	"         'out': '{\"seconds\": 1, \"left_out\": \"no numpy\"}',\n"
	"         'arguments': '{\"seconds\": 1, \"note\": \"%s\"}' % ' "
	"'.join(sys.argv[2:]),\n"
	"         'nothing': '', 'junk': '{\"seconds\": ', 'array': '[1]', 'no': '{}',\n"
	"         'more': '{\"seconds\": 1, \"bogus\": 1}', 'word': '{\"seconds\": "
	"\"1\"}',\n"
	"         'many': '{\"seconds\": 1, \"estimates\": %s}' % ([3] * 17),\n"
	"         'long': ' ' * 100000}\n"
	"print(words[sys.argv[1]])\n";

static const char fails[] =
	"import os, sys\n"
	"print('{\"seconds\": 1}')\n"
	"if sys.argv[1] == 'raise': raise ValueError('\\t\\xe9 ' * 999)\n"
	"if sys.argv[1] == 'kill': os.kill(os.getpid(), 9)\n"
	"sys.exit(3)\n";

/* Of those that Python leaves behind: a manager, and one who waits at a queue. */
static const char stays[] =
	"import multiprocessing, os, signal, sys, time\n"
	"manager = multiprocessing.Manager()\n"
	"queue = multiprocessing.Queue()\n"
	"multiprocessing.Process(target=queue.get).start()\n"
	"multiprocessing.Process(target=manager.Queue().get).start()\n"
	"def deaf():\n"
	"    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
	"    open(sys.argv[3] + '/ready', 'w')\n"
	"    while True: pass\n"
	"multiprocessing.Process(target=deaf).start()\n"
	"while not os.path.exists(sys.argv[3] + '/ready'): time.sleep(0.01)\n"
	"if sys.argv[1] == 'die': os.kill(os.getpid(), 9)\n"
	"if sys.argv[1] == 'leave':\n"
	"    print('{\"seconds\": 1}', flush=True)\n"
	"    os._exit(0)\n"
	"time.sleep(60)\n";

const struct embedded embedded_files[] = {
	{ "says.py", says }, { "fails.py", fails }, { "stays.py", stays }, { 0 }
};

static char folder[] = "/tmp/tine-test-XXXXXX";

static void begin(void)
{
	if (!tour_find_python())
		test_skip("no python3");
	CHECK(mkdtemp(folder));
}

static void end(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	CHECK_EQ(system(command), 0);
}

static int run(const char *script, const char *way, struct tour_run *run)
{
	struct tour_program program = { .script = script, .way = way };

	*run = (struct tour_run){
		.workers = 5, .n = 2, .numbers = { 7, UINT64_MAX }, .folder = folder
	};
	return tour_python(&program, run);
}

TEST(what_it_says_is_taken)
{
	struct tour_run made;

	begin();
	CHECK_EQ(run("says", "all", &made), 0);
	CHECK(made.seconds == 2 && made.has_answer && made.answer == INT64_MAX);
	CHECK(made.look == 1e-9 && made.died == 0.5);
	CHECK(made.jobs == 2 && made.estimates[0] == 3 && made.estimates[1] == 3.25);
	CHECK(strcmp(made.note, "noted") == 0 && !*made.left_out);
	CHECK_EQ(run("says", "least", &made), 0);
	CHECK(made.seconds == 1.5 && !made.has_answer && made.look == 0 &&
	      made.died == 0);
	CHECK(made.jobs == 0 && !*made.note && !*made.left_out);
	CHECK_EQ(run("says", "out", &made), 0);
	CHECK(made.seconds == 0 && strcmp(made.left_out, "no numpy") == 0);
	end();
}

TEST(it_is_told_the_work)
{
	struct tour_run made;
	char told[128];

	begin();
	snprintf(told, sizeof(told), "5 %s 7 18446744073709551615", folder);
	CHECK_EQ(run("says", "arguments", &made), 0);
	CHECK(strcmp(made.note, told) == 0);
	CHECK_EQ(run("absent", "all", &made), -EINVAL);
	end();
}

TEST(what_is_not_as_it_should_be_is_not_taken)
{
	static const char *const ways[] = { "nothing", "junk", "array", "no",
					    "more",    "word", "many" };
	struct tour_run made;

	begin();
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		CHECK_EQ(run("says", ways[i], &made), -EPROTO);
		CHECK(made.seconds == 0 && made.jobs == 0 && *made.note);
	}
	/* It cannot say all of it. */
	CHECK(run("says", "long", &made) < 0);
	CHECK(*made.note);
	end();
}

TEST(a_failure_is_told_by_its_last_line)
{
	struct tour_run made;

	begin();
	CHECK_EQ(run("fails", "raise", &made), -EIO);
	CHECK_EQ(strlen(made.note), TOUR_TEXT - 1);
	/* As much of the line as was read, in ASCII. */
	for (const char *at = made.note; *at; at++)
		CHECK(*at >= ' ' && *at <= '~');
	CHECK_EQ(run("fails", "exit", &made), -EIO);
	CHECK(strcmp(made.note, "exit code 3") == 0);
	CHECK_EQ(run("fails", "kill", &made), -EIO);
	CHECK(strcmp(made.note, "ended by signal 9 (Killed)") == 0);
	CHECK_EQ(run("says", "bogus", &made), -EIO);
	CHECK(strcmp(made.note, "KeyError: 'bogus'") == 0);
	CHECK(made.seconds == 0);
	end();
}

/* The harness sees who is left, but for those who are nobody's children any more. */
static void nobody_is_left(void)
{
	char command[128];

	/* The brackets keep it from finding itself. */
	snprintf(command, sizeof(command),
		 "! grep -aqs %s/[s]tays.py /proc/[0-9]*/cmdline", folder);
	for (int i = 0; i < 500 && system(command) != 0; i++)
		usleep(10000);
	CHECK_EQ(system(command), 0);
}

TEST(who_stays_when_it_ends_is_ended)
{
	struct tour_run made;

	begin();
	CHECK_EQ(run("stays", "leave", &made), 0);
	CHECK(made.seconds == 1);
	nobody_is_left();
	CHECK_EQ(run("stays", "die", &made), -EIO);
	nobody_is_left();
	end();
}

TEST(who_stays_when_its_caller_dies_is_ended)
{
	struct tour_run made;
	struct stat status;
	char ready[64];
	pid_t pid;

	begin();
	snprintf(ready, sizeof(ready), "%s/ready", folder);
	pid = fork();
	if (pid == 0) {
		run("stays", "on", &made);
		_exit(0);
	}
	while (stat(ready, &status) != 0)
		usleep(1000);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	nobody_is_left();
	end();
}

TEST(signals_are_as_they_were)
{
	sigset_t before, after;
	struct tour_run made;

	begin();
	sigemptyset(&before);
	sigaddset(&before, SIGUSR1);
	sigprocmask(SIG_SETMASK, &before, NULL);
	CHECK_EQ(run("says", "least", &made), 0);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int number = 1; number < 32; number++)
		CHECK_EQ(sigismember(&after, number), number == SIGUSR1);
	end();
}
