/* SPDX-License-Identifier: MIT */
#include "sync/member.h"

#include "base/proc.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

struct scene {
	_Atomic uint64_t id;
	member_bond bond, other;
	tine_event entered, go;
	uint32_t value;
	pid_t pid;
};

static void enter(struct scene *scene)
{
	CHECK(member_self() != NULL);
	scene->id = member_id();
	CHECK(scene->id != 0);
	tine_event_set(&scene->entered);
}

static void enter_and_stay(void *arg)
{
	enter(arg);
	pause();
}

static pid_t start(struct scene *scene, void (*fn)(void *))
{
	pid_t pid;

	tine_event_clear(&scene->entered);
	pid = test_fork(fn, scene);
	CHECK_EQ(tine_event_wait(&scene->entered, TINE_FOREVER), 0);
	return pid;
}

TEST(an_id_is_that_of_one_process)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	uint64_t mine = member_id(), before = 0;

	CHECK_EQ(member_id(), mine);
	CHECK(!member_gone(mine));
	for (int i = 0; i < 20; i++) {
		pid_t pid = start(scene, enter_and_stay);

		CHECK(scene->id != mine && scene->id != before);
		CHECK_EQ(members_sweep(), 0);
		CHECK(!member_gone(scene->id));
		test_kill(pid);
		if (i % 2) {
			CHECK_EQ(members_sweep(), 1);
			CHECK(member_gone(scene->id));
			CHECK_EQ(members_sweep(), 0);
		}
		before = scene->id;
	}
	CHECK(!member_gone(mine));
	tine_shared_free(scene);
}

static void *enter_in_thread(void *arg)
{
	enter(arg);
	return NULL;
}

static void live_on_without_the_thread_that_entered(void *arg)
{
	struct scene *scene = arg;
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, enter_in_thread, scene), 0);
	pthread_join(thread, NULL);
	tine_event_set(&scene->go);
	pause();
}

static _Atomic int proc_opens;

static void *live_on(void *arg)
{
	struct scene *scene = arg;

	/* Until the first thread is gone, and a while. */
	test_sleep_us(20000);
	tine_event_set(&scene->go);
	pause();
	return NULL;
}

static void live_on_without_the_first_thread(void *arg)
{
	pthread_t thread;

	enter(arg);
	CHECK_EQ(pthread_create(&thread, NULL, live_on, arg), 0);
	pthread_exit(NULL);
}

TEST(a_process_lives_as_long_as_any_of_its_threads)
{
	void (*fns[])(void *) = { live_on_without_the_thread_that_entered,
				  live_on_without_the_first_thread };
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	for (int i = 0; i < 2; i++) {
		pid_t pid;

		tine_event_clear(&scene->go);
		pid = start(scene, fns[i]);
		CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
		proc_opens = 0;
		for (int turn = 0; turn < 1000; turn++) {
			CHECK_EQ(members_sweep(), 0);
			CHECK(!member_gone(scene->id));
		}
		/* Not at each look. */
		CHECK(proc_opens >= 1 && proc_opens < 500);
		test_kill(pid);
		for (int turn = 0; members_sweep() == 0 && turn < 2000; turn++)
			test_sleep_us(10000);
		CHECK(member_gone(scene->id));
	}
	tine_shared_free(scene);
}

static void *sweep_and_stay(void *arg)
{
	struct scene *scene = arg;

	for (;;) {
		CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
		tine_event_clear(&scene->go);
		members_sweep();
		tine_event_set(&scene->entered);
	}
	return NULL;
}

static void sweep_without_the_first_thread(void *arg)
{
	pthread_t thread;

	CHECK(member_self() != NULL);
	((struct scene *)arg)->id = member_id();
	CHECK_EQ(pthread_create(&thread, NULL, sweep_and_stay, arg), 0);
	pthread_exit(NULL);
}

TEST(another_thread_takes_the_place_of_the_first)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = test_fork(sweep_without_the_first_thread, scene);

	/* First its first thread ends, at some time. */
	proc_opens = 0;
	while (proc_opens == 0) {
		test_sleep_us(10000);
		CHECK_EQ(members_sweep(), 0);
	}
	test_sleep_us(50000);
	CHECK_EQ(members_sweep(), 0);
	tine_event_set(&scene->go);
	CHECK_EQ(tine_event_wait(&scene->entered, TINE_FOREVER), 0);
	/* From now on its lock says it all. */
	proc_opens = 0;
	for (int turn = 0; turn < 30; turn++) {
		test_sleep_us(10000);
		CHECK_EQ(members_sweep(), 0);
	}
	CHECK_EQ(proc_opens, 0);
	test_kill(pid);
	CHECK_EQ(members_sweep(), 1);
	CHECK(member_gone(scene->id));
	tine_shared_free(scene);
}

