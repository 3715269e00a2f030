/* SPDX-License-Identifier: MIT */
/*
 * compress <FILE >FILE.gz: blocks of 1 MiB are compressed in parallel, and written in
 * their order. Each is a member of the file that gzip(1) reads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tine.h>
#include <zlib.h>

#define BLOCK (1 << 20)

static int compress_block(const void *in, size_t len)
{
	z_stream stream = { .next_in = (void *)in, .avail_in = (unsigned)len };
	unsigned char *out;
	size_t room;
	int err = -1;

	if (deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -1;
	room = deflateBound(&stream, len);
	stream.next_out = out = malloc(room);
	stream.avail_out = (unsigned)room;
	if (out && deflate(&stream, Z_FINISH) == Z_STREAM_END)
		err = tine_job_result(out, room - stream.avail_out);
	free(out);
	deflateEnd(&stream);
	return err;
}

/* Writes what is done; with TINE_FOREVER, all. */
static int write_blocks(tine_pool *pool, int64_t deadline)
{
	const void *out;
	tine_done done;

	while (tine_pool_next_bytes(pool, &out, &done, deadline) == 1) {
		if (done.status != 0 || fwrite(out, 1, done.len, stdout) != done.len)
			return 1;
		tine_pool_release(pool, out);
	}
	return 0;
}

int main(void)
{
	static const tine_task task = TINE_TASK_BYTES(compress_block);
	tine_pool_opts opts = { .ordered = true, .retries = 1 };
	static char block[BLOCK];
	tine_pool *pool;
	size_t len;
	int err = tine_pool_new(&pool, &opts);

	while (!err && (len = fread(block, 1, BLOCK, stdin)) > 0)
		err = tine_pool_submit_bytes(pool, &task, block, len, 0, TINE_FOREVER) ||
		      write_blocks(pool, TINE_NOWAIT);
	return err || write_blocks(pool, TINE_FOREVER) || fflush(stdout);
}
