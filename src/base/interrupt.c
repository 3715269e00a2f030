/* SPDX-License-Identifier: MIT */
#include "base/interrupt.h"

_Thread_local struct interrupts interrupts;

bool tine_interruptible(bool on)
{
	bool before = interrupts.end_waits;

	interrupts = (struct interrupts){ .end_waits = on };
	return before;
}
