/* SPDX-License-Identifier: MIT */
#ifndef TINE_ISA_H
#define TINE_ISA_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * The loader has asked the processor. The compiler's way asks it again at the start of
 * each program, 13 times, and each is a trap in a virtual machine.
 */
#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define HAS_AVX2   CPU_FEATURE_ACTIVE(AVX2)
#define HAS_AVX512 (CPU_FEATURE_ACTIVE(AVX512F) && CPU_FEATURE_ACTIVE(AVX512DQ))
#elif defined(__x86_64__)
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#define HAS_AVX512                                                                       \
	(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
#else
#define HAS_AVX2   false
#define HAS_AVX512 false
#endif

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
	return isa == ISA_AVX512 ? HAS_AVX512
	       : isa == ISA_AVX2 ? HAS_AVX2
				 : isa == ISA_GENERIC;
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
