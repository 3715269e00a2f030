/* SPDX-License-Identifier: MIT */
/* What a server answers. */
#ifndef TINE_REPLY_H
#define TINE_REPLY_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

/* Stands for a string that went where the line says. */
extern redisReply reply_taken;

void reply_free(redisReply *);
void reply_free_object(void *);
/* The code of tine's for an error that a server answered; -EAGAIN: it is busy. */
int reply_error(const redisReply *);
/* Others may have made names that tine has none for. */
bool reply_is_name(const redisReply *);

#endif
