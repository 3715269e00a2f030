/* SPDX-License-Identifier: MIT */
/*
 * The cache, in a temporary folder. Prints one number:
 *
 *	cache hit [PROCESSES]	microseconds a hit of 8 bytes among 10,000 entries; of
 *				several processes at once, by all that they did
 *	cache begin		the same of tine_cache_begin(), by one process
 *	cache miss		microseconds to look for 8 bytes in vain and put them
 *	cache first		microseconds to a pointer to 10 MB, first in a process
 *	cache again		the same, after that, with its release
 *	cache open [ENTRIES]	milliseconds to open a cache with so many
 *	cache evict		milliseconds of the longest of 200,000 puts that evict
 *
 * bench/cache_joblib.py does the first and the two with 10 MB of joblib.Memory.
 */
#include "cache.h"

#include <string.h>
#include <sys/wait.h>
#include <tine.h>
#include <unistd.h>

enum { HITS = 4000000, TURNS = 100000, LARGE = 10000000, SAMPLES = 21 };

static char path[64];

static tine_cache *open_cache(uint64_t max_bytes)
{
	tine_cache_opts opts = { .max_bytes = max_bytes };
	tine_cache *cache = NULL;

	need(tine_cache_open(&cache, path, &opts) == 0, "tine_cache_open");
	return cache;
}

static void fill(tine_cache *cache, uint64_t n)
{
	for (uint64_t key = 0; key < n; key++)
		need(tine_cache_put(cache, &key, 8, &key, 8) == 0, "tine_cache_put");
}

static void hit(tine_cache *cache, uint64_t key)
{
	const uint64_t *val;
	size_t len;

	need(tine_cache_get(cache, &key, 8, (const void **)&val, &len) == 0 && len == 8 &&
		     *val == key,
	     "tine_cache_get");
	tine_cache_release(cache, val);
}

static void hit_many(tine_cache *cache, uint64_t seed)
{
	for (uint64_t i = 0; i < HITS; i++)
		hit(cache, mix(seed + i) % ENTRIES);
}

static double beginnings(void)
{
	tine_cache *cache = open_cache(0);
	double began;

	fill(cache, ENTRIES);
	hit_many(cache, 1);
	began = seconds_now();
	for (uint64_t i = 0; i < HITS; i++) {
		uint64_t key = mix(i) % ENTRIES;
		tine_flight *flight;
		const uint64_t *val;
		size_t len;

		need(tine_cache_begin(cache, &key, 8, (const void **)&val, &len, &flight,
				      TINE_FOREVER) == 1 &&
			     len == 8 && *val == key,
		     "tine_cache_begin");
		tine_cache_release(cache, val);
	}
	began = seconds_now() - began;
	tine_cache_free(cache);
	return 1e6 * began / HITS;
}

static double hits(uint64_t processes)
{
	tine_cache *cache = open_cache(0);
	double begun;
	int how;

	fill(cache, ENTRIES);
	hit_many(cache, 1);
	begun = seconds_now();
	for (uint64_t i = 1; i < processes; i++)
		if (fork() == 0) {
			hit_many(cache, i << 32);
			_exit(0);
		}
	hit_many(cache, 0);
	while (wait(&how) > 0)
		need(how == 0, "a process");
	begun = seconds_now() - begun;
	tine_cache_free(cache);
	return 1e6 * begun / HITS / (double)processes;
}

