/* SPDX-License-Identifier: MIT */
#include "inspect/parts.h"

#include "inspect/process.h"
#include "pool/ledger.h"

#include <stddef.h>

static const char *seat_name(uint32_t seat)
{
	static const char *const names[] = {
		[SEAT_EMPTY] = "empty",		[SEAT_STARTING] = "starting",
		[SEAT_READY] = "ready",		[SEAT_LEAVING] = "leaving",
		[SEAT_ABANDONED] = "abandoned",
	};

	return seat < sizeof(names) / sizeof(*names) ? names[seat] : "unknown";
}

/* What the worker does; begun is kept where jobs have a limit alone. */
static void describe_job(json_t *worker, const struct pool_desk *desk)
{
	uint64_t job = job_of(desk), at = atomic_load(&desk->at);
	int64_t begun = atomic_load(&desk->begun);

	if (!job) {
		json_object_set_new(worker, "doing", json_string("idle"));
		return;
	}
	if (job & TICKET_JOB) {
		json_object_set_new(worker, "doing", json_string("submitted"));
		json_object_set_new(worker, "job",
				    json_integer((json_int_t)atomic_load(&desk->ticket)));
	} else {
		json_object_set_new(worker, "doing",
				    json_string(is_running(at) ? "job" : "next"));
		json_object_set_new(worker, "job", json_integer(index_of(at)));
	}
	if (begun > 0 && begun <= tine_now())
		json_object_set_new(worker, "since_ms",
				    json_integer((tine_now() - begun) / 1000000));
}

static json_t *worker_of(struct look *look, const struct pool_desk *desk, unsigned id,
			 uint32_t jobs)
{
	pid_t pid = atomic_load(&desk->pid);
	uint64_t range = atomic_load(&desk->range);
	json_t *worker = json_pack(
		"{s:i, s:I, s:s, s:s, s:I, s:I, s:b}", "worker", (int)id, "pid",
		(json_int_t)pid, "state", process_state(pid), "seat",
		seat_name(atomic_load(&desk->seat)), "done",
		(json_int_t)done_of(atomic_load(&desk->at)), "waiting",
		(json_int_t)(range_high(range) > range_low(range)
				     ? range_high(range) - range_low(range)
				     : 0),
		"failed", jobs > 0 && atomic_load(&desk->failure) != NO_FAILURE);

	describe_job(worker, desk);
	if (pid > 0)
		look_add_process(look, pid);
	return worker;
}

static void count_tickets(const struct look *look, const struct ledger *ledger,
			  json_t *pool)
{
	const struct ticket *tickets = atomic_load(&ledger->tickets);
	int n[DONE + 1] = { 0 };
	struct ticket ticket;

	for (unsigned i = 0; tickets && i < ticket_count(ledger); i++) {
		enum ticket_state state;

		if (!memory_read(look->memory, part_of(tickets, i * sizeof(ticket)),
				 &ticket, sizeof(ticket)))
			break;
		state = ticket_state(atomic_load(&ticket.state));
		if (state <= DONE)
			n[state]++;
	}
	json_object_set_new(pool, "submitted",
			    json_pack("{s:i, s:i, s:i, s:I}", "waiting", n[WAITING],
				      "running", n[TAKEN], "to_collect", n[DONE],
				      "finished",
				      (json_int_t)atomic_load(&ledger->finished)));
}

/* Jobs that are done, among all desks. */
static uint64_t list_workers(struct look *look, const struct ledger *ledger,
			     const char *at, json_t *workers)
{
	struct pool_desk desk;
	uint64_t done = 0;

	for (unsigned id = 0; id < ledger->workers; id++) {
		if (!memory_read(look->memory,
				 part_of(at, offsetof(struct ledger, desks) +
						     id * sizeof(desk)),
				 &desk, sizeof(desk)))
			break;
		done += done_of(atomic_load(&desk.at));
		json_array_append_new(
			workers, worker_of(look, &desk, id, atomic_load(&ledger->jobs)));
	}
	return done;
}

bool look_pool(struct look *look, const char *at, size_t size)
{
	json_t *pool, *workers;
	struct process_seen seen;
	struct ledger ledger;
	pid_t nursery, owner = 0;

	if (size < sizeof(ledger) ||
	    !memory_read(look->memory, at, &ledger.magic, sizeof(ledger.magic)) ||
	    ledger.magic != LEDGER_MAGIC ||
	    !memory_read(look->memory, at, &ledger, sizeof(ledger)) ||
	    ledger.workers == 0 || ledger.workers > MAX_WORKERS ||
	    ledger.workers > (size - sizeof(ledger)) / sizeof(struct pool_desk))
		return false;
	nursery = atomic_load(&ledger.nursery);
	if (nursery > 0 && process_see(nursery, &seen)) {
		owner = seen.parent;
		look_add_process(look, nursery);
		look_add_process(look, owner);
	}
	workers = json_array();
	pool = json_pack("{s:o, s:I, s:I, s:s, s:I, s:o}", "address", address_of(at),
			 "owner", (json_int_t)owner, "nursery", (json_int_t)nursery,
			 "nursery_state", process_state(nursery), "jobs",
			 (json_int_t)atomic_load(&ledger.jobs), "workers", workers);
	json_object_set_new(
		pool, "done",
		json_integer((json_int_t)list_workers(look, &ledger, at, workers)));
	json_object_set_new(pool, "cancelled",
			    json_boolean(atomic_load(&ledger.cancelled) != 0));
	count_tickets(look, &ledger, pool);
	json_array_append_new(look->pools, pool);
	look_note(look, at, size, A_POOL, pool);
	look_locks(look, part_of(at, offsetof(struct ledger, lock)), sizeof(tine_lock),
		   "pool");
	return true;
}

const char *pool_word(size_t offset, bool *lock)
{
	*lock = offset == offsetof(struct ledger, lock);
	if (*lock)
		return "the lock of a pool";
	if (offset == offsetof(struct ledger, caller_waits))
		return "its jobs";
	return offset >= sizeof(struct ledger) ? "a job" : "a pool";
}
