/* SPDX-License-Identifier: MIT */
#ifndef TINE_ISA_H
#define TINE_ISA_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The instruction sets that vector bodies are for, the widest first. */
enum isa { ISA_AVX512, ISA_AVX2, ISA_GENERIC, ISAS };
static const char *const isa_names[ISAS] = { "avx512", "avx2", "generic" };

/* ISAS: none of that name. */
static inline enum isa isa_named(const char *name)
{
	enum isa isa = 0;

	while (isa < ISAS && strcmp(name, isa_names[isa]) != 0)
		isa++;
	return isa;
}

static inline bool isa_is_here(enum isa isa)
{
#ifdef __x86_64__
	if (isa == ISA_AVX512)
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512dq");
	if (isa == ISA_AVX2)
		return __builtin_cpu_supports("avx2");
#endif
	return isa == ISA_GENERIC;
}

/* The widest that is here, from the one on that the environment names, if it is one. */
static inline enum isa isa_chosen(void)
{
	const char *most = getenv("TINE_ISA");
	enum isa isa = most ? isa_named(most) % ISAS : 0;

	while (!isa_is_here(isa))
		isa++;
	return isa;
}

#endif
