/* SPDX-License-Identifier: MIT */
#include "step.h"

#include "memory/heap.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static bool all(const unsigned char *mem, size_t size, unsigned char value)
{
	for (size_t i = 0; i < size; i++)
		if (mem[i] != value)
			return false;
	return true;
}

TEST(zeroed_and_aligned_at_every_size)
{
	for (size_t size = 1; size <= (size_t)64 << 20; size += size / 3 + 1) {
		unsigned char *mem = tine_shared_new(1, size);

		CHECK(mem);
		CHECK_EQ((uintptr_t)mem % 64, 0);
		CHECK(all(mem, size, 0));
		memset(mem, 0xa5, size);
		tine_shared_free(mem);
		/* Most likely the same place. */
		mem = tine_shared_new(size, 1);
		CHECK(mem);
		CHECK(all(mem, size, 0));
		tine_shared_free(mem);
	}
	CHECK_EQ(shared_check(), 0);
}

TEST(a_gibibyte)
{
	size_t size = (size_t)1 << 30;
	char *mem = tine_shared_new(1, size);

	if (!mem)
		test_skip("not so much memory here");
	mem[0] = mem[size / 2] = mem[size - 1] = 1;
	tine_shared_free(mem);
	CHECK_EQ(shared_check(), 0);
}

TEST(too_large_is_null)
{
	CHECK(!tine_shared_new(SIZE_MAX, 2));
	CHECK(!tine_shared_new(SIZE_MAX / 2 + 2, 2));
	CHECK(!tine_shared_new(1, SIZE_MAX));
	CHECK(!tine_shared_new(1, (size_t)1 << 45));
	CHECK_EQ(shared_check(), 0);
}

TEST(nothing_is_something)
{
	void *mem = tine_shared_new(0, 8);

	CHECK(mem);
	tine_shared_free(mem);
	tine_shared_free(NULL);
}

TEST(bad_frees_do_nothing)
{
	char *mem = tine_shared_new(1, 100), *large = tine_shared_new(1, 1 << 20), local;

	tine_shared_free(&local);
	tine_shared_free(mem + 64);
	tine_shared_free(mem + 1);
	tine_shared_free(large + 64);
	CHECK_EQ(shared_check(), 0);
	tine_shared_free(mem);
	tine_shared_free(mem);
	tine_shared_free(large);
	tine_shared_free(large);
	CHECK_EQ(shared_check(), 0);
}

TEST(freed_memory_is_used_again)
{
	char *highest = NULL;

	for (long i = 0; i < test_sampled(2000); i++) {
		char *small = tine_shared_new(1, 1000),
		     *large = tine_shared_new(1, 3 << 20);

		CHECK(small && large);
		if (i < 10) {
			highest = large > highest ? large : highest;
			highest = small > highest ? small : highest;
		}
		CHECK(small <= highest && large <= highest);
		tine_shared_free(small);
		tine_shared_free(large);
	}
}

TEST(what_was_freed_last_is_found_first)
{
	unsigned random = (unsigned)test_seed();
	void *neighbour = tine_shared_new(1, 1 << 20);

	for (int i = 0; i < 1000; i++) {
		size_t size = ((size_t)40 << 10) + rand_r(&random) % (4 << 20);
		char *mem = tine_shared_new(1, size), *again;

		CHECK(mem);
		tine_shared_free(mem);
		again = tine_shared_raw(size);
		CHECK_EQ(again - mem, 0);
		tine_shared_free(again);
	}
	tine_shared_free(neighbour);
	CHECK_EQ(shared_check(), 0);
}

/* Bytes of the family's memory that are committed, from there on. */
static size_t committed(void *from, size_t len)
{
	static unsigned char there[1 << 17];
	size_t n = 0, pages = len / 4096;

	CHECK(pages <= sizeof(there));
	CHECK_EQ(mincore((void *)((uintptr_t)from & ~(uintptr_t)4095), len, there), 0);
	for (size_t i = 0; i < pages; i++)
		n += there[i] & 1;
	return n * 4096;
}

/* Memory to measure in, of which nothing is committed now. */
static char *some_room(size_t size)
{
	char *mem = tine_shared_raw(size);

	if (!mem)
		test_skip("not so much memory here");
	tine_shared_free(mem);
	CHECK(committed(mem, size) < (size_t)65 << 20);
	return mem;
}

