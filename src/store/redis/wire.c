/* SPDX-License-Identifier: MIT */
/*
 * Requests are composed in a buffer of the process's own, and answers read through
 * hiredis; nothing here is shared, so that no death can break anything but the
 * connection, which the server then closes.
 *
 * An answer that comes too late must never be taken for that of the next question: who
 * gives up waiting for one closes the line.
 */
#include "store/redis/wire.h"

#include "base/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#define COPIED	   ((size_t)16 << 10) /* longer words are not */
#define PIECES	   32		      /* of a request, to the kernel at a time */
#define FULL_PAUSE 1000000	      /* nanoseconds, when a socket's queue is full */
#define PER_BYTE   100		      /* nanoseconds that an answer may take longer */
#define IDLE_S	   10 /* before the kernel asks whether the peer is there */
#define ASK_S	   3
#define ASK_TIMES  3
#define NAME_MOST  256
#define PORT_MOST  8

/* ---- requests ---------------------------------------------------------------------- */

void request_begin(struct request *request)
{
	request->len = request->n = 0;
	request->commands = 0;
	request->failed = false;
}

void request_free(struct request *request)
{
	free(request->text);
	free(request->splices);
	*request = (struct request){ 0 };
}

static bool make_room(struct request *request, size_t len)
{
	size_t room = request->room ? request->room : 256;
	char *text;

	if (request->room - request->len >= len)
		return true;
	while (room - request->len < len)
		room *= 2;
	text = malloc(room);
	if (!text) {
		request->failed = true;
		return false;
	}
	if (request->len > 0)
		memcpy(text, request->text, request->len);
	free(request->text);
	request->text = text;
	request->room = room;
	return true;
}

static void append(struct request *request, const void *bytes, size_t len)
{
	if (len == 0 || !make_room(request, len))
		return;
	memcpy(request->text + request->len, bytes, len);
	request->len += len;
}

/* '*' or '$', the number, and the end of the line. */
static void append_count(struct request *request, char mark, size_t count)
{
	char text[24], *at = text + sizeof(text);

	*--at = '\n';
	*--at = '\r';
	do
		*--at = (char)('0' + count % 10);
	while ((count /= 10) > 0);
	*--at = mark;
	append(request, at, (size_t)(text + sizeof(text) - at));
}

static void add_splice(struct request *request, const void *bytes, size_t len)
{
	if (request->n == request->most) {
		size_t most = request->most ? 2 * request->most : 4;
		struct splice *splices = malloc(most * sizeof(*splices));

		if (!splices) {
			request->failed = true;
			return;
		}
		if (request->n > 0)
			memcpy(splices, request->splices, request->n * sizeof(*splices));
		free(request->splices);
		request->splices = splices;
		request->most = most;
	}
	request->splices[request->n++] = (struct splice){ request->len, bytes, len };
}

void request_head(struct request *request, size_t words)
{
	append_count(request, '*', words);
	request->commands++;
}

void request_word(struct request *request, const void *bytes, size_t len)
{
	append_count(request, '$', len);
	(len > COPIED ? add_splice : append)(request, bytes, len);
	append(request, "\r\n", 2);
}

void request_number(struct request *request, int64_t number)
{
	char text[24];

	request_word(request, text,
		     (size_t)snprintf(text, sizeof(text), "%lld", (long long)number));
}

void request_add(struct request *request, const char *letters, ...)
{
	va_list args;

	request_head(request, strlen(letters));
	va_start(args, letters);
	for (; *letters; letters++) {
		const char *bytes;

		if (*letters == 'i') {
			request_number(request, va_arg(args, int64_t));
			continue;
		}
		bytes = va_arg(args, const char *);
		request_word(request, bytes,
			     *letters == 's' ? strlen(bytes) : va_arg(args, size_t));
	}
	va_end(args);
}

int64_t request_time(const struct request *request)
{
	size_t total = request->len;

	for (size_t i = 0; i < request->n; i++)
		total += request->splices[i].len;
	return (int64_t)total * PER_BYTE;
}

/* Text and splices by turns, the text before the first splice being the first piece. */
static struct iovec piece(const struct request *request, size_t i)
{
	size_t from = i < 2 ? 0 : request->splices[i / 2 - 1].at;
	size_t to = i / 2 < request->n ? request->splices[i / 2].at : request->len;

