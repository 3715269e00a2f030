/* SPDX-License-Identifier: MIT */
#include "step.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct counter {
	tine_lock lock;
	long value, turns;
};

static void count(void *arg)
{
	struct counter *counter = arg;

	for (long i = 0; i < counter->turns; i++) {
		CHECK_EQ(tine_lock_acquire(&counter->lock, TINE_FOREVER), 0);
		*(volatile long *)&counter->value += 1;
		CHECK_EQ(tine_lock_release(&counter->lock), 0);
	}
}

TEST(one_at_a_time)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));
	pid_t pids[4];

	counter->turns = test_scaled(50000);
	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(count, counter);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(counter->value, 4 * counter->turns);
	tine_shared_free(counter);
}

static void *count_in_thread(void *counter)
{
	count(counter);
	return NULL;
}

TEST(one_thread_at_a_time)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));
	pthread_t threads[4];

	counter->turns = test_scaled(20000);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, count_in_thread, counter), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(counter->value, 4 * counter->turns);
	tine_shared_free(counter);
}

static void hold(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	pause();
}

static void wait_until_held(tine_lock *lock)
{
	while (tine_lock_acquire(lock, TINE_NOWAIT) == 0) {
		CHECK_EQ(tine_lock_release(lock), 0);
		test_sleep_us(100);
	}
}

TEST(deadlines_and_errors)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t pid;
	int64_t begun;

	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EDEADLK);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EDEADLK);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(1)), -EDEADLK);
	CHECK_EQ(tine_lock_release(lock), 0);

	pid = test_fork(hold, lock);
	wait_until_held(lock);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ETIMEDOUT);
	begun = tine_now();
	CHECK_EQ(tine_lock_acquire(lock, tine_after(20)), -ETIMEDOUT);
	CHECK(tine_now() - begun >= 20000000);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	test_kill(pid);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

static void take_over(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
}

TEST(who_sleeps_is_handed_a_dead_owners_lock)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t owner = test_fork(hold, lock), heir;

	wait_until_held(lock);
	heir = test_fork(take_over, lock);
	test_sleep_us(20000);
	kill(owner, SIGKILL);
	CHECK_EQ(test_reap(heir), 0);
	CHECK_EQ(test_reap(owner), -SIGKILL);
	tine_shared_free(lock);
}

static void acquire_and_release(void *lock)
{
	int err = tine_lock_acquire(lock, TINE_FOREVER);

	CHECK(err == 0 || err == -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
}

static void comes_free(void *lock, long step)
{
	int err = tine_lock_acquire(lock, tine_after(5000));

	if (err != 0 && err != -EOWNERDEAD)
		test_fail(__FILE__, __LINE__, "step %ld: %s", step, tine_strerror(err));
	CHECK_EQ(tine_lock_release(lock), 0);
}

TEST(killed_at_every_step_it_comes_free)
{
	const struct steps steps = { NULL, acquire_and_release, comes_free };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK(test_kill_each_step(&steps, lock) > 50);
	tine_shared_free(lock);
}

static void first_use(void *lock, long step)
{
	comes_free(lock, step);
	memset(lock, 0, sizeof(tine_lock));
}

TEST(killed_at_every_step_of_the_first_use)
{
	const struct steps steps = { NULL, acquire_and_release, first_use };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	test_kill_each_step(&steps, lock);
	tine_shared_free(lock);
}

/* What makes it safe to initialise a lock while another process may be doing the same. */
TEST(what_is_set_at_first_use_never_changes)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock)), fresh;

	/* Initialised, and never locked. */
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	fresh = *lock;
	for (int round = 0; round < 3; round++) {
		CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
		for (size_t i = 0; i < 8; i++)
			CHECK((lock->priv[i] & fresh.priv[i]) == fresh.priv[i]);
		CHECK_EQ(tine_lock_release(lock), 0);
		for (size_t i = 0; i < 8; i++)
			CHECK((lock->priv[i] & fresh.priv[i]) == fresh.priv[i]);
	}
	tine_shared_free(lock);
}

TEST(many_first_uses_at_once)
{
	struct counter *counter = tine_shared_new(1, sizeof(*counter));

	counter->turns = 20;
	for (int round = 0; round < test_scaled(50); round++) {
		pid_t pids[4];

		memset(&counter->lock, 0, sizeof(counter->lock));
		counter->value = 0;
		for (int i = 0; i < 4; i++)
			pids[i] = test_fork(count, counter);
		for (int i = 0; i < 4; i++)
			CHECK_EQ(test_reap(pids[i]), 0);
		CHECK_EQ(counter->value, 80);
	}
	tine_shared_free(counter);
}

/* ---- recursive ------------------------------------------------------------------- */

static const tine_lock_opts recursive = { .recursive = true };

static void try_in_vain(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
}

TEST(recursive_is_released_as_many_times)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(1)), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(test_reap(test_fork(try_in_vain, lock)), 0);
		CHECK_EQ(tine_lock_release(lock), 0);
	}
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(test_reap(test_fork(acquire_and_release, lock)), 0);
	tine_shared_free(lock);
}

TEST(init_takes_its_options_or_says_so)
{
	tine_lock_opts bad = { .reserved = { 0, 0, 1 } };
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(tine_lock_init(lock, &bad), -EINVAL);
	CHECK_EQ(tine_lock_init(lock, NULL), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EDEADLK);
	CHECK_EQ(tine_lock_release(lock), 0);
	/* It is of the other type for good. */
	CHECK_EQ(tine_lock_init(lock, &recursive), -EINVAL);
	CHECK_EQ(tine_lock_init(lock, NULL), 0);
	tine_shared_free(lock);
}

static void hold_thrice(void *lock)
{
	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	pause();
}

