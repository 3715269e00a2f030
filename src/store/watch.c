/* SPDX-License-Identifier: MIT */
/*
 * Keys of a store that are mirrored in events. One process, which inherits the handle and
 * what it watches, waits for changes of all keys, gets what has changed, and sets or
 * clears the events. What it does to an event is one atomic step, so that it may die
 * anywhere.
 *
 * It is told nothing: to watch one key more, or one less, the creator forks another, and
 * this one is killed. The new one first has the new key mirrored in its event, which may
 * fail, and waits for the end of the old one, which may have got a value just before it
 * changed, and would set an event out of date. Then it looks at all keys.
 *
 *	the creator dies, by any death	the kernel kills it (child_tie)
 *	it dies				the events stay as they are; the next call of the
 *					creator that watches or unwatches starts another
 *	it cannot be started		the old one goes on with what it has
 *	the server is away		the events stay as they are, and it tries again,
 *					with pauses; a lost connection counts as a
 *					change, so that then the keys are looked at
 *	it is stopped			the events stay as they are; the creator waits for
 *					its report no longer than its calls may take, and
 *					to end it kills it
 *	the creator is stopped before	the new one has done nothing to the events of the
 *	the old one has ended		old one, which goes on
 *	the creator forks		the child's copy of the handle watches nothing
 */
#include "store/store.h"

#include "base/futex.h"
#include "base/signals.h"
#include "memory/heap.h"
#include "process/child.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define FIRST_PAUSE 10 /* milliseconds */
#define LAST_PAUSE  1000

/* A key and its event. */
struct watch {
	tine_event *event;
	char key[TINE_STORE_KEY_MAX + 1];
};

/* A process, and all that it watches, of which there is at least one. */
struct watcher {
	struct child child;
	tine_store *store;
	int line, far_line; /* between the two, while it starts */
	bool tries;	    /* the last, which is new */
	size_t n;
	struct watch *watches[];
};

/* ---- the process ------------------------------------------------------------------- */

/* To look for a change, as to get a value, in milliseconds. */
static int64_t half_time(const struct watcher *watcher)
{
	const struct store_address *address = &watcher->store->address;

	return (int64_t)address->connect_ms + (int64_t)address->answer_ms;
}

/* What is no value is none. */
static int mirror(tine_store *store, const struct watch *watch)
{
	char value[2];
	ssize_t len = store->engine->get(store, watch->key, value, sizeof(value));

	if (len < 0 && len != -ENOENT && len != -TINE_EKIND)
		return (int)len;
	if (len > 1 || (len == 1 && value[0] != '0'))
		tine_event_set(watch->event);
	else
		tine_event_clear(watch->event);
	return 0;
}

/* Waits for changes, and mirrors them. */
static int follow(const struct watcher *watcher, struct store_wait *waits, size_t first,
		  int64_t deadline)
{
	tine_store *store = watcher->store;
	int err = store->engine->wait(store, waits + first, watcher->n - first, deadline);

	for (size_t i = first; i < watcher->n && !err; i++)
		if (waits[i].changed)
			err = mirror(store, watcher->watches[i]);
	return err;
}

static _Noreturn void follow_on(const struct watcher *watcher, struct store_wait *waits)
{
	int64_t pause = FIRST_PAUSE;

	for (;;) {
		struct timespec ts = timespec_of(pause * 1000000);

		/* Bound: none; this process is for that, and ends with its creator. */
		if (follow(watcher, waits, 0, TINE_FOREVER) == 0) {
			pause = FIRST_PAUSE;
			continue;
		}
		/* What was told may not have been got. */
		for (size_t i = 0; i < watcher->n; i++)
			waits[i].version = 0;
		/* Bound: LAST_PAUSE. */
		nanosleep(&ts, NULL);
		pause = pause < LAST_PAUSE / 2 ? 2 * pause : LAST_PAUSE;
	}
}

static int be_watcher(void *arg, int lifeline)
{
	const struct watcher *watcher = arg;
	struct store_wait *waits = calloc(watcher->n, sizeof(*waits));
	char go;
	int err = waits ? 0 : -ENOMEM;

	/* Ctrl-C and the like are for the creator, which may go on. */
	block_signals(NULL);
	child_tie(lifeline);
	prctl(PR_SET_NAME, "tine-watch");
	close(watcher->far_line);
	for (size_t i = 0; i < watcher->n && !err; i++)
		waits[i].key = watcher->watches[i]->key;
	if (!err && watcher->tries)
		err = follow(watcher, waits, watcher->n - 1,
			     tine_after(half_time(watcher)));
	/* Bound: a few bytes go into an empty socket. */
	if (write(watcher->line, &err, sizeof(err)) != sizeof(err) || err)
		return 1;
	/* Bound: the life of the creator, with which this ends. */
	if (read(watcher->line, &go, 1) != 1)
		return 1;
	close(watcher->line);
	follow_on(watcher, waits);
}

/* ---- the creator ------------------------------------------------------------------- */

static bool watches_here(const struct watcher *watcher)
{
	return watcher->child.owner == getpid();
}

/* That of the handle; of another process's it lets go. */
static struct watcher *own_watcher(tine_store *store)
{
	struct watcher *watcher = store->watcher;

	if (!watcher || watches_here(watcher))
		return watcher;
	for (size_t i = 0; i < watcher->n; i++)
		free(watcher->watches[i]);
	free(watcher);
	store->watcher = NULL;
	return NULL;
}

