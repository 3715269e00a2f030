/* SPDX-License-Identifier: MIT */
#include "base/place.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t boot_here(void)
{
	char id[64];
	uint32_t hash = 2166136261u;
	ssize_t len;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	/* Bound: a file of the kernel's, which is there. */
	len = read(fd, id, sizeof(id));
	close(fd);
	if (len <= 0)
		return 0;
	for (ssize_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)id[i]) * 16777619u;
	hash = (hash >> 8 ^ hash) & 0xffffff;
	return hash ? hash : 1;
}

struct place place_here(void)
{
	static _Atomic uint32_t boot;
	struct place here = { .boot = boot };
	struct stat stat_buf;

	if (!here.boot)
		boot = here.boot = boot_here();
	if (stat("/proc/self/ns/pid", &stat_buf) == 0)
		here.namespace = (uint32_t)stat_buf.st_ino;
	return here;
}

uint64_t place_packed(struct place place)
{
	return (uint64_t)place.boot << 32 | place.namespace;
}

struct place place_unpacked(uint64_t packed)
{
	return (struct place){ .boot = packed >> 32 & 0xffffff,
			       .namespace = (uint32_t)packed };
}
