/* SPDX-License-Identifier: MIT */
#include "isprime/isprime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <tine.h>
#include <unistd.h>

#define KEY_MS	  INT64_C(86400000)
#define MIRROR_MS 1000
#define LOOKS_NS  INT64_C(5000000) /* so long it is measured how long a look takes */

const char *const ways[] = { "none",  "find",  "event",	 "file",
			     "store", "redis", "mirror", "one" };

/* What there is as long as the command runs. */
static struct {
	tine_event *event, *mirror;
	uint8_t *byte;
	struct {
		tine_store *store; /* or NULL */
		char key[64];
		char why[64]; /* it is left out of the comparison; or "" */
	} flags[WAYS];
	tine_manager *manager;
} state;

/* Should the run be killed, the key goes by itself. */
static int write_key(enum way way, const char *value)
{
	tine_store *store = state.flags[way].store;
	const char *key = state.flags[way].key;
	int err = tine_store_set(store, key, value, strlen(value));

	return err ? err : tine_store_expire(store, key, KEY_MS);
}

/* A store that fails tells nobody: then all ranges are searched. */
static bool read_key(enum way way)
{
	static bool lost;
	char value = '0';

	if (lost)
		return false;
	lost = tine_store_get(state.flags[way].store, state.flags[way].key, &value, 1) <
	       0;
	return value != '0';
}

void flag_raise(enum way way)
{
	if (way == EVENT)
		tine_event_set(state.event);
	else if (way == BYTE)
		__atomic_store_n(state.byte, 1, __ATOMIC_RELAXED);
	else if (way == STORE || way == REDIS || way == MIRROR)
		write_key(way, "1");
}

/* The mirror follows; should it come late, what is stopped by it is done after. */
void flag_lower(enum way way)
{
	int64_t end = tine_after(MIRROR_MS);

	if (way == EVENT)
		tine_event_clear(state.event);
	else if (way == BYTE)
		__atomic_store_n(state.byte, 0, __ATOMIC_RELAXED);
	else if (way == STORE || way == REDIS || way == MIRROR)
		write_key(way, "0");
	while (way == MIRROR && tine_event_is_set(state.mirror) && tine_now() < end)
		usleep(50);
}

bool flag_is_raised(enum way way)
{
	switch (way) {
	case FIND:
		return tine_cancelled();
	case EVENT:
		return tine_event_is_set(state.event);
	case MIRROR:
		return tine_event_is_set(state.mirror);
	case BYTE:
		return __atomic_load_n(state.byte, __ATOMIC_RELAXED);
	case STORE:
	case REDIS:
		return read_key(way);
	default:
		return false;
	}
}

/* ---- making them ------------------------------------------------------------------- */

