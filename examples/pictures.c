/* SPDX-License-Identifier: MIT */
/*
 * pictures FILE...: the mean colour of each picture (PPM, P6). The decoder believes what
 * the files say, and crashes on one that lies: that picture fails alone.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tine.h>
#include <unistd.h>

static int decode(const void *path, size_t len)
{
	int fd = open(path, O_RDONLY), width, height, begin = 0, lines;
	unsigned long sum[3] = { 0 }, pixels;
	char *file, text[64];
	struct stat stat;

	if (len == 0 || fd < 0 || fstat(fd, &stat) != 0)
		return -1;
	file = mmap(NULL, stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	lines = sscanf(file, "P6 %d %d 255%n", &width, &height, &begin);
	if (lines != 2 || begin++ == 0)
		return tine_job_result("no picture", 11) != 0;
	pixels = (unsigned long)width * height;
	for (unsigned long i = 0; i < 3 * pixels; i++)
		sum[i % 3] += ((unsigned char *)file)[begin + i];
	sprintf(text, "%lu %lu %lu", sum[0] / pixels, sum[1] / pixels, sum[2] / pixels);
	munmap(file, stat.st_size);
	close(fd);
	return tine_job_result(text, strlen(text) + 1);
}

int main(int argc, char **argv)
{
	static const tine_task task = TINE_TASK_BYTES(decode);
	tine_pool_opts opts = { .ordered = true, .job_ms = 5000 };
	const void *out;
	tine_pool *pool;
	tine_done done;
	int err = tine_pool_new(&pool, &opts);

	for (int i = 1; i < argc && !err; i++)
		err = tine_pool_submit_bytes(pool, &task, argv[i], strlen(argv[i]) + 1, i,
					     TINE_FOREVER);
	while (!err && tine_pool_next_bytes(pool, &out, &done, TINE_FOREVER) == 1)
		printf("%s: %s\n", argv[done.tag],
		       out ? (const char *)out : tine_strerror(done.status));
	tine_pool_free(pool);
	return err != 0;
}