TEST(of_many_without_a_first_thread_a_few_are_looked_at)
{
	enum { N = 60 };
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pids[N];
	int buried = 0;

	for (int i = 0; i < N; i++) {
		pids[i] = start(scene, live_on_without_the_thread_that_entered);
		CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
		tine_event_clear(&scene->go);
		CHECK_EQ(members_sweep(), 0);
	}
	/* What was saved up is spent, then each look may ask once. */
	CHECK_EQ(members_sweep(), 0);
	proc_opens = 0;
	for (int turn = 0; turn < 1000; turn++)
		CHECK_EQ(members_sweep(), 0);
	CHECK(proc_opens <= 1000 / 2);
	for (int i = 0; i < N; i++)
		test_kill(pids[i]);
	for (int turn = 0; buried < N && turn < 2000; turn++) {
		buried += members_sweep();
		test_sleep_us(10000);
	}
	CHECK_EQ(buried, N);
	tine_shared_free(scene);
}

/* ---- no descriptor is left --------------------------------------------------------- */

static struct rlimit descriptors;

static void take_descriptors_away(void)
{
	struct rlimit none;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
	none = descriptors;
	none.rlim_cur = 0;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	CHECK(open("/proc/self/stat", O_RDONLY) < 0 && errno == EMFILE);
}

static void give_descriptors_back(void)
{
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
}

static void enter_without_descriptors(void *arg)
{
	take_descriptors_away();
	live_on_without_the_thread_that_entered(arg);
}

static void enter_and_be_reaped_by_nobody(void *arg)
{
	struct scene *scene = arg;

	if (fork() == 0) {
		scene->pid = getpid();
		enter_and_stay(scene);
	}
	pause();
}

/* Until it is a zombie, which nobody reaps. */
static void kill_and_leave(pid_t pid)
{
	CHECK_EQ(kill(pid, SIGKILL), 0);
	while (process_alive(pid))
		test_sleep_us(1000);
	CHECK_EQ(kill(pid, 0), 0);
}

TEST(a_death_is_seen_without_descriptors)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t child = start(scene, enter_and_stay), parent;
	uint64_t childs = scene->id;

	parent = start(scene, enter_and_be_reaped_by_nobody);
	kill_and_leave(child);
	kill_and_leave(scene->pid);
	take_descriptors_away();
	CHECK_EQ(members_sweep(), 2);
	CHECK(member_gone(childs) && member_gone(scene->id));
	give_descriptors_back();
	test_reap(child);
	test_kill(parent);
	tine_shared_free(scene);
}

TEST(who_enters_without_descriptors_lives)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = start(scene, enter_without_descriptors);

	CHECK_EQ(tine_event_wait(&scene->go, TINE_FOREVER), 0);
	CHECK_EQ(members_sweep(), 0);
	test_sleep_us(200000); /* looks at /proc have their time */
	take_descriptors_away();
	CHECK_EQ(members_sweep(), 0);
	give_descriptors_back();
	test_kill(pid);
	for (int turn = 0; members_sweep() == 0 && turn < 2000; turn++)
		test_sleep_us(10000);
	CHECK(member_gone(scene->id));
	tine_shared_free(scene);
}

/* ------------------------------------------------------------------------------------ */

static void enter_and_execute(void *arg)
{
	enter(arg);
	execlp("sleep", "sleep", "100", NULL);
}

TEST(a_process_that_executes_a_program_lives)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = start(scene, enter_and_execute);

	test_sleep_us(50000);
	CHECK_EQ(members_sweep(), 0);
	CHECK(!member_gone(scene->id));
	test_kill(pid);
	/* /proc is not asked at each look. */
	for (int turn = 0; members_sweep() == 0 && turn < 2000; turn++)
		test_sleep_us(10000);
	CHECK(member_gone(scene->id));
	tine_shared_free(scene);
}

/* ---- ties ------------------------------------------------------------------------ */

static void tie_and_stay(void *arg)
{
	struct scene *scene = arg;
	struct tie *tie = member_tie(member_self(), &scene->bond);

	CHECK(tie != NULL);
	atomic_store(&tie->value, scene->value);
	enter_and_stay(scene);
}

