/* SPDX-License-Identifier: MIT */
/* Keys of a store that events mirror, and the process that does it. */
#include "store_engines.h"

#include <dirent.h>

#define KEYS 10

static void set(tine_store *store, const char *key, const char *text)
{
	CHECK_EQ(tine_store_set(store, key, text, strlen(text)), 0);
}

static const char *name_of(int i)
{
	static char name[16];

	snprintf(name, sizeof(name), "key-%d", i);
	return name;
}

/* How many children of this process have the name, dead ones apart; one of them. */
static int watchers_of(pid_t parent, pid_t *one)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int n = 0;

	CHECK(proc != NULL);
	while ((entry = readdir(proc)) != NULL) {
		char path[300], text[512] = "", comm[32], state;
		int pid, above;
		FILE *file;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(text, sizeof(text), file) &&
		    sscanf(text, "%d (%31[^)]) %c %d", &pid, comm, &state, &above) == 4 &&
		    above == parent && strcmp(comm, "tine-watch") == 0 && state != 'Z') {
			*one = pid;
			n++;
		}
		fclose(file);
	}
	closedir(proc);
	return n;
}

/* That of this process, which has one. */
static pid_t watcher(void)
{
	pid_t pid = 0;

	CHECK_EQ(watchers_of(getpid(), &pid), 1);
	return pid;
}

static bool dies(pid_t pid)
{
	int64_t end = tine_after(20000);

	while (test_alive(pid) && tine_now() < end)
		test_sleep_us(1000);
	return !test_alive(pid);
}

static bool is_stopped(pid_t pid)
{
	char path[64], text[512] = "", state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(text, sizeof(text), file))
		sscanf(text, "%*d (%*[^)]) %c", &state);
	fclose(file);
	return state == 'T';
}

/* And waits until it is. */
static void stop(pid_t pid)
{
	kill(pid, SIGSTOP);
	while (!is_stopped(pid))
		test_sleep_us(200);
}

static int sockets_of(pid_t pid)
{
	char path[300], target[64];
	struct dirent *entry;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, entry->d_name);
		len = readlink(path, target, sizeof(target));
		n += len > 7 && strncmp(target, "socket:", 7) == 0;
	}
	closedir(dir);
	return n;
}

/* ---- what is mirrored -------------------------------------------------------------- */

STORE_TEST(an_event_mirrors_a_key)
{
	static const struct {
		const char *val;
		bool set;
	} cases[] = { { "1", true }, { "0", false }, { "00", true },
		      { "", false }, { "no", true }, { NULL, false } };
	tine_event *events = tine_shared_new(2, sizeof(*events)), own = { 0 };
	tine_store *store = store_open();

	CHECK_EQ(tine_store_watch(store, "", events), -EINVAL);
	CHECK_EQ(tine_store_watch(store, NULL, events), -EINVAL);
	CHECK_EQ(tine_store_watch(store, "k", NULL), -EINVAL);
	CHECK_EQ(tine_store_watch(store, "k", &own), -EINVAL);
	CHECK_EQ(tine_store_unwatch(store, events), -ENOENT);
	set(store, "k", "1");
	CHECK_EQ(tine_store_watch(store, "k", events), 0);
	CHECK(tine_event_is_set(events));
	CHECK_EQ(tine_store_watch(store, "k", events), -EBUSY);
	tine_event_set(events + 1);
	CHECK_EQ(tine_store_watch(store, "k2", events + 1), 0);
	CHECK(!tine_event_is_set(events + 1));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (cases[i].val)
			set(store, "k", cases[i].val);
		else
			CHECK_EQ(tine_store_del(store, "k"), 0);
		CHECK(becomes(events, cases[i].set));
		CHECK(!tine_event_is_set(events + 1));
	}
	/* A list is no value. */
	CHECK_EQ(tine_store_append(store, "list", "1", 1), 0);
	CHECK_EQ(tine_store_unwatch(store, events + 1), 0);
	tine_event_set(events + 1);
	CHECK_EQ(tine_store_watch(store, "list", events + 1), 0);
	CHECK(!tine_event_is_set(events + 1));
	CHECK_EQ(tine_store_unwatch(store, events + 1), 0);
	CHECK_EQ(tine_store_watch(store, "k2", events + 1), 0);
	set(store, "k", "1");
	CHECK(becomes(events, true));
	CHECK_EQ(tine_store_expire(store, "k", 30), 0);
	CHECK(becomes(events, false));
	/* No longer. */
	CHECK_EQ(tine_store_unwatch(store, events), 0);
	CHECK_EQ(tine_store_unwatch(store, events), -ENOENT);
	set(store, "k", "1");
	set(store, "k2", "1");
	CHECK(becomes(events + 1, true));
	CHECK(!tine_event_is_set(events));
	/* The other ends with the handle. */
	tine_store_free(store);
	tine_shared_free(events);
}

