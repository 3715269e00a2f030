/* SPDX-License-Identifier: MIT */
/*
 * A server that no pool can use, on a Unix socket: false-redis KIND PATH, where the kind
 * is old, moved, layout, or http, which is no Redis. It ends with its parent.
 */
#include <ctype.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SHA "0123456789012345678901234567890123456789"

static bool read_line(FILE *from, char *line, size_t size)
{
	return fgets(line, (int)size, from) != NULL;
}

/* The first word; false: the peer is gone. */
static bool next_command(FILE *from, char *command, size_t size)
{
	char line[1 << 16];
	long words;

	if (!read_line(from, line, sizeof(line)))
		return false;
	words = atol(line + 1);
	for (long i = 0; i < words; i++) {
		long len;

		if (!read_line(from, line, sizeof(line)))
			return false;
		len = atol(line + 1) + 2;
		if (len > (long)sizeof(line) ||
		    fread(line, 1, (size_t)len, from) != (size_t)len)
			return false;
		line[len - 2] = '\0';
		if (i == 0)
			snprintf(command, size, "%.20s", line);
	}
	return words > 0;
}

static const char *answer_to(const char *kind, const char *command)
{
	bool is_old = strcmp(kind, "old") == 0;

	if (strcmp(kind, "http") == 0)
		return "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
	if (strcasecmp(command, "PING") == 0)
		return "+PONG\r\n";
	if (strcasecmp(command, "INFO") == 0)
		return is_old ? "$32\r\n# Server\r\nredis_version:5.0.14\r\n\r\n"
			      : "$32\r\n# Server\r\nredis_version:7.0.15\r\n\r\n";
	if (strcasecmp(command, "SCRIPT") == 0)
		return "$40\r\n" SHA "\r\n";
	if (strcmp(kind, "moved") == 0)
		return "-MOVED 3999 10.0.0.7:6380\r\n";
	if (strcasecmp(command, "HGET") == 0)
		return is_old ? "$-1\r\n" : "$2\r\n99\r\n";
	return ":99\r\n";
}

static void serve(const char *kind, int fd)
{
	FILE *from = fdopen(fd, "r");
	char command[64];

	while (from && next_command(from, command, sizeof(command))) {
		const char *answer = answer_to(kind, command);

		if (write(fd, answer, strlen(answer)) < 0 || *answer == 'H')
			return;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3 || strlen(argv[2]) >= sizeof(address.sun_path))
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	strcpy(address.sun_path, argv[2]);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(listener, 64) != 0)
		return 1;
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			serve(argv[1], fd);
			_exit(0);
		}
		close(fd);
	}
}
