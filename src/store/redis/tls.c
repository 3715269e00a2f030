/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL over this file's own socket calls: its own would raise SIGPIPE where a
 * connection is gone. The name in a certificate is compared with the host's.
 *
 * It is loaded by the first URL that wants it: linked, it would double the time that any
 * program of tine's takes to start.
 *
 * What belongs to one handle is with the handle, which a fork copies; the copy is freed
 * without a word.
 */
#include "store/redis/tls.h"

#include "base/library.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TEXT_OF(x)    #x
#define VERSION_OF(x) TEXT_OF(x)
#define LIBSSL	      "libssl.so." VERSION_OF(OPENSSL_SHLIB_VERSION)

/* ---- the library ------------------------------------------------------------------- */

#define EACH_FUNCTION(DO)                                                                \
	DO(BIO_clear_flags)                                                              \
	DO(BIO_get_data)                                                                 \
	DO(BIO_get_new_index)                                                            \
	DO(BIO_meth_new)                                                                 \
	DO(BIO_meth_set_ctrl)                                                            \
	DO(BIO_meth_set_read)                                                            \
	DO(BIO_meth_set_write)                                                           \
	DO(BIO_new)                                                                      \
	DO(BIO_set_data)                                                                 \
	DO(BIO_set_flags)                                                                \
	DO(BIO_set_init)                                                                 \
	DO(ERR_clear_error)                                                              \
	DO(ERR_peek_last_error)                                                          \
	DO(SSL_CTX_ctrl)                                                                 \
	DO(SSL_CTX_free)                                                                 \
	DO(SSL_CTX_load_verify_locations)                                                \
	DO(SSL_CTX_new)                                                                  \
	DO(SSL_CTX_set_default_passwd_cb)                                                \
	DO(SSL_CTX_set_default_verify_paths)                                             \
	DO(SSL_CTX_set_verify)                                                           \
	DO(SSL_CTX_use_PrivateKey_file)                                                  \
	DO(SSL_CTX_use_certificate_chain_file)                                           \
	DO(SSL_connect)                                                                  \
	DO(SSL_ctrl)                                                                     \
	DO(SSL_free)                                                                     \
	DO(SSL_get0_param)                                                               \
	DO(SSL_get_error)                                                                \
	DO(SSL_get_verify_result)                                                        \
	DO(SSL_new)                                                                      \
	DO(SSL_peek)                                                                     \
	DO(SSL_read)                                                                     \
	DO(SSL_set1_host)                                                                \
	DO(SSL_set_bio)                                                                  \
	DO(SSL_set_hostflags)                                                            \
	DO(SSL_write)                                                                    \
	DO(TLS_client_method)                                                            \
	DO(X509_VERIFY_PARAM_set1_ip_asc)

#define MEMBER(name) __typeof__(name) *name;
static struct {
	bool whole;
	BIO_METHOD *socket;
	EACH_FUNCTION(MEMBER)
} lib;

struct tls {
	SSL *ssl;
	int fd, err; /* err: the socket's, or 0 */
};

/* ---- its socket -------------------------------------------------------------------- */

static int bio_result(BIO *bio, ssize_t len, int again)
{
	struct tls *tls = lib.BIO_get_data(bio);

	lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
	if (len >= 0)
		return (int)len;
	if (errno == EAGAIN || errno == EINTR)
		lib.BIO_set_flags(bio, again | BIO_FLAGS_SHOULD_RETRY);
	else
		tls->err = errno;
	return -1;
}

static int read_socket(BIO *bio, char *buf, int size)
{
	struct tls *tls = lib.BIO_get_data(bio);

	return bio_result(bio, recv(tls->fd, buf, (size_t)size, MSG_DONTWAIT),
			  BIO_FLAGS_READ);
}

static int write_socket(BIO *bio, const char *bytes, int len)
{
	struct tls *tls = lib.BIO_get_data(bio);

	return bio_result(bio,
			  send(tls->fd, bytes, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL),
			  BIO_FLAGS_WRITE);
}

static long control_socket(BIO *bio, int what, long number, void *more)
{
	(void)bio;
	(void)number;
	(void)more;
	return what == BIO_CTRL_FLUSH;
}

static void find_openssl(void)
{
	void *file = dlopen(LIBSSL, RTLD_LAZY);

	if (!file)
		return;
#define FIND(name)                                                                       \
	lib.name = (__typeof__(lib.name))dlsym(file, #name);                             \
	if (!lib.name)                                                                   \
		return;
	EACH_FUNCTION(FIND)
	lib.socket = lib.BIO_meth_new(lib.BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
				      "tine");
	if (!lib.socket)
		return;
	lib.BIO_meth_set_read(lib.socket, read_socket);
	lib.BIO_meth_set_write(lib.socket, write_socket);
	lib.BIO_meth_set_ctrl(lib.socket, control_socket);
	lib.whole = true;
}

/* ---- trust ------------------------------------------------------------------------- */

struct trust {
	SSL_CTX *context;
	const char *host;
};

/* Nobody is asked at the terminal. */
static int no_password(char *buf, int size, int writing, void *more)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)more;
	return -1;
}

static int read_authorities(SSL_CTX *context, const char *path)
{
	if (!path)
		return lib.SSL_CTX_set_default_verify_paths(context) == 1 ? 0 : -ENOMEM;
	if (access(path, R_OK) != 0)
		return -errno;
	return lib.SSL_CTX_load_verify_locations(context, path, NULL) == 1 ? 0 : -EINVAL;
}

