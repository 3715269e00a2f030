/* SPDX-License-Identifier: MIT */
#include "base/atfork.h"

#include <pthread.h>

static struct atfork slots[ATFORK_SLOTS];
static int no_handlers; /* an error */

void atfork_fill(enum atfork_slot slot, const struct atfork *handlers)
{
	slots[slot] = *handlers;
}

static void prepare_all(void)
{
	for (int i = 0; i < ATFORK_SLOTS; i++)
		if (slots[i].before)
			slots[i].before();
}

static void resume_parent(void)
{
	for (int i = ATFORK_SLOTS - 1; i >= 0; i--)
		if (slots[i].in_parent)
			slots[i].in_parent();
}

static void resume_child(void)
{
	for (int i = ATFORK_SLOTS - 1; i >= 0; i--)
		if (slots[i].in_child)
			slots[i].in_child();
}

/* After the slots are filled: a fork finds all of them, or none. */
__attribute__((constructor(102))) static void register_handlers(void)
{
	no_handlers = -pthread_atfork(prepare_all, resume_parent, resume_child);
}

int atfork_error(void)
{
	return no_handlers;
}

void atfork_leave(void)
{
	for (int i = 0; i < ATFORK_SLOTS; i++)
		if (slots[i].leave)
			slots[i].leave();
}
