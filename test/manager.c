/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- a folder of the test's own ---------------------------------------------------- */

static char folder[] = "/tmp/tine-test-XXXXXX";

static void make_folder(void)
{
	CHECK(mkdtemp(folder) != NULL);
	setenv("TMPDIR", folder, 1);
}

static int entries(void)
{
	DIR *dir = opendir(folder);
	int n = -2; /* . and .. */

	CHECK(dir != NULL);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void remove_folder(void)
{
	CHECK_EQ(rmdir(folder), 0);
}

static void need_server(void)
{
	tine_manager *manager;

	if (tine_manager_start(&manager, NULL) == -ENOENT)
		test_skip("no redis-server");
	tine_manager_free(manager);
}

/* ---- what it is -------------------------------------------------------------------- */

static void path_of(const tine_manager *manager, char *path)
{
	CHECK_EQ(sscanf(tine_manager_url(manager), "unix:%107[^?]", path), 1);
}

static void serves(const tine_manager *manager)
{
	tine_store *store;
	int64_t now = 0;
	int err = tine_store_open(&store, tine_manager_url(manager), NULL);

	if (err == -EPROTONOSUPPORT)
		return;
	CHECK_EQ(err, 0);
	CHECK_EQ(tine_store_add(store, "n", 7, &now), 0);
	CHECK_EQ(now, 7);
	CHECK_EQ(tine_store_del(store, "n"), 0);
	tine_store_free(store);
}

TEST(it_serves_in_a_folder_of_its_own)
{
	tine_manager *manager;
	char path[108];
	struct stat file;

	need_server();
	make_folder();
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	path_of(manager, path);
	CHECK(strncmp(path, folder, strlen(folder)) == 0);
	CHECK(lstat(path, &file) == 0 && S_ISSOCK(file.st_mode));
	CHECK_EQ(file.st_mode & 07777, 0600);
	*strrchr(path, '/') = '\0';
	CHECK(lstat(path, &file) == 0);
	CHECK_EQ(file.st_mode & 07777, 0700);
	CHECK(test_alive(tine_manager_pid(manager)));
	serves(manager);
	tine_manager_free(manager);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

TEST(it_serves_at_a_path)
{
	static const char *const names[] = { "socket", "odd %? & name", "./socket" };
	tine_manager *manager;
	char path[300];

	need_server();
	make_folder();
	CHECK_EQ(chdir(folder), 0);
	for (int i = 0; i < 6; i++) {
		/* Also from the folder where it is. */
		snprintf(path, sizeof(path), "%s/%s", folder, names[i / 2]);
		CHECK_EQ(tine_manager_start(&manager, i % 2 ? names[i / 2] : path), 0);
		CHECK_EQ(entries(), 1);
		CHECK_EQ(chdir("/"), 0);
		serves(manager);
		CHECK_EQ(chdir(folder), 0);
		tine_manager_free(manager);
		CHECK_EQ(entries(), 0);
	}
	remove_folder();
}

TEST(two_are_two)
{
	tine_manager *first, *second;

	need_server();
	make_folder();
	CHECK_EQ(tine_manager_start(&first, NULL), 0);
	CHECK_EQ(tine_manager_start(&second, NULL), 0);
	CHECK(strcmp(tine_manager_url(first), tine_manager_url(second)) != 0);
	CHECK(tine_manager_pid(first) != tine_manager_pid(second));
	serves(second);
	tine_manager_free(first);
	serves(second);
	tine_manager_free(second);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

TEST(bad_paths)
{
	tine_manager *manager = (void *)1;
	char path[300];

	make_folder();
	CHECK_EQ(tine_manager_start(NULL, NULL), -EINVAL);
	CHECK_EQ(tine_manager_start(&manager, ""), -EINVAL);
	CHECK_EQ(tine_manager_start(&manager, folder), -EADDRINUSE);
	snprintf(path, sizeof(path), "%s/none/socket", folder);
	CHECK_EQ(tine_manager_start(&manager, path), -ENOENT);
	snprintf(path, sizeof(path), "%s/%0*d", folder, (int)(107 - strlen(folder)), 0);
	CHECK_EQ(tine_manager_start(&manager, path), -ENAMETOOLONG);
	/* As long as may be. */
	path[107] = '\0';
	need_server();
	CHECK_EQ(tine_manager_start(&manager, path), 0);
	CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	serves(manager);
	tine_manager_free(manager);
	tine_manager_free(NULL);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

TEST(no_server_in_the_path)
{
	tine_manager *manager = (void *)1;

	make_folder();
	setenv("PATH", folder, 1);
	CHECK_EQ(tine_manager_start(&manager, NULL), -ENOENT);
	CHECK(manager == (void *)1);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

/* In place of redis-server, a program that ends at once. */
TEST(a_server_that_does_not_start)
{
	tine_manager *manager = (void *)1;
	char path[64];

	make_folder();
	snprintf(path, sizeof(path), "%s/redis-server", folder);
	CHECK_EQ(symlink("/bin/false", path), 0);
	setenv("PATH", folder, 1);
	CHECK_EQ(tine_manager_start(&manager, NULL), -TINE_ECRASH);
	CHECK(manager == (void *)1);
	CHECK_EQ(entries(), 1);
	unlink(path);
	remove_folder();
}

TEST(want_of_memory_and_descriptors)
{
	tine_manager *manager = (void *)1;
	struct rlimit limit, less;
	int lowest;

	make_folder();
	test_fail_allocation(1);
	CHECK_EQ(tine_manager_start(&manager, NULL), -ENOMEM);
	test_fail_allocation(0);
	lowest = dup(STDOUT_FILENO);
	close(lowest);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int more = 0; more < 3; more++) {
		less = limit;
		less.rlim_cur = (rlim_t)(lowest + more);
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &less), 0);
		CHECK_EQ(tine_manager_start(&manager, NULL), -EMFILE);
	}
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK(manager == (void *)1);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

/* ---- deaths ------------------------------------------------------------------------ */

struct line {
	_Atomic pid_t server;
	const char *at; /* or NULL */
	char path[108], url[600];
};

static void starts_one(void *arg)
{
	struct line *line = arg;
	tine_manager *manager;

	/* As a program that has closed them would. */
	close(STDIN_FILENO);
	CHECK_EQ(tine_manager_start(&manager, line->at), 0);
	path_of(manager, line->path);
	strcpy(line->url, tine_manager_url(manager));
	line->server = tine_manager_pid(manager);
	pause();
}

static pid_t start_elsewhere(struct line *line)
{
	pid_t pid;

	line->server = 0;
	pid = test_fork(starts_one, line);
	while (line->server == 0)
		test_sleep_us(200);
	return pid;
}

static void nothing_is_left(pid_t server)
{
	int64_t end = tine_after(10000);

	while ((test_alive(server) || entries() > 0) && tine_now() < end)
		test_sleep_us(500);
	CHECK(!test_alive(server));
	CHECK_EQ(entries(), 0);
}

TEST(it_ends_with_its_creator)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGSEGV };
	struct line *line = tine_shared_new(1, sizeof(*line));

	need_server();
	make_folder();
	for (int i = 0; i < 3; i++) {
		pid_t pid = start_elsewhere(line);

		kill(pid, signals[i]);
		CHECK_EQ(test_reap(pid), -signals[i]);
		nothing_is_left(line->server);
	}
	tine_shared_free(line);
	remove_folder();
}

/* At any moment of the start as well. */
TEST(it_ends_with_its_creator_at_any_moment)
{
	struct line *line = tine_shared_new(1, sizeof(*line));
	int64_t end;

	need_server();
	make_folder();
	for (long i = 0; i < test_scaled(40); i++) {
		pid_t pid = test_fork(starts_one, line);

		test_sleep_us(500 * i);
		kill(pid, SIGKILL);
		CHECK_EQ(test_reap(pid), -SIGKILL);
	}
	/* The keepers end a little later. */
	end = tine_after(10000);
	while ((entries() > 0 || waitpid(-1, NULL, WNOHANG) == 0) && tine_now() < end)
		test_sleep_us(1000);
	CHECK_EQ(entries(), 0);
	tine_shared_free(line);
	remove_folder();
}

TEST(the_server_is_killed)
{
	tine_manager *manager;
	char path[108];

	need_server();
	make_folder();
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	path_of(manager, path);
	kill(tine_manager_pid(manager), SIGKILL);
	nothing_is_left(tine_manager_pid(manager));
	/* What somebody else puts there then is not ours. */
	*strrchr(path, '/') = '\0';
	CHECK_EQ(mkdir(path, 0700), 0);
	tine_manager_free(manager);
	CHECK_EQ(entries(), 1);
	CHECK_EQ(rmdir(path), 0);
	remove_folder();
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[256];
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	fclose(file);
	return parent;
}

TEST(the_keeper_is_killed)
{
	tine_manager *manager;
	pid_t keeper, server;

	need_server();
	make_folder();
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	server = tine_manager_pid(manager);
	keeper = parent_of(server);
	CHECK(keeper != getpid());
	kill(keeper, SIGKILL);
	for (int i = 0; i < 10000 && test_alive(server); i++)
		test_sleep_us(1000);
	CHECK(!test_alive(server));
	tine_manager_free(manager);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

static bool is_gone(pid_t pid)
{
	int64_t end = tine_after(20000);

	while (test_alive(pid) && tine_now() < end)
		test_sleep_us(1000);
	return !test_alive(pid);
}

/* Which nobody continues. */
TEST(the_keeper_is_stopped)
{
	tine_manager *manager;
	pid_t keeper, server, pid;

	need_server();
	make_folder();
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	server = tine_manager_pid(manager);
	keeper = parent_of(server);
	kill(keeper, SIGSTOP);
	serves(manager);
	/* A fork beside it. */
	pid = fork();
	if (pid == 0) {
		serves(manager);
		tine_manager_free(manager);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	serves(manager);
	tine_manager_free(manager);
	CHECK(is_gone(keeper) && is_gone(server));
	CHECK_EQ(entries(), 0);
	remove_folder();
}

/* In place of redis-server, a program that stops the keeper and does nothing else. */
TEST(the_keeper_is_stopped_at_the_start)
{
	tine_manager *manager = (void *)1;
	char path[64], mark[64];
	int64_t begun;
	FILE *file;
	int pid = 0;

	make_folder();
	snprintf(path, sizeof(path), "%s/redis-server", folder);
	snprintf(mark, sizeof(mark), "%s/pid", folder);
	file = fopen(path, "we");
	CHECK(file != NULL);
	fprintf(file, "#!/bin/sh\nkill -STOP $PPID\necho $$ >%s\nexec /bin/sleep 600\n",
		mark);
	CHECK_EQ(fchmod(fileno(file), 0700), 0);
	fclose(file);
	setenv("PATH", folder, 1);
	begun = tine_now();
	CHECK_EQ(tine_manager_start(&manager, NULL), -ETIMEDOUT);
	/* It has no time of its own to end, which would be another five seconds. */
	CHECK(tine_now() - begun < INT64_C(9500000000));
	CHECK(manager == (void *)1);
	file = fopen(mark, "re");
	CHECK(file != NULL && fscanf(file, "%d", &pid) == 1);
	fclose(file);
	CHECK(is_gone(pid));
	unlink(mark);
	unlink(path);
	remove_folder();
}

/* One that is killed listens until the last of its threads has ended. */
static void await_silence(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int64_t end = tine_after(10000);

	strcpy(address.sun_path, path);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	       tine_now() < end) {
		close(fd);
		test_sleep_us(1000);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	CHECK_EQ(errno, ECONNREFUSED);
	close(fd);
}

/* Leaves a socket at the path that nobody listens to. */
static void leave_dead(const char *path)
{
	struct line *line = tine_shared_new(1, sizeof(*line));
	struct stat file;
	pid_t pid, keeper;

	line->at = path;
	pid = start_elsewhere(line);
	keeper = parent_of(line->server);
	kill(keeper, SIGSTOP);
	kill(pid, SIGKILL);
	kill(keeper, SIGKILL);
	CHECK_EQ(test_reap(pid), -SIGKILL);
	await_silence(path);
	CHECK(lstat(path, &file) == 0 && S_ISSOCK(file.st_mode));
	tine_shared_free(line);
}

TEST(the_place_of_a_dead_socket_is_taken)
{
	tine_manager *manager;
	char path[64];

	need_server();
	make_folder();
	snprintf(path, sizeof(path), "%s/socket", folder);
	for (int i = 0; i < 3; i++) {
		leave_dead(path);
		CHECK_EQ(entries(), 1);
		CHECK_EQ(tine_manager_start(&manager, path), 0);
		serves(manager);
		tine_manager_free(manager);
		CHECK_EQ(entries(), 0);
	}
	remove_folder();
}

static void locks_and_stops(void *arg)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)arg;
	CHECK_EQ(flock(fd, LOCK_EX), 0);
	raise(SIGSTOP);
	_exit(0);
}

/* Another that starts one there is stopped: nothing is done without the lock. */
TEST(another_is_stopped_at_the_same_path)
{
	tine_manager *manager = (void *)1;
	char path[64];
	pid_t pid;
	int how;

	need_server();
	make_folder();
	snprintf(path, sizeof(path), "%s/socket", folder);
	leave_dead(path);
	pid = test_fork(locks_and_stops, NULL);
	CHECK_EQ(waitpid(pid, &how, WUNTRACED), pid);
	CHECK(WIFSTOPPED(how));
	CHECK_EQ(tine_manager_start(&manager, path), -ETIMEDOUT);
	CHECK(manager == (void *)1);
	/* What is dead there is not taken away. */
	CHECK_EQ(entries(), 1);
	kill(pid, SIGCONT);
	CHECK_EQ(test_reap(pid), 0);
	CHECK_EQ(tine_manager_start(&manager, path), 0);
	tine_manager_free(manager);
	remove_folder();
}

TEST(nothing_else_gives_its_place)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	tine_manager *manager = (void *)1, *first;
	struct stat file;
	char path[64];
	int fd;

	need_server();
	make_folder();
	snprintf(path, sizeof(path), "%s/socket", folder);
	strcpy(address.sun_path, path);
	CHECK_EQ(close(creat(path, 0600)), 0);
	CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	CHECK(lstat(path, &file) == 0 && S_ISREG(file.st_mode));
	unlink(path);
	CHECK_EQ(symlink("/nowhere", path), 0);
	CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	CHECK(lstat(path, &file) == 0 && S_ISLNK(file.st_mode));
	unlink(path);
	/* Sockets that live, of both kinds; the second accepts nobody any more. */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	close(fd);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(fd, 0) == 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	close(fd);
	unlink(path);
	CHECK_EQ(tine_manager_start(&first, path), 0);
	CHECK_EQ(tine_manager_start(&manager, path), -EADDRINUSE);
	CHECK(manager == (void *)1);
	serves(first);
	tine_manager_free(first);
	remove_folder();
}

