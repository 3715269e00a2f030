/* SPDX-License-Identifier: MIT */
/* Programs that join the family, and what is none of its descriptors. */
#include "memory/family.h"
#include "family_use.h"
#include "memory/heap.h"
#include "step.h"
#include "sync/member.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct scene *make_scene(void)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	CHECK(scene);
	CHECK_EQ(tine_sem_init(&scene->sem, &(tine_sem_opts){ .held = true }), 0);
	CHECK_EQ(tine_sem_init(&scene->mutex, &(tine_sem_opts){ .mutex = true }), 0);
	CHECK_EQ(tine_queue_new(&scene->to, sizeof(long), NULL), 0);
	CHECK_EQ(tine_queue_new(&scene->from, sizeof(long), NULL), 0);
	return scene;
}

static void free_scene(struct scene *scene)
{
	tine_queue_free(scene->to);
	tine_queue_free(scene->from);
	tine_shared_free(scene->block);
	tine_shared_free(scene);
}

static tine_process *spawn_joiner(const char *program, const char *verb,
				  struct scene *scene)
{
	char name[TINE_FAMILY_NAME];
	const char *argv[] = { program, verb, name, NULL };
	tine_process *process;

	CHECK_EQ(tine_family_name(name, scene), 0);
	CHECK_EQ(tine_process_spawn(
			 &process, &(tine_command){ .argv = argv, .family = true }, NULL),
		 0);
	return process;
}

static void ends_well(tine_process *process)
{
	tine_exit how = { 0 };

	CHECK_EQ(tine_process_wait(process, &how, tine_after(60000)), 0);
	CHECK_EQ(how.signal, 0);
	CHECK_EQ(how.code, 0);
	tine_process_free(process);
}

/* The keeper's line stays open, and so do tables of the members. */
static void be_ready(void)
{
	struct scene *scene = make_scene();

	ends_well(spawn_joiner(JOINER, "come-and-go", scene));
	free_scene(scene);
	test_opens_no_further();
	test_grows_no_further();
}

/* ---- what a member by exec can do -------------------------------------------------- */

static void messages_go_both_ways(const char *program)
{
	struct scene *scene;
	tine_process *process;
	long n;

	be_ready();
	scene = make_scene();
	process = spawn_joiner(program, "echo", scene);
	for (long i = 1; i <= 1000; i++)
		CHECK_EQ(tine_queue_put(scene->to, &i, sizeof(i), tine_after(60000)), 0);
	CHECK_EQ(tine_queue_close(scene->to), 0);
	for (long i = 1; i <= 1000; i++) {
		CHECK_EQ(tine_queue_get(scene->from, &n, sizeof(n), tine_after(60000)),
			 sizeof(n));
		CHECK_EQ(n, 2 * i);
	}
	CHECK_EQ(tine_queue_get(scene->from, &n, sizeof(n), tine_after(60000)), 0);
	ends_well(process);
	free_scene(scene);
}

TEST(a_spawned_program_joins)
{
	messages_go_both_ways(JOINER);
}

TEST(so_does_one_without_shared_libraries)
{
	if (access(JOINER_STATIC, X_OK) != 0)
		test_skip("no static libraries to build it with");
	messages_go_both_ways(JOINER_STATIC);
}

TEST(its_death_is_noticed)
{
	struct scene *scene;
	tine_process *process;
	tine_lease lease;
	long n = 5;

	be_ready();
	scene = make_scene();
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	CHECK_EQ(tine_queue_put(scene->to, &n, sizeof(n), TINE_NOWAIT), 0);
	scene->block = tine_shared_new(1, 1000);
	process = spawn_joiner(JOINER, "hold", scene);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(60000)), 0);
	CHECK_EQ(tine_lock_acquire(&scene->lock, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_sem_wait(&scene->mutex, TINE_NOWAIT), -ETIMEDOUT);
	CHECK_EQ(tine_rwlock_read(&scene->rwlock, TINE_NOWAIT), -ETIMEDOUT);
	tine_shared_free(scene->block);
	CHECK(shared_in_use(scene->block));
	CHECK_EQ(tine_process_kill(process, SIGKILL), 0);
	CHECK_EQ(tine_process_wait(process, NULL, tine_after(60000)), 0);
	tine_process_free(process);

	CHECK_EQ(tine_lock_acquire(&scene->lock, tine_after(20000)), -EOWNERDEAD);
	CHECK_EQ(tine_lock_release(&scene->lock), 0);
	CHECK_EQ(tine_sem_wait(&scene->sem, tine_after(20000)), -EOWNERDEAD);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), 0);
	CHECK_EQ(tine_sem_wait(&scene->mutex, tine_after(20000)), -EOWNERDEAD);
	CHECK_EQ(tine_rwlock_read(&scene->rwlock, tine_after(20000)), -EOWNERDEAD);
	CHECK(!shared_in_use(scene->block));
	scene->block = NULL;
	/* Its lease comes again, and what it had put to is at its end. */
	CHECK_EQ(tine_queue_lease(scene->to, &n, sizeof(n), &lease, tine_after(20000)),
		 sizeof(n));
	CHECK_EQ(n, 5);
	CHECK_EQ(tine_queue_ack(scene->to, lease), 0);
	CHECK_EQ(tine_queue_get(scene->from, &n, sizeof(n), tine_after(20000)),
		 sizeof(n));
	CHECK_EQ(tine_queue_get(scene->from, &n, sizeof(n), tine_after(20000)), 0);
	free_scene(scene);
}