static double misses(void)
{
	tine_cache *cache = open_cache(0);
	const void *val;
	size_t len;
	double begun = seconds_now();

	for (uint64_t key = 0; key < TURNS; key++) {
		need(tine_cache_get(cache, &key, 8, &val, &len) < 0, "found");
		need(tine_cache_put(cache, &key, 8, &key, 8) == 0, "tine_cache_put");
	}
	begun = seconds_now() - begun;
	tine_cache_free(cache);
	return 1e6 * begun / TURNS;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of what so many processes measure, each in turn. */
static double in_processes(double (*measure)(void))
{
	double took[SAMPLES];
	int pipes[2], how;

	for (int i = 0; i < SAMPLES; i++) {
		need(pipe(pipes) == 0, "pipe");
		if (fork() == 0) {
			double mine = measure();

			_exit(write(pipes[1], &mine, sizeof(mine)) != sizeof(mine));
		}
		need(read(pipes[0], &took[i], sizeof(*took)) == sizeof(*took), "read");
		wait(&how);
		close(pipes[0]);
		close(pipes[1]);
	}
	qsort(took, SAMPLES, sizeof(*took), compare);
	return took[SAMPLES / 2];
}

static void put_large(void)
{
	tine_cache *cache = open_cache(0);
	char *val = malloc(LARGE);

	need(val != NULL, "no memory");
	memset(val, 7, LARGE);
	need(tine_cache_put(cache, "large", 5, val, LARGE) == 0, "tine_cache_put");
	free(val);
	tine_cache_free(cache);
}

static const char *get_large(tine_cache *cache)
{
	const void *val;
	size_t len;

	need(tine_cache_get(cache, "large", 5, &val, &len) == 0 && len == LARGE,
	     "tine_cache_get");
	return val;
}

static double first(void)
{
	tine_cache *cache = open_cache(0);
	double begun = seconds_now();
	const char *val = get_large(cache);

	begun = seconds_now() - begun;
	need(val[LARGE - 1] == 7, "another value");
	return 1e6 * begun;
}

static double again(void)
{
	tine_cache *cache = open_cache(0);
	double begun;

	tine_cache_release(cache, get_large(cache));
	begun = seconds_now();
	for (int i = 0; i < TURNS; i++)
		tine_cache_release(cache, get_large(cache));
	return 1e6 * (seconds_now() - begun) / TURNS;
}

static double open_once(void)
{
	double begun = seconds_now();
	tine_cache *cache = open_cache(0);

	begun = seconds_now() - begun;
	hit(cache, 5);
	return 1e3 * begun;
}

static double opening(uint64_t n)
{
	tine_cache *cache = open_cache(UINT64_C(4) << 30);

	fill(cache, n);
	tine_cache_free(cache);
	return in_processes(open_once);
}

static double longest(void)
{
	tine_cache *cache = open_cache(UINT64_C(64) << 20);
	char val[4096] = { 0 };
	double most = 0, begun;
	tine_cache_stats stats;
	uint64_t key = 0;

	do {
		need(tine_cache_put(cache, &key, 8, val, mix(key) % 4096) == 0, "put");
		need(tine_cache_stat(cache, &stats) == 0, "stat");
		key++;
	} while (stats.evictions == 0);
	for (int i = 0; i < 200000; i++, key++) {
		begun = seconds_now();
		need(tine_cache_put(cache, &key, 8, val, mix(key) % 4096) == 0, "put");
		begun = seconds_now() - begun;
		if (begun > most)
			most = begun;
	}
	tine_cache_free(cache);
	return 1e3 * most;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	double figure = -1;

	if (!mkdtemp(folder))
		die(1, "no temporary folder");
	snprintf(path, sizeof(path), "%s/cache", folder);
	if (strcmp(what, "hit") == 0)
		figure = hits(argc > 2 ? number(argv[2]) : 1);
	else if (strcmp(what, "begin") == 0)
		figure = beginnings();
	else if (strcmp(what, "miss") == 0)
		figure = misses();
	else if (strcmp(what, "open") == 0)
		figure = opening(argc > 2 ? number(argv[2]) : 1000000);
	else if (strcmp(what, "evict") == 0)
		figure = longest();
	else if (strcmp(what, "first") == 0 || strcmp(what, "again") == 0) {
		put_large();
		figure = in_processes(*what == 'f' ? first : again);
	}
	remove_folder();
	if (figure < 0)
		die(2, "usage: cache hit|begin|miss|first|again|open|evict");
	printf("%.6f\n", figure);
	return 0;
}