TEST(a_loop_of_new_and_free_commits_no_more)
{
	size_t size = (size_t)256 << 20, before;
	char *room = some_room(size), *held[8];

	for (int turn = 0; turn < 200; turn++) {
		for (int i = 0; i < 8; i++) {
			held[i] = tine_shared_raw((size_t)(i + 1) << 18);
			CHECK(held[i] >= room && held[i] < room + size);
		}
		for (int i = 0; i < 8; i++)
			tine_shared_free(held[i * 3 % 8]);
		if (turn == 0)
			before = committed(room, size);
	}
	CHECK_EQ(committed(room, size), before);
}

static void keep_only_so_many(void (*release)(void *))
{
	enum { N = 200 };
	size_t size = (size_t)256 << 20, block = (size_t)1 << 20;
	char *room = some_room(size), *held[N];

	for (int i = 0; i < N; i++) {
		held[i] = tine_shared_new(1, block);
		if (!held[i])
			test_skip("not so much memory here");
		CHECK(held[i] >= room && held[i] < room + size);
		memset(held[i], 1, block);
	}
	CHECK(committed(room, size) >= N * block);
	for (int i = 0; i < N; i++)
		release(held[i]);
	/* And the slab of whatever small blocks are there. */
	CHECK(committed(room, size) <= (size_t)65 << 20);
	CHECK(committed(room, size) >= (size_t)60 << 20);
	CHECK_EQ(shared_check(), 0);
	/* Those that were given back, and those that were not. */
	for (int i = 0; i < N; i++) {
		held[i] = tine_shared_new(1, block);
		CHECK(held[i]);
		CHECK(all((unsigned char *)held[i], block, 0));
	}
	for (int i = 0; i < N; i++)
		tine_shared_free(held[i]);
}

TEST(of_freed_pages_only_so_many_are_kept)
{
	keep_only_so_many(tine_shared_free);
}

static void keep_and_drop(void *mem)
{
	CHECK_EQ(tine_shared_keep(mem), 0);
	CHECK_EQ(tine_shared_drop(mem), 0);
}

TEST(of_dropped_pages_only_so_many_are_kept)
{
	keep_only_so_many(keep_and_drop);
}

/* Slabs as well: what small blocks filled is given back beyond the bound. */
TEST(of_freed_slabs_only_so_many_are_kept)
{
	enum { N = 4000 };
	size_t size = (size_t)256 << 20, block = (size_t)30 << 10;
	char *room = some_room(size);
	static char *held[N];

	for (int i = 0; i < N; i++) {
		held[i] = tine_shared_raw(block);
		if (!held[i])
			test_skip("not so much memory here");
		CHECK(held[i] >= room && held[i] < room + size);
	}
	for (int i = 0; i < N; i++)
		tine_shared_free(held[i]);
	CHECK(committed(room, size) <= ((size_t)64 << 20) + UINT64_C(65536));
	CHECK_EQ(shared_check(), 0);
}

static void dirty_blocks(void *arg)
{
	void **blocks = arg;

	for (int i = 0; i < 8; i++) {
		memset(blocks[i], 1, 300000);
		tine_shared_free(blocks[i]);
	}
}

TEST(pages_of_another_process_are_zeroed_too)
{
	void **blocks = tine_shared_new(8, sizeof(*blocks));

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 8; i++) {
			blocks[i] = tine_shared_new(1, 300000);
			CHECK(all(blocks[i], 300000, 0));
		}
		CHECK_EQ(test_reap(test_fork(dirty_blocks, blocks)), 0);
	}
	tine_shared_free(blocks);
	CHECK_EQ(shared_check(), 0);
}

TEST(room_of_small_blocks_serves_large_ones)
{
	enum { N = 4096 };
	static void *blocks[N];
	char *base = shared_base(), *large;

	for (int i = 0; i < N; i++)
		CHECK((blocks[i] = tine_shared_new(1, 4096)));
	for (int i = 0; i < N; i++)
		tine_shared_free(blocks[i]);
	large = tine_shared_new(1, 8 << 20);
	CHECK(large);
	CHECK(large < base + shared_span());
	CHECK(large < (char *)blocks[N - 1]);
	tine_shared_free(large);
	CHECK_EQ(shared_check(), 0);
}

static void write_there(void *arg)
{
	char **where = arg;

	where[0][9] = 'x';
	where[1] = tine_shared_new(1, 100000);
	memcpy(where[1], "made by the child", 18);
}

