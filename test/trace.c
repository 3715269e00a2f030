/* SPDX-License-Identifier: MIT */
/* What is in the file that TINE_TRACE names. That it is JSON, test/cmd/trace.sh asks. */
#include "test.h"

#include "pool/ledger.h"
#include "pool/pool.h"
#include "redis_server.h"
#include "step.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MOST = 20000, EVENTS = 60000 };

static char path[64];

/* An event, as a line of the file; absent members are -1. */
struct event {
	char name[32], phase;
	char line[48]; /* of thread_name: the name that it gives */
	long long pid, tid, map, first, count, died_in, signal, replaces, dur, events;
};

static struct event events[EVENTS];
static int n_events;

static long long member(const char *line, const char *name)
{
	char key[40];
	const char *at;

	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(line, key);
	return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

static void read_line(const char *line)
{
	struct event *event = &events[n_events++];
	const char *phase = strstr(line, "\"ph\":\"");

	CHECK(n_events < EVENTS);
	CHECK_EQ(sscanf(line, "{\"name\":\"%31[^\"]\"", event->name), 1);
	CHECK(phase);
	event->phase = phase[6];
	*event->line = '\0';
	if (strstr(line, "\"args\":{\"name\":\""))
		sscanf(strstr(line, "\"args\":{\"name\":\""),
		       "\"args\":{\"name\":\"%47[^\"]", event->line);
	event->pid = member(line, "pid");
	event->tid = member(line, "tid");
	event->map = member(line, "map");
	event->first = member(line, "first");
	event->count = member(line, "count");
	event->died_in = member(line, "died_in");
	event->signal = member(line, "signal");
	event->replaces = member(line, "replaces");
	event->dur = member(line, "dur");
	event->events = member(line, "events");
}

/* Lines end in a comma, but the last; first and last are the brackets. */
static void read_trace(void)
{
	FILE *made = fopen(path, "r");
	static char line[4096], next[4096];

	n_events = 0;
	CHECK(made);
	CHECK(fgets(line, sizeof(line), made) && strcmp(line, "[\n") == 0);
	CHECK(fgets(line, sizeof(line), made));
	while (fgets(next, sizeof(next), made)) {
		size_t len = strlen(line);

		if (strcmp(next, "]\n") == 0)
			CHECK(line[len - 2] == '}' && line[len - 1] == '\n');
		else
			CHECK(strcmp(line + len - 3, "},\n") == 0);
		read_line(line);
		strcpy(line, next);
	}
	CHECK(strcmp(line, "]\n") == 0);
	fclose(made);
}

static int count(const char *name, char phase)
{
	int n = 0;

	for (int i = 0; i < n_events; i++)
		n += strcmp(events[i].name, name) == 0 && events[i].phase == phase;
	return n;
}

static const struct event *find(const char *name, char phase)
{
	for (int i = 0; i < n_events; i++)
		if (strcmp(events[i].name, name) == 0 && events[i].phase == phase)
			return &events[i];
	test_fail(__FILE__, __LINE__, "no '%s'", name);
}

/* The n jobs of the map were each done once; of those died in, so many. */
static void covers(int map, int n, int deaths)
{
	static int times[MOST];

	CHECK(n <= MOST);
	memset(times, 0, sizeof(times));
	for (int i = 0; i < n_events; i++) {
		const struct event *event = &events[i];

		if (event->phase != 'X' || event->map != map || event->first < 0)
			continue;
		CHECK(event->first + event->count <= n);
		for (long long job = event->first; job < event->first + event->count;
		     job++)
			times[job]++;
		deaths -= event->died_in >= 0;
	}
	for (int job = 0; job < n; job++)
		CHECK_EQ(times[job], 1);
	CHECK_EQ(deaths, 0);
}

/* ---- programs that are traced ------------------------------------------------------ */

/* In a child, so that what the library keeps is none of this process's. */
static void trace(void (*fn)(void *), void *arg)
{
	snprintf(path, sizeof(path), "/tmp/tine-trace-%d.json", getpid());
	setenv("TINE_TRACE", path, 1);
	CHECK_EQ(test_reap(test_fork(fn, arg)), 0);
}

static void untrace(void)
{
	CHECK_EQ(unlink(path), 0);
}

static int sleep_us(const void *in, void *out)
{
	const int *us = in;

	(void)out;
	if (*us > 0)
		test_sleep_us(*us);
	return 0;
}

static const tine_task sleeps = TINE_TASK_IN(sleep_us, int);

static tine_pool *pool_of(unsigned workers)
{
	tine_pool_opts opts = { .workers = workers };
	tine_pool *pool = NULL;

	CHECK_EQ(tine_pool_new(&pool, &opts), 0);
	return pool;
}

static void maps(void *arg)
{
	static int us[MOST];
	tine_map_opts one = { .chunk = 1 }, seven = { .chunk = 7 };
	tine_pool *pool = pool_of(3);

	(void)arg;
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, MOST, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, MOST, &one, TINE_FOREVER), 0);
	for (int i = 0; i < 100; i++)
		us[i] = i % 10 == 0 ? 3000 : i % 3 == 0 ? 200 : 0;
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 100, NULL, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 100, &one, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 100, &seven, TINE_FOREVER), 0);
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 1, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

