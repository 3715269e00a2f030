/* SPDX-License-Identifier: MIT */
/* What is in a cache, from outside: how much, which, and whether it is whole. */
#include "command.h"
#include "map/kept.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tine.h>

enum action { STAT, LIST, CLEAR, VERIFY };
static const char *const actions[] = { "stat", "list", "clear", "verify", NULL };

#define LEAST	    (UINT64_C(1) << 20)
#define KEY_MAX	    24	  /* bytes of a key in a line of text */
#define COMMAND_MAX 200	  /* bytes of a command line */
#define MAP	    "map" /* the task that tine map's results are shown as */

static struct {
	int action;
	const char *dir, *task;
	uint64_t max_bytes;
	bool json;
} options;

/* ---- opening ----------------------------------------------------------------------- */

/* What the code means of a folder. */
const char *cache_reason(int err)
{
	switch (err) {
	case -EPERM:
		return "it or a file in it belongs to another user, or others can write "
		       "it";
	case -ELOOP:
		return "it is a symbolic link";
	case -ENOTEMPTY:
		return "it is not a cache, and is not empty";
	default:
		return tine_strerror(err);
	}
}

/* Neither is the machine at fault, nor does another folder help. */
static int code_of(int err)
{
	return err == -ENOMEM || err == -ENOSPC || err == -EMFILE || err == -ENFILE ||
			       err == -EIO
		       ? BROKEN
		       : USAGE;
}

/* What names the default cache, and what comes behind it; as the library has it. */
static const char *const defaults[][2] = { { "TINE_CACHE", "" },
					   { "XDG_CACHE_HOME", "/tine" },
					   { "HOME", "/.cache/tine" } };

/* NULL: nothing does. */
static const char *const *find_default(void)
{
	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		const char *value = getenv(defaults[i][0]);

		if (value && *value)
			return defaults[i];
	}
	return NULL;
}

/* For messages. */
const char *cache_name(const char *dir, char *buf, size_t size)
{
	const char *const *by = dir ? NULL : find_default();

	if (!by)
		return dir ? dir : "~/.cache/tine";
	snprintf(buf, size, "%s%s", getenv(by[0]), by[1]);
	return buf;
}

int open_cache(const char *command, tine_cache **out, const char *dir,
	       const tine_cache_opts *opts, bool *restarted)
{
	char buf[4096];
	const char *name = cache_name(dir, buf, sizeof(buf));
	int err = tine_cache_open(out, dir, opts);

	if (err == -ENOENT && !dir && !find_default())
		return complain(USAGE,
				"%s: no cache: neither TINE_CACHE, XDG_CACHE_HOME nor "
				"HOME is set",
				command);
	if (err == -ENOENT && opts && opts->existing)
		return complain(USAGE, "%s: '%s': there is no cache", command, name);
	if (err < 0)
		return complain(code_of(err), "%s: '%s': %s", command, name,
				cache_reason(err));
	if (err)
		complain(DONE,
			 "%s: '%s' was damaged beyond repair, or of another version of "
			 "tine: "
			 "all entries are discarded",
			 command, name);
	if (restarted)
		*restarted = err != 0;
	return DONE;
}

static int broken(int err)
{
	return complain(BROKEN, "cache: %s: %s", actions[options.action],
			tine_strerror(err));
}

/* ---- stat, clear, verify ----------------------------------------------------------- */

static int show_stat(tine_cache *cache)
{
	tine_cache_stats stats;
	int err = tine_cache_stat(cache, &stats);

	if (err)
		return broken(err);
	printf(options.json ? "{\"entries\": %" PRIu64 ", \"bytes\": %" PRIu64
			      ", \"max_bytes\": %" PRIu64 ", \"hits\": %" PRIu64
			      ", \"misses\": %" PRIu64 ", \"evictions\": %" PRIu64
			      ", \"restarts\": %" PRIu64 "}\n"
			    : "entries    %" PRIu64 "\nbytes      %" PRIu64
			      "\nmax-bytes  %" PRIu64 "\nhits       %" PRIu64
			      "\nmisses     %" PRIu64 "\nevictions  %" PRIu64
			      "\nrestarts   %" PRIu64 "\n",
	       stats.entries, stats.bytes, stats.max_bytes, stats.hits, stats.misses,
	       stats.evictions, stats.restarts);
	return DONE;
}

static int clear_task(tine_cache *cache, const char *name)
{
	tine_task task = { .name = name };
	int err = tine_cache_clear(cache, &task);

	if (!err && strcmp(name, MAP) == 0)
		err = tine_cache_del_prefix(cache, KEPT_PREFIX, sizeof(KEPT_PREFIX));
	return err;
}