static bool is_url(const char *text)
{
	static const char *const schemes[] = { "file:", "redis:", "rediss:", "unix:" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

bool read_flag(const char *text, void *into)
{
	struct flag *flag = into;

	for (int way = 0; way <= BYTE; way++)
		if (strcmp(text, ways[way]) == 0) {
			*flag = (struct flag){ .way = (enum way)way };
			return true;
		}
	if (is_url(text)) {
		*flag = (struct flag){ .way = MIRROR, .url = text };
		return true;
	}
	*flag = (struct flag){ .way = BYTE, .path = text };
	return strchr(text, '/') != NULL;
}

/* A file with something in it is somebody's. */
static int map_path(const char *path)
{
	struct stat file;
	void *byte;
	int err;

	if (stat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > 1)
		return complain(USAGE, "isprime: --flag: '%s' holds %lld bytes, not one",
				path, (long long)file.st_size);
	err = tine_shared_map(&byte, path, 1);
	if (err)
		return complain(USAGE, "isprime: --flag: '%s': %s", path,
				tine_strerror(err));
	state.byte = byte;
	return DONE;
}

static int map_temporary(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	void *byte;
	int fd, err;

	snprintf(path, sizeof(path), "%s/tine-XXXXXX",
		 folder && *folder ? folder : "/tmp");
	fd = mkstemp(path);
	if (fd < 0)
		return complain(BROKEN, "isprime: '%s': %s", path, strerror(errno));
	close(fd);
	err = tine_shared_map(&byte, path, 1);
	unlink(path);
	if (err)
		return complain(BROKEN, "isprime: '%s': %s", path, tine_strerror(err));
	state.byte = byte;
	return DONE;
}

/* No two runs may have the same, on any machine. */
static int make_key(enum way way)
{
	unsigned char bytes[16];
	char *to = state.flags[way].key;

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -errno;
	to += sprintf(to, "tine-isprime:");
	for (size_t i = 0; i < sizeof(bytes); i++)
		to += sprintf(to, "%02x", bytes[i]);
	return 0;
}

static int open_flag(enum way way, const char *url)
{
	int err = tine_store_open(&state.flags[way].store, url, NULL);

	err = err ? err : make_key(way);
	err = err ? err : write_key(way, "0");
	if (!err && way == MIRROR)
		err = tine_store_watch(state.flags[way].store, state.flags[way].key,
				       state.mirror);
	return err;
}

/* A URL without what is secret in it. */
static int refuse_url(const char *url, int err)
{
	const char *host = strrchr(url, '@'), *end = strchr(url, '?');

	if (host && strstr(url, "//"))
		return complain(USAGE, "isprime: --flag: '%.*s%s': %s",
				(int)(strstr(url, "//") + 2 - url), url, host + 1,
				tine_strerror(err));
	return complain(USAGE, "isprime: --flag: '%.*s': %s",
			end ? (int)(end - url) : (int)strlen(url), url,
			tine_strerror(err));
}

static void leave_out(enum way way, const char *why)
{
	snprintf(state.flags[way].why, sizeof(state.flags[way].why), "%s", why);
}

static bool is_file(const char *url)
{
	return strncmp(url, "file:", 5) == 0;
}

/* LMDB's, which its workers open by name, so that it cannot go at once. */
static int make_folder(const char **url)
{
	static char text[256];
	const char *path;
	int err = temporary_folder(&path);

	if (err)
		return err;
	snprintf(text, sizeof(text), "file:%s", path);
	*url = text;
	return 0;
}

/* The stores that are compared: what --flag says, or private ones, or none. */
static int make_compared(enum way way, const char *given)
{
	const char *url = NULL;
	int err = 0;

	if (given && is_file(given) == (way == STORE))
		url = given;
	else if (way == STORE)
		err = make_folder(&url);
	else if (!state.manager)
		err = tine_manager_start(&state.manager, NULL);
	if (!url && state.manager && way != STORE)
		url = tine_manager_url(state.manager);
	err = err ? err : open_flag(way, url);
	if (err && url == given && given)
		return refuse_url(url, err);
	if (err == -EPROTONOSUPPORT)
		leave_out(way, "this build has no such stores");
	else if (err == -ENOENT && !url && way != STORE)
		leave_out(way, "there is no redis-server");
	else if (err)
		leave_out(way, tine_strerror(err));
	return DONE;
}

static int make_stores(struct flag *chosen, bool compare, bool poll)
{
	const char *url = chosen->url;
	int err = DONE;

	if (poll && !url)
		return complain(USAGE, "isprime: --poll needs the URL of a store in "
				       "--flag");
	if (compare || chosen->way == MIRROR) {
		state.mirror = tine_shared_new(1, sizeof(*state.mirror));
		if (!state.mirror)
			return complain(BROKEN, "isprime: %s", tine_strerror(-ENOMEM));
	}
	if (poll)
		chosen->way = is_file(url) ? STORE : REDIS;
	for (int way = STORE; compare && err == DONE && way <= MIRROR; way++)
		err = make_compared((enum way)way, url);
	if (url && !state.flags[chosen->way].store && err == DONE) {
		err = open_flag(chosen->way, url);
		err = err ? refuse_url(url, err) : DONE;
	}
	return err;
}

static void free_stores(void)
{
	for (int way = STORE; way <= MIRROR; way++) {
		tine_store *store = state.flags[way].store;

		if (store && *state.flags[way].key)
			tine_store_del(store, state.flags[way].key);
		tine_store_free(store);
	}
	tine_manager_free(state.manager);
	remove_temporary_folder();
	tine_shared_free(state.mirror);
}

int flags_make(struct flag *chosen, bool compare, bool poll)
{
	int err = DONE;

	if (compare || chosen->way == EVENT) {
		state.event = tine_shared_new(1, sizeof(*state.event));
		if (!state.event)
			return complain(BROKEN, "isprime: %s", tine_strerror(-ENOMEM));
	}
	if (chosen->path)
		err = map_path(chosen->path);
	else if (compare || chosen->way == BYTE)
		err = map_temporary();
	return err == DONE ? make_stores(chosen, compare, poll) : err;
}

void flags_free(void)
{
	free_stores();
	tine_shared_unmap(state.byte);
	tine_shared_free(state.event);
}

/* ---- comparing them ---------------------------------------------------------------- */

const char *flag_left_out(enum way way)
{
	return way < WAYS && *state.flags[way].why ? state.flags[way].why : NULL;
}

void flags_time(double look[WAYS])
{
	for (int way = FIND; way < WAYS; way++) {
		int64_t begun = tine_now(), took;
		unsigned n = 0;

		if (*state.flags[way].why)
			continue;
		do {
			for (int i = 0; i < 64; i++, n++) {
				bool raised = flag_is_raised((enum way)way);

				__asm__ volatile("" ::"r"(raised) : "memory");
			}
			took = tine_now() - begun;
		} while (took < LOOKS_NS);
		look[way] = (double)took / n / 1e9;
	}
}
