/* SPDX-License-Identifier: MIT */
#ifndef TINE_PLACE_H
#define TINE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Where this process's thread ids have their meaning: the boot of the machine, and the
 * PID namespace. A part is 0 where it cannot be found out, as without /proc.
 */
struct place {
	uint32_t boot; /* a hash, of 24 bits */
	uint32_t namespace;
};

struct place place_here(void);
/* As one number of 56 bits, and back. */
uint64_t place_packed(struct place);
struct place place_unpacked(uint64_t);

#endif
