/* SPDX-License-Identifier: MIT */
/* Quotas are read below a root that the tests make of plain files. */
#include "test.h"

#include "base/cgroup.h"
#include "base/cpus.h"

#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/stat.h>

static char root[] = "/tmp/tine-cpus-XXXXXX";

static void put(const char *path, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void put(const char *path, const char *fmt, ...)
{
	char full[512];
	va_list args;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		mkdir(full, 0700);
		*at = '/';
	}
	file = fopen(full, "w");
	CHECK(file);
	va_start(args, fmt);
	vfprintf(file, fmt, args);
	va_end(args);
	fclose(file);
}

static int delete (const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat;
	(void)type;
	(void)at;
	return remove(path);
}

static void begin(void)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	CHECK(mkdtemp(root));
}

static void end(void)
{
	CHECK_EQ(nftw(root, delete, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void mount_v2(const char *top)
{
	put("/proc/self/mountinfo",
	    "30 24 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
	    top);
}

static void mount_v1(const char *top)
{
	put("/proc/self/mountinfo",
	    "31 24 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	    "32 24 0:28 %s /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	    "33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
	    top);
}

static unsigned affinity(void)
{
	cpu_set_t set;

	CHECK_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

TEST(no_groups_leave_the_affinity)
{
	begin();
	CHECK_EQ(processors(root), affinity());
	end();
}

TEST(affinity_counts)
{
	cpu_set_t one;

	begin();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
	CHECK_EQ(processors(root), 1);
	end();
}

TEST(v2_quota_of_the_group_itself)
{
	begin();
	put("/proc/self/cgroup", "0::/a/b\n");
	mount_v2("/");
	put("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
	CHECK_EQ(processors(root), 1);
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	CHECK_EQ(processors(root), affinity());
	end();
}

TEST(v2_quota_of_an_ancestor)
{
	begin();
	put("/proc/self/cgroup", "0::/a/b/c\n");
	mount_v2("/");
	put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
	CHECK_EQ(processors(root), 1);
	end();
}

TEST(v2_in_a_container_without_a_namespace)
{
	begin();
	put("/proc/self/cgroup", "0::/docker/abc\n");
	mount_v2("/docker/abc");
	put("/sys/fs/cgroup/cpu.max", "10000 100000\n");
	CHECK_EQ(processors(root), 1);
	/* A group that cannot be seen from here. */
	put("/proc/self/cgroup", "0::/../other\n");
	CHECK_EQ(processors(root), 1);
	end();
}

TEST(v1_quota_and_its_ancestors)
{
	begin();
	put("/proc/self/cgroup", "3:cpuset:/x\n4:cpu,cpuacct:/a/b\n5:memory:/a\n");
	mount_v1("/");
	put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
	CHECK_EQ(processors(root), affinity());
	put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "1000\n");
	put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
	CHECK_EQ(processors(root), 1);
	end();
}

TEST(quotas_are_rounded_up)
{
	begin();
	put("/proc/self/cgroup", "0::/\n");
	mount_v2("/");
	if (affinity() < 2)
		test_skip("one processor");
	put("/sys/fs/cgroup/cpu.max", "100001 100000\n");
	CHECK_EQ(processors(root), 2);
	put("/sys/fs/cgroup/cpu.max", "99999 100000\n");
	CHECK_EQ(processors(root), 1);
	end();
}

TEST(garbage_is_no_limit)
{
	begin();
	put("/proc/self/cgroup", "nonsense\n0::/\n::\n");
	mount_v2("/");
	put("/sys/fs/cgroup/cpu.max", "0 0\n");
	CHECK_EQ(processors(root), affinity());
	put("/sys/fs/cgroup/cpu.max", "what\n");
	CHECK_EQ(processors(root), affinity());
	put("/sys/fs/cgroup/cpu.max", "%s", "");
	CHECK_EQ(processors(root), affinity());
	end();
}

TEST(the_environment_overrides)
{
	setenv("TINE_WORKERS", "7", 1);
	CHECK_EQ(tine_cpus(), 7);
	setenv("TINE_WORKERS", "99999999", 1);
	CHECK_EQ(tine_cpus(), 1024);
	for (const char **bad = (const char *[]){ "0", "-1", "x", "", "3x", " 3", NULL };
	     *bad; bad++) {
		setenv("TINE_WORKERS", *bad, 1);
		CHECK_EQ(tine_cpus(), processors(""));
	}
	unsetenv("TINE_WORKERS");
	CHECK(tine_cpus() >= 1);
}

TEST(memory_left_is_the_least_of_all_limits)
{
	begin();
	put("/proc/meminfo",
	    "MemTotal: 100 kB\nMemAvailable:    1000 kB\nSwapFree: 24 kB\n");
	CHECK_EQ(memory_headroom(root), 1024 * 1024);
	put("/proc/self/cgroup", "0::/a\n5:memory:/m\n");
	put("/proc/self/mountinfo",
	    "33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	    "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	put("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "500000\n");
	put("/sys/fs/cgroup/memory/m/memory.usage_in_bytes", "400000\n");
	put("/sys/fs/cgroup/memory/m/memory.stat",
	    "cache 9\ntotal_inactive_file 50000\n");
	CHECK_EQ(memory_headroom(root), 150000);
	put("/sys/fs/cgroup/unified/memory.max", "max\n");
	put("/sys/fs/cgroup/unified/memory.current", "40000\n");
	CHECK_EQ(memory_headroom(root), 150000);
	put("/sys/fs/cgroup/unified/memory.max", "50000\n");
	CHECK_EQ(memory_headroom(root), 10000);
	put("/sys/fs/cgroup/unified/a/memory.max", "5\n");
	put("/sys/fs/cgroup/unified/a/memory.current", "10\n");
	put("/sys/fs/cgroup/unified/a/memory.stat", "inactive_file 100\n");
	CHECK_EQ(memory_headroom(root), 5);
	put("/sys/fs/cgroup/unified/a/memory.stat", "inactive_file 1\n");
	CHECK_EQ(memory_headroom(root), 0);
	end();
}
