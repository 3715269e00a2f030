/* SPDX-License-Identifier: MIT */
#ifndef TINE_LOCK_H
#define TINE_LOCK_H

#include "export.h"

/* Releases it wholly: how many times this thread held it. */
unsigned lock_let_go(tine_lock *);

#endif