static int read_own(SSL_CTX *context, const char *cert, const char *key)
{
	if (!cert)
		return 0;
	if (access(cert, R_OK) != 0 || access(key, R_OK) != 0)
		return -errno;
	lib.SSL_CTX_set_default_passwd_cb(context, no_password);
	/* A key that is not the certificate's is an error of the second. */
	return lib.SSL_CTX_use_certificate_chain_file(context, cert) == 1 &&
			       lib.SSL_CTX_use_PrivateKey_file(context, key,
							       SSL_FILETYPE_PEM) == 1
		       ? 0
		       : -EINVAL;
}

int trust_new(struct trust **out, const struct store_address *address)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct trust *trust;
	int err;

	*out = NULL;
	if (!address->tls)
		return 0;
	err = library_load(LIBSSL);
	if (err)
		return err;
	pthread_once(&once, find_openssl);
	if (!lib.whole)
		return -EPROTONOSUPPORT;
	trust = malloc(sizeof(*trust));
	if (!trust)
		return -ENOMEM;
	trust->host = address->host;
	trust->context = lib.SSL_CTX_new(lib.TLS_client_method());
	if (!trust->context) {
		err = -ENOMEM;
		goto free_trust;
	}
	lib.SSL_CTX_ctrl(trust->context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION,
			 NULL);
	lib.SSL_CTX_set_verify(trust->context, SSL_VERIFY_PEER, NULL);
	err = read_authorities(trust->context, address->cacert);
	err = err ? err : read_own(trust->context, address->cert, address->key);
	lib.ERR_clear_error();
	if (err)
		goto free_context;
	*out = trust;
	return 0;

free_context:
	lib.SSL_CTX_free(trust->context);
free_trust:
	free(trust);
	return err;
}

void trust_free(struct trust *trust)
{
	if (!trust)
		return;
	lib.SSL_CTX_free(trust->context);
	free(trust);
}

/* ---- connections ------------------------------------------------------------------- */

/* The certificate must be for this host; a name is told to the server, too. */
static bool expect_host(SSL *ssl, const char *host)
{
	if (lib.X509_VERIFY_PARAM_set1_ip_asc(lib.SSL_get0_param(ssl), host) == 1)
		return true;
	lib.SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return lib.SSL_set1_host(ssl, host) == 1 &&
	       lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
			    (void *)host) == 1;
}

int tls_new(struct tls **out, const struct trust *trust, int fd)
{
	struct tls *tls = malloc(sizeof(*tls));
	BIO *bio;

	if (!tls)
		return -ENOMEM;
	*tls = (struct tls){ .fd = fd, .ssl = lib.SSL_new(trust->context) };
	if (!tls->ssl)
		goto free_tls;
	bio = lib.BIO_new(lib.socket);
	if (!bio)
		goto free_ssl;
	lib.BIO_set_data(bio, tls);
	lib.BIO_set_init(bio, 1);
	lib.SSL_set_bio(tls->ssl, bio, bio);
	if (!expect_host(tls->ssl, trust->host))
		goto free_ssl;
	*out = tls;
	return 0;

free_ssl:
	lib.SSL_free(tls->ssl);
free_tls:
	free(tls);
	lib.ERR_clear_error();
	return -ENOMEM;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	lib.SSL_free(tls->ssl);
	free(tls);
}

/* What the peer has said to break it off. */
static bool is_alert(unsigned long error)
{
	return ERR_GET_LIB(error) == ERR_LIB_SSL &&
	       ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET;
}

static int tls_failure(const struct tls *tls)
{
	unsigned long error = lib.ERR_peek_last_error();

	if (tls->err)
		return -tls->err;
	if (lib.SSL_get_verify_result(tls->ssl) != X509_V_OK)
		return -TINE_ECERT;
	if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
		return -ENOMEM;
	return is_alert(error) ? -EACCES : error ? -EBADMSG : -ECONNRESET;
}

/* Errors of other calls would be taken for those of the next. */
static void begin_tls_call(struct tls *tls)
{
	lib.ERR_clear_error();
	tls->err = 0;
}

/* What a call has returned. */
static int tls_result(const struct tls *tls, int returned, short *events)
{
	int err;

	if (returned > 0)
		return returned;
	switch (lib.SSL_get_error(tls->ssl, returned)) {
	case SSL_ERROR_WANT_READ:
		*events = POLLIN;
		err = -EAGAIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		*events = POLLOUT;
		err = -EAGAIN;
		break;
	case SSL_ERROR_ZERO_RETURN:
		err = -ECONNRESET;
		break;
	default:
		err = tls_failure(tls);
	}
	lib.ERR_clear_error();
	return err;
}

static int at_most(size_t len)
{
	return len < INT_MAX ? (int)len : INT_MAX;
}

int tls_greet(struct tls *tls, short *events)
{
	int err;

	begin_tls_call(tls);
	err = tls_result(tls, lib.SSL_connect(tls->ssl), events);
	return err > 0 ? 0 : err;
}

ssize_t tls_send(struct tls *tls, const void *bytes, size_t len, short *events)
{
	begin_tls_call(tls);
	return tls_result(tls, lib.SSL_write(tls->ssl, bytes, at_most(len)), events);
}

ssize_t tls_receive(struct tls *tls, void *buf, size_t size, short *events)
{
	begin_tls_call(tls);
	return tls_result(tls, lib.SSL_read(tls->ssl, buf, at_most(size)), events);
}

int tls_peek(struct tls *tls)
{
	short events = 0;
	char byte;

	begin_tls_call(tls);
	return tls_result(tls, lib.SSL_peek(tls->ssl, &byte, 1), &events);
}
