/* SPDX-License-Identifier: MIT */
/*
 * The words of a file, by three stages: one process reads lines, some count, this one
 * adds up. Each queue knows its producers: its stream ends with the last, even if dead.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <tine.h>

enum { COUNTERS = 3, LONGEST = 4096 };
static tine_queue *lines, *sums;

static int reads(void *name)
{
	FILE *file = fopen(name, "r");
	char line[LONGEST];
	int err = !file;

	while (!err && fgets(line, sizeof(line), file))
		err = tine_queue_put(lines, line, strlen(line), TINE_FOREVER);
	return err != 0;
}

static int counts(void *name)
{
	unsigned char line[LONGEST];
	ssize_t len = 0, err = name == NULL;

	while (!err && (len = tine_queue_get(lines, line, LONGEST, TINE_FOREVER)) > 0) {
		long words = 0;

		for (ssize_t i = 0; i < len; i++)
			words += !isspace(line[i]) && (i == 0 || isspace(line[i - 1]));
		err = tine_queue_put(sums, &words, sizeof(words), TINE_FOREVER);
	}
	return err || len < 0;
}

int main(int argc, char **argv)
{
	tine_queue_opts many = { .producers = COUNTERS };
	tine_process *all[1 + COUNTERS];
	long total = 0, words;
	tine_exit how;
	int failed = argc != 2 || tine_queue_new(&lines, LONGEST, NULL) != 0 ||
		     tine_queue_new(&sums, sizeof(words), &many) != 0;

	for (int i = 0; i <= COUNTERS && !failed; i++) {
		tine_process_opts opts = { .produces = i ? sums : lines };

		failed = tine_process_start(&all[i], i ? counts : reads, argv[1], &opts);
	}
	while (!failed && tine_queue_get(sums, &words, sizeof(words), TINE_FOREVER) > 0)
		total += words;
	for (int i = 0; i <= COUNTERS && !failed; i++)
		failed = tine_process_wait(all[i], &how, TINE_FOREVER) || how.code;
	return failed || printf("%ld words\n", total) < 0;
}
