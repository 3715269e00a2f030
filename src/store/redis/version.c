/* SPDX-License-Identifier: MIT */
#include "store/redis/version.h"

#include <stdlib.h>
#include <string.h>

void versions_end(struct versions *versions, struct told_key *key)
{
	key->armed = false;
	key->version = ++versions->given;
}

void versions_end_all(struct versions *versions)
{
	for (int i = 0; i < VERSION_BUCKETS; i++)
		for (struct told_key *key = versions->buckets[i]; key; key = key->next)
			versions_end(versions, key);
}

static struct told_key **bucket_of_key(struct versions *versions, const char *name,
				       size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619u;
	return &versions->buckets[hash % VERSION_BUCKETS];
}

struct told_key *versions_find(struct versions *versions, const char *name, size_t len)
{
	struct told_key *key = *bucket_of_key(versions, name, len);

	while (key && (strncmp(key->name, name, len) != 0 || key->name[len] != '\0'))
		key = key->next;
	return key;
}

/* NULL: no memory. */
struct told_key *versions_of(struct versions *versions, const char *name)
{
	size_t len = strlen(name);
	struct told_key *key = versions_find(versions, name, len), **bucket;

	if (key)
		return key;
	key = malloc(sizeof(*key) + len + 1);
	if (!key)
		return NULL;
	bucket = bucket_of_key(versions, name, len);
	*key = (struct told_key){ .next = *bucket };
	memcpy(key->name, name, len + 1);
	versions_end(versions, key);
	*bucket = key;
	return key;
}

void versions_free(struct versions *versions)
{
	for (int i = 0; i < VERSION_BUCKETS; i++)
		while (versions->buckets[i]) {
			struct told_key *key = versions->buckets[i];

			versions->buckets[i] = key->next;
			free(key);
		}
}