TEST(every_job_of_a_map_is_covered_once)
{
	static const int sizes[] = { MOST, MOST, 100, 100, 100, 1 };

	trace(maps, NULL);
	read_trace();
	for (int map = 1; map <= 6; map++)
		covers(map, sizes[map - 1], 0);
	CHECK_EQ(count("started", 'i'), 3);
	CHECK_EQ(count("ended", 'i'), 3);
	CHECK_EQ(count("dropped", 'i'), 0);
	CHECK_EQ(count("died", 'i') + count("replaced", 'i'), 0);
	/* Short jobs share events. */
	CHECK(n_events < MOST / 4);
	CHECK_EQ(find("started", 'i')->pid, find("sleep_us", 'X')->pid);
	untrace();
}

TEST(off_by_default)
{
	tine_pool *pool;

	unsetenv("TINE_TRACE");
	pool = pool_of(1);
	CHECK(!pool->trace && !pool->ledger->logs && !trace_self);
	tine_pool_free(pool);
	setenv("TINE_TRACE", "", 1);
	pool = pool_of(1);
	CHECK(!pool->trace && !pool->ledger->logs);
	tine_pool_free(pool);
}

/* ---- deaths ------------------------------------------------------------------------ */

static int dies(const void *in, void *out)
{
	_Atomic int *deaths = *(_Atomic int *const *)in;

	(void)out;
	if (deaths && atomic_fetch_sub(deaths, 1) > 0)
		raise(SIGKILL);
	return 0;
}

static const tine_task deadly = TINE_TASK_IN(dies, _Atomic int *);

static void map_with_deaths(void *arg)
{
	unsigned retries = *(unsigned *)arg;
	tine_map_opts opts = { .retries = retries };
	static _Atomic int *in[500];
	_Atomic int *deaths = tine_shared_new(3, sizeof(*deaths));
	/* One alone cannot end the map before it is replaced. */
	tine_pool *pool = pool_of(1);

	for (int i = 0; i < 3; i++) {
		deaths[i] = 1;
		in[100 + 150 * i] = &deaths[i];
	}
	CHECK_EQ(tine_pool_map(pool, &deadly, in, NULL, 500, &opts, TINE_FOREVER),
		 retries ? 0 : -TINE_ECRASH);
	tine_pool_free(pool);
	tine_shared_free(deaths);
}

TEST(a_death_shows_and_who_came_instead)
{
	unsigned retries = 1;
	int died = 0, replaced = 0;

	trace(map_with_deaths, &retries);
	read_trace();
	covers(1, 500, 3);
	CHECK_EQ(count("died", 'i'), 3);
	CHECK_EQ(count("replaced", 'i'), 3);
	for (int i = 0; i < n_events; i++) {
		if (strcmp(events[i].name, "died") == 0) {
			CHECK_EQ(events[i].signal, SIGKILL);
			died++;
		}
		if (strcmp(events[i].name, "replaced") == 0) {
			CHECK(events[i].replaces > 0);
			replaced++;
		}
	}
	CHECK_EQ(died, replaced);
	untrace();
}