static size_t count_watches(const struct watcher *watcher)
{
	return watcher ? watcher->n : 0;
}

/* Its number; count_watches(): there is none. */
static size_t find_watch(const struct watcher *watcher, const tine_event *event)
{
	size_t i = 0;

	while (i < count_watches(watcher) && watcher->watches[i]->event != event)
		i++;
	return i;
}

static void end_watcher(struct watcher *watcher)
{
	if (!watcher)
		return;
	if (child_wait(&watcher->child, NULL, TINE_NOWAIT) == -ETIMEDOUT)
		kill(watcher->child.pid, SIGKILL);
	/* Bound: it has ended, or was killed. */
	child_wait(&watcher->child, NULL, TINE_FOREVER);
	child_release(&watcher->child);
	free(watcher);
}

/*
 * What it reports. All its calls have limits, and it is not waited for longer than they
 * may take together: it may have been stopped.
 */
static int await_report(const struct watcher *watcher, int line)
{
	int64_t deadline = tine_after(2 * half_time(watcher));
	struct pollfd polled[] = { { .fd = line, .events = POLLIN },
				   { .fd = watcher->child.handle.fd, .events = POLLIN } };
	int err = -TINE_ECRASH;

	for (int n = -1; n < 0;) {
		int64_t left = deadline - tine_now();
		struct timespec ts = timespec_of(left > 0 ? left : 0);

		/* Bound: the deadline. */
		n = ppoll(polled, 2, &ts, NULL);
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	/* Bound: MSG_DONTWAIT. What is there is whole. */
	if (recv(line, &err, sizeof(err), MSG_DONTWAIT) != sizeof(err))
		err = -TINE_ECRASH;
	return err;
}

/*
 * Takes the place of the handle's, and frees that; after a failure that stays.
 */
static int start_watcher(tine_store *store, struct watcher *watcher)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	watcher->store = store;
	watcher->far_line = ends[0];
	watcher->line = ends[1];
	err = child_start(&watcher->child, be_watcher, watcher);
	close(ends[1]);
	if (err)
		goto close_line;
	err = await_report(watcher, ends[0]);
	if (err) {
		kill(watcher->child.pid, SIGKILL);
		/* Bound: it was killed. */
		child_wait(&watcher->child, NULL, TINE_FOREVER);
		child_release(&watcher->child);
		goto close_line;
	}
	end_watcher(store->watcher);
	store->watcher = watcher;
	/* Bound: MSG_DONTWAIT, into an empty socket. One that has died is not told. */
	send(ends[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
close_line:
	close(ends[0]);
	return err;
}

/* All that the other watches, but for one, and room for one more. */
static struct watcher *copy_watcher(const struct watcher *other, size_t but)
{
	size_t n = count_watches(other);
	struct watcher *watcher = calloc(1, sizeof(*watcher) + (n + 1) * sizeof(void *));

	for (size_t i = 0; watcher && i < n; i++)
		if (i != but)
			watcher->watches[watcher->n++] = other->watches[i];
	return watcher;
}

static struct watch *watch_new(const char *key, tine_event *event)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (watch) {
		watch->event = event;
		strcpy(watch->key, key);
	}
	return watch;
}

int tine_store_watch(tine_store *store, const char *key, tine_event *event)
{
	struct watch *watch, *before = NULL;
	struct watcher *old, *watcher;
	int err = -ENOMEM;
	size_t at, len;

	if (!store || !key || !event)
		return -EINVAL;
	len = strnlen(key, TINE_STORE_KEY_MAX + 1);
	if (len == 0 || len > TINE_STORE_KEY_MAX || !shared_has(event, sizeof(*event)))
		return -EINVAL;
	old = own_watcher(store);
	at = find_watch(old, event);
	if (at < count_watches(old)) {
		if (child_wait(&old->child, NULL, TINE_NOWAIT) == -ETIMEDOUT)
			return -EBUSY;
		before = old->watches[at];
	}
	watch = watch_new(key, event);
	if (!watch)
		return -ENOMEM;
	watcher = copy_watcher(old, at);
	if (!watcher)
		goto free_watch;
	watcher->watches[watcher->n++] = watch;
	watcher->tries = true;
	err = start_watcher(store, watcher);
	if (err)
		goto free_watcher;
	free(before);
	return 0;

free_watcher:
	free(watcher);
free_watch:
	free(watch);
	return err;
}

/* One that watches only this is killed, and needs no other, which might not start. */
int tine_store_unwatch(tine_store *store, tine_event *event)
{
	struct watcher *old, *watcher;
	struct watch *watch;
	size_t at;
	int err;

	if (!store || !event)
		return -EINVAL;
	old = own_watcher(store);
	at = find_watch(old, event);
	if (at == count_watches(old))
		return -ENOENT;
	watch = old->watches[at];
	if (old->n == 1) {
		store_unwatch_all(store);
		return 0;
	}
	watcher = copy_watcher(old, at);
	if (!watcher)
		return -ENOMEM;
	err = start_watcher(store, watcher);
	free(err ? (void *)watcher : (void *)watch);
	return err;
}

void store_unwatch_all(tine_store *store)
{
	struct watcher *watcher = own_watcher(store);

	if (!watcher)
		return;
	for (size_t i = 0; i < watcher->n; i++)
		free(watcher->watches[i]);
	end_watcher(watcher);
	store->watcher = NULL;
}
