/* SPDX-License-Identifier: MIT */
/*
 * Whom this process trusts with a file that it reads and writes as memory: locks in it
 * have pointers, which the C library follows.
 */
#ifndef TINE_TRUST_H
#define TINE_TRUST_H

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* -EPERM: another user's, or one that others can write to. */
static inline int check_trust(const struct stat *now)
{
	return now->st_uid == geteuid() && !(now->st_mode & (S_IWGRP | S_IWOTH)) ? 0
										 : -EPERM;
}

#endif
