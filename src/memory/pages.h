/* SPDX-License-Identifier: MIT */
/* Which pages of the family's memory are there. */
#ifndef TINE_PAGES_H
#define TINE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Commits the pages of such memory, whether or not they were before; what is new is
 * zeros. -ENOMEM: there is too little memory, and some of them may have been committed.
 */
int pages_commit(void *mem, size_t len);
/* Makes committed pages known to this process at once, and not one by one as it comes. */
void pages_meet(void *mem, size_t len);
/* Writes zeros into memory that is aligned to 64 bytes. */
void pages_zero(void *mem, size_t len);
/* Gives pages back; they are zeros, and not committed. False: it cannot be done. */
bool pages_drop(void *mem, size_t len);

/*
 * A bit for each of many things, zeros at first and zeros again in a process that was
 * forked: what this process has done to its own view of the memory. NULL: none.
 */
typedef unsigned char _Atomic page_mark; /* of eight */
page_mark *pages_own_marks(size_t n);

#endif
