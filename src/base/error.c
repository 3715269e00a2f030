/* SPDX-License-Identifier: MIT */
#include "base/export.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

const char *tine_version(void)
{
	return TINE_VERSION;
}

/* Codes of tine's own, and those of the system by which tine means something narrower. */
static const struct {
	int err;
	const char *text;
} texts[] = {
	{ TINE_ECRASH, "The process doing the work died" },
	{ TINE_EKIND, "What is stored under that key is of another kind" },
	{ TINE_ECERT,
	  "The server's certificate is not to be trusted, or another host's" },
	{ TINE_ELIMIT, "The job was ended for a limit of time or memory" },
	{ TINE_EHOST, "No host has this task" },
	{ ECANCELED, "It was cancelled before it was done" },
	{ EDEADLK, "This thread has it already, and would wait for itself" },
	{ EFAULT, "The function is not in the process that is to call it: it was loaded "
		  "later than the process was started" },
	{ EOWNERDEAD, "It is held, and the process that held it before died" },
	{ EPERM, "It is held by, or belongs to, another thread, process or user" },
	{ EPIPE, "The other end is closed" },
	{ ETIMEDOUT, "The deadline has passed" },
};

const char *tine_strerror(int err)
{
	const char *text;

	if (err == INT_MIN)
		return "Unknown error";
	err = abs(err);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (texts[i].err == err)
			return texts[i].text;
	/*
	 * Unlike strerror(3), neither translated nor in a buffer that another call
	 * reuses, but for the text of an unknown code.
	 */
	text = strerror_l(err, newlocale(LC_ALL_MASK, "C", (locale_t)0));
	return strncmp(text, "Unknown error", 13) == 0 ? "Unknown error" : text;
}
