/* SPDX-License-Identifier: MIT */
/* Addresses of pools on servers. */
#include "engine/engine.h"

#include "store/redis/session.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0: a name that a pool may have, decoded. */
static int decode_pool(char out[static POOL_NAME_MAX + 1], const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];

		if (c == '%') {
			if (len - i < 3 || hex_of(text[i + 1]) < 0 ||
			    hex_of(text[i + 2]) < 0)
				return -EINVAL;
			c = hex_of(text[i + 1]) * 16 + hex_of(text[i + 2]);
			i += 2;
		}
		if (c == 0 || c == '{' || c == '}')
			return -EINVAL;
		if (n == POOL_NAME_MAX)
			return -ENAMETOOLONG;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0 ? 0 : -EINVAL;
}

/* Cuts the parameter out of the text. */
static int take_pool(char *text, char pool[static POOL_NAME_MAX + 1])
{
	char *at = strchr(text, '?'), *end;
	bool first = true, found = false;

	pool[0] = '\0';
	while (at) {
		end = strchr(at + 1, '&');
		if (strncmp(at + 1, "pool=", 5) != 0) {
			at = end;
			first = false;
			continue;
		}
		if (found)
			return -EINVAL;
		found = true;
		end = end ? end : at + strlen(at);
		if (decode_pool(pool, at + 6, (size_t)(end - at) - 6))
			return decode_pool(pool, at + 6, (size_t)(end - at) - 6);
		/* What follows takes its place, behind the same mark. */
		if (first && *end)
			memmove(at + 1, end + 1, strlen(end + 1) + 1);
		else
			memmove(at, end, strlen(end) + 1);
		at = *at ? at : NULL;
	}
	return 0;
}

/* The note of the linker's that says which build this is, of those in a segment. */
static uint64_t build_in_notes(const unsigned char *at, size_t len)
{
	while (len > sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)at;
		size_t name = sizeof(*note) + (note->n_namesz + 3u) / 4 * 4,
		       all = name + (note->n_descsz + 3u) / 4 * 4;
		uint64_t build = 0;

		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
		    memcmp(note + 1, "GNU", 4) == 0 && note->n_descsz >= sizeof(build)) {
			for (size_t i = 0; i < sizeof(build); i++)
				build = build << 8 | at[name + i];
			return build;
		}
		if (all >= len)
			break;
		at += all;
		len -= all;
	}
	return 0;
}

/* Called first, and once, for the program itself. */
static int find_build(struct dl_phdr_info *info, size_t size, void *build)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum && *(uint64_t *)build == 0; i++)
		if (info->dlpi_phdr[i].p_type == PT_NOTE)
			*(uint64_t *)build = build_in_notes(
				(const unsigned char *)info->dlpi_addr +
					info->dlpi_phdr[i].p_vaddr,
				info->dlpi_phdr[i].p_memsz);
	return 1;
}

/* A sum of all bytes of a program whose linker left no such note: FNV-1a. */
static uint64_t sum_of_program(void)
{
	uint64_t sum = 0xcbf29ce484222325;
	unsigned char bytes[1 << 14];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	/* Bound: a regular file. */
	while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			sum = (sum ^ bytes[i]) * 0x100000001b3;
	if (fd >= 0)
		close(fd);
	return sum;
}

/* The base name of what runs, and which build: wherever it lies, stripped or not. */
static void name_program(char pool[static POOL_NAME_MAX + 1])
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	const char *base;
	uint64_t build = 0;

	path[len > 0 ? len : 0] = '\0';
	base = strrchr(path, '/');
	dl_iterate_phdr(find_build, &build);
	build = build ? build : sum_of_program();
	snprintf(pool, POOL_NAME_MAX + 1, "%.*s-%016" PRIx64, POOL_NAME_MAX - 17,
		 base && base[1] ? base + 1 : "tine", build);
}

int engine_url_parse(struct engine_url *out, const char *url)
{
	struct store_address address = { 0 };
	char pool[POOL_NAME_MAX + 1], *copy;
	char *text = strdup(url);
	int err = text ? take_pool(text, pool) : -ENOMEM;

	if (err)
		goto free_text;
	copy = strdup(text);
	err = copy ? store_parse_url(copy, &address) : -ENOMEM;
	free(copy);
	if (!err && address.kind == STORE_FILE)
		err = -EINVAL;
	if (err)
		goto free_text;
	if (!*pool)
		name_program(pool);
	*out = (struct engine_url){ .text = text };
	wire_escape(out->pool, sizeof(out->pool), pool);
	return 0;

free_text:
	free(text);
	return err;
}

void engine_url_free(struct engine_url *url)
{
	free(url->text);
	url->text = NULL;
}
