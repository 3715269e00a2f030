/* SPDX-License-Identifier: MIT */
#include "store/file/names.h"

#include "store/file/folder.h"

#include <string.h>

MDB_val val_of(const void *mem, size_t len)
{
	return (MDB_val){ len, (void *)mem };
}

MDB_val name_of_head(const char *key)
{
	return val_of(key, strlen(key) + 1);
}

static void put_be(char *to, uint64_t number)
{
	number = __builtin_bswap64(number);
	memcpy(to, &number, 8);
}

uint64_t get_be(const char *from)
{
	uint64_t number;

	memcpy(&number, from, 8);
	return __builtin_bswap64(number);
}

MDB_val name_of_item(struct record_name *name, const char *key, uint64_t number)
{
	size_t len = strlen(key) + 1;

	memcpy(name->bytes, key, len);
	put_be(name->bytes + len, number);
	return val_of(name->bytes, len + 8);
}

MDB_val name_of_field(struct record_name *name, const char *key, const char *field)
{
	size_t len = strlen(key) + 1, field_len = strlen(field);

	memcpy(name->bytes, key, len);
	memcpy(name->bytes + len, field, field_len);
	return val_of(name->bytes, len + field_len);
}

MDB_val name_of_end(struct record_name *name, int64_t expires, const char *key)
{
	size_t len = strlen(key);

	memcpy(name->bytes, "\0e", 2);
	put_be(name->bytes + 2, (uint64_t)expires);
	memcpy(name->bytes + 10, key, len);
	return val_of(name->bytes, 10 + len);
}

MDB_val name_of_deaths(struct record_name *name, unsigned bucket)
{
	memcpy(name->bytes, "\0d", 2);
	name->bytes[2] = (char)(bucket >> 8);
	name->bytes[3] = (char)bucket;
	return val_of(name->bytes, 4);
}

bool begins_with(const MDB_val *name, const MDB_val *prefix)
{
	return name->mv_size >= prefix->mv_size &&
	       memcmp(name->mv_data, prefix->mv_data, prefix->mv_size) == 0;
}

/* FNV-1a; what it leaves to the high bits comes to the low ones as well. */
uint64_t hash_of_key(const char *key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

unsigned bucket_of_hash(uint64_t hash)
{
	return hash % WAKE_WORDS;
}
