/* SPDX-License-Identifier: MIT */
/* The writer's turn; the protocol is at the head of format.h. */
/* Its arguments have the name of a type of ours. */
#include "base/futex.h"

#include "cache/turn.h"

#include "base/deadline.h"
#include "cache/fs.h"
#include "cache/hash.h"
#include "cache/slots.h"
#include "cache/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Between looks whether the lock is free: some turns of a loop, and then nanoseconds. */
#define SPINS	     8
#define SPIN	     50
#define SHORTEST_NAP INT64_C(50000)
#define LONGEST_NAP  INT64_C(1000000)

static uint64_t check_of(uint64_t value)
{
	return (value ^ CACHE_MAGIC) * UINT64_C(0x9e3779b97f4a7c15);
}

/* 0; -ENODATA: it is still to be made; -EUCLEAN, also where another version made it. */
static int is_index(tine_cache *cache)
{
	struct index_header *header = area_at(&cache->index, 0, HEADER_SIZE);
	uint64_t layout, magic;

	if (!header)
		return -EUCLEAN;
	magic = get_word(header->magic);
	if (magic == CACHE_BEGUN || (magic == 0 && get_word(header->check) == 0))
		return -ENODATA;
	if (magic != CACHE_MAGIC)
		return -EUCLEAN;
	layout = get_word(header->layout);
	if (get_word(header->check) != check_of(layout))
		return -EUCLEAN;
	return layout == CACHE_LAYOUT ? 0 : -EUCLEAN;
}

int cache_set_max(tine_cache *cache, uint64_t max_bytes)
{
	struct index_header *header = cache_header(cache);
	int err = change_word(cache, &header->max_bytes, max_bytes);

	if (!err)
		err = change_word(cache, &header->max_check, check_of(max_bytes));
	if (err)
		return err;
	commit_changes(cache);
	cache->max_bytes = max_bytes;
	return 0;
}

/* What costs little to see: the limit, and that the files are as long as they must be. */
static int check_header(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t slots = get_word(header->slots), segments = get_word(header->segments);

	if (get_word(header->max_check) != check_of(get_word(header->max_bytes)) ||
	    (slots && !slot_at(cache, slots - 1)) ||
	    (segments && (segments > UINT32_MAX ||
			  !area_at(&cache->data, (segments - 1) * SEGMENT, SEGMENT))))
		return -EUCLEAN;
	return 0;
}

/* What a death has left, with the lock. */
static int mend_death(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	int err = is_index(cache);

	if (err)
		return err;
	err = undo_changes(cache);
	if (!err && get_word(header->doomed))
		commit_changes(cache);
	return err ? err : check_header(cache);
}

static void bring_in(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);

	header->hits += atomic_exchange(&cache->hits, 0);
	header->misses += atomic_exchange(&cache->misses, 0);
}

void cache_unlock(tine_cache *cache)
{
	lockfd_release(&cache->lock, WRITER);
	pthread_mutex_unlock(&cache->mutex);
}

bool cache_is_whole(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);

	return is_index(cache) == 0 && get_word(header->undos) == 0 &&
	       get_word(header->doomed) == 0 && check_header(cache) == 0;
}

/* The lock between threads, then that between processes: both, or neither. */
static int try_both(tine_cache *cache)
{
	int err;

	if (pthread_mutex_trylock(&cache->mutex) != 0)
		return -ETIMEDOUT;
	/* In a child, which inherits no locks. */
	err = cache->lock.own.fd < 0
		      ? lockfd_open(&cache->lock, own_fd_use(&cache->folder), "lock")
		      : 0;
	if (!err)
		err = lockfd_acquire(&cache->lock, WRITER, false, TINE_NOWAIT);
	if (err)
		pthread_mutex_unlock(&cache->mutex);
	return err;
}

/* Most have the lock for some microseconds. */
static int try_again(tine_cache *cache, int64_t until)
{
	int64_t nap = SHORTEST_NAP, now = tine_now();
	int err = -ETIMEDOUT;

	for (unsigned tries = 0; err == -ETIMEDOUT && now < until; tries++) {
		struct timespec next = timespec_of(until - now > nap ? now + nap : until);

		if (tries < SPINS) {
			for (unsigned i = 0; i < SPIN; i++)
				cpu_relax();
		} else {
			/* Bound: LONGEST_NAP. */
			interrupt_note(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME,
						       &next, NULL));
			nap = nap < LONGEST_NAP / 2 ? 2 * nap : LONGEST_NAP;
		}
		err = try_both(cache);
		now = tine_now();
	}
	return err;
}

