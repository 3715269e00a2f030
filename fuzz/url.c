/* SPDX-License-Identifier: MIT */
/* URLs of stores: what is taken for one has all that its kind needs, within the text. */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *text, *end;

static void demand(bool condition)
{
	if (!condition)
		abort();
}

/* A string that ends in the text, or none where there need not be one. */
static void check(const char *part, bool needed)
{
	demand(part || !needed);
	if (part) {
		demand(part >= text && part < end);
		demand(part + strlen(part) < end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_address address = { 0 };
	char *url = malloc(size + 1);
	int err;

	demand(url != NULL);
	memcpy(url, data, size);
	url[size] = '\0';
	text = url;
	end = url + size + 1;
	err = store_parse_url(url, &address);
	demand(err == 0 || err == -EINVAL || err == -ENAMETOOLONG);
	if (!err) {
		check(address.path, address.kind != STORE_TCP);
		check(address.host, address.kind == STORE_TCP);
		check(address.user, false);
		check(address.password, address.user != NULL);
		check(address.cacert, false);
		check(address.cert, address.key != NULL);
		check(address.key, false);
		demand(address.kind != STORE_TCP ||
		       (address.port > 0 && address.port < 65536));
		demand(!address.tls || address.kind == STORE_TCP);
		demand(address.kind == STORE_TCP || *address.path);
	}
	free(url);
	return 0;
}
