/* SPDX-License-Identifier: MIT */
/*
 * The stepping itself: that lives end where they are said to, and stop for others to see.
 */
#include "step.h"

enum { WORDS = 12 };

struct scene {
	_Atomic int words[WORDS];
	_Atomic int forked;
	long seen[WORDS + 1];
	long stops, whole;
	pid_t pid;
};

static struct scene *new_scene(void)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK(scene);
	return scene;
}

static void count_up(void *arg)
{
	struct scene *scene = arg;

	for (int i = 0; i < WORDS; i++)
		atomic_store(&scene->words[i], 1);
}

static int how_far(const struct scene *scene)
{
	int n = 0;

	while (n < WORDS && atomic_load(&scene->words[n]))
		n++;
	for (int i = n; i < WORDS; i++)
		CHECK_EQ(scene->words[i], 0);
	return n;
}

static void note_how_far(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	scene->seen[how_far(scene)]++;
	for (int i = 0; i < WORDS; i++)
		atomic_store(&scene->words[i], 0);
}

TEST(each_instruction_has_its_death)
{
	struct scene *scene = new_scene();
	long n;

	setenv("TEST_SOAK", "1", 1);
	unsetenv("TEST_SCALE");
	n = test_kill_each_step(&(struct steps){ NULL, count_up, note_how_far }, scene);
	/* A life more at the end of each path that was noted: with all words. */
	for (int i = 0; i < WORDS; i++) {
		CHECK(scene->seen[i] > 0);
		n -= scene->seen[i];
	}
	CHECK(n > 0);
	tine_shared_free(scene);
}

static void repeat(void *arg)
{
	struct scene *scene = arg;
	volatile char bytes[300];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
#ifdef __x86_64__
	{
		const void *from = (const void *)bytes;
		char copy[100], *to = copy;
		size_t n = sizeof(copy);

		__asm__ volatile("rep movsb"
				 : "+S"(from), "+D"(to), "+c"(n)
				 :
				 : "memory");
	}
#endif
	count_up(scene);
}

TEST(loops_and_repeated_instructions_are_passed)
{
	struct scene *scene = new_scene();

	CHECK(test_kill_some_steps(&(struct steps){ NULL, repeat, note_how_far }, scene,
				   29) > 1000);
	tine_shared_free(scene);
}

static void forks(void *arg)
{
	struct scene *scene = arg;
	pid_t pid = fork();

	count_up(arg);
	if (pid == 0) {
		atomic_store(&scene->forked, 1);
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0)
		;
}

static void forget(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	/*
	 * By death in the middle its child is this process's, as of a subreaper; or of
	 * init.
	 */
	scene->whole += atomic_exchange(&scene->forked, 0);
}

TEST(what_it_forks_meets_no_breakpoint)
{
	struct scene *scene = new_scene();

	CHECK(test_kill_each_step(&(struct steps){ NULL, forks, forget }, scene) > 50);
	CHECK(scene->whole > 1);
	tine_shared_free(scene);
}

static char state_of(pid_t pid)
{
	char path[64], text[512] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	CHECK(file);
	CHECK(fgets(text, sizeof(text), file));
	fclose(file);
	return strrchr(text, ')')[2];
}

static void tell_and_count(void *arg)
{
	struct scene *scene = arg;

	scene->pid = getpid();
	count_up(arg);
}

static void it_is_stopped(void *arg, long step)
{
	struct scene *scene = arg;
	int before = how_far(scene);

	(void)step;
	if (scene->pid) {
		CHECK_EQ(state_of(scene->pid), 'T');
		test_sleep_us(200);
		CHECK_EQ(how_far(scene), before);
		scene->stops++;
	}
}

static void it_went_on(void *arg, long step)
{
	struct scene *scene = arg;

	CHECK_EQ(how_far(scene), WORDS);
	scene->pid = 0;
	note_how_far(arg, step);
}

TEST(who_is_stopped_goes_on)
{
	const struct stops stops = { .fn = tell_and_count,
				     .beside = it_is_stopped,
				     .after = it_went_on };
	struct scene *scene = new_scene();

	CHECK(test_stop_each_step(&stops, scene) > WORDS);
	CHECK(scene->stops > 0);
	tine_shared_free(scene);
}

static void kill_it(void *arg, long step)
{
	struct scene *scene = arg;

	(void)step;
	if (scene->pid) {
		kill(scene->pid, SIGKILL);
		scene->stops++;
	}
}

static void it_is_gone(void *arg, long step)
{
	struct scene *scene = arg;

	scene->pid = 0;
	note_how_far(arg, step);
}

TEST(who_is_killed_while_it_is_stopped_dies)
{
	const struct stops stops = { .fn = tell_and_count,
				     .beside = kill_it,
				     .after = it_is_gone,
				     .may_be_killed = true };
	struct scene *scene = new_scene();

	test_stop_each_step(&stops, scene);
	CHECK(scene->stops > 0 && scene->seen[WORDS / 2] > 0);
	tine_shared_free(scene);
}

static void come_back(void *arg)
{
	(void)arg;
}

static void never_come_back(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void beside_a_call_that_hangs(void *arg)
{
	test_call_beside(never_come_back, arg);
}

TEST(a_call_that_does_not_come_back_is_a_failure)
{
	setenv("TEST_PATIENCE", "1", 1);
	test_call_beside(come_back, NULL);
	CHECK_EQ(test_reap(test_fork(beside_a_call_that_hangs, NULL)), 1);
}