	if (i % 2)
		return (struct iovec){ (void *)request->splices[i / 2].bytes,
				       request->splices[i / 2].len };
	return (struct iovec){ request->text + from, to - from };
}

/* ---- answers ----------------------------------------------------------------------- */

/* Stands for a string that went where the line says. */
static redisReply taken = { .type = REDIS_REPLY_STRING };

static void free_object(void *reply)
{
	if (reply != &taken)
		freeReplyObject(reply);
}

void reply_free(redisReply *reply)
{
	if (reply)
		free_object(reply);
}

static void *(*create_string)(const redisReadTask *, char *, size_t);

/* Values go from the buffer of the reader to the caller's, with no copy between. */
static void *take_string(const redisReadTask *task, char *bytes, size_t len)
{
	struct line *line = task->privdata;

	if (!line->to_buf || task->parent || task->type != REDIS_REPLY_STRING)
		return create_string(task, bytes, len);
	if (line->size > 0)
		memcpy(line->buf, bytes, len < line->size ? len : line->size);
	line->len = len;
	return &taken;
}

static int make_reader(struct line *line)
{
	line->reader = redisReaderCreate();
	if (!line->reader)
		return -ENOMEM;
	line->functions = *line->reader->fn;
	/* The same for all, whoever writes it. */
	__atomic_store_n(&create_string, line->functions.createString, __ATOMIC_RELAXED);
	line->functions.createString = take_string;
	line->functions.freeObject = free_object;
	line->reader->fn = &line->functions;
	line->reader->privdata = line;
	return 0;
}

struct meaning {
	const char *text;
	int err;
};

/* By the first word. */
static const struct meaning words[] = {
	{ "WRONGTYPE", -TINE_EKIND }, { "NOAUTH", -EACCES },
	{ "WRONGPASS", -EACCES },     { "NOPERM", -EACCES },
	{ "DENIED", -EACCES },	      { "READONLY", -EROFS },
	{ "MISCONF", -EROFS },	      { "NOREPLICAS", -EROFS },
	{ "OOM", -ENOMEM },	      { "MOVED", -EREMOTE },
	{ "ASK", -EREMOTE },	      { "CROSSSLOT", -EREMOTE },
	{ "CLUSTERDOWN", -EREMOTE },  { "TRYAGAIN", -EREMOTE },
	{ "LOADING", -EAGAIN },	      { "BUSY", -EAGAIN },
	{ "MASTERDOWN", -EAGAIN },
};

/* By words further on, of those that begin with ERR. */
static const struct meaning phrases[] = {
	{ "would overflow", -ERANGE },
	{ "not an integer", -EINVAL },
	{ "DB index", -EINVAL },
	{ "SELECT is not allowed", -EINVAL },
	{ "invalid expire", -EINVAL },
	{ "invalid password", -EACCES },
	{ "AUTH", -EACCES },
	{ "max number of clients", -ECONNREFUSED },
	{ "invalid bulk length", -EMSGSIZE },
	{ "exceeds maximum allowed size", -EMSGSIZE },
	{ "TRACKING", -EOPNOTSUPP },
	{ "CLIENT subcommand", -EOPNOTSUPP },
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

int reply_error(const redisReply *reply)
{
	const char *text = reply->str;
	bool script = strncmp(text, "ERR Error running script", 24) == 0;

	/* Before Redis 7 what a script met comes further on. */
	for (size_t i = 0; i < COUNT(words); i++) {
		const char *at = script ? strstr(text, words[i].text) : text;
		size_t len = strlen(words[i].text);

		if (at && strncmp(at, words[i].text, len) == 0 &&
		    (at[len] == ' ' || at[len] == '\0'))
			return words[i].err;
	}
	for (size_t i = 0; i < COUNT(phrases); i++)
		if (strstr(text, phrases[i].text))
			return phrases[i].err;
	return -EBADMSG;
}

/* ---- the socket -------------------------------------------------------------------- */

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd polled = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - tine_now();
		struct timespec ts = timespec_of(left > 0 ? left : 0);
		int n = ppoll(&polled, 1, deadline == TINE_FOREVER ? NULL : &ts, NULL);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* What connect(2) says, as tine.h does. */
static int refusal(int err)
{
	switch (err) {
	case ENOENT:
	case ENOTDIR:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return -ECONNREFUSED;
	case EPERM:
		return -EACCES;
	default:
		return -err;
	}
}

static int connect_socket(int fd, const struct sockaddr *to, socklen_t len,
			  int64_t deadline)
{
	struct timespec moment = { .tv_nsec = FULL_PAUSE };
	socklen_t size = sizeof(int);
	int err;

	while (connect(fd, to, len) != 0) {
		if (errno == EINPROGRESS || errno == EINTR) {
			err = wait_for(fd, POLLOUT, deadline);
			if (err)
				return err;
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
			return err ? refusal(err) : 0;
		}
		/* Of a Unix socket: too many wait to be accepted. */
		if (errno != EAGAIN)
			return refusal(errno);
		if (tine_now() >= deadline)
			return -ETIMEDOUT;
		nanosleep(&moment, NULL);
	}
	return 0;
}

static void set_number(int fd, int level, int option, int number)
{
	setsockopt(fd, level, option, &number, sizeof(number));
}

/* So that who waits for changes notices a peer that is gone without a word. */
static void keep_alive(int fd)
{
	set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, ASK_S);
	set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, ASK_TIMES);
}