TEST(one_address_before_and_after_a_fork)
{
	char **where = tine_shared_new(2, sizeof(*where));
	pid_t pid;

	where[0] = tine_shared_new(1, 10);
	pid = test_fork(write_there, where);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(where[0][9], 'x');
	CHECK(strcmp(where[1], "made by the child") == 0);
	tine_shared_free(where[0]);
	tine_shared_free(where[1]);
	tine_shared_free(where);
}

/* Fills blocks with a number of its own, and finds them as it left them. */
static void churn(void *arg)
{
	enum { HELD = 64 };
	unsigned char *held[HELD] = { 0 };
	size_t sizes[HELD] = { 0 };
	unsigned random = getpid();
	long turns = *(long *)arg;

	for (long i = 0; i < turns; i++) {
		unsigned at = rand_r(&random) % HELD;
		unsigned char mine = (unsigned char)(getpid() + at) | 1;

		if (held[at]) {
			CHECK(all(held[at], sizes[at], mine));
			tine_shared_free(held[at]);
		}
		sizes[at] = (size_t)rand_r(&random) % (i % 50 ? 3000 : 300000) + 1;
		held[at] = tine_shared_new(1, sizes[at]);
		CHECK(held[at]);
		CHECK(all(held[at], sizes[at], 0));
		memset(held[at], mine, sizes[at]);
	}
	for (int i = 0; i < HELD; i++)
		tine_shared_free(held[i]);
}

TEST(many_processes_at_once)
{
	long turns = test_scaled(10000);
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = test_fork(churn, &turns);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(test_reap(pids[i]), 0);
	CHECK_EQ(shared_check(), 0);
}

static void *churn_in_thread(void *arg)
{
	churn(arg);
	return NULL;
}

static void allocate_once(void *arg)
{
	void *mem = tine_shared_new(1, 100000);

	(void)arg;
	CHECK(mem);
	tine_shared_free(mem);
}

/* The child's threads are gone, and what they held is the parent's. */
TEST(forks_beside_allocating_threads)
{
	long turns = test_scaled(3000);
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn_in_thread, &turns), 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(test_reap(test_fork(allocate_once, NULL)), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(shared_check(), 0);
}

TEST(many_threads_at_once)
{
	long turns = test_scaled(5000);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn_in_thread, &turns), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(shared_check(), 0);
}

/* ---- limits: in a child that makes a family of its own, by exec of this very test -- */

static void alloc_until_full(void)
{
	size_t total = 0, size = (size_t)16 << 20;
	char *mem, *last = NULL;

	while ((mem = tine_shared_new(1, size))) {
		memset(mem, 1, size);
		*(char **)mem = last;
		last = mem;
		total += size;
		if (total > (size_t)256 << 30)
			test_fail(__FILE__, __LINE__, "no end to it");
	}
	CHECK(last);
	/* And all of it is there again. */
	while (last) {
		mem = *(char **)last;
		tine_shared_free(last);
		last = mem;
	}
	mem = tine_shared_new(1, size);
	CHECK(mem);
	tine_shared_free(mem);
	CHECK_EQ(shared_check(), 0);
}

/* What was freed lies in pieces between the others, and its pages are all there is. */
static void alloc_beside_kept_pages(void)
{
	enum { MOST = 1000 };
	static char *held[MOST];
	int n = 0;
	char *mem;

	while (n < MOST && (held[n] = tine_shared_new(1, 1 << 20)))
		n++;
	CHECK(n > 50 && n < MOST);
	for (int i = 0; i < n; i += 2)
		tine_shared_free(held[i]);
	mem = tine_shared_new(1, 16 << 20);
	CHECK(mem);
	tine_shared_free(mem);
	for (int i = 1; i < n; i += 2)
		tine_shared_free(held[i]);
	CHECK_EQ(shared_check(), 0);
}

/* Runs one of the tests below whose names begin with "alone" in a new program. */
static void run_alone(const char *mode)
{
	char *args[] = { "alone", NULL };

	setenv("TINE_TEST_ALONE", mode, 1);
	execv("/proc/self/exe", args);
	_exit(99);
}

static void skip_under_valgrind(void)
{
	if (test_under_valgrind())
		test_skip("it executes itself");
}