TEST(a_job_that_failed_by_a_death_is_named)
{
	unsigned retries = 0;
	int seen[3] = { 0 };

	trace(map_with_deaths, &retries);
	read_trace();
	for (int i = 0; i < n_events; i++) {
		if (events[i].died_in < 0)
			continue;
		CHECK((events[i].died_in - 100) % 150 == 0);
		CHECK(events[i].died_in <= 400);
		CHECK_EQ(events[i].died_in, events[i].first + events[i].count);
		seen[(events[i].died_in - 100) / 150]++;
	}
	CHECK(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
	untrace();
}

static int kills_nursery(const void *in, void *out)
{
	_Atomic int *deaths = *(_Atomic int *const *)in;

	(void)out;
	if (deaths && atomic_fetch_sub(deaths, 1) > 0) {
		kill(getppid(), SIGKILL);
		pause();
	}
	return 0;
}

static const tine_task nursery_deadly = TINE_TASK_IN(kills_nursery, _Atomic int *);

static void map_without_nursery(void *arg)
{
	tine_map_opts opts = { .retries = 1 };
	static _Atomic int *in[200];
	tine_pool *pool = pool_of(2);

	(void)arg;
	in[50] = tine_shared_new(1, sizeof(*in[50]));
	*in[50] = 1;
	CHECK_EQ(tine_pool_map(pool, &nursery_deadly, in, NULL, 200, &opts, TINE_FOREVER),
		 0);
	tine_pool_free(pool);
	tine_shared_free(in[50]);
}

TEST(when_the_nursery_is_killed)
{
	trace(map_without_nursery, NULL);
	read_trace();
	covers(1, 200, 1);
	CHECK_EQ(count("died", 'i'), 2);
	/* The other may come when all is done. */
	CHECK(count("replaced", 'i') >= 1);
	untrace();
}

static void map_and_die(void *arg)
{
	static int us[4000];
	tine_pool *pool = pool_of(2);

	(void)arg;
	for (int i = 0; i < 4000; i++)
		us[i] = 1000;
	alarm(1);
	(void)!tine_pool_map(pool, &sleeps, us, NULL, 4000, NULL, TINE_FOREVER);
}

TEST(a_program_that_is_killed_leaves_its_trace)
{
	pid_t pid;
	int jobs = 0;

	snprintf(path, sizeof(path), "/tmp/tine-trace-%d.json", getpid());
	setenv("TINE_TRACE", path, 1);
	pid = test_fork(map_and_die, NULL);
	CHECK_EQ(test_reap(pid), -SIGALRM);
	read_trace();
	for (int i = 0; i < n_events; i++)
		jobs += events[i].count > 0 ? (int)events[i].count : 0;
	/* Of a second's jobs, all but those of the last tenth. */
	CHECK(jobs > 400);
	CHECK_EQ(count("sleep_us", 'B'), 1);
	CHECK_EQ(count("sleep_us", 'E'), 0);
	untrace();
	test_grows_no_further(); /* its pool was not freed */
}

/* What a worker does, on a log of its own: jobs 0 to 7 in two chunks, then two more. */
struct scene {
	struct trace_log log;
	_Atomic uint64_t at;
	struct trace_event slots[16];
};

static void chunk(struct scene *scene, uint32_t first, uint32_t n, int64_t now)
{
	trace_jobs_begin(&scene->log, TRACE_JOBS, 0, 1, first, now);
	for (uint32_t i = first; i < first + n; i++)
		atomic_store(&scene->at, at_of(i, 0, true));
	trace_jobs_done(&scene->log, n);
	atomic_store(&scene->at, at_of(first + n, 0, false));
	trace_jobs_end(&scene->log, now);
}

static void work(void *arg)
{
	struct scene *scene = arg;

	chunk(scene, 0, 3, 1000);
	chunk(scene, 3, 5, 2000);
	trace_steal(&scene->log, 1, 20, 2);
	/* As a thief has it: the range that was stolen. */
	atomic_store(&scene->at, at_of(20, 0, false));
	chunk(scene, 20, 2, 3000);
	trace_pause(&scene->log);
}

static int jobs_of(const struct scene *scene, uint64_t *died_in)
{
	int jobs = 0;

	for (uint64_t i = 0; i < scene->log.written; i++) {
		const struct trace_event *event = &scene->slots[i];

		if (event->kind != TRACE_JOBS)
			continue;
		jobs += (int)event->count;
		if (event->died_in)
			*died_in = event->died_in;
	}
	return jobs;
}

static void reset(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	scene->log.mask = 15;
	scene->log.slots = scene->slots;
	scene->log.pid = 1;
	scene->log.patience = 1;
}

static void nothing_is_lost(void *arg, long step)
{
	struct scene *scene = arg;
	uint64_t at = scene->at, died_in = 0;
	uint32_t index = index_of(at);
	struct trace_death death = { { .code = -1, .signal = SIGKILL },
				     -TINE_ECRASH,
				     is_running(at),
				     false,
				     index };
	int expected = index >= 20 ? 8 + (int)index - 20 : (int)index;

	trace_bury(&scene->log, &death);
	CHECK_EQ(jobs_of(scene, &died_in), expected);
	CHECK_EQ(died_in, is_running(at) ? index + 1 : 0);
	CHECK_EQ(scene->slots[scene->log.written - 1].kind, TRACE_END);
	CHECK_EQ(scene->log.pid, 0);
	(void)step;
	reset(scene);
}

TEST_LIMIT(killed_at_every_step, 300)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));
	struct steps steps = { NULL, work, nothing_is_lost };

	reset(scene);
	CHECK(test_kill_each_step(&steps, scene) > 100);
	tine_shared_free(scene);
}