/* What a child inherits that has nothing to do with stores. */
static void counts_sockets(void *arg)
{
	(void)arg;
	_exit(sockets_of(getpid()));
}

/* All that a store watches costs a process and what a handle has open. */
STORE_TEST(one_process_serves_all_keys)
{
	tine_event *events = tine_shared_new(KEYS, sizeof(*events));
	int before = test_reap(test_fork(counts_sockets, NULL));
	tine_store *store = store_open();
	bool folder = strncmp(store_url, "file:", 5) == 0;
	pid_t pid;

	for (int i = 0; i < KEYS; i++) {
		set(store, name_of(i), i % 2 ? "1" : "0");
		CHECK_EQ(tine_store_watch(store, name_of(i), events + i), 0);
		CHECK_EQ(tine_event_is_set(events + i), i % 2);
	}
	/* Each is told: to find one by looking from time to time would take too long. */
	for (long n = 0; n < KEYS + test_scaled(2000); n++) {
		int i = n % KEYS;
		bool is = tine_event_is_set(events + i);

		set(store, name_of(i), is ? "0" : "1");
		CHECK(becomes(events + i, !is));
	}
	/* Those whose time is over at once, and of which nobody says so. */
	for (int i = 0; i < KEYS; i++) {
		set(store, name_of(i), "1");
		CHECK(becomes(events + i, true));
		CHECK_EQ(tine_store_expire(store, name_of(i), 20), 0);
	}
	for (int i = 0; i < KEYS; i++)
		CHECK(becomes(events + i, false));
	pid = watcher();
	CHECK_EQ(sockets_of(pid), before + 1 + (folder ? 0 : 2));
	for (int i = 0; i < KEYS; i++)
		CHECK_EQ(tine_store_unwatch(store, events + i), 0);
	CHECK_EQ(watchers_of(getpid(), &pid), 0);
	tine_store_free(store);
	tine_shared_free(events);
}

static _Atomic bool *enough;

static void changes_all(void *arg)
{
	tine_store *store = store_open();

	(void)arg;
	for (int n = 0; !*enough; n++)
		set(store, name_of(n % KEYS), n / KEYS % 2 ? "1" : "0");
	for (int i = 0; i < KEYS; i++)
		set(store, name_of(i), i % 2 ? "1" : "0");
	tine_store_free(store);
}

STORE_TEST(keys_come_and_go_while_they_change)
{
	tine_event *events = tine_shared_new(KEYS, sizeof(*events));
	bool watched[KEYS] = { false }, left[KEYS] = { false };
	tine_store *store = store_open();
	uint64_t draw = test_seed() | 1;
	pid_t pid;

	enough = tine_shared_new(1, sizeof(*enough));
	pid = test_fork(changes_all, NULL);
	for (long n = 0; n < test_scaled(80) + KEYS; n++) {
		int i = (draw = draw * 6364136223846793005u + 1) >> 40 & 0xffff;

		i %= KEYS;
		if (watched[i]) {
			CHECK_EQ(tine_store_unwatch(store, events + i), 0);
			left[i] = tine_event_is_set(events + i);
		} else {
			CHECK_EQ(tine_store_watch(store, name_of(i), events + i), 0);
		}
		watched[i] = !watched[i];
		for (int k = 0; k < KEYS; k++)
			CHECK(watched[k] || tine_event_is_set(events + k) == left[k]);
	}
	*enough = true;
	CHECK_EQ(test_reap(pid), 0);
	for (int i = 0; i < KEYS; i++)
		CHECK(becomes(events + i, watched[i] ? i % 2 : left[i]));
	/* And stay so. */
	test_sleep_us(20000);
	for (int i = 0; i < KEYS; i++)
		CHECK_EQ(tine_event_is_set(events + i), watched[i] ? i % 2 : left[i]);
	tine_store_free(store);
	CHECK_EQ(watchers_of(getpid(), &pid), 0);
	tine_shared_free((void *)enough);
	tine_shared_free(events);
}

