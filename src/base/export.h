/* SPDX-License-Identifier: MIT */
#ifndef TINE_EXPORT_H
#define TINE_EXPORT_H

/* Everything is hidden, but what the public header declares. */
#pragma GCC visibility push(default)
#include <tine.h>
#pragma GCC visibility pop

#endif