TEST(barriers_and_conditions_work_with_it)
{
	struct scene *scene;
	tine_process *process;
	int err;

	be_ready();
	scene = make_scene();
	process = spawn_joiner(JOINER, "meet", scene);
	err = tine_barrier_wait(&scene->barrier, 2, tine_after(60000));
	CHECK(err == 0 || err == 1);
	CHECK_EQ(tine_lock_acquire(&scene->lock, tine_after(60000)), 0);
	scene->state = 1;
	CHECK_EQ(tine_cond_wake(&scene->cond, 1), 0);
	CHECK_EQ(tine_lock_release(&scene->lock), 0);
	CHECK_EQ(tine_event_set(&scene->go), 0);
	ends_well(process);
	CHECK_EQ(scene->state, 2);

	process = spawn_joiner(JOINER, "leave-barrier", scene);
	err = tine_barrier_wait(&scene->barrier, 2, tine_after(60000));
	CHECK(err == 0 || err == 1);
	tine_process_kill(process, SIGKILL);
	CHECK_EQ(tine_barrier_wait(&scene->barrier, 2, tine_after(60000)), -EOWNERDEAD);
	tine_process_free(process);
	free_scene(scene);
}

/* By poll(2): the event, and the mutex that the other releases. */
TEST(it_sets_and_releases_what_others_wait_for)
{
	struct pollfd polled = { .events = POLLIN };
	struct scene *scene;
	tine_process *process;
	tine_waiter *waiter;

	be_ready();
	scene = make_scene();
	CHECK_EQ(tine_waiter_new(&waiter), 0);
	CHECK_EQ(tine_waiter_arm_event(waiter, &scene->begun), 0);
	CHECK_EQ(tine_sem_wait(&scene->mutex, TINE_NOWAIT), 0);
	process = spawn_joiner(JOINER, "release", scene);
	CHECK_EQ(tine_sem_wait(&scene->mutex, tine_after(60000)), 0);
	polled.fd = tine_waiter_fd(waiter);
	CHECK_EQ(poll(&polled, 1, 60000), 1);
	CHECK(tine_event_is_set(&scene->begun));
	ends_well(process);
	tine_waiter_free(waiter);
	free_scene(scene);
}

TEST(it_frees_what_others_have_made)
{
	struct scene *scene;
	long n;

	be_ready();
	scene = make_scene();
	scene->block = tine_shared_new(1, 1 << 20);
	ends_well(spawn_joiner(JOINER, "exchange", scene));
	CHECK_EQ(strcmp(scene->block, "a joiner's"), 0);
	CHECK_EQ(tine_queue_get(scene->to, &n, sizeof(n), TINE_NOWAIT), sizeof(n));
	CHECK_EQ(n, 7);
	CHECK_EQ(shared_check(), 0);
	free_scene(scene);
}

TEST(what_it_forks_is_a_member)
{
	struct scene *scene;
	long n;

	be_ready();
	scene = make_scene();
	ends_well(spawn_joiner(JOINER, "start-child", scene));
	CHECK_EQ(tine_queue_get(scene->to, &n, sizeof(n), TINE_NOWAIT), sizeof(n));
	CHECK_EQ(n, 8);
	free_scene(scene);
}

TEST(it_has_a_pool)
{
	struct scene *scene;

	be_ready();
	scene = make_scene();
	scene->block = tine_shared_new(100, sizeof(long));
	ends_well(spawn_joiner(JOINER, "have-pool", scene));
	for (long i = 0; i < 100; i++)
		CHECK_EQ(((long *)scene->block)[i], 3 * i);
	free_scene(scene);
}

/* ---- how it may get the descriptor ------------------------------------------------- */

/* Forks, and executes it with the descriptor's number as an argument. */
static pid_t execute_joiner(const char *verb, const char *name, int fd)
{
	char number[16];
	pid_t pid = fork();

	if (pid > 0)
		return pid;
	CHECK_EQ(pid, 0);
	snprintf(number, sizeof(number), "%d", fd);
	execl(JOINER, JOINER, verb, name, number, NULL);
	_exit(127);
}

/* Its exit code: what joining by the descriptor returns there. */
static int code_of(int fd)
{
	int copy = fd < 0 ? fd : fcntl(fd, F_DUPFD, 100);
	int code = test_reap(execute_joiner("code", "-", copy));

	if (copy >= 0)
		close(copy);
	return -code;
}

