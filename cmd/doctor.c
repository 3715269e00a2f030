/* SPDX-License-Identifier: MIT */
/*
 * What this machine and this environment are for tine: what it finds, and what would go
 * wrong. Each check looks for itself, and does what the library does, so that it cannot
 * say other than what would happen.
 */
#include "base/cgroup.h"
#include "base/isa.h"
#include "command.h"
#include "divide.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MIB	    (UINT64_C(1) << 20)
#define GIB	    (UINT64_C(1) << 30)
#define LITTLE	    GIB	       /* of address space, for all that is shared */
#define FULL	    (64 * MIB) /* left, of memory */
#define FEW_FILES   256	       /* descriptors; a process takes two, a pool three */
#define FEW_FORKS   64	       /* processes */
#define SERVER_WAIT 2000       /* milliseconds for a program to say its version */

static struct {
	bool json;
} options;

static struct {
	const char *section;
	unsigned bad, printed;
} state;

/* ---- what is printed --------------------------------------------------------------- */

enum verdict { OK, NOTE, BAD };
static const char *const verdicts[] = { "ok", "note", "BAD" };

/* What was found; and if that is bad, how to mend it. */
__attribute__((format(printf, 4, 5))) static void
tell(enum verdict verdict, const char *name, const char *mend, const char *fmt, ...)
{
	static const char *last;
	char value[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	state.bad += verdict == BAD;
	if (options.json) {
		printf("%s{\"section\": \"%s\", \"name\": \"%s\", \"state\": \"%s\", "
		       "\"value\": ",
		       state.printed++ ? ",\n" : "", state.section, name,
		       verdict == BAD ? "bad" : verdicts[verdict]);
		print_json_string(value);
		printf(", \"mend\": ");
		if (mend)
			print_json_string(mend);
		else
			printf("null");
		printf("}");
		return;
	}
	if (last != state.section)
		printf("%s%s\n", last ? "\n" : "", state.section);
	last = state.section;
	/* What comes from the environment may hold anything. */
	for (char *at = value; *at; at++)
		if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
			*at = '?';
	printf("  %-4s  %-16s %s\n", verdicts[verdict], name, value);
	if (mend)
		printf("  %-4s  %-16s %s\n", "", verdict == BAD ? "  to fix it:" : "",
		       mend);
}

/* 2 GiB, 512 MiB, 300 KiB. */
static const char *size_of(uint64_t bytes, char *buf, size_t size)
{
	if (bytes >= GIB)
		snprintf(buf, size, "%.*f GiB", bytes % GIB != 0, (double)bytes / GIB);
	else if (bytes >= MIB)
		snprintf(buf, size, "%.*f MiB", bytes % MIB != 0, (double)bytes / MIB);
	else
		snprintf(buf, size, "%" PRIu64 " KiB", bytes / 1024);
	return buf;
}

/* ---- processors -------------------------------------------------------------------- */

/* The tightest quota, in thousandths of a processor; UINT64_MAX: none. */
static void least_quota(int dir, bool v2, void *arg)
{
	uint64_t *least = arg, quota, period;

	if (cgroup_number(dir, v2 ? "cpu.max" : "cpu.cfs_quota_us", 0, &quota) &&
	    cgroup_number(dir, v2 ? "cpu.max" : "cpu.cfs_period_us", v2, &period) &&
	    quota > 0 && period > 0 && quota * 1000 / period < *least)
		*least = quota * 1000 / period;
}

static unsigned affinity(void)
{
	cpu_set_t *set = CPU_ALLOC(1 << 16);
	size_t size = CPU_ALLOC_SIZE(1 << 16);
	unsigned n = 1;

	if (set && sched_getaffinity(0, size, set) == 0)
		n = (unsigned)CPU_COUNT_S(size, set);
	CPU_FREE(set);
	return n;
}

static void check_given_workers(const char *given, unsigned found)
{
	char *end;
	unsigned long n = strtoul(given, &end, 10);

	if (strcmp(given, "0") == 0)
		tell(NOTE, "TINE_WORKERS", NULL,
		     "0: jobs run in the process that has the pool, one at a time");
	else if (*given < '0' || *given > '9' || *end || n == 0)
		tell(BAD, "TINE_WORKERS",
		     "set it to a whole number from 1 to 1024, or unset it",
		     "'%s' is not a number of workers, and is ignored", given);
	else if (n > 1024)
		tell(BAD, "TINE_WORKERS",
		     "set it to a whole number from 1 to 1024, or unset it",
		     "%s is more than a pool may have: 1024 is used", given);
	else if (n > found)
		tell(NOTE, "TINE_WORKERS", NULL,
		     "%lu, more than there are processors: workers take turns", n);
	else
		tell(OK, "TINE_WORKERS", NULL, "%lu", n);
}

static void check_load(void)
{
	double load;

	if (machine_is_busy(&load))
		tell(NOTE, "load", NULL,
		     "%.1f: the machine is busy, and all work takes longer", load);
	else if (load >= 0)
		tell(OK, "load", NULL, "%.1f", load);
}

static void check_processors(void)
{
	const char *given = getenv("TINE_WORKERS");
	unsigned allowed = affinity(), found = allowed;
	uint64_t quota = UINT64_MAX;
	bool is_given = given && tine_cpus() != 0;

	state.section = "processors";
	cgroup_walk("", "cpu", least_quota, &quota);
	if (quota != UINT64_MAX && (quota + 999) / 1000 < found)
		found = (unsigned)((quota + 999) / 1000);
	tell(OK, "affinity", NULL, "%u of %ld processors", allowed,
	     sysconf(_SC_NPROCESSORS_ONLN));
	if (quota == UINT64_MAX)
		tell(OK, "quota", NULL, "none");
	else
		tell(quota < 1000 ? NOTE : OK, "quota", NULL,
		     "%" PRIu64 ".%02d processors, set by a cgroup", quota / 1000,
		     (int)(quota % 1000 / 10));
	if (is_given)
		check_given_workers(given, found);
	tell(OK, "workers", NULL, "%u by default: %s", tine_cpus(),
	     is_given && tine_cpus() != found ? "set by TINE_WORKERS"
	     : found < allowed		      ? "limited by the quota"
					      : "one for each processor");
	check_load();
	tell(OK, "instructions", NULL, "%s", divide_isa());
	given = getenv("TINE_ISA");
	if (given && isa_named(given) == ISAS)
		tell(BAD, "TINE_ISA", "set it to generic, avx2 or avx512, or unset it",
		     "'%s' is not an instruction set, and is ignored", given);
	else if (given && strcmp(given, divide_isa()) != 0)
		tell(NOTE, "TINE_ISA", NULL, "%s, which this processor does not have",
		     given);
}

/* ---- memory ------------------------------------------------------------------------ */

/* How much the family's memory may grow to, once there is one. */
static uint64_t reserved(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t from, to, found = 0;
	char line[512];

	while (maps && found == 0 && fgets(line, sizeof(line), maps))
		if (strstr(line, "/memfd:tine") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
			found = to - from;
	if (maps)
		fclose(maps);
	return found;
}

static uint64_t limit_of(int resource)
{
	struct rlimit limit;

	return getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY
		       ? UINT64_MAX
		       : limit.rlim_cur;
}

/* What takes part of the reservation, see tine_shared_new(3). */
static const char *raise_limit(void)
{
	return limit_of(RLIMIT_AS) != UINT64_MAX ? "raise the limit (ulimit -v unlimited)"
	       : limit_of(RLIMIT_FSIZE) != UINT64_MAX
		       ? "raise the limit (ulimit -f unlimited)"
		       : "free memory, or raise its limits";
}

static void check_shared_memory(void)
{
	void *mem = tine_shared_new(1, MIB);
	uint64_t size = reserved();
	char text[32];

	if (!mem)
		tell(BAD, "shared memory", raise_limit(),
		     "there is none: pools, queues and locks cannot be created");
	else if (size > 0 && size < LITTLE)
		tell(BAD, "shared memory", raise_limit(),
		     "at most %s, because of a limit", size_of(size, text, sizeof(text)));
	else
		tell(OK, "shared memory", NULL, "up to %s, in a memfd without a name",
		     size_of(size, text, sizeof(text)));
	tine_shared_free(mem);
}

static void check_limit(int resource, const char *name, const char *unlimited)
{
	uint64_t limit = limit_of(resource);
	char text[32];

	if (limit == UINT64_MAX)
		tell(OK, name, NULL, "%s", unlimited);
	else
		tell(NOTE, name, NULL, "at most %s, set by a limit of the process",
		     size_of(limit, text, sizeof(text)));
}

static void least_limit(int dir, bool v2, void *arg)
{
	uint64_t *least = arg, limit;

	if (cgroup_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes", 0, &limit) &&
	    limit < UINT64_MAX / 4 && limit < *least)
		*least = limit;
}

static void check_memory(void)
{
	uint64_t left = memory_headroom(""), limit = UINT64_MAX, kills = memory_kills("");
	struct statvfs shm;
	char text[32];

	state.section = "memory";
	check_shared_memory();
	check_limit(RLIMIT_AS, "address space", "no limit");
	check_limit(RLIMIT_FSIZE, "file size", "no limit");
	cgroup_walk("", "memory", least_limit, &limit);
	if (limit == UINT64_MAX)
		tell(OK, "cgroup", NULL, "no limit");
	else
		tell(OK, "cgroup", NULL, "at most %s",
		     size_of(limit, text, sizeof(text)));
	if (left == UINT64_MAX)
		tell(NOTE, "left", NULL, "not known, because there is no /proc/meminfo");
	else if (left < FULL)
		tell(BAD, "left", "end other programs, or raise the cgroup's limit",
		     "only %s", size_of(left, text, sizeof(text)));
	else
		tell(OK, "left", NULL, "%s", size_of(left, text, sizeof(text)));
	if (kills > 0)
		tell(NOTE, "killed", NULL,
		     "%" PRIu64
		     " processes of this cgroup so far, because memory ran out",
		     kills);
	if (statvfs("/dev/shm", &shm) == 0)
		tell(OK, "/dev/shm", NULL, "%s; tine does not need it",
		     size_of((uint64_t)shm.f_blocks * shm.f_frsize, text, sizeof(text)));
	else
		tell(OK, "/dev/shm", NULL, "not there; tine does not need it");
}

/* ---- the kernel -------------------------------------------------------------------- */

static const char newer[] =
	"run a kernel of Linux 5.4 or later, and have the sandbox allow "
	"the call";

static void feature(bool there, bool needed, const char *name, const char *without)
{
	if (there)
		tell(OK, name, NULL, "there");
	else
		tell(needed ? BAD : NOTE, name, needed ? newer : NULL, "not there: %s",
		     without);
}

static bool has_populate(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	bool there;

	if (page == MAP_FAILED)
		return false;
	there = madvise(page, 4096, MADV_POPULATE_WRITE) == 0;
	munmap(page, 4096);
	return there;
}

static bool has_file_locks(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	return fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* By which children end with their parent. */
static bool has_lifelines(void)
{
	int ends[2];
	bool there;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return false;
	there = fcntl(ends[1], F_SETOWN, getpid()) == 0 &&
		fcntl(ends[1], F_SETSIG, SIGCHLD) == 0 &&
		fcntl(ends[1], F_SETFL, O_ASYNC) == 0;
	fcntl(ends[1], F_SETFL, 0);
	close(ends[0]);
	close(ends[1]);
	return there;
}

static bool has_signalfd(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The C library asks for each thread; with a wrong size nothing is changed. */
static bool has_robust_lists(void)
{
	return syscall(SYS_set_robust_list, NULL, 0) != 0 && errno == EINVAL;
}

static void check_version(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	    (major < 5 || (major == 5 && minor < 4)))
		tell(BAD, "version", "run Linux 5.4 or later", "%s %s is too old",
		     name.sysname, name.release);
	else
		tell(OK, "version", NULL, "%s %s", name.sysname, name.release);
}

static void check_kernel(void)
{
	int memfd = memfd_create("tine-doctor", MFD_CLOEXEC), death, pidfd;

	state.section = "kernel";
	check_version();
	feature(memfd >= 0, true, "memfd_create", "there is no shared memory");
	feature(has_robust_lists(), true, "robust lists",
		"locks fail, because a dead holder would keep them");
	feature(has_file_locks(memfd), true, "file locks", "caches and file locks fail");
	feature(has_lifelines(), true, "lifelines", "children outlive their parent");
	feature(prctl(PR_GET_PDEATHSIG, &death) == 0, true, "PR_SET_PDEATHSIG",
		"workers may outlive their pool");
	feature(has_signalfd(), true, "signalfd", "pools cannot be created");
	feature(access("/proc/self/stat", R_OK) == 0, true, "/proc",
		"dead processes are not noticed");
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	feature(pidfd >= 0, false, "pidfd_open",
		"the end of a process is noticed 1 ms later");
	feature(has_populate(), false, "populate",
		"shared memory is allocated page by page, which is slower");
	if (pidfd >= 0)
		close(pidfd);
	if (memfd >= 0)
		close(memfd);
}

/* ---- processes --------------------------------------------------------------------- */

static int twice(const void *in, void *out)
{
	*(int *)out = 2 * *(const int *)in;
	return 0;
}

/* All of it together. */
static void check_pool(void)
{
	static const tine_task task = TINE_TASK(twice, int, int);
	tine_pool_opts opts = { .workers = 2 };
	int in[] = { 1, 2, 3, 4 }, out[4] = { 0 }, err;
	int64_t begun = tine_now();
	tine_pool *pool = NULL;

	err = tine_pool_new(&pool, &opts);
	err = err ? err : tine_pool_map(pool, &task, in, out, 4, NULL, tine_after(10000));
	tine_pool_free(pool);
	if (err || out[3] != 8)
		tell(BAD, "a pool of two",
		     "fix the other BAD checks; raise ulimit -u and -n",
		     "does not work: %s", tine_strerror(err));
	else
		tell(OK, "a pool of two", NULL, "works, took %.1f ms",
		     (double)(tine_now() - begun) / 1e6);
}

static void check_count(int resource, const char *name, uint64_t few, const char *mend)
{
	uint64_t limit = limit_of(resource);

	if (limit == UINT64_MAX)
		tell(OK, name, NULL, "no limit");
	else if (limit < few)
		tell(BAD, name, mend, "at most %" PRIu64 ", too few", limit);
	else
		tell(OK, name, NULL, "at most %" PRIu64, limit);
}

static void check_trace(void)
{
	const char *path = getenv("TINE_TRACE");
	int err;

	if (!path || !*path)
		return;
	/* What %p will be is not known. */
	err = strchr(path, '%') ? 0 : try_trace(path);
	if (err)
		tell(BAD, "TINE_TRACE", "name a file in a folder with write permission",
		     "'%s' cannot be written, and nothing is traced: %s", path,
		     err == ENODEV ? "it is not a regular file" : strerror(err));
	else
		tell(OK, "TINE_TRACE", NULL, "'%s'", path);
}

static void check_processes(void)
{
	state.section = "processes";
	check_pool();
	check_count(RLIMIT_NPROC, "processes", FEW_FORKS, "raise the limit (ulimit -u)");
	check_count(RLIMIT_NOFILE, "descriptors", FEW_FILES,
		    "raise the limit (ulimit -n)");
	check_trace();
}

/* ---- what it works with ------------------------------------------------------------ */

/* The first line that a program prints, if it does so soon; false: there is none. */
static bool says(const char *program, char *line, size_t size)
{
	struct pollfd polled = { .events = POLLIN };
	ssize_t n = 0;
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		/* If somebody ends us meanwhile. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp(program, program, "--version", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	polled.fd = ends[0];
	if (pid > 0 && poll(&polled, 1, SERVER_WAIT) > 0)
		n = read(ends[0], line, size - 1);
	close(ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return n > 0;
}

static void check_server(void)
{
	char line[256], version[64];
	const char *at;

	if (!says("redis-server", line, sizeof(line))) {
		tell(NOTE, "redis-server",
		     "needed only for stores on a server: apt install redis-server",
		     "not found");
		return;
	}
	at = strstr(line, "v=");
	if (at && sscanf(at, "v=%63s", version) == 1)
		tell(OK, "redis-server", NULL, "%s", version);
	else
		tell(OK, "redis-server", NULL, "%s", line);
}

static void check_engine(const char *name, const char *version)
{
	tell(version ? OK : NOTE, name, NULL, version ? "built in, %s" : "not built in",
	     version);
}

#ifndef LMDB_BUILT_IN
#define LMDB_BUILT_IN NULL
#endif

/* It is looked for before the file is, and no connection is made. */
static void check_tls(void)
{
	tine_store *store;
	int err = tine_store_open(&store, "rediss://localhost?cacert=/dev/null/none",
				  NULL);
	bool there = err != -EPROTONOSUPPORT;

	tell(there ? OK : NOTE, "TLS", NULL,
	     there ? "by OpenSSL" : "not built in, or OpenSSL 3 is not installed");
}

static const char own_folder[] = "set TINE_CACHE to a folder of your own";

/* The nearest folder above that is there. */
static void nearest(const char *path, char *buf, size_t size)
{
	snprintf(buf, size, "%s", path);
	while (access(buf, F_OK) != 0) {
		char *slash = strrchr(buf, '/');

		if (!slash) {
			snprintf(buf, size, ".");
			return;
		}
		if (slash == buf) {
			buf[1] = '\0';
			return;
		}
		*slash = '\0';
	}
}

/* Whether a folder can be made there; none is left. */
static bool takes_folders(const char *folder)
{
	char path[4096 + 32];

	snprintf(path, sizeof(path), "%s/.tine-XXXXXX", folder);
	return mkdtemp(path) && rmdir(path) == 0;
}

static bool has_entries(const char *folder)
{
	DIR *dir = opendir(folder);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2;
}

static void check_missing_cache(const char *name)
{
	char above[4096];

	nearest(name, above, sizeof(above));
	if (has_entries(name))
		tell(BAD, "cache", own_folder, "'%s' cannot be used: %s", name,
		     cache_reason(-ENOTEMPTY));
	else if (takes_folders(above))
		tell(OK, "cache", NULL, "'%s' does not exist, and can be created", name);
	else
		tell(BAD, "cache", own_folder,
		     "'%s' cannot be created: no folder can be created in '%s'", name,
		     above);
}

static void check_cache(void)
{
	tine_cache_opts opts = { .existing = true };
	tine_cache_stats stats;
	char buf[4096], text[32];
	const char *name = cache_name(NULL, buf, sizeof(buf));
	tine_cache *cache = NULL;
	int err = tine_cache_open(&cache, NULL, &opts);

	if (err == -ENOENT && *name == '~')
		tell(BAD, "cache", own_folder,
		     "there is no default folder, because HOME is not set");
	else if (err == -ENOENT)
		check_missing_cache(name);
	else if (err < 0)
		tell(BAD, "cache", own_folder, "'%s' cannot be used: %s", name,
		     cache_reason(err));
	else if (tine_cache_stat(cache, &stats) == 0)
		tell(OK, "cache", NULL, "'%s', with %" PRIu64 " results in %s", name,
		     stats.entries, size_of(stats.bytes, text, sizeof(text)));
	tine_cache_free(cache);
}

static void check_stores(void)
{
	state.section = "results and stores";
	check_cache();
	check_engine("LMDB", LMDB_BUILT_IN);
	check_tls();
	check_server();
}

/* ---- the command ------------------------------------------------------------------- */

static int run_doctor(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	if (options.json)
		printf("{\"version\": \"%s\", \"checks\": [", tine_version());
	check_processors();
	check_memory();
	check_kernel();
	check_processes();
	check_stores();
	if (options.json)
		printf("], \"workers\": %u, \"bad\": %u}\n", tine_cpus(), state.bad);
	else if (state.bad == 0)
		printf("\nNothing here would go wrong.\n");
	else
		printf("\n%u thing%s here would go wrong.\n", state.bad,
		       state.bad == 1 ? "" : "s");
	return state.bad > 0 ? SOME_FAILED : DONE;
}

static const struct option_row rows[] = {
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command doctor_command = {
	.name = "doctor",
	.summary = "check this machine for settings that limit tine",
	.options = rows,
	.description =
		"Checks the machine for settings that limit tine: the processors that\n"
		"may be used, memory and its limits, features of the kernel, a pool,\n"
		"the default cache, and programs that tine works with.\n"
		".Pp\n"
		"Standard output gets a line for each check: ok, note, or BAD.\n"
		"BAD means that something would fail, and a second line says what to\n"
		"do about it.\n"
		"With\n"
		".Fl \\-json\n"
		"it gets an object with the members\n"
		".Li version , workers , bad\n"
		"(the number of these) and\n"
		".Li checks ,\n"
		"an array of objects with the members\n"
		".Li section , name , state\n"
		"(ok, note or bad),\n"
		".Li value\n"
		"and\n"
		".Li mend\n"
		"(what to do, or null).\n"
		".Pp\n"
		"The command opens the cache if there is one, and never creates one.\n"
		"The exit status is 1 if a check is bad.\n",
	.example = "tine doctor",
	.run = run_doctor,
};
