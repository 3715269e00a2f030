/* SPDX-License-Identifier: MIT */
/*
 * Items of lists that are on lease, by the clock of the server: the fields of a hash of
 * the list. A field is called by the 16 hexadecimal digits of the lease: the
 * millisecond when it ends, and below that 20 bits of the time when it began. A lease
 * that is over remains what it is until somebody looks for an item.
 *
 *	caller dies, or no answer	an item that it may have got without
 *	comes				knowing comes free when the time is over
 */
#include "store/redis/calls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_DIGITS 16
#define NOW                                                                              \
	"local call,time=redis.call,redis.call('TIME') "                                 \
	"local now=time[1]*1000+math.floor(time[2]/1000) "

/*
 * ARGV: most bytes, milliseconds. The lease and the item; or a number: how long the first
 * lease lasts; or below 0: the item is too long. What is written to the hash comes first,
 * since it fails if there is something else, and then nothing was done.
 */
static const char lease_script[] = NOW
	"local first,ends for _,field in ipairs(call('HKEYS',KEYS[2])) do "
	"if not first or field<first then first=field end end "
	"if first then ends=tonumber(string.sub(first,1,11),16) end "
	"local over,item=first and ends<=now "
	"if over then item=call('HGET',KEYS[2],first) "
	"else item=call('LINDEX',KEYS[1],0) end "
	"if not item then return first and ends-now end "
	"if #item>tonumber(ARGV[1]) then return -1 end "
	"local begun,lease=time[2]%1000*1000 repeat begun=begun+1 "
	"lease=string.format('%011x%05x',now+ARGV[2],begun) "
	"until call('HSETNX',KEYS[2],lease,item)==1 "
	"if over then call('HDEL',KEYS[2],first) else call('LPOP',KEYS[1]) end "
	"return lease..item";

static ssize_t take_lease(const struct resp *resp, void *buf, size_t size,
			  tine_lease *lease)
{
	char digits[LEASE_DIGITS + 1] = "", *end;
	size_t len = (size_t)resp->number - LEASE_DIGITS;

	if (resp->number < LEASE_DIGITS || len > size)
		return -EBADMSG;
	memcpy(digits, resp->text, LEASE_DIGITS);
	*lease = strtoull(digits, &end, 16);
	if (end != digits + LEASE_DIGITS)
		return -EBADMSG;
	if (len > 0)
		memcpy(buf, resp->text + LEASE_DIGITS, len);
	return (ssize_t)len;
}

ssize_t redis_lease(tine_store *store, const char *list, const char *leases, void *buf,
		    size_t size, int64_t ms, tine_lease *lease, int64_t *left,
		    int64_t deadline)
{
	struct session *session = session_of(store);
	struct line *line = &session->main;
	struct request *request;
	struct resp resp;
	int err;

	size = size < TINE_STORE_VALUE_MAX ? size : TINE_STORE_VALUE_MAX;
	request = session_begin_by(store, size, deadline);
	request_script(request, lease_script, 2, 2);
	request_word(request, list, strlen(list));
	request_word(request, leases, strlen(leases));
	request_number(request, (int64_t)size);
	request_number(request, ms);
	line->takes_value = true;
	line->wanted = size + LEASE_DIGITS;
	err = session_ask(session, ONCE, &resp);
	line->takes_value = false;
	if (err)
		return err;
	if (resp.kind == RESP_STRING)
		return take_lease(&resp, buf, size, lease);
	if (resp.kind == RESP_NUMBER && resp.number < 0)
		return -EMSGSIZE;
	if (resp.kind == RESP_NUMBER)
		*left = resp.number;
	return resp.kind == RESP_NUMBER || resp.kind == RESP_NIL ? -ENOENT : -EBADMSG;
}

static const char back_script[] = "local call=redis.call "
				  "local item=call('HGET',KEYS[2],ARGV[1]) "
				  "if not item then return 0 end "
				  "call('LPUSH',KEYS[1],item) "
				  "return call('HDEL',KEYS[2],ARGV[1])";

int redis_settle(tine_store *store, const char *list, const char *leases,
		 tine_lease lease, bool back)
{
	struct request *request = session_begin(store, 0);
	char field[LEASE_DIGITS + 1];

	snprintf(field, sizeof(field), "%016" PRIx64, (uint64_t)lease);
	if (back) {
		request_script(request, back_script, 2, 1);
		request_word(request, list, strlen(list));
		request_word(request, leases, strlen(leases));
		request_word(request, field, LEASE_DIGITS);
	} else {
		request_add(request, "sss", "HDEL", leases, field);
	}
	return session_ask_whether(session_of(store), ONCE);
}
