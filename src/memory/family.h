/* SPDX-License-Identifier: MIT */
#ifndef TINE_FAMILY_H
#define TINE_FAMILY_H

#include "base/export.h"
#include "base/family.h"

/*
 * This process's family, which is made if there is none: begin() writes what others are
 * to find in its memory. NULL: no memory, or begin() returned another value than 0.
 */
struct family *family_have(int (*begin)(void *mem, size_t len));

/* What is called when this process has joined one. */
void family_on_join(void (*look)(void));

/* Its descriptor, or -EBADF: somebody has closed it. */
int family_fd(const struct family *);

/* The variable that tells a program the number of such a descriptor, and whose it is. */
#define FAMILY_VARIABLE	  "TINE_FAMILY"
#define FAMILY_GIVEN	  "%d:%016llx"
#define FAMILY_GIVEN_SIZE 32

#endif
