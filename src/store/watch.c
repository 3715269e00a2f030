/* SPDX-License-Identifier: MIT */
/*
 * Keys of a store that are mirrored in events. For each there is a process, which has a
 * handle of its own: it waits for changes of the key, gets it, and sets or clears the
 * event. What it does to the event is one atomic step, so that it may die anywhere.
 *
 *	the creator dies, by any death	the kernel kills it (child_tie)
 *	it dies				the event stays as it is; who watches it again
 *					starts another
 *	the server is away		the event stays as it is, and it tries again, with
 *					pauses; a lost connection counts as a change, so
 *					that then the key is looked at
 *	it is stopped			the event stays as it is; the creator waits for
 *					its first report no longer than its calls may
 *					take, and to end it kills it
 *	the creator forks		the child's copy of the handle watches nothing
 */
#include "store/store.h"

#include "base/futex.h"
#include "memory/heap.h"
#include "process/child.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define FIRST_PAUSE 10 /* milliseconds */
#define LAST_PAUSE  1000

struct watch {
	struct watch *next;
	struct child child;
	tine_store *store; /* whose address it has; not for use there */
	tine_event *event;
	int report; /* where it says once how it went: 0 or an error */
	char key[TINE_STORE_KEY_MAX + 1];
};

/* ---- the process ------------------------------------------------------------------- */

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

static int follow(tine_store *store, const struct watch *watch, uint64_t *version,
		  int64_t deadline)
{
	int err = store->engine->wait(store, watch->key, version, deadline);

	return err ? err : mirror(store, watch);
}

static _Noreturn void follow_on(tine_store *store, const struct watch *watch,
				uint64_t version)
{
	int64_t pause = FIRST_PAUSE;

	for (;;) {
		struct timespec ts = timespec_of(pause * 1000000);

		/* Bound: none; this process is for that, and ends with its creator. */
		if (follow(store, watch, &version, TINE_FOREVER) == 0) {
			pause = FIRST_PAUSE;
			continue;
		}
		/* What was told may not have been got. */
		version = 0;
		/* Bound: LAST_PAUSE. */
		nanosleep(&ts, NULL);
		pause = pause < LAST_PAUSE / 2 ? 2 * pause : LAST_PAUSE;
	}
}

static int open_own(tine_store **out, const tine_store *theirs)
{
	int err = theirs->engine->open(out, &theirs->address);

	if (err)
		return err;
	(*out)->engine = theirs->engine;
	(*out)->address = theirs->address;
	(*out)->strings = NULL;
	(*out)->watches = NULL;
	return 0;
}

static int be_watch(void *arg, int lifeline)
{
	const struct watch *watch = arg;
	uint64_t version = 0;
	tine_store *store;
	sigset_t all;
	int err;

	/* Ctrl-C and the like are for the creator, which may go on. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	child_tie(lifeline);
	prctl(PR_SET_NAME, "tine-watch");
	err = open_own(&store, watch->store);
	if (!err)
		err = follow(store, watch, &version, TINE_NOWAIT);
	/* Bound: a few bytes go into an empty pipe. */
	if (write(watch->report, &err, sizeof(err)) != sizeof(err) || err)
		return 1;
	close(watch->report);
	follow_on(store, watch, version);
}

/* ---- the creator ------------------------------------------------------------------- */

static bool watches_here(const struct watch *watch)
{
	return watch->child.owner == getpid();
}

/* Where the pointer to it is; of NULL, where there is none. */
static struct watch **find_watch(tine_store *store, const tine_event *event)
{
	struct watch **at = &store->watches;

	while (*at && ((*at)->event != event || !watches_here(*at)))
		at = &(*at)->next;
	return at;
}

static void end_watch(struct watch *watch)
{
	if (watches_here(watch)) {
		if (child_wait(&watch->child, NULL, TINE_NOWAIT) == -ETIMEDOUT)
			kill(watch->child.pid, SIGKILL);
		/* Bound: it has ended, or was killed. */
		child_wait(&watch->child, NULL, TINE_FOREVER);
		child_release(&watch->child);
	}
	free(watch);
}

static void unlink_watch(struct watch **at)
{
	struct watch *watch = *at;

	*at = watch->next;
	end_watch(watch);
}

/*
 * What it reports. All its calls have limits, and it is not waited for longer than they
 * may take together: it may have been stopped.
 */
static int await_report(const struct watch *watch, int report)
{
	const struct store_address *address = &watch->store->address;
	int64_t deadline = tine_after(2 * (int64_t)address->connect_ms +
				      2 * (int64_t)address->answer_ms);
	struct pollfd polled[] = { { .fd = report, .events = POLLIN },
				   { .fd = watch->child.handle, .events = POLLIN } };
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
	/* Bound: what is there is whole, or the end of it. */
	if (polled[0].revents && read(report, &err, sizeof(err)) != sizeof(err))
		err = -TINE_ECRASH;
	return err;
}

static int start_watch(struct watch *watch)
{
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	watch->report = ends[1];
	err = child_start(&watch->child, be_watch, watch);
	close(ends[1]);
	if (!err) {
		err = await_report(watch, ends[0]);
		if (err) {
			kill(watch->child.pid, SIGKILL);
			/* Bound: it was killed. */
			child_wait(&watch->child, NULL, TINE_FOREVER);
			child_release(&watch->child);
		}
	}
	close(ends[0]);
	return err;
}

int tine_store_watch(tine_store *store, const char *key, tine_event *event)
{
	struct watch *watch, **at;
	size_t len;
	int err;

	if (!store || !key || !event)
		return -EINVAL;
	len = strnlen(key, TINE_STORE_KEY_MAX + 1);
	if (len == 0 || len > TINE_STORE_KEY_MAX || !shared_has(event, sizeof(*event)))
		return -EINVAL;
	at = find_watch(store, event);
	if (*at && child_wait(&(*at)->child, NULL, TINE_NOWAIT) == -ETIMEDOUT)
		return -EBUSY;
	if (*at)
		unlink_watch(at);
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->store = store;
	watch->event = event;
	memcpy(watch->key, key, len);
	err = start_watch(watch);
	if (err) {
		free(watch);
		return err;
	}
	watch->next = store->watches;
	store->watches = watch;
	return 0;
}

int tine_store_unwatch(tine_store *store, tine_event *event)
{
	struct watch **at;

	if (!store || !event)
		return -EINVAL;
	at = find_watch(store, event);
	if (!*at)
		return -ENOENT;
	unlink_watch(at);
	return 0;
}

void store_unwatch_all(tine_store *store)
{
	while (store->watches)
		unlink_watch(&store->watches);
}
