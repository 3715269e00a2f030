/* SPDX-License-Identifier: MIT */
/*
 * Programs that are executed, and not forked, share queues with the one that starts
 * them. Here they are the same program; any that is linked to tine will do.
 */
#include <stdio.h>
#include <tine.h>

#define WORKERS 4
static struct queues {
	tine_queue *numbers, *squares;
} * queues;

static int square(const char *name)
{
	int err = tine_family_join(TINE_FAMILY_INHERITED) ||
		  tine_family_find((void **)&queues, name) ||
		  tine_queue_join(queues->squares);
	long n;

	while (!err && tine_queue_get(queues->numbers, &n, sizeof(n), TINE_FOREVER) > 0) {
		n *= n;
		err = tine_queue_put(queues->squares, &n, sizeof(n), TINE_FOREVER);
	}
	return err;
}

static int make_queues(void)
{
	queues = tine_shared_new(1, sizeof(*queues));
	return !queues || tine_queue_new(&queues->numbers, sizeof(long), NULL) ||
	       tine_queue_new(&queues->squares, sizeof(long),
			      &(tine_queue_opts){ .producers = WORKERS });
}

int main(int argc, char **argv)
{
	tine_process *process[WORKERS] = { NULL };
	char name[TINE_FAMILY_NAME];
	tine_command worker = { .argv = (const char *[]){ argv[0], name, NULL },
				.family = true };
	long err, got = 1, sum = 0, n = 0;

	if (argc > 1)
		return square(argv[1]);
	err = make_queues() || tine_family_name(name, queues);
	for (int i = 0; i < WORKERS && !err; i++)
		err = tine_process_spawn(&process[i], &worker, NULL);
	while (++n <= 1000 && !err)
		err = tine_queue_put(queues->numbers, &n, sizeof(n), TINE_FOREVER);
	err = err || tine_queue_close(queues->numbers);
	/* One that ends before tine_queue_join() is no producer: hence a deadline. */
	for (n = 0; !err && got > 0; sum += n, n = 0)
		got = tine_queue_get(queues->squares, &n, sizeof(n), tine_after(20000));
	printf("%ld%s\n", sum, err || got ? ", and then an error" : "");
	for (int i = 0; i < WORKERS; i++)
		tine_process_free(process[i]);
	return err || got;
}