__attribute__((constructor)) static void alone(void)
{
	const char *mode = getenv("TINE_TEST_ALONE");

	if (!mode)
		return;
	unsetenv("TINE_TEST_ALONE");
	if (strcmp(mode, "fill") == 0) {
		alloc_until_full();
	} else if (strcmp(mode, "pieces") == 0) {
		alloc_beside_kept_pages();
	} else if (strcmp(mode, "use") == 0) {
		char *large = tine_shared_new(1, (size_t)64 << 20),
		     *small = tine_shared_new(1, 1);

		CHECK(large && small);
		memset(large, 1, (size_t)64 << 20);
		tine_shared_free(large);
		tine_shared_free(small);
	} else if (strcmp(mode, "gibibyte") == 0) {
		char *mem = tine_shared_new(1, (size_t)1 << 30);

		CHECK(mem);
		mem[((size_t)1 << 30) - 1] = 1;
	}
	_exit(0);
}

static void with_address_limit(void *arg)
{
	struct rlimit limit = { 4000000l * 1024, 4000000l * 1024 };

	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	run_alone(arg);
}

TEST(a_limit_of_address_space)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	skip_under_valgrind();
	CHECK_EQ(test_reap(test_fork(with_address_limit, "fill")), 0);
	CHECK_EQ(test_reap(test_fork(with_address_limit, "gibibyte")), 0);
#else
	test_skip("a sanitizer needs more");
#endif
}

static void with_file_limit(void *arg)
{
	struct rlimit limit = { 100l << 20, 100l << 20 };

	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	run_alone(arg);
}

TEST(a_limit_of_file_size)
{
	skip_under_valgrind();
	CHECK_EQ(test_reap(test_fork(with_file_limit, "fill")), 0);
}

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

struct limited {
	char group[200];
	const char *mode;
};

static void in_memory_group(void *arg)
{
	struct limited *limited = arg;
	char path[256], pid[32];

	snprintf(path, sizeof(path), "%s/cgroup.procs", limited->group);
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!write_to(path, pid))
		_exit(77);
	run_alone(limited->mode);
}

static bool make_group(char *group, const char *parent, const char *limit_file)
{
	char path[300];

	snprintf(group, 200, "%s/tine-test-%d", parent, getpid());
	if (mkdir(group, 0755) != 0)
		return false;
	snprintf(path, sizeof(path), "%s/%s", group, limit_file);
	if (write_to(path, "100000000"))
		return true;
	rmdir(group);
	return false;
}

static void run_with_little_memory(const char *mode)
{
	struct limited limited = { .mode = mode };
	int how;

	skip_under_valgrind();
	if (!make_group(limited.group, "/sys/fs/cgroup", "memory.max") &&
	    !make_group(limited.group, "/sys/fs/cgroup/memory", "memory.limit_in_bytes"))
		test_skip("no right to make a cgroup");
	how = test_reap(test_fork(in_memory_group, &limited));
	for (int i = 0; i < 100 && rmdir(limited.group) != 0; i++)
		test_sleep_us(10000);
	if (how == 77)
		test_skip("no right to join a cgroup");
	CHECK_EQ(how, 0);
}

TEST(a_memory_limit_of_the_cgroup)
{
	run_with_little_memory("fill");
}

TEST(kept_pages_are_given_back_before_an_allocation_fails)
{
	run_with_little_memory("pieces");
}

static void with_small_shm(void *options)
{
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, options) != 0)
		_exit(77);
	run_alone("use");
}

static void without_shm(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL) != 0)
		_exit(77);
	run_alone("use");
}

TEST(dev_shm_small_or_absent)
{
	int small, none;

	skip_under_valgrind();
	small = test_reap(test_fork(with_small_shm, "size=64k"));
	none = test_reap(test_fork(without_shm, NULL));
	if (small == 77 || none == 77)
		test_skip("no right to mount");
	CHECK_EQ(small, 0);
	CHECK_EQ(none, 0);
}

/* What a kernel before 5.14 says to MADV_POPULATE_WRITE. */
static void with_old_kernel(void *mode)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16 + 2 * 8), /* its third argument */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 23, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(77);
	run_alone(mode);
}

TEST(a_kernel_that_cannot_populate)
{
	int how;

	skip_under_valgrind();
	how = test_reap(test_fork(with_old_kernel, "use"));
	if (how == 77)
		test_skip("no seccomp");
	CHECK_EQ(how, 0);
	CHECK_EQ(test_reap(test_fork(with_old_kernel, "gibibyte")), 0);
}