TEST(what_is_anothers_by_now_is_not_removed)
{
	tine_manager *first, *second;
	char path[64];

	need_server();
	make_folder();
	snprintf(path, sizeof(path), "%s/socket", folder);
	CHECK_EQ(tine_manager_start(&first, path), 0);
	kill(parent_of(tine_manager_pid(first)), SIGKILL);
	await_silence(path);
	CHECK_EQ(tine_manager_start(&second, path), 0);
	tine_manager_free(first);
	serves(second);
	tine_manager_free(second);
	CHECK_EQ(entries(), 0);
	remove_folder();
}

TEST(of_many_at_a_dead_socket_one_takes_its_place)
{
	enum { MANY = 6 };
	_Atomic int *tried = tine_shared_new(1, sizeof(*tried));
	char path[64];
	pid_t pids[MANY];

	need_server();
	make_folder();
	snprintf(path, sizeof(path), "%s/socket", folder);
	for (long i = 0; i < test_scaled(20); i++) {
		int64_t at;
		int started = 0;

		leave_dead(path);
		*tried = 0;
		at = tine_after(20);
		for (int n = 0; n < MANY; n++) {
			pids[n] = fork();
			CHECK(pids[n] >= 0);
			if (pids[n] == 0) {
				tine_manager *manager;
				int err;

				while (tine_now() < at)
					;
				err = tine_manager_start(&manager, path);
				CHECK(err == 0 || err == -EADDRINUSE);
				++*tried;
				if (err)
					_exit(0);
				while (*tried < MANY)
					test_sleep_us(200);
				serves(manager);
				tine_manager_free(manager);
				_exit(1);
			}
		}
		for (int n = 0; n < MANY; n++)
			started += test_reap(pids[n]);
		CHECK_EQ(started, 1);
		CHECK_EQ(entries(), 0);
	}
	tine_shared_free((void *)tried);
	remove_folder();
}

/* Of no descriptor of the creator's has anybody a copy. */
TEST(it_holds_nothing_open)
{
	tine_manager *manager;
	int ends[2];
	char byte;

	need_server();
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	close(ends[1]);
	CHECK_EQ(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	tine_manager_free(manager);
}

TEST(a_child_frees_its_copy)
{
	tine_manager *manager;
	pid_t pid;

	need_server();
	CHECK_EQ(tine_manager_start(&manager, NULL), 0);
	pid = fork();
	if (pid == 0) {
		tine_manager_free(manager);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	serves(manager);
	tine_manager_free(manager);
}
