/* SPDX-License-Identifier: MIT */
#include "base/family.h"

struct family *_Atomic the_family;

bool is_in_family(const void *mem)
{
	const struct family *family = family_known();

	return family && (uintptr_t)mem - (uintptr_t)family_base(family) < family->span;
}

bool is_in_another(const void *mem)
{
	const uint64_t len = (uint64_t)FAMILIES << FAMILY_BITS;

	return (uint64_t)(uintptr_t)mem - FAMILIES_FROM < len && !is_in_family(mem);
}
