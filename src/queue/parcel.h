/* SPDX-License-Identifier: MIT */
/*
 * Messages of any length. A short one lies in its cell; of a longer one the cell has a
 * parcel, which names a block of the family's memory. Whose the block is decides whether
 * there is a message:
 *
 *	reserved	the putter's: freed with it
 *	put		first a sender's: a name of the putter that it uses for this put
 *			alone; then the cell is FULL; then a token's, which no death frees
 *	looked at	the token's, if it was the sender's still
 *	taken		from the token the taker's; then the cell is FREE. All by
 *			compare-and-swap (owned_pass())
 *	on lease	as before: it becomes the taker's with the ack
 *
 *	putter dies before FULL		the block is freed; the cell is FREE, or a hole
 *	between FULL and the token	the block is freed, unless somebody has looked:
 *					then the parcel is a hole, for whoever takes it
 *					finds that it is neither the sender's nor the
 *					token's
 *	taker dies before it is its	the message is delivered again
 *	after				the block is freed, and if the cell was FULL yet,
 *					that comes back as a hole
 *	holder of a lease dies		before the ack it is delivered again; in the ack
 *					it may be freed, and its box come back as a hole
 *
 * A parcel may thus name a block that is free, or another's. Senders are not used again
 * for a million puts, and tokens never, so that no such block is taken for the parcel's.
 * Who is stopped anywhere here holds up what it would with a short message.
 */
#ifndef TINE_QUEUE_PARCEL_H
#define TINE_QUEUE_PARCEL_H

#include "memory/owned.h"
#include "queue/words.h"

struct parcel {
	void *block;
	uint64_t len;
	uint64_t sender, token;
	uint64_t unused[4]; /* makes it longer than what is in a cell itself */
};

static inline bool is_parcel(const struct tine_queue *queue, size_t len)
{
	return queue->any && len == sizeof(struct parcel);
}

/*
 * Whether there is a message: if so, it is the token's from now on, and no death but that
 * of its taker frees it. Whoever looks does so for the putter, too.
 */
static inline bool parcel_is_whole(const struct parcel *parcel)
{
	owned_pass(parcel->block, parcel->sender, parcel->token);
	return owned_by(parcel->block) == parcel->token;
}

/* Takes the block for its new owner; false: there is no message. */
static inline bool parcel_accept(const struct parcel *parcel, uint64_t owner)
{
	return owned_pass(parcel->block, parcel->token, owner);
}

/* Of the message that data of len bytes are, or name; 0: a hole. */
static inline size_t message_len(const struct tine_queue *queue, const void *data,
				 size_t len)
{
	const struct parcel *parcel = data;

	if (!is_parcel(queue, len))
		return len;
	return parcel_is_whole(parcel) ? parcel->len : 0;
}

/*
 * A block of this process, to be filled: 0; -ENOMEM; -ETIMEDOUT: another is stopped in an
 * allocation.
 */
int queue_new_block(void **, size_t len, int64_t deadline);

#endif