TEST(a_forked_program_inherits_it)
{
	struct scene *scene = make_scene();
	char name[TINE_FAMILY_NAME];
	int fd = fcntl(tine_family_fd(), F_DUPFD, 0);

	CHECK_EQ(tine_family_name(name, scene), 0);
	CHECK_EQ(test_reap(execute_joiner("come-and-go", name, fd)), 0);
	CHECK_EQ(scene->state, 1);
	close(fd);
	free_scene(scene);
	test_grows_no_further();
}

TEST(one_that_was_started_apart_opens_it_in_proc)
{
	struct scene *scene = make_scene();
	char name[TINE_FAMILY_NAME], path[64];
	int fd;

	CHECK_EQ(tine_family_name(name, scene), 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), tine_family_fd());
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(test_reap(execute_joiner("come-and-go", name, fd)), 0);
	CHECK_EQ(scene->state, 1);
	close(fd);
	free_scene(scene);
	test_grows_no_further();
}

/* Passes it to itself, as a stranger would have it. */
static int through_a_socket(int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS,
				 .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec part = { "", 1 };
	struct msghdr message = { .msg_iov = &part,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	char byte;
	int ends[2];

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	CHECK_EQ(sendmsg(ends[0], &message, 0), 1);
	part.iov_base = &byte;
	CHECK_EQ(recvmsg(ends[1], &message, 0), 1);
	memcpy(&fd, CMSG_DATA(&control.align), sizeof(fd));
	close(ends[0]);
	close(ends[1]);
	return fd;
}

TEST(a_socket_passes_it)
{
	int fd = through_a_socket(tine_family_fd());

	CHECK_EQ(code_of(fd), 0);
	close(fd);
}

TEST(an_ordinary_program_is_not_given_it)
{
	const char *argv[] = { "sh", "-c",
			       "test ! -e /proc/self/fd/3 && test -z \"$TINE_FAMILY\"",
			       NULL };
	tine_process *process;

	be_ready();
	/* Nor by a program that was given one. */
	CHECK_EQ(setenv("TINE_FAMILY", "3:0123456789abcdef", 1), 0);
	CHECK_EQ(tine_process_spawn(&process, &(tine_command){ .argv = argv }, NULL), 0);
	ends_well(process);
	CHECK_EQ(unsetenv("TINE_FAMILY"), 0);
}

TEST(many_arguments_leave_it_its_place)
{
	static char longest[70000];
	struct scene *scene;
	char name[TINE_FAMILY_NAME];
	const char *argv[] = { JOINER, "come-and-go", name, "-1", longest, NULL };
	tine_process *process;

	be_ready();
	scene = make_scene();
	memset(longest, 'x', sizeof(longest) - 1);
	CHECK_EQ(tine_family_name(name, scene), 0);
	CHECK_EQ(tine_process_spawn(
			 &process, &(tine_command){ .argv = argv, .family = true }, NULL),
		 0);
	ends_well(process);
	free_scene(scene);
}

/* ---- what is no descriptor of a family's ------------------------------------------- */

TEST(other_descriptors_are_refused)
{
	char path[] = "/tmp/tine-family-XXXXXX";
	int ends[2], fd;

	CHECK_EQ(code_of(-1), -ENOENT);
	CHECK_EQ(tine_family_join(-2), -EBADF);
	CHECK_EQ(tine_family_join(1000), -EBADF);
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(code_of(ends[0]), -EBADMSG);
	close(ends[0]);
	close(ends[1]);
	fd = open("/dev/zero", O_RDWR);
	CHECK_EQ(code_of(fd), -EBADMSG);
	close(fd);
	fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 1 << 20) == 0);
	CHECK_EQ(code_of(fd), -EBADMSG);
	close(fd);
	fd = memfd_create("another", MFD_ALLOW_SEALING);
	CHECK_EQ(code_of(fd), -EBADMSG);
	CHECK_EQ(ftruncate(fd, 1 << 20), 0);
	CHECK_EQ(code_of(fd), -EBADMSG);
	close(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", tine_family_fd());
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(code_of(fd), -EACCES);
	close(fd);
}

/* The head's words, as src/memory/family.c has them. */
enum {
	MAGIC_WORD,
	STAMP_WORD,
	ID_WORD,
	PLACE_WORD,
	BASE_WORD,
	SPAN_WORD,
	SUM_WORD,
	WORDS
};

