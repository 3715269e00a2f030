/* SPDX-License-Identifier: MIT */
/* Programs that were spawned, as their owner has them; a keeper does the rest. */
#include "process/program.h"

#include "base/futex.h"
#include "base/options.h"
#include "memory/family.h"
#include "process/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static bool same_name(const char *one, const char *other)
{
	size_t len = strcspn(one, "=");

	return strncmp(one, other, len) == 0 && other[len] == '=';
}

static bool is_overridden(const char *variable, const char *const *over)
{
	for (; over && *over; over++)
		if (same_name(*over, variable))
			return true;
	return false;
}

/* Puts strings one behind the other; with a NULL it only counts. */
struct packed {
	char *at;
	size_t len;
};

static void pack_string(struct packed *packed, const char *string)
{
	size_t len = strlen(string) + 1;

	if (packed->at)
		memcpy(packed->at + packed->len, string, len);
	packed->len += len;
}

/*
 * Arguments, and the variables: those given, and the caller's others. What its own
 * starter has passed to it is not passed on.
 */
static void pack_command(struct packed *packed, const tine_command *command,
			 const char *given, struct keeper_request *request)
{
	request->argc = request->envc = 0;
	for (const char *const *at = command->argv; *at; at++, request->argc++)
		pack_string(packed, *at);
	if (command->family) {
		pack_string(packed, given);
		request->envc++;
	}
	for (const char *const *at = command->env; at && *at; at++, request->envc++)
		pack_string(packed, *at);
	for (char **at = environ; at && *at; at++)
		if (!is_overridden(*at, command->env) &&
		    !same_name(*at, FAMILY_VARIABLE "=")) {
			pack_string(packed, *at);
			request->envc++;
		}
}

/* A file that has them all, or a negative errno value. */
static int strings_file(const char *strings, size_t len)
{
	int fd = memfd_create("tine-command", MFD_CLOEXEC);
	size_t done = 0;
	int err;

	if (fd < 0)
		return -errno;
	while (done < len) {
		/* Bound: memory. */
		ssize_t part = write(fd, strings + done, len - done);

		if (part < 0 && errno != EINTR) {
			err = -errno;
			close(fd);
			return err;
		}
		done += part > 0 ? (size_t)part : 0;
	}
	return fd;
}

/* ---- calls ------------------------------------------------------------------------- */

static bool command_is_valid(const tine_command *command)
{
	if (!command || !command->argv || !command->argv[0] || !*command->argv[0] ||
	    !ROOM_IS_ZERO(command))
		return false;
	for (const char *const *at = command->env; at && *at; at++)
		if (**at == '=' || !strchr(*at, '='))
			return false;
	return true;
}

/* Asks for it: fds has the descriptors, and room for that of a file. */
static int ask_for(struct program *program, const tine_command *command, int *fds)
{
	struct keeper_request request = { .kind = KEEPER_SPAWN,
					  .family = command->family };
	char given[sizeof(FAMILY_VARIABLE) + FAMILY_GIVEN_SIZE];
	struct packed packed = { NULL, 0 };
	int file = -1, pidfd = -1, err;

	snprintf(given, sizeof(given), FAMILY_VARIABLE "=" FAMILY_GIVEN, FAMILY_FD,
		 (unsigned long long)tine_family_id());
	pack_command(&packed, command, given, &request);
	packed.at = malloc(packed.len);
	if (!packed.at)
		return -ENOMEM;
	packed.len = 0;
	pack_command(&packed, command, given, &request);
	request.len = packed.len;
	if (packed.len > MOST_SAID) {
		file = strings_file(packed.at, packed.len);
		err = file < 0 ? file : 0;
		if (err)
			goto free_strings;
		fds[passed_strings(&request)] = file;
	}
	err = keeper_spawn(&program->keeper, &request, file < 0 ? packed.at : NULL, fds,
			   &program->pid, &pidfd);
	program->pidfd = own_fd(pidfd);
	if (file >= 0)
		close(file);
free_strings:
	free(packed.at);
	return err;
}

int program_start(struct program *program, const tine_command *command)
{
	int fds[MOST_PASSED], null, err;

	if (!command_is_valid(command))
		return -EINVAL;
	*program = (struct program){ .owner = getpid(), .pidfd = { .fd = -1 } };
	if (command->family) {
		fds[PASSED_FAMILY] = tine_family_fd();
		if (fds[PASSED_FAMILY] < 0)
			return fds[PASSED_FAMILY];
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		fds[i] = command->fds ? command->fds[i] : i == 0 ? -1 : i;
		if (fds[i] == -1)
			fds[i] = null;
	}
	fds[PASSED_FOLDER] = open(command->folder ? command->folder : ".",
				  O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fds[PASSED_FOLDER] < 0) {
		err = -errno;
		goto close_null;
	}
	err = ask_for(program, command, fds);
	close(fds[PASSED_FOLDER]);
close_null:
	close(null);
	return err;
}

static bool has_pidfd(const struct program *program)
{
	return is_pidfd_of(&program->pidfd, program->pid);
}

/* 0: it has ended; -ETIMEDOUT: not yet. */
static int look_for_end(struct program *program)
{
	struct pollfd ended = { .fd = program->pidfd.fd, .events = POLLIN };
	struct answer answer;
	int err;

	/* Bound: it only looks. */
	if (program->ended || (poll(&ended, 1, 0) == 0 && has_pidfd(program)))
		return program->ended ? 0 : -ETIMEDOUT;
	/* Bound: ANSWER_MS. The program is a zombie, and the keeper knows. */
	err = keeper_look(program->keeper, program->pid, &answer);
	if (err == -EAGAIN)
		return -ETIMEDOUT;
	if (err) {
		program->ended = -ECHILD;
		return 0;
	}
	program->how = answer.how;
	program->usage = answer.usage;
	program->ended = 1;
	return 0;
}

int program_wait(struct program *program, tine_exit *how, int64_t deadline)
{
	if (program->owner != getpid())
		return -EPERM;
	while (look_for_end(program) != 0) {
		struct pollfd ended = { .fd = program->pidfd.fd, .events = POLLIN };
		int64_t left = deadline - tine_now();
		struct timespec ts = timespec_of(left > 0 ? left : 0);
		struct timespec moment = { 0, 1000000 };
		int err;

		if (left <= 0)
			return -ETIMEDOUT;
		if (interrupt_take())
			return -EINTR;
		if (has_pidfd(program))
			/* Bound: the caller's deadline. */
			err = ppoll(&ended, 1, deadline == TINE_FOREVER ? NULL : &ts,
				    NULL);
		else
			/* Bound: a millisecond. */
			err = nanosleep(&moment, NULL);
		if (err < 0)
			interrupt_note(errno);
	}
	if (program->ended < 0)
		return program->ended;
	if (how)
		*how = program->how;
	return 0;
}

int program_kill(struct program *program, int signal)
{
	if (program->owner != getpid())
		return -EPERM;
	if (signal < 0 || signal >= NSIG)
		return -EINVAL;
	return program->ended ? -ESRCH
			      : keeper_kill(program->keeper, program->pid, signal);
}

int program_usage(struct program *program, tine_usage *out)
{
	int err = program_wait(program, NULL, TINE_NOWAIT);

	if (!err)
		*out = program->usage;
	return err == -ETIMEDOUT ? -EAGAIN : err;
}

void program_free(struct program *program)
{
	if (program->owner != getpid())
		return; /* a child's copy */
	keeper_end(program->keeper, program->pid);
	close_pidfd(&program->pidfd, program->pid);
}