TEST(a_killed_holder_of_many_is_followed_by_a_holder_of_one)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	pid_t pid;

	CHECK_EQ(tine_lock_init(lock, &recursive), 0);
	pid = test_fork(hold_thrice, lock);
	wait_until_held(lock);
	test_kill(pid);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), -EOWNERDEAD);
	CHECK_EQ(tine_lock_acquire(lock, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_release(lock), -EPERM);
	CHECK_EQ(test_reap(test_fork(acquire_and_release, lock)), 0);
	tine_shared_free(lock);
}

/* ---- what the kernel does not hand on ---------------------------------------------- */

enum { MANY = 2100 };

struct many {
	tine_lock locks[MANY];
	int held;
};

static void hold_as_many_as_it_may(void *arg)
{
	struct many *many = arg;

	while (many->held < MANY &&
	       tine_lock_acquire(&many->locks[many->held], TINE_FOREVER) == 0)
		many->held++;
	CHECK_EQ(tine_lock_acquire(&many->locks[many->held], TINE_NOWAIT), -EAGAIN);
	CHECK_EQ(tine_lock_release(&many->locks[--many->held]), 0);
	CHECK_EQ(tine_lock_acquire(&many->locks[many->held++], TINE_NOWAIT), 0);
	raise(SIGKILL);
}

TEST(a_thread_holds_no_more_than_is_handed_on)
{
	struct many *many = tine_shared_new(1, sizeof(*many));

	CHECK_EQ(test_reap(test_fork(hold_as_many_as_it_may, many)), -SIGKILL);
	CHECK_EQ(many->held, 2000);
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(tine_lock_acquire(&many->locks[i], TINE_NOWAIT),
			 i < many->held ? -EOWNERDEAD : 0);
		CHECK_EQ(tine_lock_release(&many->locks[i]), 0);
	}
	tine_shared_free(many);
}

static void hold_and_die(void *arg)
{
	CHECK_EQ(tine_lock_acquire(arg, TINE_FOREVER), 0);
	raise(SIGKILL);
}

/* As in a file that was copied, or restored. */
TEST(a_copy_of_a_held_lock_is_handed_on)
{
	tine_lock *locks = tine_shared_new(2, sizeof(*locks));
	pid_t pid = test_fork(hold_and_die, &locks[0]);
	siginfo_t info;

	CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(tine_lock_acquire(&locks[0], tine_after(5000)), -EOWNERDEAD);
	*(_Atomic uint32_t *)&locks[0] = (uint32_t)pid;
	locks[1] = locks[0];
	/* There is a thread of the number yet. */
	CHECK_EQ(tine_lock_acquire(&locks[1], tine_after(150)), -ETIMEDOUT);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	CHECK_EQ(tine_lock_acquire(&locks[1], tine_after(5000)), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(&locks[1]), 0);
	CHECK_EQ(tine_lock_acquire(&locks[1], TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(&locks[1]), 0);
	/* That of the lock that was copied is given back as it was. */
	*(_Atomic uint32_t *)&locks[0] = (uint32_t)gettid();
	CHECK_EQ(tine_lock_release(&locks[0]), 0);
	tine_shared_free(locks);
}

static void map_and_die(void *arg)
{
	tine_lock *first = arg, *hidden;

	hidden = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(hidden != MAP_FAILED);
	CHECK_EQ(tine_lock_acquire(first, TINE_FOREVER), 0);
	CHECK_EQ(tine_lock_acquire(hidden, TINE_FOREVER), 0);
	munmap(hidden, 4096);
	raise(SIGKILL);
}

TEST(a_lock_in_memory_that_is_gone_hides_none)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(test_reap(test_fork(map_and_die, lock)), -SIGKILL);
	CHECK_EQ(tine_lock_acquire(lock, tine_after(5000)), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

TEST(a_lock_held_when_the_machine_went_down_is_handed_on)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));

	CHECK_EQ(test_reap(test_fork(hold_and_die, lock)), -SIGKILL);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
	/* Held by a thread whose number this process has now. */
	*(_Atomic uint32_t *)lock = (uint32_t)getppid();
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ETIMEDOUT);
	lock->priv[7] ^= UINT64_C(0x123456) << 40;
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(lock), 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	/* Free then. */
	lock->priv[7] ^= UINT64_C(0x123456) << 40;
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

static void is_refused(void *lock)
{
	CHECK_EQ(tine_lock_acquire(lock, tine_after(5000)), -ENOTSUP);
	CHECK_EQ(tine_lock_release(lock), -ENOTSUP);
	CHECK(!tine_shared_new(1, 48));
}

/* In a child, since the leak checker cannot work with such children. */
static void have_it_refused(void *lock)
{
	if (unshare(CLONE_NEWPID) != 0)
		_exit(77);
	CHECK_EQ(test_reap(test_fork(is_refused, lock)), 0);
}

TEST(another_pid_namespace_is_refused)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	int how;

	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	how = test_reap(test_fork(have_it_refused, lock));
	if (how == 77)
		test_skip("no PID namespaces for this user");
	CHECK_EQ(how, 0);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(lock), 0);
	tine_shared_free(lock);
}

static void without_robust_lists(void *lock)
{
	struct sock_filter deny[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_set_robust_list, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, deny };

	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(77);
	CHECK_EQ(tine_lock_acquire(lock, TINE_NOWAIT), -ENOSYS);
}

TEST(a_system_that_tells_of_no_death_is_refused)
{
	tine_lock *lock = tine_shared_new(1, sizeof(*lock));
	int code = test_reap(test_fork(without_robust_lists, lock));

	if (code == 77)
		test_skip("no seccomp");
	CHECK_EQ(code, 0);
	tine_shared_free(lock);
}
