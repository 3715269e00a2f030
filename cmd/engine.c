/* SPDX-License-Identifier: MIT */
/* What commands say of an engine: the server, and its hosts. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tine.h>

static bool has_scheme(const char *url)
{
	return strncmp(url, "redis://", 8) == 0 || strncmp(url, "rediss://", 9) == 0 ||
	       strncmp(url, "unix:", 5) == 0;
}

int complain_of_engine(const char *command, const char *url, int err)
{
	char version[24];

	switch (err) {
	case -EINVAL:
		return complain(USAGE,
				has_scheme(url)
					? "%s: '%s': pool= is empty, there twice or has "
					  "braces, or another part of the URL is wrong"
					: "%s: '%s' is no redis:, rediss: or unix: URL "
					  "of a server",
				command, url);
	case -ENAMETOOLONG:
		return complain(USAGE, "%s: '%s': a path or the pool's name is too long",
				command, url);
	case -EOPNOTSUPP:
		if (tine_engine_version(pool_of_tine(url), version, sizeof(version)) != 0)
			strcpy(version, "older");
		return complain(BROKEN,
				"%s: '%s': the server is Redis %s, not 6.0 or later",
				command, url, version);
	case -EBADMSG:
		return complain(BROKEN, "%s: '%s': that is no Redis server", command,
				url);
	case -EREMOTE:
		return complain(
			BROKEN,
			"%s: '%s': another part of the cluster has this pool: name "
			"that server, or another pool=",
			command, url);
	case -EPROTO:
		return complain(BROKEN,
				"%s: '%s': the pool is of another version of tine: name "
				"another pool=",
				command, url);
	default:
		return complain(BROKEN, "%s: '%s': %s", command, url, tine_strerror(err));
	}
}

const char *pool_of_tine(const char *url)
{
	static char text[4096];
	const char *at = url ? strchr(url, '?') : NULL;

	while (at && strncmp(at + 1, "pool=", 5) != 0)
		at = strchr(at + 1, '&');
	if (!url || at ||
	    snprintf(text, sizeof(text), "%s%cpool=tine", url,
		     strchr(url, '?') ? '&' : '?') >= (int)sizeof(text))
		return url;
	return text;
}

static int add_workers(void *arg, const tine_host *host)
{
	*(unsigned *)arg += host->workers;
	return 0;
}

unsigned workers_of_engine(const char *url)
{
	unsigned n = 0;

	return tine_hosts(pool_of_tine(url), add_workers, &n) == 0 ? n : 0;
}
