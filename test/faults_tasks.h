/* SPDX-License-Identifier: MIT */
/* What the hosts of faults.c serve, and how a job tells that it has run. */
#ifndef TINE_TEST_FAULTS_TASKS_H
#define TINE_TEST_FAULTS_TASKS_H

#include "base/export.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MOST 4096
#define HOSTS	  3

/* In a file that all of them map: on one machine, whatever their networks. */
struct runs {
	_Atomic uint32_t of[JOBS_MOST]; /* how often job i has begun */
	_Atomic uint32_t by[HOSTS + 1]; /* how many each host has begun */
	_Atomic uint32_t host_deaths;	/* that jobs have caused */
};

static inline struct runs *map_runs(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *mem;

	if (fd < 0 || ftruncate(fd, sizeof(struct runs)) != 0)
		return NULL;
	mem = mmap(NULL, sizeof(struct runs), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return mem == MAP_FAILED ? NULL : mem;
}

static struct runs *runs;
static unsigned own_host;

static inline void note_run(uint64_t n)
{
	atomic_fetch_add(&runs->of[n % JOBS_MOST], 1);
	atomic_fetch_add(&runs->by[own_host], 1);
}

struct order {
	uint64_t n;
	uint32_t us;
	uint16_t poison;   /* the job ends its host */
	uint16_t crash_on; /* 1 + number of the host where it crashes */
};

/* The process, its nursery, its agent and who started that. */
static inline void end_host(void)
{
	pid_t pids[4] = { getpid() };

	for (int i = 1; i < 4; i++) {
		char path[64], line[512];
		FILE *file;
		int pid = 0;

		snprintf(path, sizeof(path), "/proc/%d/status", pids[i - 1]);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "PPid: %d", &pid) == 1)
				break;
		if (file)
			fclose(file);
		pids[i] = pid;
	}
	atomic_fetch_add(&runs->host_deaths, 1);
	for (int i = 3; i >= 0; i--)
		kill(pids[i], SIGKILL);
}

static inline int do_work(const void *in, void *out)
{
	const struct order *order = in;
	const struct timespec nap = { 0, order->us * 1000L };

	note_run(order->n);
	if (order->poison)
		end_host();
	if (order->crash_on == own_host + 1)
		abort();
	if (order->us)
		nanosleep(&nap, NULL);
	*(uint64_t *)out = order->n * 3 + 1;
	return 0;
}

static const tine_task work_task = TINE_TASK(do_work, struct order, uint64_t);

#endif