TEST(a_death_is_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pids[3];

	for (int i = 0; i < 3; i++) {
		scene->value = i + 1;
		pids[i] = start(scene, tie_and_stay);
	}
	CHECK_EQ(members_sum(&scene->bond), 6);
	CHECK_EQ(members_sum(&scene->other), 0);
	CHECK(bond_number(&scene->bond) != bond_number(&scene->other));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(bond_deaths(&scene->bond), i);
		test_kill(pids[i]);
		/* Until somebody has looked. */
		CHECK_EQ(bond_deaths(&scene->bond), i);
		CHECK_EQ(members_sweep(), 1);
	}
	CHECK_EQ(bond_deaths(&scene->bond), 3);
	CHECK_EQ(bond_deaths(&scene->other), 0);
	CHECK_EQ(members_sum(&scene->bond), 0);
	tine_shared_free(scene);
}

static void tie_and_leave(void *arg)
{
	struct scene *scene = arg;

	CHECK(member_tie(member_self(), &scene->bond) != NULL);
	enter(scene);
	if (scene->value)
		exit(0);
	member_leave();
}

TEST(an_orderly_end_is_not_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	for (int i = 0; i < 2; i++) {
		scene->value = i;
		CHECK_EQ(test_reap(start(scene, tie_and_leave)), 0);
		members_sweep();
		CHECK(member_gone(scene->id));
		CHECK_EQ(bond_deaths(&scene->bond), 0);
		CHECK_EQ(members_sum(&scene->bond), 0);
	}
	tine_shared_free(scene);
}

TEST(a_freed_object_is_left_alone)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	pid_t pid = start(scene, tie_and_stay);

	atomic_store(&scene->bond, 0);
	CHECK(bond_number(&scene->bond) != 0);
	test_kill(pid);
	CHECK_EQ(members_sweep(), 1);
	CHECK_EQ(bond_deaths(&scene->bond), 0);
	tine_shared_free(scene);
}

static void tie_to_own_memory(void *arg)
{
	struct scene *scene = arg;
	member_bond *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(own != MAP_FAILED);
	CHECK(member_tie(member_self(), own) != NULL);
	enter_and_stay(scene);
}

/* It is an address of nothing, or of anything, where the death is told. */
TEST(an_object_in_memory_of_one_process_alone_is_not_told)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	test_kill(start(scene, tie_to_own_memory));
	CHECK_EQ(members_sweep(), 1);
	tine_shared_free(scene);
}

static struct tie *own_tie(member_bond *bond)
{
	struct tie *tie;

	ties_lock();
	tie = ties_find(member_self(), bond);
	ties_unlock();
	return tie;
}

TEST(room_for_so_many_ties)
{
	enum { BONDS = 3 * TIES };
	member_bond *bonds = tine_shared_new(BONDS, sizeof(*bonds));
	struct member *self = member_self();
	struct tie *tie;

	CHECK(own_tie(&bonds[0]) == NULL);
	for (int i = 0; i < TIES; i++) {
		tie = member_tie(self, &bonds[i]);
		CHECK(tie != NULL);
		CHECK(member_tie(self, &bonds[i]) == tie);
		CHECK(own_tie(&bonds[i]) == tie);
	}
	CHECK(member_tie(self, &bonds[TIES]) == NULL);
	member_untie(own_tie(&bonds[5]));
	CHECK(own_tie(&bonds[5]) == NULL);
	CHECK(member_tie(self, &bonds[TIES]) != NULL);
	CHECK(member_tie(self, &bonds[5]) == NULL);
	/* The tie to what is no more makes room. */
	atomic_store(&bonds[7], 0);
	CHECK(member_tie(self, &bonds[5]) != NULL);
	CHECK(member_tie(self, &bonds[7]) == NULL);
	/* And what wants more has it. */
	for (int i = 0; i < BONDS; i++) {
		CHECK_EQ(member_tie_by(self, &bonds[i], &tie, TINE_NOWAIT), 0);
		atomic_store(&tie->value, 1);
	}
	for (int i = 0; i < BONDS; i++) {
		CHECK_EQ(members_sum(&bonds[i]), 1);
		member_untie(own_tie(&bonds[i]));
	}
	tine_shared_free(bonds);
	/* That is the record's. */
	test_grows_no_further();
}