TEST(a_full_log_keeps_the_oldest_and_counts_the_rest)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	reset(scene);
	for (int i = 0; i < 100; i++)
		trace_steal(&scene->log, 0, (uint64_t)i, 1);
	CHECK_EQ(scene->log.written, 15);
	CHECK_EQ(scene->log.dropped, 85);
	for (uint64_t i = 0; i < 15; i++)
		CHECK_EQ(scene->slots[i].first, i);
	scene->log.drained = 3;
	for (int i = 0; i < 10; i++)
		chunk(scene, (uint32_t)i * 10, 2, i * 10000000 + 1);
	trace_pause(&scene->log);
	CHECK_EQ(scene->log.written, 18);
	CHECK_EQ(scene->log.dropped, 92);
	trace_pause(&scene->log);
	CHECK_EQ(scene->log.dropped, 92);
	tine_shared_free(scene);
}

TEST(jobs_of_another_map_are_another_event)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	reset(scene);
	trace_jobs_begin(&scene->log, TRACE_JOBS, 0, 1, 0, 1000);
	trace_jobs_done(&scene->log, 5);
	trace_jobs_end(&scene->log, 2000);
	trace_jobs_begin(&scene->log, TRACE_JOBS, 0, 2, 5, 2000);
	trace_jobs_done(&scene->log, 5);
	trace_jobs_end(&scene->log, 3000);
	trace_pause(&scene->log);
	CHECK_EQ(scene->log.written, 2);
	CHECK(scene->slots[0].count == 5 && scene->slots[1].count == 5);
	CHECK(scene->slots[0].map == 1 && scene->slots[1].map == 2);
	tine_shared_free(scene);
}

TEST(an_event_ends_when_its_last_job_did)
{
	struct scene *scene = tine_shared_new(1, sizeof(*scene));

	reset(scene);
	scene->log.patience = 8;
	for (uint32_t i = 0; i < 12; i++)
		chunk(scene, i, 1, 0);
	test_sleep_us(1000);
	chunk(scene, 12, 1, 0);
	trace_pause(&scene->log);
	CHECK_EQ(scene->log.written, 1);
	CHECK_EQ(scene->slots[0].count, 13);
	CHECK(scene->slots[0].ended - scene->slots[0].begun >= 1000000);
	tine_shared_free(scene);
}

/* ---- submitted jobs, processes ----------------------------------------------------- */

static void submits(void *arg)
{
	static const int us[] = { 0, 0, 0, 300 };
	tine_pool *pool = pool_of(2);
	tine_done done;

	(void)arg;
	for (uint64_t i = 0; i < 1000; i++)
		CHECK_EQ(tine_pool_submit(pool, &sleeps, &us[i % 4], i, TINE_FOREVER), 0);
	while (tine_pool_next(pool, NULL, 0, &done, TINE_FOREVER) == 1)
		CHECK_EQ(done.status, 0);
	tine_pool_free(pool);
}

TEST(submitted_jobs_are_counted_once)
{
	long long jobs = 0;

	trace(submits, NULL);
	read_trace();
	for (int i = 0; i < n_events; i++)
		jobs += events[i].count > 0 ? events[i].count : 0;
	CHECK_EQ(jobs, 1000);
	untrace();
}

static int sleeper(void *arg)
{
	(void)!tine_sem_wait(arg, tine_after(30));
	raise(SIGTERM);
	return 0;
}

static void starts(void *arg)
{
	tine_process_opts opts = { .name = "sleeper" };
	tine_sem *sem = tine_shared_new(1, sizeof(*sem));
	tine_process *process;

	(void)arg;
	CHECK_EQ(tine_process_start(&process, sleeper, sem, &opts), 0);
	CHECK_EQ(tine_process_wait(process, NULL, TINE_FOREVER), 0);
	tine_process_free(process);
	tine_shared_free(sem);
}