/* ---- its death, and being stopped -------------------------------------------------- */

/* It is gone, or does nothing: what is watched or unwatched next mends that for all. */
static void mend(tine_store *store, tine_event *events, int how)
{
	static const int signals[] = { SIGKILL, SIGSTOP };
	pid_t pid;

	for (int n = 0; n < 4; n++) {
		pid = watcher();
		if (signals[how] == SIGSTOP) {
			stop(pid);
		} else {
			kill(pid, SIGKILL);
			CHECK(dies(pid));
		}
		for (int i = 0; i < 3; i++)
			set(store, name_of(i), n % 2 ? "0" : "1");
		test_sleep_us(10000);
		for (int i = 0; i < 3; i++)
			CHECK_EQ(tine_event_is_set(events + i), n % 2);
		if (n % 2)
			CHECK_EQ(tine_store_unwatch(store, events + 3), 0);
		else
			CHECK_EQ(tine_store_watch(store, "more", events + 3), 0);
		CHECK(dies(pid));
		for (int i = 0; i < 3; i++)
			CHECK(becomes(events + i, !(n % 2)));
	}
}

STORE_TEST(its_death_is_mended)
{
	tine_event *events = tine_shared_new(4, sizeof(*events));
	tine_store *store = store_open();
	pid_t pid;

	for (int i = 0; i < 3; i++)
		CHECK_EQ(tine_store_watch(store, name_of(i), events + i), 0);
	mend(store, events, 0);
	mend(store, events, 1);
	/* One of those that it had watched: again, by another key. */
	kill(pid = watcher(), SIGKILL);
	CHECK(dies(pid));
	set(store, "another", "0");
	CHECK_EQ(tine_store_watch(store, "another", events), 0);
	CHECK(!tine_event_is_set(events));
	CHECK_EQ(tine_store_watch(store, "another", events), -EBUSY);
	set(store, name_of(0), "1");
	set(store, name_of(1), "0");
	CHECK(becomes(events + 1, false));
	CHECK(!tine_event_is_set(events));
	/* A stopped one holds up no end. */
	stop(pid = watcher());
	tine_store_free(store);
	CHECK(dies(pid));
	tine_shared_free(events);
}

/* A fork beside a stopped one, and a child that inherits it. */
STORE_TEST(a_childs_copy_watches_nothing)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	tine_store *store = store_open();
	pid_t pid, other;

	CHECK_EQ(tine_store_watch(store, "k", events), 0);
	stop(watcher());
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK_EQ(tine_store_unwatch(store, events), -ENOENT);
		/* It may have one of its own. */
		set(store, "mine", "1");
		CHECK_EQ(tine_store_watch(store, "mine", events + 1), 0);
		CHECK(tine_event_is_set(events + 1));
		CHECK_EQ(watchers_of(getpid(), &other), 1);
		tine_store_free(store);
		_exit(0);
	}
	CHECK_EQ(test_reap(pid), 0);
	kill(watcher(), SIGCONT);
	set(store, "k", "1");
	CHECK(becomes(events, true));
	tine_store_free(store);
	tine_shared_free(events);
}

struct pair {
	tine_event event;
	_Atomic pid_t watcher;
};

static void watches(void *arg)
{
	struct pair *pair = arg;

	CHECK_EQ(tine_store_watch(store_open(), "k", &pair->event), 0);
	pair->watcher = watcher();
	pause();
}

STORE_TEST(it_dies_with_its_creator)
{
	struct pair *pair = tine_shared_new(1, sizeof(*pair));

	for (int stopped = 0; stopped < 2; stopped++) {
		pid_t pid;

		pair->watcher = 0;
		pid = test_fork(watches, pair);
		while (pair->watcher == 0)
			test_sleep_us(1000);
		if (stopped)
			stop(pair->watcher);
		kill(pid, SIGKILL);
		CHECK_EQ(test_reap(pid), -SIGKILL);
		CHECK(dies(pair->watcher));
	}
	tine_shared_free(pair);
}