static uint64_t sum_of_words(const uint64_t *words)
{
	const uint8_t *bytes = (const uint8_t *)words;
	uint64_t hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < SUM_WORD * sizeof(*words); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

/* A file with the family's head, but for one word; WORDS: and the head is as it was. */
static int altered(unsigned word, uint64_t to, bool summed, off_t len, int seals)
{
	uint64_t head[WORDS];
	int fd = memfd_create("altered", MFD_ALLOW_SEALING);

	CHECK(fd >= 0);
	CHECK_EQ(pread(tine_family_fd(), head, sizeof(head), 0), sizeof(head));
	if (word < WORDS)
		head[word] = to;
	if (summed)
		head[SUM_WORD] = sum_of_words(head);
	CHECK_EQ(ftruncate(fd, len), 0);
	CHECK_EQ(pwrite(fd, head, sizeof(head), 0), sizeof(head));
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void is_refused(int fd, int err)
{
	CHECK_EQ(code_of(fd), err);
	close(fd);
}

TEST(other_heads_are_refused)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stat file;
	off_t len;

	CHECK_EQ(fstat(tine_family_fd(), &file), 0);
	len = file.st_size;
	/* As it is it would do. */
	is_refused(altered(WORDS, 0, false, len, seals), 0);
	is_refused(altered(WORDS, 0, true, len, seals), 0);
	is_refused(altered(MAGIC_WORD, 1, true, len, seals), -EBADMSG);
	is_refused(altered(STAMP_WORD, 1, true, len, seals), -EPROTO);
	is_refused(altered(ID_WORD, 1, false, len, seals), -EBADMSG);
	is_refused(altered(BASE_WORD, 12345, true, len, seals), -EBADMSG);
	is_refused(altered(BASE_WORD, 0, true, len, seals), -EBADMSG);
	is_refused(altered(BASE_WORD, UINT64_MAX & ~UINT64_C(65535), true, len, seals),
		   -EBADMSG);
	is_refused(altered(SPAN_WORD, 65536, true, 65536, seals), -EBADMSG);
	is_refused(altered(SPAN_WORD, 2 * (uint64_t)len, true, len, seals), -EBADMSG);
	/* Cut short before anybody sealed it, or not sealed at all. */
	is_refused(altered(WORDS, 0, false, len / 2, seals), -EBADMSG);
	is_refused(altered(WORDS, 0, false, 20, seals), -EBADMSG);
	is_refused(altered(WORDS, 0, false, len, F_SEAL_SHRINK | F_SEAL_GROW), -EBADMSG);
	is_refused(altered(WORDS, 0, false, len, F_SEAL_GROW | F_SEAL_SEAL), -EBADMSG);
	is_refused(altered(WORDS, 0, false, len, F_SEAL_SHRINK | F_SEAL_SEAL), -EBADMSG);
}

TEST(nobody_changes_its_size)
{
	struct stat file;
	int fd = through_a_socket(tine_family_fd());

	CHECK_EQ(fstat(fd, &file), 0);
	CHECK(ftruncate(fd, 0) != 0 && errno == EPERM);
	CHECK(ftruncate(fd, file.st_size - 4096) != 0 && errno == EPERM);
	CHECK(ftruncate(fd, file.st_size + 4096) != 0 && errno == EPERM);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0 && errno == EPERM);
	close(fd);
}

TEST(another_pid_namespace_is_refused)
{
	int fd = fcntl(tine_family_fd(), F_DUPFD, 100), code;
	pid_t pid = fork();

	if (pid == 0) {
		/* Its children are in the new one. */
		if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0 &&
		    unshare(CLONE_NEWPID) != 0)
			_exit(77);
		/* /proc tells of it, and is the old one's: as in a container's init. */
		pid = execute_joiner("code", "-", fd);
		_exit(-test_reap(pid) == -ENOTSUP ? 0 : 1);
	}
	code = test_reap(pid);
	close(fd);
	if (code == 77)
		test_skip("no namespaces of its own");
	CHECK_EQ(code, 0);
}

TEST(another_users_is_refused)
{
	int fd, code;
	pid_t pid;

	if (geteuid() != 0)
		test_skip("not root");
	/* Root's is anybody's who is given it; another user's is nobody's. */
	pid = fork();
	if (pid == 0) {
		CHECK_EQ(setresuid(65534, 65534, 65534), 0);
		_exit(-code_of(fcntl(tine_family_fd(), F_DUPFD, 100)));
	}
	code = test_reap(pid);
	if (code == 127)
		test_skip("the program is not to be executed by others");
	CHECK_EQ(code, 0);
	fd = altered(WORDS, 0, false, (off_t)shared_span(),
		     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	CHECK_EQ(fchown(fd, 65534, 65534), 0);
	is_refused(fd, -EPERM);
}

/* ---- in this process, as if it had not had a family -------------------------------- */

/* In a forked child. */
static void become_stranger(void)
{
	struct family *family = family_known();

	close(family->own.fd);
	CHECK_EQ(munmap(family, FAMILY_PAGE + family->span), 0);
	atomic_store(&the_family, NULL);
}

struct other {
	int fd;
	uint64_t id;
	char name[TINE_FAMILY_NAME];
	char *at;
};

static void address_is_taken(void *arg)
{
	struct other *other = arg;

	become_stranger();
	CHECK(mmap(other->at, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0) == other->at);
	CHECK_EQ(tine_family_join(other->fd), -EEXIST);
	CHECK_EQ(tine_family_id(), 0);
	CHECK_EQ(munmap(other->at, 4096), 0);
	CHECK_EQ(tine_family_join(other->fd), 0);
	CHECK_EQ(tine_family_id(), other->id);
}

TEST(nothing_else_may_be_at_its_address)
{
	struct other other = { .fd = dup(tine_family_fd()), .id = tine_family_id() };
	char *base = shared_base();

	other.at = base;
	CHECK_EQ(test_reap(test_fork(address_is_taken, &other)), 0);
	other.at = base + shared_span() - 4096;
	CHECK_EQ(test_reap(test_fork(address_is_taken, &other)), 0);
	other.at = base + shared_span() / 2;
	CHECK_EQ(test_reap(test_fork(address_is_taken, &other)), 0);
	close(other.fd);
}

static void address_space_is_short(void *arg)
{
	struct other *other = arg;
	struct rlimit limit = { (rlim_t)256 << 20, (rlim_t)256 << 20 };

	become_stranger();
	CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
	CHECK_EQ(tine_family_join(other->fd), -ENOMEM);
	CHECK_EQ(tine_family_id(), 0);
}

static void no_descriptor_is_left(void *arg)
{
	struct other *other = arg;
	int n;

	become_stranger();
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }), 0);
	do
		n = dup(0);
	while (n >= 0);
	CHECK_EQ(tine_family_join(other->fd), -EMFILE);
}