static int clear(tine_cache *cache)
{
	tine_cache_stats before, after;
	uint64_t dropped;
	int err = tine_cache_stat(cache, &before);

	if (!err)
		err = options.task ? clear_task(cache, options.task)
				   : tine_cache_clear(cache, NULL);
	err = err ? err : tine_cache_stat(cache, &after);
	if (err)
		return broken(err);
	/* Others may have put some meanwhile. */
	dropped = before.entries > after.entries ? before.entries - after.entries : 0;
	printf(options.json ? "{\"dropped\": %" PRIu64 ", \"entries\": %" PRIu64 "}\n"
			    : "dropped    %" PRIu64 "\nentries    %" PRIu64 "\n",
	       dropped, after.entries);
	return DONE;
}

static int verify(tine_cache *cache, bool restarted)
{
	tine_cache_stats stats;
	uint64_t dropped;
	int err = tine_cache_verify(cache, &dropped);

	err = err ? err : tine_cache_stat(cache, &stats);
	if (err)
		return broken(err);
	if (options.json)
		printf("{\"dropped\": %" PRIu64 ", \"entries\": %" PRIu64
		       ", \"restarted\": %s}\n",
		       dropped, stats.entries, restarted ? "true" : "false");
	else
		printf("dropped    %" PRIu64 "\nentries    %" PRIu64 "\n", dropped,
		       stats.entries);
	return dropped > 0 || restarted ? SOME_FAILED : DONE;
}

/* ---- list -------------------------------------------------------------------------- */

static void print_hex(const void *key, size_t len)
{
	const unsigned char *bytes = key;

	for (size_t i = 0; i < len; i++)
		printf("%02x", bytes[i]);
}

static bool is_text(const unsigned char *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isprint(key[i]) || key[i] == '\'')
			return false;
	return true;
}

static void print_key(const void *key, size_t len)
{
	size_t most = len < KEY_MAX ? len : KEY_MAX;

	if (is_text(key, most))
		printf("'%.*s'", (int)most, (const char *)key);
	else
		print_hex(key, most);
	if (most < len)
		printf("... (%zu bytes)", len);
}

static void print_time(int64_t when)
{
	time_t seconds = (time_t)(when / 1000000000);
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%s", text);
}

/* Of a command line, which may be long, and have what would confuse a terminal. */
static void print_command(const struct bytes *command)
{
	size_t most = command->len < COMMAND_MAX ? command->len : COMMAND_MAX;

	for (size_t i = 0; i < most; i++)
		putchar(isprint((unsigned char)command->at[i]) ? command->at[i] : '?');
	if (most < command->len)
		printf("... (%zu bytes)", command->len);
}

/* command: of tine map, or NULL. */
static void print_entry(const tine_cache_entry *entry, const struct bytes *command)
{
	print_time(entry->used);
	printf("  %10zu  ", entry->val_len);
	if (entry->task) {
		/* A name may have what would confuse a terminal. */
		for (const char *at = entry->task; *at; at++)
			putchar(isprint((unsigned char)*at) ? *at : '?');
		printf("/%u  ", entry->version);
	} else {
		printf(command ? MAP "  " : "-  ");
	}
	if (command)
		print_command(command);
	else
		print_key(entry->key, entry->len);
	putchar('\n');
}

static void print_nanoseconds(const char *name, int64_t when)
{
	printf(", \"%s\": %" PRId64 ".%09" PRId64, name, when / 1000000000,
	       when % 1000000000);
}

static void print_entry_json(const tine_cache_entry *entry, const struct bytes *command)
{
	printf("{\"task\": ");
	if (entry->task || command)
		print_json_string(command ? MAP : entry->task);
	else
		printf("null");
	printf(", \"version\": %u, \"key\": \"", entry->version);
	print_hex(entry->key, entry->len);
	printf("\", \"val_len\": %zu", entry->val_len);
	if (command) {
		printf(", \"command\": ");
		print_json_string(command->at);
	}
	print_nanoseconds("born", entry->born);
	print_nanoseconds("used", entry->used);
	printf("}");
}

static int each(void *count, const tine_cache_entry *entry)
{
	static struct bytes text;
	const struct bytes *command = NULL;
	const char *task = entry->task;

	if (!task && kept_describe(entry->key, entry->len, &text)) {
		bytes_add(&text, "", 1);
		text.len--;
		command = &text;
		task = MAP;
	}
	if (options.task && (!task || strcmp(task, options.task) != 0))
		return 0;
	if (options.json) {
		printf(*(uint64_t *)count ? ",\n" : "");
		print_entry_json(entry, command);
	} else {
		print_entry(entry, command);
	}
	++*(uint64_t *)count;
	/* Nobody reads on. */
	return ferror(stdout) ? 1 : 0;
}