static int open_socket(const struct sockaddr *to, socklen_t len, int64_t deadline)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return refusal(errno);
	if (to->sa_family != AF_UNIX)
		keep_alive(fd);
	err = connect_socket(fd, to, len, deadline);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int open_unix(const char *path, int64_t deadline)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	strcpy(to.sun_path, path);
	return open_socket((struct sockaddr *)&to, sizeof(to), deadline);
}

/* ---- names ------------------------------------------------------------------------- */

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
	sigset_t all, before;
	pthread_t thread;
	int err;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
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

static int resolve(const char *host, unsigned number, struct addrinfo **out,
		   int64_t deadline)
{
	struct addrinfo numeric = hints;
	char port[PORT_MOST];

	snprintf(port, sizeof(port), "%u", number);
	numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(host, port, &numeric, out) == 0)
		return 0;
	return resolve_name(host, port, out, deadline);
}

/* Each of a name's addresses has its share of the time that is left. */
static int open_tcp(const char *host, unsigned port, int64_t deadline)
{
	struct addrinfo *found;
	int err = resolve(host, port, &found, deadline), left = 0;

	if (err)
		return err;
	for (struct addrinfo *each = found; each; each = each->ai_next)
		left++;
	err = -ECONNREFUSED;
	for (struct addrinfo *each = found; each; each = each->ai_next) {
		int64_t now = tine_now();

		err = open_socket(each->ai_addr, each->ai_addrlen,
				  now + (deadline - now) / left--);
		if (err >= 0)
			break;
	}
	freeaddrinfo(found);
	return err;
}

/* ---- the line ---------------------------------------------------------------------- */

static int start_tls(struct line *line, const struct trust *trust, int fd,
		     int64_t deadline)
{
	int err = tls_new(&line->tls, trust, fd);
	short events = 0;

	if (err)
		return err;
	for (;;) {
		err = tls_greet(line->tls, &events);
		if (err != -EAGAIN)
			return err;
		err = wait_for(fd, events, deadline);
		if (err)
			return err;
	}
}

int line_open(struct line *line, const struct store_address *address,
	      const struct trust *trust, int64_t deadline)
{
	struct timeval answer = { .tv_sec = address->answer_ms / 1000,
				  .tv_usec = address->answer_ms % 1000 * 1000 };
	int fd, err;

	fd = address->kind == STORE_UNIX
		     ? open_unix(address->path, deadline)
		     : open_tcp(address->host, address->port, deadline);
	if (fd < 0)
		return fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer, sizeof(answer));
	line->tls = NULL;
	err = trust ? start_tls(line, trust, fd, deadline) : 0;
	err = err ? err : make_reader(line);
	if (err)
		goto close_fd;
	line->answer = address->answer_ms * INT64_C(1000000);
	line->fd = fd;
	return 0;

close_fd:
	tls_free(line->tls);
	close(fd);
	return err;
}

void line_close(struct line *line)
{
	if (line->fd < 0)
		return;
	redisReaderFree(line->reader);
	tls_free(line->tls);
	close(line->fd);
	line->fd = -1;
}