TEST(a_failure_leaves_nothing)
{
	struct other other = { .fd = dup(tine_family_fd()) };

	if (!test_under_valgrind())
		CHECK_EQ(test_reap(test_fork(address_space_is_short, &other)), 0);
	CHECK_EQ(test_reap(test_fork(no_descriptor_is_left, &other)), 0);
	close(other.fd);
}

static void there_is_one_family(void *arg)
{
	struct other *other = arg;
	void *found, *mem;
	uint64_t id;

	become_stranger();
	/* As a stranger. */
	CHECK_EQ(tine_family_id(), 0);
	CHECK_EQ(tine_family_find(&found, other->name), -EXDEV);
	/* In a family of its own. */
	mem = tine_shared_new(1, 1);
	id = tine_family_id();
	CHECK(mem && id != 0 && id != other->id);
	CHECK_EQ(tine_family_find(&found, other->name), -EXDEV);
	CHECK_EQ(tine_family_join(other->fd), -EBUSY);
	CHECK_EQ(tine_family_id(), id);
	CHECK_EQ(tine_family_join(tine_family_fd()), 0);
	tine_shared_free(mem);
}

static void joins_in_one_place(void *arg)
{
	struct other *other = arg;
	int descriptors;
	void *found;

	become_stranger();
	CHECK_EQ(tine_family_join(other->fd), 0);
	descriptors = test_descriptors();
	CHECK_EQ(tine_family_join(other->fd), 0);
	CHECK_EQ(test_descriptors(), descriptors);
	CHECK_EQ(close(other->fd), 0);
	CHECK_EQ(tine_family_find(&found, other->name), 0);
	CHECK_EQ(*(int *)found, 42);
	CHECK(fcntl(tine_family_fd(), F_GETFD) & FD_CLOEXEC);
	tine_shared_free(found);
}

TEST(a_process_is_of_one_family)
{
	int *block = tine_shared_new(1, sizeof(*block));
	struct other other = { .fd = dup(tine_family_fd()), .id = tine_family_id() };
	void *found;

	*block = 42;
	CHECK_EQ(tine_family_name(other.name, block), 0);
	CHECK_EQ(test_reap(test_fork(there_is_one_family, &other)), 0);
	CHECK_EQ(test_reap(test_fork(joins_in_one_place, &other)), 0);
	/* It has freed it. */
	CHECK_EQ(tine_family_find(&found, other.name), -ENOENT);
	close(other.fd);
}

TEST(names_are_of_the_familys_memory)
{
	char name[TINE_FAMILY_NAME], same[TINE_FAMILY_NAME];
	char *block = tine_shared_new(1, 1000);
	static const char *const wrong[] = { "", "x", "-", "0-0 ", "12-34", "0x1-2" };
	void *found = NULL;

	CHECK_EQ(tine_family_name(name, block + 500), 0);
	CHECK_EQ(tine_family_find(&found, name), 0);
	CHECK(found == block + 500);
	CHECK_EQ(tine_family_name(name, name), -ENOENT);
	CHECK_EQ(tine_family_name(name, (char *)shared_base() + shared_span() - 1),
		 -ENOENT);
	CHECK_EQ(tine_family_name(name, shared_base()), -ENOENT);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK_EQ(tine_family_find(&found, wrong[i]), -EINVAL);
	/* One letter more, and one that another number would be written with. */
	snprintf(same, sizeof(same), "%.38s0", name);
	CHECK(tine_family_find(&found, same) != 0);
	snprintf(same, sizeof(same), "+%.38s", name + 1);
	CHECK_EQ(tine_family_find(&found, same), -EINVAL);
	CHECK(found == block + 500);
	tine_shared_free(block);
	CHECK_EQ(tine_family_find(&found, name), -ENOENT);
}

