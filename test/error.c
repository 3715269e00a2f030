/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <errno.h>
#include <limits.h>

TEST(either_sign_has_the_same_text)
{
	CHECK(strcmp(tine_strerror(-EINVAL), tine_strerror(EINVAL)) == 0);
	CHECK(strcmp(tine_strerror(-EINVAL), "Invalid argument") == 0);
	CHECK(strstr(tine_strerror(-TINE_ECRASH), "died"));
	CHECK(strstr(tine_strerror(-TINE_EKIND), "another kind"));
	CHECK(strstr(tine_strerror(-TINE_ECERT), "certificate"));
	CHECK(strstr(tine_strerror(0), "Success"));
}

/* The system's texts tell of connections, addresses and owners that nobody here knows. */
TEST(codes_with_a_meaning_here_say_that)
{
	CHECK(strstr(tine_strerror(-ETIMEDOUT), "deadline"));
	CHECK(strstr(tine_strerror(-TINE_ELIMIT), "limit"));
	CHECK(strstr(tine_strerror(-TINE_EHOST), "host"));
	CHECK(strstr(tine_strerror(-ECANCELED), "cancelled"));
	CHECK(strstr(tine_strerror(-EFAULT), "function"));
	CHECK(strstr(tine_strerror(-EPERM), "belongs to"));
	CHECK(strstr(tine_strerror(-EOWNERDEAD), "died"));
	CHECK(strstr(tine_strerror(-EDEADLK), "itself"));
	CHECK(strstr(tine_strerror(-EPIPE), "closed"));
}

/* Of codes that the system has, and in any locale. */
TEST(a_text_stays)
{
	const char *text = tine_strerror(-ENOENT);
	char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	CHECK(strcmp(copy, "No such file or directory") == 0);
	tine_strerror(-5999);
	tine_strerror(-EACCES);
	CHECK(strcmp(text, copy) == 0 && text == tine_strerror(ENOENT));
}

TEST(unknown_codes_have_a_text)
{
	CHECK(strcmp(tine_strerror(INT_MIN), "Unknown error") == 0);
	CHECK(strcmp(tine_strerror(INT_MAX), "Unknown error") == 0);
	CHECK(strcmp(tine_strerror(-5999), "Unknown error") == 0);
}

TEST(version_is_that_of_the_header)
{
	int major, minor, patch;

	CHECK(strcmp(tine_version(), TINE_VERSION) == 0);
	CHECK_EQ(sscanf(TINE_VERSION, "%d.%d.%d", &major, &minor, &patch), 3);
	CHECK_EQ(10000 * major + 100 * minor + patch, TINE_VERSION_NUMBER);
}

TEST(deadlines_saturate)
{
	int64_t now = tine_now();

	CHECK(tine_after(0) >= now);
	CHECK(tine_after(1000) >= now + 1000000000);
	CHECK_EQ(tine_after(INT64_MAX), TINE_FOREVER);
	CHECK_EQ(tine_after(INT64_MAX / 1000000), TINE_FOREVER);
	CHECK_EQ(tine_after(INT64_MIN), TINE_NOWAIT);
	CHECK_EQ(tine_after(-now / 1000000 - 1000), TINE_NOWAIT);
	CHECK(tine_after(-1) < tine_now());
}
