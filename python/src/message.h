/* SPDX-License-Identifier: MIT */
/*
 * An object as bytes. The first byte is its kind: numbers, short strings and bytes are
 * themselves, all else is a pickle, beside which the buffers that it names (of arrays)
 * lie as they are.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "core.h"

#define MESSAGE_SHORT 56 /* bytes that are in a queue's own memory */

struct message {
	uint8_t kind;
	char number[8];
	const void *bytes; /* of which there are len, held by owner */
	size_t len;
	PyObject *owner, *holder;
	Py_buffer whole, *buffers;
	Py_ssize_t count;
	size_t size; /* of the message */
};

/* 0 or -1, with an exception. What it refers to is held until it is cleared. */
int message_of(struct message *, PyObject *);
void message_write(const struct message *, void *to);
void message_clear(struct message *);

/*
 * Makes the object. What it makes of large buffers lies in the message: parcel, which is
 * an object with the buffer interface over the whole message, is then held by it. NULL:
 * buffers are copied.
 */
PyObject *message_load(const void *bytes, size_t size, PyObject *parcel);
/* Whether a parcel would be of use. */
bool message_has_buffers(const void *bytes);

#endif