/* Every call; they are not to look at it. */
static void refuses(tine_queue *queue, int err)
{
	tine_lease lease;
	void *mem = NULL;
	long n = 0;

	CHECK_EQ(tine_queue_put(queue, &n, sizeof(n), TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_put_many(queue, &n, 1, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_get(queue, &n, sizeof(n), TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_get_many(queue, &n, 1, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_lease(queue, &n, sizeof(n), &lease, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_ack(queue, 0), err);
	CHECK_EQ(tine_queue_nack(queue, 0), err);
	CHECK_EQ(tine_queue_reserve(queue, 1, &mem), err);
	CHECK_EQ(tine_queue_commit(queue, &n, 1, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_take(queue, (const void **)&mem, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_release(queue, &n), err);
	CHECK_EQ(tine_queue_drained(queue, TINE_NOWAIT), err);
	CHECK_EQ(tine_queue_join(queue), err);
	CHECK_EQ(tine_queue_close(queue), err);
	CHECK_EQ(tine_queue_len(queue), 0);
	tine_queue_free(queue);
}

/* One in a hundred lies so that their addresses alone do not tell them apart. */
static void begin_another_family(const void *of_the_first)
{
	do {
		if (family_known())
			become_stranger();
		CHECK(tine_shared_new(1, 1) != NULL);
	} while (is_near_family(of_the_first));
}

static void has_a_strangers_queue(void *queue)
{
	become_stranger();
	refuses(queue, -EXDEV);
	begin_another_family(queue);
	refuses(queue, -EXDEV);
}

static void refuses_objects(struct scene *scene)
{
	tine_lock own = { 0 };
	tine_waiter *waiter;

	CHECK_EQ(tine_waiter_new(&waiter), 0);
	CHECK_EQ(tine_waiter_arm_event(waiter, &scene->go), -EXDEV);
	tine_waiter_free(waiter);
	CHECK_EQ(tine_lock_init(&scene->lock, NULL), -EXDEV);
	CHECK_EQ(tine_lock_acquire(&scene->lock, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_sem_init(&scene->sem, NULL), -EXDEV);
	CHECK_EQ(tine_sem_wait(&scene->sem, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_sem_post(&scene->sem, 1), -EXDEV);
	CHECK_EQ(tine_sem_value(&scene->sem), -EXDEV);
	CHECK_EQ(tine_rwlock_read(&scene->rwlock, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_rwlock_write(&scene->rwlock, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_rwlock_release(&scene->rwlock), -EXDEV);
	CHECK_EQ(tine_event_set(&scene->go), -EXDEV);
	CHECK_EQ(tine_event_clear(&scene->go), -EXDEV);
	CHECK_EQ(tine_event_wait(&scene->go, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_cond_wake(&scene->cond, 1), -EXDEV);
	CHECK_EQ(tine_lock_acquire(&own, TINE_NOWAIT), 0);
	CHECK_EQ(tine_cond_wait(&scene->cond, &own, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_cond_wait((tine_cond *)&own, &scene->lock, TINE_NOWAIT), -EXDEV);
	CHECK_EQ(tine_lock_release(&own), 0);
	CHECK_EQ(tine_barrier_wait(&scene->barrier, 1, TINE_NOWAIT), -EXDEV);
	tine_shared_free(scene);
}

static void has_a_strangers_objects(void *scene)
{
	become_stranger();
	refuses_objects(scene);
	begin_another_family(scene);
	refuses_objects(scene);
}

TEST(objects_of_another_family_are_refused)
{
	struct scene *scene = make_scene();

	CHECK_EQ(test_reap(test_fork(has_a_strangers_objects, scene)), 0);
	CHECK_EQ(tine_lock_acquire(&scene->lock, TINE_NOWAIT), 0);
	CHECK_EQ(tine_lock_release(&scene->lock), 0);
	free_scene(scene);
	test_grows_no_further();
}

TEST(a_queue_of_another_family_is_refused)
{
	char *block = tine_shared_new(1, 4096);
	tine_queue *queue;
	long n = 1;

	CHECK_EQ(tine_queue_new(&queue, sizeof(long), NULL), 0);
	CHECK_EQ(tine_queue_put(queue, &n, sizeof(n), TINE_NOWAIT), 0);
	CHECK_EQ(test_reap(test_fork(has_a_strangers_queue, queue)), 0);
	CHECK_EQ(tine_queue_len(queue), 1);
	refuses((tine_queue *)block, -EINVAL);
	refuses((tine_queue *)&n, -EXDEV);
	tine_queue_free(queue);
	refuses(queue, -EINVAL);
	tine_shared_free(block);
}

static void close_it(void *arg)
{
	int fd = tine_family_fd();

	(void)arg;
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(tine_family_fd(), -EBADF);
	CHECK_EQ(dup2(0, fd), fd);
	CHECK_EQ(tine_family_fd(), -EBADF);
	CHECK_EQ(tine_process_spawn(
			 &(tine_process *){ NULL },
			 &(tine_command){ .argv = (const char *const[]){ "true", NULL },
					  .family = true },
			 NULL),
		 -EBADF);
	CHECK(tine_shared_new(1, 1) != NULL);
}

TEST(a_closed_one_is_told_from_anothers)
{
	CHECK_EQ(test_reap(test_fork(close_it, NULL)), 0);
	test_grows_no_further();
}

/* ---- deaths ------------------------------------------------------------------------ */

TEST(a_joiner_outlives_the_founder)
{
	int ends[2], status;
	char text[16] = "";
	pid_t pid;

	CHECK_EQ(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		struct scene *scene;
		char name[TINE_FAMILY_NAME];
		int fd;

		become_stranger();
		scene = make_scene();
		fd = fcntl(tine_family_fd(), F_DUPFD, 100);
		CHECK_EQ(tine_family_name(name, scene), 0);
		CHECK_EQ(tine_queue_put(scene->to, &(long){ 1 }, sizeof(long),
					TINE_NOWAIT),
			 0);
		CHECK_EQ(tine_lock_acquire(&scene->lock, TINE_NOWAIT), 0);
		dup2(ends[1], 1);
		close(ends[1]);
		execute_joiner("outlive", name, fd);
		CHECK_EQ(tine_event_wait(&scene->begun, tine_after(60000)), 0);
		kill(getpid(), SIGKILL);
	}
	close(ends[1]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_EQ(read(ends[0], text, sizeof(text)), 9);
	CHECK_EQ(strcmp(text, "outlived\n"), 0);
	close(ends[0]);
}

TEST(what_a_program_was_before_is_buried)
{
	struct scene *scene = make_scene();
	char name[TINE_FAMILY_NAME];
	int fd = fcntl(tine_family_fd(), F_DUPFD, 0);
	long n = 5;

	CHECK_EQ(tine_family_name(name, scene), 0);
	CHECK_EQ(tine_queue_put(scene->to, &n, sizeof(n), TINE_NOWAIT), 0);
	CHECK_EQ(test_reap(execute_joiner("execute-again", name, fd)), 0);
	CHECK_EQ(tine_queue_len(scene->to), 0);
	close(fd);
	free_scene(scene);
	test_grows_no_further();
}

TEST(what_a_program_held_is_back_when_it_joins)
{
	struct scene *scene = make_scene();
	char name[TINE_FAMILY_NAME];
	int fd = fcntl(tine_family_fd(), F_DUPFD, 0);
	long n = 5;
	pid_t pid;

	scene->state = 1;
	CHECK_EQ(tine_family_name(name, scene), 0);
	CHECK_EQ(tine_queue_put(scene->to, &n, sizeof(n), TINE_NOWAIT), 0);
	pid = execute_joiner("execute-again", name, fd);
	CHECK_EQ(tine_event_wait(&scene->begun, tine_after(60000)), 0);
	CHECK_EQ(tine_queue_get(scene->to, &n, sizeof(n), tine_after(20000)), sizeof(n));
	CHECK_EQ(n, 5);
	tine_event_set(&scene->go);
	CHECK_EQ(test_reap(pid), 0);
	close(fd);
	free_scene(scene);
	test_grows_no_further();
}

struct joining {
	int fd;
	struct scene *scene;
	uint64_t id;
};

static void forget_family(void *arg)
{
	(void)arg;
	become_stranger();
}

static void join_it(void *arg)
{
	struct joining *joining = arg;

	if (tine_family_join(joining->fd) != 0 || tine_family_id() != joining->id)
		_exit(1);
}

static void nothing_is_amiss(void *arg, long step)
{
	struct joining *joining = arg;
	long n;

	(void)step;
	members_sweep();
	CHECK_EQ(shared_check(), 0);
	CHECK_EQ(tine_family_id(), joining->id);
	CHECK_EQ(tine_queue_put(joining->scene->to, &(long){ 1 }, sizeof(n), TINE_NOWAIT),
		 0);
	CHECK_EQ(tine_queue_get(joining->scene->to, &n, sizeof(n), TINE_NOWAIT),
		 sizeof(n));
}

static void join_beside(void *arg)
{
	become_stranger();
	join_it(arg);
}

static void others_join(void *arg, long step)
{
	test_call_beside(join_beside, arg);
	nothing_is_amiss(arg, step);
}

static void make_joining(struct joining *joining)
{
	joining->fd = dup(tine_family_fd());
	joining->id = tine_family_id();
	joining->scene = make_scene();
	nothing_is_amiss(joining, 0);
}

static void end_joining(struct joining *joining)
{
	close(joining->fd);
	free_scene(joining->scene);
	test_grows_no_further();
}

TEST(a_death_at_any_instruction_of_joining_is_a_strangers)
{
	struct steps steps = { .before = forget_family,
			       .fn = join_it,
			       .after = nothing_is_amiss };
	struct joining joining;

	make_joining(&joining);
	test_kill_some_steps(&steps, &joining, 40);
	end_joining(&joining);
}

TEST(who_is_stopped_in_joining_holds_up_nobody)
{
	struct stops stops = { .before = forget_family,
			       .fn = join_it,
			       .beside = others_join };
	struct joining joining;

	make_joining(&joining);
	test_stop_some_steps(&stops, &joining, 200);
	end_joining(&joining);
}

/* By the hundred, and every other one of them is killed wherever it is. */
TEST(many_join_while_members_die)
{
	long n = test_sampled(1000);
	struct scene *scene = make_scene();
	char name[TINE_FAMILY_NAME];
	int fd = fcntl(tine_family_fd(), F_DUPFD, 0);
	unsigned seed = (unsigned)test_seed();
	long killed = 0, whole = 0;

	CHECK_EQ(tine_family_name(name, scene), 0);
	tine_queue_free(scene->to);
	/* Those that come and go are not to be its end. */
	CHECK_EQ(tine_queue_new(&scene->to, sizeof(long),
				&(tine_queue_opts){ .producers = UINT32_MAX }),
		 0);
	for (long i = 0; i < n; i += 4) {
		pid_t pids[4];

		for (int k = 0; k < 4; k++)
			pids[k] = execute_joiner("come-and-go", name, fd);
		test_sleep_us(rand_r(&seed) % 4000);
		for (int k = 0; k < 4; k += 2)
			kill(pids[k], SIGKILL);
		for (int k = 0; k < 4; k++) {
			int code = test_reap(pids[k]);

			CHECK(code == 0 || code == -SIGKILL);
			killed += code == -SIGKILL;
			whole += code == 0;
		}
		CHECK_EQ(shared_check(), 0);
	}
	CHECK(killed > 0 && whole >= n / 2);
	members_sweep();
	close(fd);
	free_scene(scene);
	test_grows_no_further();
}

/* Until nothing is left, and nobody lives from whom anything could come again. */
static void take_the_rest(struct scene *scene, struct board *board)
{
	const void *message;
	long i;

	members_sweep();
	while (tine_queue_get(scene->to, &i, sizeof(i), tine_after(300)) > 0)
		board->got[i]++;
	CHECK_EQ(tine_queue_len(scene->to), 0);
	while (tine_queue_take(scene->from, &message, tine_after(300)) > 0)
		CHECK_EQ(tine_queue_release(scene->from, message), 0);
	CHECK_EQ(tine_queue_len(scene->from), 0);
}

static void all_is_well(struct scene *scene, struct board *board, long deaths)
{
	long twice = 0;

	take_the_rest(scene, board);
	for (uint32_t i = 0; i < board->messages; i++) {
		CHECK(!board->put[i] || board->got[i] > 0);
		twice += board->got[i] > 1 ? board->got[i] - 1 : 0;
	}
	/* A lease comes again once for each death, and for each program executed. */
	CHECK(twice <= deaths + (long)board->executed + (long)board->forked);
	CHECK_EQ(shared_check(), 0);
}

TEST(many_work_together_and_die)
{
	long n = test_sampled(400), deaths = 0;
	struct scene *scene = make_scene();
	struct board *board = tine_shared_new(1, sizeof(*board));
	char name[TINE_FAMILY_NAME];
	int fd = fcntl(tine_family_fd(), F_DUPFD, 0);
	unsigned random = (unsigned)test_seed();

	/* What the dead have started is killed as well, and waited for here. */
	CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	scene->block = board;
	tine_queue_free(scene->to);
	CHECK_EQ(tine_queue_new(&scene->to, sizeof(long),
				&(tine_queue_opts){ .producers = UINT32_MAX,
						    .capacity = 100000 }),
		 0);
	tine_queue_free(scene->from);
	CHECK_EQ(tine_queue_new(&scene->from, 0,
				&(tine_queue_opts){ .producers = UINT32_MAX,
						    .capacity = 100000 }),
		 0);
	CHECK_EQ(tine_sem_post(&scene->sem, 3), 0);
	board->seeds = random;
	CHECK_EQ(tine_family_name(name, scene), 0);
	for (long i = 0; i < n; i += 8) {
		pid_t pids[8];

		for (int k = 0; k < 8; k++)
			pids[k] = execute_joiner("work", name, fd);
		test_sleep_us(rand_r(&random) % 20000);
		for (int k = 0; k < 8; k++)
			kill(pids[k], rand_r(&random) % 3 ? SIGSTOP : SIGKILL);
		test_sleep_us(rand_r(&random) % 20000);
		for (int k = 0; k < 8; k++)
			kill(pids[k], rand_r(&random) % 3 ? SIGCONT : SIGKILL);
		for (int k = 0; k < 8; k++) {
			int code = test_reap(pids[k]);

			CHECK(code == 0 || code == -SIGKILL);
			deaths += code != 0;
		}
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	CHECK(deaths > 0 && board->began > board->forked + board->executed);
	all_is_well(scene, board, deaths);
	close(fd);
	free_scene(scene);
	/* The dead leave what they had allocated. */
	test_grows_no_further();
}