bool line_is_idle(const struct line *line)
{
	char byte;

	if (line->tls)
		return tls_peek(line->tls) == -EAGAIN;
	return recv(line->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static int failure(int err)
{
	return err == EPIPE || err == ENOTCONN ? -ECONNRESET : -err;
}

static int send_by_tls(struct line *line, struct iovec iov, int64_t deadline)
{
	while (iov.iov_len > 0) {
		short events = 0;
		ssize_t sent = tls_send(line->tls, iov.iov_base, iov.iov_len, &events);
		int err = 0;

		if (sent == -EAGAIN)
			err = wait_for(line->fd, events, deadline);
		else if (sent < 0)
			err = failure((int)-sent);
		/* A server that hangs up may have said why. */
		if (err == -ECONNRESET && tls_peek(line->tls) == -EACCES)
			err = -EACCES;
		if (err)
			return err;
		sent = sent > 0 ? sent : 0;
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
	}
	return 0;
}

int line_send(struct line *line, const struct request *request, int64_t deadline)
{
	size_t pieces = 2 * request->n + 1, at = 0, done = 0;
	int failed = 0;

	for (; line->tls && at < pieces && !failed; at++)
		failed = send_by_tls(line, piece(request, at), deadline);
	if (failed)
		return failed;
	while (at < pieces) {
		struct iovec iov[PIECES];
		struct msghdr msg = { .msg_iov = iov };
		ssize_t sent;

		do
			iov[msg.msg_iovlen] = piece(request, at + msg.msg_iovlen);
		while (++msg.msg_iovlen < PIECES && at + msg.msg_iovlen < pieces);
		iov[0].iov_base = (char *)iov[0].iov_base + done;
		iov[0].iov_len -= done;
		sent = sendmsg(line->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN) {
			int err = wait_for(line->fd, POLLOUT, deadline);

			if (err)
				return err;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return failure(errno);
		for (size_t i = 0; i < msg.msg_iovlen; i++) {
			if ((size_t)sent < iov[i].iov_len) {
				done = (i == 0 ? done : 0) + (size_t)sent;
				break;
			}
			sent -= (ssize_t)iov[i].iov_len;
			done = 0;
			at++;
		}
	}
	return 0;
}

static ssize_t take_by_tls(struct line *line, int64_t deadline)
{
	for (;;) {
		short events = 0;
		ssize_t len = tls_receive(line->tls, line->in, sizeof(line->in), &events);
		int err;

		if (len != -EAGAIN)
			return len < 0 ? failure((int)-len) : len;
		err = wait_for(line->fd, events, deadline);
		if (err)
			return err;
	}
}

/*
 * Bytes, or an error. The first wait for an answer, if it may last as long as answers
 * may, is one system call; all others ask poll(2) first.
 */
static ssize_t take_bytes(struct line *line, bool first, int64_t deadline)
{
	int flags = MSG_DONTWAIT;

	if (first && deadline - tine_now() >= line->answer - line->answer / 16)
		flags = 0;
	for (;;) {
		ssize_t len = recv(line->fd, line->in, sizeof(line->in), flags);
		int err;

		if (len > 0)
			return len;
		if (len == 0)
			return -ECONNRESET;
		if (errno == EAGAIN && flags == 0)
			return -ETIMEDOUT;
		if (errno != EAGAIN && errno != EINTR)
			return failure(errno);
		flags = MSG_DONTWAIT;
		err = wait_for(line->fd, POLLIN, deadline);
		if (err)
			return err;
	}
}

static int reader_failure(const redisReader *reader)
{
	return reader->err == REDIS_ERR_OOM ? -ENOMEM : -EBADMSG;
}

int line_receive(struct line *line, redisReply **out, int64_t deadline)
{
	bool first = true;

	for (;; first = false) {
		void *reply = NULL;
		ssize_t len;

		if (redisReaderGetReply(line->reader, &reply) != REDIS_OK)
			return reader_failure(line->reader);
		if (reply) {
			*out = reply;
			return 0;
		}
		len = line->tls ? take_by_tls(line, deadline)
				: take_bytes(line, first, deadline);
		if (len < 0)
			return (int)len;
		deadline += len * PER_BYTE;
		if (redisReaderFeed(line->reader, line->in, (size_t)len) != REDIS_OK)
			return reader_failure(line->reader);
	}
}
