/* SPDX-License-Identifier: MIT */
/*
 * A queue, one process that dies or is stopped in a call of it, and what those who are
 * left find there.
 */
#ifndef TINE_TEST_KILL_QUEUE_SCENE_H
#define TINE_TEST_KILL_QUEUE_SCENE_H

#include "queue/growth.h"
#include "step.h"

#define WAIT_MS 20000 /* until a survivor counts as blocked */
#define FIRST	32    /* messages in the first ring of a queue without a bound */

struct message {
	uint32_t id;
	uint32_t inverse; /* ~id: torn messages show */
};

/* In the family's memory: what the one that dies had done. */
struct hand {
	struct message message;
	tine_lease lease;
	_Atomic int returned; /* the call did, with 1 for success */
	_Atomic uint32_t seen;
};

struct scene {
	tine_queue *queue;
	struct hand *hand;
	tine_queue_opts opts;
	uint32_t waiting; /* messages 1, 2 ... put by this process before each life */
	uint32_t taken;	  /* of these, by the one that dies, before it is in the call */
	const struct life *life;
	bool goes_on; /* who died was no producer yet: no end is to come */
	long step, counted;
};

/* As struct steps. */
struct life {
	void (*before)(void *);
	void (*fn)(void *);
	void (*check)(struct scene *);
	void (*set)(struct scene *);
	bool leaves_nothing; /* of the family's memory, when the queue is freed */
};

/* Its hand. */
void begin_scene(struct scene *);
/* The scene again and again, with a death after each step, of which there are more. */
void run_scene(struct scene *, const struct life *, long least);

/* ---- what is there before ---------------------------------------------------------- */

void set_stage(struct scene *);
/* The same, where the messages fill the first ring. */
void set_growth_stage(struct scene *);
/* What two dead ones left. */
void leave_work(struct scene *);
/* What is left is the queue's: all the memory goes with it. */
void free_stage(struct scene *);

/* ---- what is there after ----------------------------------------------------------- */

struct message message_of(uint32_t id);
/* Of a call beside one that is stopped. */
bool is_an_answer(ssize_t got);
/* The next message: its id; 0: the end; negative: an error. */
int64_t next(struct scene *, int64_t deadline);
void expect(struct scene *, int64_t value, int64_t expected, const char *what);
/*
 * That all still works: a message of ours goes through, whatever comes before it. How
 * many, and a bit for each id.
 */
unsigned drain(struct scene *, uint64_t *ids);
/* The same, where no message may come twice. */
uint64_t drain_once(struct scene *);
bool cells_are_free(tine_queue *);
/* Everything is where it was at first. */
void check_whole(struct scene *);
/* The test process puts once in each scene, so it has to close as well. */
void expect_end(struct scene *);

/* ---- what one does: each is of a struct scene -------------------------------------- */

void register_member(void *);
/* Sits down, by a call that changes nothing. */
void sit(void *);
void sit_as_producer(void *);
/* Sits down without looking after anybody. */
void sweep_first(void *);
void puts_one(void *);
void puts_another(void *);
void gets_one(void *);
void take_first(void *);
void leases_one(void *);
void lease_before(void *);
void acks(void *);
void nacks(void *);
void closes(void *);
void joins(void *);
void sit_and_join(void *);
void trims(void *);
void recovers(void *);

#endif
