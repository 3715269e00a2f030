/* SPDX-License-Identifier: MIT */
#ifndef TINE_DIVIDE_H
#define TINE_DIVIDE_H

#include <stdint.h>

/*
 * Trial division: the least number in [from, to) that divides n and that 2, 3, 5 and 7 do
 * not divide, but never 1; 0: there is none. For any n > 0; from and to are up to 2^32.
 */
uint64_t divide(uint64_t n, uint64_t from, uint64_t to);

/* How far to divide a number: the first whose square is larger. */
uint64_t divide_end(uint64_t n);

/* The instruction set that it uses: the widest, or less if TINE_ISA asks for less. */
const char *divide_isa(void);

/* The body for an instruction set: "avx512", "avx2" or "generic"; NULL: not here. */
typedef uint64_t divide_body(uint64_t n, uint64_t from, uint64_t to);
divide_body *divide_body_named(const char *name);

#endif