/* What cannot be done leaves what was. */
STORE_TEST(want_of_memory)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	tine_store *store = store_open();
	int err = -ENOMEM, failures = 0;

	CHECK_EQ(tine_store_watch(store, "k", events), 0);
	for (long n = 1; err; n++) {
		test_fail_allocation(n);
		err = tine_store_watch(store, "k2", events + 1);
		test_fail_allocation(0);
		CHECK(err == 0 || err == -ENOMEM);
		failures += err != 0;
		set(store, "k", n % 2 ? "1" : "0");
		CHECK(becomes(events, n % 2));
	}
	CHECK(failures >= 3);
	err = -ENOMEM;
	for (long n = 1; err; n++) {
		test_fail_allocation(n);
		err = tine_store_unwatch(store, events);
		test_fail_allocation(0);
		CHECK(err == 0 || err == -ENOMEM);
		set(store, "k2", n % 2 ? "1" : "0");
		CHECK(becomes(events + 1, n % 2));
	}
	tine_store_free(store);
	tine_shared_free(events);
}

/* ---- servers ----------------------------------------------------------------------- */

TEST(it_outlives_the_server)
{
	struct server server;
	tine_event *events = tine_shared_new(3, sizeof(*events));
	tine_store *store;
	pid_t pid;

	server_start(&server, NULL);
	store = server_open(&server);
	CHECK_EQ(tine_store_watch(store, "k", events), 0);
	CHECK_EQ(tine_store_watch(store, "k1", events + 1), 0);
	pid = watcher();
	set(store, "k", "1");
	set(store, "k1", "1");
	CHECK(becomes(events, true));
	CHECK(becomes(events + 1, true));
	for (int i = 0; i < 2; i++) {
		server_kill(&server);
		test_sleep_us(50000);
		CHECK(tine_event_is_set(events) && tine_event_is_set(events + 1));
		server_run(&server, NULL);
		CHECK(becomes(events, false));
		CHECK(becomes(events + 1, false));
		set(store, "k", "1");
		set(store, "k1", "1");
		CHECK(becomes(events, true));
		CHECK(becomes(events + 1, true));
	}
	/* Ctrl-C is not for it. */
	kill(pid, SIGINT);
	set(store, "k", "0");
	CHECK(becomes(events, false));
	/* Without a server no more can be watched, and what is watched is so still. */
	server_kill(&server);
	CHECK_EQ(tine_store_watch(store, "k2", events + 2), -ECONNREFUSED);
	CHECK_EQ(tine_store_unwatch(store, events + 2), -ENOENT);
	CHECK_EQ(watcher(), pid);
	server_run(&server, NULL);
	CHECK(becomes(events + 1, false));
	set(store, "k", "1");
	CHECK(becomes(events, true));
	/* To watch less needs none. */
	server_kill(&server);
	CHECK_EQ(tine_store_unwatch(store, events + 1), 0);
	server_run(&server, NULL);
	CHECK(becomes(events, false));
	tine_store_free(store);
	tine_shared_free(events);
	server_stop(&server);
}

static void stops_the_new(void *arg)
{
	_Atomic pid_t *stopped = arg;
	pid_t old = *stopped, pid = old;

	while (watchers_of(getppid(), &pid) < 2 || pid == old)
		test_sleep_us(500);
	stop(pid);
	*stopped = pid;
}

/* One that is stopped before it has reported is no reason to wait without an end. */
TEST(one_that_is_stopped_while_it_starts)
{
	tine_event *events = tine_shared_new(2, sizeof(*events));
	_Atomic pid_t *stopped = tine_shared_new(1, sizeof(*stopped));
	static const tine_store_opts hasty = { .connect_ms = 1000, .answer_ms = 1000 };
	struct server server;
	tine_store *store;
	pid_t pid, helper;

	server_start(&server, NULL);
	CHECK_EQ(tine_store_open(&store, server.local, &hasty), 0);
	CHECK_EQ(tine_store_watch(store, "k", events), 0);
	*stopped = pid = watcher();
	/* So that it cannot have reported before. */
	stop(server.pid);
	helper = test_fork(stops_the_new, (void *)stopped);
	CHECK_EQ(tine_store_watch(store, "k2", events + 1), -ETIMEDOUT);
	CHECK_EQ(test_reap(helper), 0);
	CHECK(*stopped != pid);
	CHECK(dies(*stopped));
	kill(server.pid, SIGCONT);
	CHECK_EQ(watcher(), pid);
	set(store, "k", "1");
	CHECK(becomes(events, true));
	tine_store_free(store);
	tine_shared_free((void *)stopped);
	tine_shared_free(events);
	server_stop(&server);
}
