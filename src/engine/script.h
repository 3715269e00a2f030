/* SPDX-License-Identifier: MIT */
/*
 * What the server must do in one step. Each answers the same when it is asked twice, or
 * refuses the second time; none trusts what others may have written.
 */
#ifndef TINE_SCRIPT_H
#define TINE_SCRIPT_H

enum script {
	SCRIPT_JOIN,
	SCRIPT_BEAT,
	SCRIPT_DONE,
	SCRIPT_GIVE,
	SCRIPT_LEAVE,
	SCRIPT_CALL,
	SCRIPT_TAKE_BACK,
	SCRIPT_BURY,
	SCRIPT_HOSTS,
	SCRIPTS
};

extern const char *const engine_scripts[SCRIPTS];

/* The name that the server has for it. */
struct engine;
const char *engine_sha(const struct engine *, enum script);

#endif