static int acquire_in_time(tine_cache *cache, int64_t deadline)
{
	int err = try_both(cache);
	int64_t begun, until;

	if (err == -ETIMEDOUT && deadline > TINE_NOWAIT && !atomic_load(&cache->stuck)) {
		begun = tine_now();
		until = begun + PATIENCE_MS * INT64_C(1000000);
		until = earlier(until, deadline);
		err = try_again(cache, until);
		if (err == -ETIMEDOUT && until - begun >= HELP_MS * INT64_C(1000000))
			atomic_store(&cache->stuck, true);
	}
	if (!err && atomic_load_explicit(&cache->stuck, memory_order_relaxed))
		atomic_store(&cache->stuck, false);
	return err;
}

int cache_lock(tine_cache *cache, int64_t deadline)
{
	int err = acquire_in_time(cache, deadline);

	if (err)
		return err;
	err = mend_death(cache);
	if (err == -EUCLEAN || err == -ENODATA)
		err = cache_restart(cache, err == -EUCLEAN);
	if (err)
		goto unlock;
	bring_in(cache);
	cache->max_bytes = get_word(cache_header(cache)->max_bytes);
	return 0;

unlock:
	cache_unlock(cache);
	return err;
}

/* ---- begun anew -------------------------------------------------------------------- */

/* Which boot this is; zeros where it cannot be known: then each open looks. */
static void this_boot(uint64_t boot[2])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[36];

	boot[0] = boot[1] = 0;
	if (fd < 0)
		return;
	/* Bound: a file of /proc that is a constant. */
	if (read(fd, text, sizeof(text)) == sizeof(text)) {
		boot[0] = bytes_hash(text, 18) | 1;
		boot[1] = bytes_hash(text + 18, 18);
	}
	close(fd);
}

void boot_note(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t boot[2];

	this_boot(boot);
	header->boot[0] = boot[0];
	header->boot[1] = boot[1];
}

int cache_restart(tine_cache *cache, bool damaged)
{
	uint64_t kept[5] = { 0 }, size;
	struct index_header *header;
	int err;

	size = HEADER_SIZE + SLOT_STEP * sizeof(struct slot);
	err = area_grow(&cache->index, size);
	if (!err)
		err = -posix_fallocate(own_fd_use(&cache->index.own), 0, size);
	if (err)
		return err;
	header = cache_header(cache);
	if (get_word(header->check) == check_of(get_word(header->layout))) {
		kept[0] = get_word(header->restarts);
		kept[1] = get_word(header->hits);
		kept[2] = get_word(header->misses);
		kept[3] = get_word(header->evictions);
		kept[4] = get_word(header->files);
	}
	/* Who dies here leaves the damage, or says that there was none. */
	atomic_store(&header->magic, damaged ? 0 : CACHE_BEGUN);
	file_give_back(own_fd_use(&cache->data.own), 0);
	file_give_back(own_fd_use(&cache->index.own), size);
	for (word *at = &header->clock; at < &header->commits; at++)
		*at = 0;
	header->layout = CACHE_LAYOUT;
	header->check = check_of(CACHE_LAYOUT);
	if (get_word(header->max_check) != check_of(get_word(header->max_bytes))) {
		header->max_bytes = cache->max_bytes;
		header->max_check = check_of(cache->max_bytes);
	}
	header->restarts = kept[0] + damaged;
	header->hits = kept[1];
	header->misses = kept[2];
	header->evictions = kept[3];
	/* So that no number is given twice, if the clock is not set back. */
	header->files = cache_now() / 1000;
	if (get_word(header->files) <= kept[4])
		header->files = kept[4] + 1;
	header->clock = header->files;
	large_remove_all(own_fd_use(&cache->large));
	boot_note(cache);
	header->commits++;
	atomic_store(&header->magic, CACHE_MAGIC);
	return 0;
}

bool boot_is_noted(tine_cache *cache)
{
	struct index_header *header = cache_header(cache);
	uint64_t boot[2];

	this_boot(boot);
	return boot[0] && get_word(header->boot[0]) == boot[0] &&
	       get_word(header->boot[1]) == boot[1];
}

int cache_settle(tine_cache *cache, int err)
{
	if (!err) {
		commit_changes(cache);
		return 0;
	}
	undo_changes(cache);
	if (err == -EUCLEAN) {
		err = cache_restart(cache, true);
		return err ? err : -EAGAIN;
	}
	return err;
}