TEST(a_process_and_its_sleeps)
{
	trace(starts, NULL);
	read_trace();
	CHECK_EQ(count("sleeper", 'B'), 1);
	CHECK_EQ(count("end", 'E'), 1);
	CHECK_EQ(find("end", 'E')->signal, SIGTERM);
	CHECK_EQ(find("end", 'E')->pid, find("sleeper", 'B')->pid);
	CHECK(count("sleep", 'X') > 1);
	CHECK_EQ(find("sleep", 'X')->pid, find("sleeper", 'B')->pid);
	untrace();
}

/* ---- forks ------------------------------------------------------------------------- */

static void map_in_child(void *arg)
{
	static const int us[200];
	tine_pool *pool = pool_of(2);

	(void)arg;
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 200, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

static void map_beside(void *arg)
{
	static const int us[200];
	tine_pool *pool = pool_of(2);
	pid_t children[3];

	for (int i = 0; i < 3; i++)
		children[i] = test_fork(map_in_child, arg);
	for (int i = 0; i < 50; i++)
		CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 200, NULL, TINE_FOREVER),
			 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(test_reap(children[i]), 0);
	tine_pool_free(pool);
}

TEST(a_family_writes_one_file)
{
	trace(map_beside, NULL);
	read_trace();
	CHECK_EQ(count("started", 'i'), 8);
	for (int map = 1; map <= 53; map++)
		covers(map, 200, 0);
	untrace();
}

TEST(children_of_one_program_have_one_file_before_it_is_made)
{
	pid_t children[3], pid;

	if (getenv("TINE_TRACE_EARLY")) {
		for (int i = 0; i < 3; i++)
			children[i] = test_fork(map_in_child, NULL);
		for (int i = 0; i < 3; i++)
			CHECK_EQ(test_reap(children[i]), 0);
		return;
	}
	if (test_under_valgrind())
		test_skip("valgrind");
	snprintf(path, sizeof(path), "/tmp/tine-trace-%d.json", getpid());
	setenv("TINE_TRACE", path, 1);
	setenv("TINE_TRACE_EARLY", "1", 1);
	pid = fork();
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
		execl("/proc/self/exe", "test-trace",
		      "children_of_one_program_have_one_file_before_it_is_made", NULL);
		_exit(127);
	}
	CHECK_EQ(test_reap(pid), 0);
	read_trace();
	CHECK_EQ(count("started", 'i'), 6);
	for (int map = 1; map <= 3; map++)
		covers(map, 200, 0);
	untrace();
}

static void leave_without_freeing(void *arg)
{
	static const int us[200];
	tine_pool *pool = pool_of(1);

	(void)arg;
	/* The second follows so soon that it is not written at its end. */
	for (int i = 0; i < 2; i++)
		CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 200, NULL, TINE_FOREVER),
			 0);
	test_sleep_us(20000);
	exit(0);
}

TEST(a_program_that_just_exits)
{
	trace(leave_without_freeing, NULL);
	read_trace();
	covers(1, 200, 0);
	covers(2, 200, 0);
	untrace();
	test_grows_no_further(); /* its pool was not freed */
}

/* ---- the file ---------------------------------------------------------------------- */

TEST(a_file_that_cannot_be_written)
{
	snprintf(path, sizeof(path), "/nowhere/trace.json");
	setenv("TINE_TRACE", path, 1);
	CHECK_EQ(test_reap(test_fork(map_in_child, NULL)), 0);
	CHECK_EQ(access(path, F_OK), -1);
	setenv("TINE_TRACE", "/dev/null", 1);
	CHECK_EQ(test_reap(test_fork(map_in_child, NULL)), 0);
	setenv("TINE_TRACE", "/tmp", 1);
	CHECK_EQ(test_reap(test_fork(map_in_child, NULL)), 0);
}

static void exchange(void *arg)
{
	tine_pool *pool = pool_of(1);
	static const int us[200];
	FILE *other;

	(void)arg;
	CHECK_EQ(unlink(path), 0);
	other = fopen(path, "w");
	fputs("precious", other);
	fclose(other);
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 200, NULL, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

TEST(somebody_elses_file_is_left_alone)
{
	char text[32] = "";
	FILE *file;

	trace(exchange, NULL);
	file = fopen(path, "r");
	CHECK(fgets(text, sizeof(text), file));
	CHECK(strcmp(text, "precious") == 0);
	CHECK_EQ(fseek(file, 0, SEEK_END), 0);
	CHECK_EQ(ftell(file), 8);
	fclose(file);
	untrace();
}

static void map_to_limit(void *arg)
{
	struct rlimit limit = { 20000, 20000 };
	static int us[2000];
	tine_map_opts one = { .chunk = 1 };
	tine_pool *pool;

	(void)arg;
	pool = pool_of(2);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 300; i++)
		us[i] = 1100;
	CHECK_EQ(tine_pool_map(pool, &sleeps, us, NULL, 300, &one, TINE_FOREVER), 0);
	tine_pool_free(pool);
}

