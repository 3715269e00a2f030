/* SPDX-License-Identifier: MIT */
#include "inspect/show.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MOST_LINES   16	 /* of leases and processes of a queue */
#define WORTH_A_WORD 900 /* milliseconds, of a wait with a timeout */

json_int_t number_in(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

const char *text_in(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static bool is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static const char *plural(json_int_t n)
{
	return n == 1 ? "" : "s";
}

/* "4242 (stopped)". */
static void print_process(const json_t *object, const char *pid, const char *state)
{
	if (number_in(object, pid) > 0)
		printf("%lld (%s)", number_in(object, pid), text_in(object, state));
	else
		printf("a process that has ended");
}

/* "for 1.2 s", where it is known, or was seen. */
static void print_since(const json_t *object)
{
	if (json_object_get(object, "since_ms"))
		printf(" for %.1f s", (double)number_in(object, "since_ms") / 1000);
	else if (number_in(object, "seen_ms") > 0)
		printf(" for %.1f s or more",
		       (double)number_in(object, "seen_ms") / 1000);
}

/* Most waits with a timeout are looked at again, and then say little in one look. */
static void print_asleep(const json_t *wait)
{
	json_int_t asleep = number_in(wait, "asleep_ms"),
		   seen = number_in(wait, "seen_ms");

	if (json_object_get(wait, "asleep_ms") && !is_true(wait, "timed"))
		printf(", for %.1f s", (double)asleep / 1000);
	else if (asleep >= WORTH_A_WORD || seen >= WORTH_A_WORD)
		printf(", for %.1f s or more",
		       (double)(asleep > seen ? asleep : seen) / 1000);
}

static void print_rate(const json_t *object, const char *name, const char *what)
{
	if (json_object_get(object, name))
		printf(", %.0f %s per second",
		       json_real_value(json_object_get(object, name)), what);
}

static void print_state(const json_t *process)
{
	printf("  %-8lld %-9s %-16s child of %lld, %lld thread%s",
	       number_in(process, "pid"), text_in(process, "state"),
	       text_in(process, "name"), number_in(process, "parent"),
	       number_in(process, "threads"), plural(number_in(process, "threads")));
	if (json_object_get(process, "stopped_ms"))
		printf(", stopped for %.1f s",
		       (double)number_in(process, "stopped_ms") / 1000);
}

static void show_processes(const json_t *report)
{
	const json_t *each;
	size_t i;

	printf("processes\n");
	for (i = 0; (each = json_array_get(json_object_get(report, "processes"), i));
	     i++) {
		print_state(each);
		printf("\n");
	}
}

static void show_worker(const json_t *worker)
{
	const char *doing = text_in(worker, "doing");

	printf("  worker %lld: ", number_in(worker, "worker"));
	print_process(worker, "pid", "state");
	if (strcmp(text_in(worker, "seat"), "ready") != 0)
		printf(", %s", text_in(worker, "seat"));
	if (strcmp(doing, "job") == 0)
		printf(", in job %lld", number_in(worker, "job"));
	else if (strcmp(doing, "submitted") == 0)
		printf(", in submitted job %lld", number_in(worker, "job"));
	else if (strcmp(doing, "next") == 0)
		printf(", about to begin job %lld", number_in(worker, "job"));
	else
		printf(", idle");
	if (strcmp(doing, "idle") != 0)
		print_since(worker);
	printf("; %lld done, %lld waiting%s\n", number_in(worker, "done"),
	       number_in(worker, "waiting"),
	       is_true(worker, "failed") ? ", failures" : "");
}

static void show_pool(const json_t *pool)
{
	const json_t *worker, *submitted = json_object_get(pool, "submitted");
	size_t i;

	printf("\npool %s of %lld, nursery ", text_in(pool, "address"),
	       number_in(pool, "owner"));
	print_process(pool, "nursery", "nursery_state");
	print_rate(pool, "jobs_per_second", "jobs");
	printf("\n  last map: %lld of %lld jobs done%s\n", number_in(pool, "done"),
	       number_in(pool, "jobs"), is_true(pool, "cancelled") ? ", cancelled" : "");
	printf("  submitted jobs: %lld waiting, %lld running, %lld to be collected\n",
	       number_in(submitted, "waiting"), number_in(submitted, "running"),
	       number_in(submitted, "to_collect"));
	for (i = 0; (worker = json_array_get(json_object_get(pool, "workers"), i)); i++)
		show_worker(worker);
}

static void show_desk(const json_t *desk)
{
	printf("  %s ", is_true(desk, "producer") ? "producer" : "process");
	print_process(desk, "pid", "state");
	if (number_in(desk, "leases") > 0)
		printf(", %lld lease%s", number_in(desk, "leases"),
		       plural(number_in(desk, "leases")));
	printf("%s\n", is_true(desk, "closed") ? ", has closed" : "");
}

static void show_lease(const json_t *lease)
{
	printf("  message %lld, %lld bytes, on lease to ", number_in(lease, "position"),
	       number_in(lease, "bytes"));
	print_process(lease, "pid", "state");
	print_since(lease);
	if (json_object_get(lease, "left_ms"))
		printf(", %.1f s left", (double)number_in(lease, "left_ms") / 1000);
	printf("\n");
}

static void show_some(const json_t *all, void (*show)(const json_t *))
{
	const json_t *each;
	size_t i;

	for (i = 0; (each = json_array_get(all, i)); i++)
		if (i < MOST_LINES)
			show(each);
	if (json_array_size(all) > MOST_LINES)
		printf("  and %zu more\n", json_array_size(all) - MOST_LINES);
}

static void show_queue(const json_t *queue)
{
	printf("\nqueue %s: %lld", text_in(queue, "address"),
	       number_in(queue, "messages"));
	/* Not, where there is no bound. */
	if (json_is_integer(json_object_get(queue, "capacity")))
		printf(" of %lld", number_in(queue, "capacity"));
	printf(" messages, %lld taken, %lld of %lld producers closed",
	       number_in(queue, "taken"), number_in(queue, "closed"),
	       number_in(queue, "producers"));
	if (number_in(queue, "returned") > 0)
		printf(", %lld to be delivered again", number_in(queue, "returned"));
	print_rate(queue, "messages_per_second", "messages");
	printf("\n");
	show_some(json_object_get(queue, "processes"), show_desk);
	show_some(json_object_get(queue, "leases"), show_lease);
}

/* Of which the rest of the line says who has it. */
static void print_holder(const json_t *lock)
{
	if (number_in(lock, "holder") > 0) {
		printf("held by ");
		print_process(lock, "holder", "state");
		printf(", thread %lld", number_in(lock, "thread"));
	} else if (is_true(lock, "holder_died")) {
		printf("the holder has died, the next thread to acquire it learns it");
	} else {
		printf("free");
	}
	printf("%s\n", is_true(lock, "waited_for") ? ", waited for" : "");
}

static void show_lock(const json_t *lock)
{
	printf("\nlock %s of the %s: ", text_in(lock, "address"), text_in(lock, "of"));
	print_holder(lock);
}

static void show_hold(const json_t *hold)
{
	printf("\nsemaphore, or lock to read, %s: ", text_in(hold, "object"));
	print_process(hold, "pid", "state");
	printf(" holds %lld of it\n", number_in(hold, "count"));
}

static void print_place(const json_t *object)
{
	bool lock = json_object_get(object, "byte") != NULL;

	printf("%s, %s %lld", text_in(object, "file"), lock ? "byte" : "offset",
	       number_in(object, lock ? "byte" : "offset"));
}

static void show_all(const json_t *report, const char *name, void (*show)(const json_t *))
{
	const json_t *each;
	size_t i;

	for (i = 0; (each = json_array_get(json_object_get(report, name), i)); i++)
		show(each);
}

static void show_wait(const json_t *wait)
{
	const json_t *each, *holders = json_object_get(wait, "holders");
	size_t i;

	printf("  %lld, thread %lld, waits for ", number_in(wait, "pid"),
	       number_in(wait, "thread"));
	if (json_object_get(wait, "shared"))
		printf("%s lock of ",
		       is_true(wait, "shared") ? "a shared" : "an exclusive");
	printf("%s: ", text_in(wait, "for"));
	if (json_object_get(wait, "file"))
		print_place(wait);
	else
		printf("%s", text_in(wait, "object"));
	if (json_object_get(wait, "holder")) {
		printf(", held by ");
		print_process(wait, "holder", "holder_state");
	}
	for (i = 0; (each = json_array_get(holders, i)); i++)
		printf("%s %lld", i ? "," : ", held by", json_integer_value(each));
	print_asleep(wait);
	printf("\n");
}

static void show_waits(const json_t *report)
{
	const json_t *waits = json_object_get(report, "waits");

	if (json_is_null(waits))
		printf("\nThis system does not tell what processes wait for "
		       "(/proc/PID/syscall).\n");
	else if (json_array_size(waits) > 0)
		printf("\nwaits\n");
	show_all(report, "waits", show_wait);
}

void show_memory(const json_t *report)
{
	printf("family %s: %.1f MiB in use of %.1f MiB\n", text_in(report, "family"),
	       (double)number_in(report, "used_bytes") / (1 << 20),
	       (double)number_in(report, "reserved_bytes") / (1 << 20));
	if (!is_true(report, "whole"))
		printf("The memory was changed during the look, or is damaged: objects "
		       "may "
		       "be missing.\n");
	show_processes(report);
	show_all(report, "pools", show_pool);
	show_all(report, "queues", show_queue);
	show_all(report, "locks", show_lock);
	show_all(report, "holds", show_hold);
	show_waits(report);
}

/* ---- folders ----------------------------------------------------------------------- */

static void show_file(const json_t *file)
{
	const json_t *lock, *locks = json_object_get(file, "locks");
	size_t i;

	if (json_array_size(locks) == 0)
		return;
	printf("    %s", text_in(file, "name"));
	for (i = 0; (lock = json_array_get(locks, i)); i++)
		printf("%s %s lock of %s (byte %lld)", i ? "," : ":",
		       is_true(lock, "shared") ? "shared" : "exclusive",
		       text_in(lock, "for"), number_in(lock, "byte"));
	printf("\n");
}

static void show_user(const json_t *process)
{
	size_t n = json_array_size(json_object_get(process, "files"));

	print_state(process);
	printf(", %zu file%s open\n", n, plural((json_int_t)n));
	show_all(process, "files", show_file);
}

static void show_word_lock(const json_t *lock)
{
	printf("\nlock for %s: ", text_in(lock, "for"));
	print_place(lock);
	printf(", ");
	print_holder(lock);
}

void show_folder(const json_t *report)
{
	printf("folder %s\n", text_in(report, "folder"));
	if (json_array_size(json_object_get(report, "processes")) == 0)
		printf("No process has a file of this folder open.\n");
	show_all(report, "processes", show_user);
	show_all(report, "locks", show_word_lock);
	show_waits(report);
}
