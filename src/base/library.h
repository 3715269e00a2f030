/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIBRARY_H
#define TINE_LIBRARY_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * Loads a library that is then loaded for good. Returns 0; -EPROTONOSUPPORT: it is not
 * there; or -EMFILE, -ENFILE, after which it may be later. Here, so that only those who
 * call it need the linker's library.
 */
static inline int library_load(const char *name)
{
	int fd;

	if (dlopen(name, RTLD_LAZY))
		return 0;
	/* dlopen(3) has only words for what kept it. */
	fd = open("/", O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : -EPROTONOSUPPORT;
	close(fd);
	return -EPROTONOSUPPORT;
}

#endif
