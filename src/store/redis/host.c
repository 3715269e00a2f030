/* SPDX-License-Identifier: MIT */
#include "store/redis/host.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/futex.h"
#include "base/signals.h"

#define NAME_MOST 256
#define PORT_MOST 8

/*
 * getaddrinfo(3) knows no deadline. It runs in a thread, which is left to itself when it
 * takes too long; the last of the two to let go frees what they share.
 */
struct search {
	char host[NAME_MOST], port[PORT_MOST];
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool over, left;
	int err;
	struct addrinfo *found;
};

static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

static void end_search(struct search *search)
{
	if (search->found)
		freeaddrinfo(search->found);
	pthread_cond_destroy(&search->done);
	pthread_mutex_destroy(&search->lock);
	free(search);
}

static void *run_search(void *arg)
{
	struct search *search = arg;
	struct addrinfo *found = NULL;
	int err = getaddrinfo(search->host, search->port, &hints, &found);
	bool left;

	/* Bound: this process's own threads, which hold it for no call that blocks. */
	pthread_mutex_lock(&search->lock);
	search->err = err;
	search->found = err ? NULL : found;
	search->over = true;
	left = search->left;
	pthread_cond_signal(&search->done);
	pthread_mutex_unlock(&search->lock);
	if (left)
		end_search(search);
	return NULL;
}

/* No signal is handled in a thread that the program knows nothing of. */
static int start_search(struct search *search)
{
	pthread_attr_t attributes;
	sigset_t before;
	pthread_t thread;
	int err;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	block_signals(&before);
	err = pthread_create(&thread, &attributes, run_search, search);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -err;
}

static int await_search(struct search *search, struct addrinfo **out, int64_t deadline)
{
	struct timespec until = timespec_of(deadline);
	int err = 0;
	bool over;

	/* Bound: as above; then the deadline. */
	pthread_mutex_lock(&search->lock);
	while (!search->over && err == 0)
		err = pthread_cond_timedwait(&search->done, &search->lock, &until);
	over = search->over;
	search->left = !over;
	if (over) {
		*out = search->found;
		search->found = NULL;
		err = search->err == 0		  ? 0
		      : search->err == EAI_MEMORY ? -ENOMEM
						  : -ECONNREFUSED;
	}
	pthread_mutex_unlock(&search->lock);
	if (!over)
		return -ETIMEDOUT;
	end_search(search);
	return err;
}

static int resolve_name(const char *host, const char *port, struct addrinfo **out,
			int64_t deadline)
{
	struct search *search;
	pthread_condattr_t attributes;
	int err;

	if (strlen(host) >= NAME_MOST)
		return -ECONNREFUSED;
	search = calloc(1, sizeof(*search));
	if (!search)
		return -ENOMEM;
	strcpy(search->host, host);
	strcpy(search->port, port);
	pthread_mutex_init(&search->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&search->done, &attributes);
	pthread_condattr_destroy(&attributes);
	err = start_search(search);
	if (err) {
		end_search(search);
		return err;
	}
	return await_search(search, out, deadline);
}

int host_find(const char *host, unsigned number, struct addrinfo **out, int64_t deadline)
{
	struct addrinfo numeric = hints;
	char port[PORT_MOST];

	snprintf(port, sizeof(port), "%u", number);
	numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(host, port, &numeric, out) == 0)
		return 0;
	return resolve_name(host, port, out, deadline);
}