TEST(a_limit_of_the_file_ends_the_trace_in_order)
{
	struct stat stat_of;

	trace(map_to_limit, NULL);
	read_trace();
	CHECK_EQ(stat(path, &stat_of), 0);
	CHECK(stat_of.st_size <= 20000 && count("sleep_us", 'X') > 10);
	untrace();
}

TEST(a_percent_sign_and_p_is_the_process)
{
	pid_t pid;
	char number[32];

	setenv("TINE_TRACE", "/tmp/tine-trace-%p%%.json", 1);
	pid = test_fork(map_in_child, NULL);
	CHECK_EQ(test_reap(pid), 0);
	snprintf(number, sizeof(number), "%d", pid);
	snprintf(path, sizeof(path), "/tmp/tine-trace-%s%%.json", number);
	read_trace();
	covers(1, 200, 0);
	untrace();
}

/* ---- hosts ------------------------------------------------------------------------- */

enum { HOST_JOBS = 40, HOST_DIES_IN = 7 };

static int nap(const void *in, void *out)
{
	if (*(const int *)in == HOST_DIES_IN)
		abort();
	test_sleep_us(5000);
	*(int *)out = 1;
	return 0;
}

static const tine_task nap_task = TINE_TASK(nap, int, int);

static void use_hosts(void *arg)
{
	const tine_map_opts opts = { .chunk = 1 };
	int in[HOST_JOBS], out[HOST_JOBS];
	static const char *const names[] = { "north", "south" };
	tine_worker *hosts[2];
	struct server server;
	tine_pool *pool;
	tine_done done;

	(void)arg;
	server_start(&server, NULL);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(tine_worker_start(
				 &hosts[i], server.pool, &nap_task, 1,
				 &(tine_worker_opts){ .workers = 2, .name = names[i] }),
			 0);
	CHECK_EQ(tine_pool_new(&pool, &(tine_pool_opts){ .engine = server.pool }), 0);
	for (int i = 0; i < HOST_JOBS; i++)
		in[i] = i;
	CHECK_EQ(tine_pool_map(pool, &nap_task, in, out, HOST_JOBS, &opts,
			       tine_after(60000)),
		 -TINE_ECRASH);
	CHECK_EQ(tine_pool_submit(pool, &nap_task, in, 1, tine_after(60000)), 0);
	CHECK_EQ(tine_pool_next(pool, out, sizeof(*out), &done, tine_after(60000)), 1);
	tine_pool_free(pool);
	for (int i = 0; i < 2; i++)
		tine_worker_free(hosts[i]);
	server_stop(&server);
}

static const char *line_of(const struct event *event)
{
	for (int i = 0; i < n_events; i++)
		if (strcmp(events[i].name, "thread_name") == 0 &&
		    events[i].pid == event->pid && events[i].tid == event->tid)
			return events[i].line;
	return "";
}

TEST(jobs_of_hosts_are_on_the_lines_of_their_slots)
{
	int jobs = 0, died = 0;
	long long pool = -1;

	trace(use_hosts, NULL);
	read_trace();
	/* Hosts have pools of their own, in the same file. */
	for (int i = 0; i < n_events; i++)
		if (strcmp(events[i].line, "tine-hosts") == 0)
			pool = events[i].pid;
	for (int i = 0; i < n_events; i++) {
		const struct event *event = &events[i];
		const char *line;

		if (event->phase != 'X' || event->first < 0 || event->pid != pool)
			continue;
		line = line_of(event);
		CHECK(strcmp(line, "north 0") == 0 || strcmp(line, "north 1") == 0 ||
		      strcmp(line, "south 0") == 0 || strcmp(line, "south 1") == 0);
		if (event->died_in >= 0) {
			CHECK_EQ(event->died_in, HOST_DIES_IN);
			CHECK_EQ(event->count, 0);
			died++;
			continue;
		}
		CHECK_EQ(event->count, 1);
		CHECK(event->dur >= 4900);
		jobs++;
	}
	CHECK_EQ(jobs, HOST_JOBS);
	CHECK_EQ(died, 1);
	untrace();
}