static void tie_to_many(void *arg)
{
	struct scene *scene = arg;
	member_bond *bonds = (member_bond *)(scene + 1);
	struct tie *tie;

	for (int i = 0; i < 2 * TIES + 1; i++) {
		CHECK_EQ(member_tie_by(member_self(), &bonds[i], &tie, TINE_FOREVER), 0);
		atomic_store(&tie->value, i % 2);
	}
	enter_and_stay(scene);
}

/* All that hold something of it, and no others; and whoever comes has none of them. */
TEST(many_are_told_of_a_death)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene) + (2 * TIES + 1) * 8);
	member_bond *bonds = (member_bond *)(scene + 1);

	for (int n = 1; n <= 2; n++) {
		test_kill(start(scene, tie_to_many));
		CHECK_EQ(members_sweep(), 1);
		for (int i = 0; i < 2 * TIES + 1; i++) {
			CHECK_EQ(bond_deaths(&bonds[i]), n * (i % 2));
			CHECK_EQ(members_sum(&bonds[i]), 0);
		}
	}
	tine_shared_free(scene);
	test_grows_no_further();
}

/* ---- many ------------------------------------------------------------------------ */

TEST(more_than_a_group)
{
	enum { MANY = 150 };
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	uint64_t ids[MANY];
	pid_t pids[MANY];

	for (int i = 0; i < MANY; i++) {
		scene->value = 1;
		pids[i] = start(scene, tie_and_stay);
		ids[i] = scene->id;
		for (int j = 0; j < i; j++)
			CHECK(ids[j] != ids[i]);
	}
	CHECK_EQ(members_sum(&scene->bond), MANY);
	for (int i = 0; i < MANY; i += 2)
		test_kill(pids[i]);
	CHECK_EQ(members_sweep(), MANY / 2);
	CHECK_EQ(members_sum(&scene->bond), MANY / 2);
	for (int i = 0; i < MANY; i++)
		CHECK_EQ(member_gone(ids[i]), i % 2 == 0);
	for (int i = 1; i < MANY; i += 2)
		test_kill(pids[i]);
	CHECK_EQ(members_sweep(), MANY / 2);
	CHECK_EQ(bond_deaths(&scene->bond), MANY);
	tine_shared_free(scene);
	test_grows_no_further();
}

/* ---- forks ------------------------------------------------------------------------- */

static _Atomic bool lingers, in_first_call;

/*
 * The program's own open(2), which the library's calls come to: it holds a window open.
 */
int open(const char *path, int flags, ...)
{
	int mode = 0;

	if (flags & O_CREAT) {
		va_list args;

		va_start(args, flags);
		mode = va_arg(args, int);
		va_end(args);
	}
	proc_opens += strncmp(path, "/proc/", 6) == 0;
	if (lingers && strncmp(path, "/proc/", 6) == 0) {
		in_first_call = true;
		while (lingers)
			usleep(1000);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static tine_event *forking;

/* Another library's handler, which is slow: the fork goes on in the midst of the call. */
static void until_another_is_in_its_first_call(void)
{
	tine_event_set(forking);
	while (lingers && !in_first_call)
		usleep(1000);
}

static void *call_first(void *arg)
{
	CHECK_EQ(tine_event_wait(forking, TINE_FOREVER), 0);
	CHECK(member_self() != NULL);
	return arg;
}

/* In a process that is no member yet, which the test itself is. */
static void fork_beside_the_first_call(void *arg)
{
	int64_t deadline = tine_after(20000);
	pthread_t thread;
	pid_t pid;
	int how;

	CHECK_EQ(pthread_atfork(until_another_is_in_its_first_call, NULL, NULL), 0);
	CHECK_EQ(pthread_create(&thread, NULL, call_first, arg), 0);
	lingers = true;
	pid = fork();
	if (pid == 0) {
		lingers = false;
		_exit(member_self() && in_first_call ? 0 : 1);
	}
	CHECK(pid > 0);
	while (waitpid(pid, &how, WNOHANG) == 0) {
		if (tine_now() > deadline)
			kill(pid, SIGKILL);
		usleep(1000);
	}
	CHECK_EQ(how, 0);
	lingers = false;
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(a_child_forked_beside_the_first_call_makes_its_own)
{
	forking = tine_shared_new(1, sizeof(*forking));
	CHECK_EQ(test_reap(test_fork(fork_beside_the_first_call, NULL)), 0);
	tine_shared_free(forking);
}
