/* SPDX-License-Identifier: MIT */
#include "pool/label.h"

#include <string.h>

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

size_t label_size(const tine_task *task)
{
	return sizeof(*task) + text_size(task->name) + text_size(task->file);
}

static const char *copy_text(char **at, const char *text)
{
	char *copy = *at;

	if (!text)
		return NULL;
	*at = stpcpy(copy, text) + 1;
	return copy;
}

const tine_task *label_write(void *at, const tine_task *task)
{
	tine_task *label = at;
	char *text = (char *)(label + 1);

	*label = *task;
	label->name = copy_text(&text, task->name);
	label->file = copy_text(&text, task->file);
	return label;
}
