/* SPDX-License-Identifier: MIT */
#include "base/export.h"

#include <limits.h>
#include <string.h>

const char *tine_version(void)
{
	return TINE_VERSION;
}

const char *tine_strerror(int err)
{
	const char *text;

	if (err == INT_MIN)
		return "Unknown error";
	if (err < 0)
		err = -err;
	if (err == TINE_ECRASH)
		return "The process doing the work died";
	if (err == TINE_EKIND)
		return "What is stored under that key is of another kind";
	if (err == TINE_ECERT)
		return "The server's certificate is not to be trusted, or another host's";
	/*
	 * Unlike strerror(3), neither translated nor in a buffer that another call
	 * reuses.
	 */
	text = strerrordesc_np(err);
	return text ? text : "Unknown error";
}