static int list(tine_cache *cache)
{
	uint64_t count = 0;
	int err;

	if (options.json)
		printf("{\"list\": [");
	err = tine_cache_list(cache, each, &count);
	if (options.json)
		printf("]}\n");
	return err < 0 ? broken(err) : DONE;
}

/* ---- the command ------------------------------------------------------------------- */

static int run_cache(int argc, char **argv)
{
	tine_cache_opts opts = { .max_bytes = options.max_bytes, .existing = true };
	bool restarted = false;
	tine_cache *cache;
	int err;

	(void)argc;
	(void)argv;
	if (options.task && (options.action == STAT || options.action == VERIFY))
		return complain(USAGE,
				"cache: --task works with list and clear, not with %s",
				actions[options.action]);
	err = open_cache("cache", &cache, options.dir, &opts, &restarted);
	if (err)
		return err;
	switch ((enum action)options.action) {
	case STAT:
		err = show_stat(cache);
		break;
	case LIST:
		err = list(cache);
		break;
	case CLEAR:
		err = clear(cache);
		break;
	case VERIFY:
		err = verify(cache, restarted);
	}
	tine_cache_free(cache);
	return err;
}

static bool read_size(const char *text, void *into)
{
	uint64_t size;

	if (!read_count(text, &size) || size < LEAST)
		return false;
	*(uint64_t *)into = size;
	return true;
}

static const struct operand_row operands[] = {
	{ "ACTION", NULL, &options.action, NULL,
	  "What to do with the cache: stat, list, clear or verify.", actions, false },
	{ "DIR", read_text, &options.dir, "the path of a folder",
	  "The folder of the cache. Default: the default folder.", NULL, true },
	{ 0 },
};

static const struct option_row rows[] = {
	{ "task", 0, "NAME", read_text, &options.task, "the name of a task",
	  "List or clear only the results of this task; map: those of tine map.", NULL },
	{ "max-bytes", 0, "SIZE", read_size, &options.max_bytes,
	  "a whole number of bytes, at least 1048576, such as 5e9",
	  "Limit the cache on disk to this many bytes.", NULL },
	{ "json", 0, NULL, NULL, &options.json, NULL, "Print one JSON object.", NULL },
	{ 0 },
};

const struct command cache_command = {
	.name = "cache",
	.summary = "show, clear and check a cache of results",
	.operand_rows = operands,
	.options = rows,
	.description =
		"Shows, limits, clears or checks a folder of results that\n"
		".Xr tine_cache_open 3\n"
		"created, also while other programs use it.\n"
		"A folder that does not exist is not created.\n"
		".Pp\n"
		"Without\n"
		".Ar DIR\n"
		"the folder is\n"
		".Ev $TINE_CACHE ,\n"
		"else\n"
		".Pa $XDG_CACHE_HOME/tine ,\n"
		"else\n"
		".Pa ~/.cache/tine .\n"
		".Bl -tag -width verify\n"
		".It Cm stat\n"
		"Prints the number of entries, the bytes that they take on disk and\n"
		"may take, and since the cache was created: the hits, misses, entries\n"
		"removed to make room, and how often damage discarded all entries.\n"
		"With\n"
		".Fl \\-json\n"
		"the members are\n"
		".Li entries , bytes , max_bytes , hits , misses , evictions\n"
		"and\n"
		".Li restarts .\n"
		".It Cm list\n"
		"Prints a line for each entry, in no order: when it was last used, the\n"
		"bytes of the result, the task and its version, or\n"
		".Li \\- ,\n"
		"and the beginning of the input or key, in hexadecimal digits unless\n"
		"it is text.\n"
		"With\n"
		".Fl \\-json\n"
		"the member\n"
		".Li list\n"
		"is an array of objects with the members\n"
		".Li task\n"
		"(or null),\n"
		".Li version , key\n"
		"(all of it, in hexadecimal digits),\n"
		".Li val_len , born\n"
		"and\n"
		".Li used ,\n"
		"in seconds since 1970.\n"
		".It Cm clear\n"
		"Removes every entry, or those of a task, and prints how many were\n"
		"removed and how many are left\n"
		".Pq Li dropped , entries .\n"
		".It Cm verify\n"
		"Reads every entry, removes those that are damaged, and prints the\n"
		"same.\n"
		"With\n"
		".Fl \\-json\n"
		"there is also the member\n"
		".Li restarted :\n"
		"true if the cache was damaged beyond repair, or made by a version\n"
		"of tine that kept it in another way, and all entries were\n"
		"discarded.\n"
		".El\n"
		".Pp\n"
		"The exit status is 1 if\n"
		".Cm verify\n"
		"has removed an entry.\n"
		"It is 2, with a message, if the folder does not exist, is not a\n"
		"cache, belongs to another user or can be written by others.\n",
	.example = "tine cache stat ~/.cache/tine --json",
	.run = run_cache,
};
