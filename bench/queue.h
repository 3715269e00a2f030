/* SPDX-License-Identifier: MIT */
/*
 * What carries messages, and the loops that drive it. A carrier gives put() and get() to
 * CARRIER(), which makes loops of its own of them, so that what is small is inlined, as
 * it would be in a program. C++ reads this too.
 */
#ifndef BENCH_QUEUE_H
#define BENCH_QUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CAPACITY 1024 /* messages, of every carrier that has a say in it */
#define STOP	 UINT64_MAX

#ifdef __cplusplus
extern "C" {
#endif

/* n messages of len bytes each. */
typedef void put_fn(const char *messages, size_t len, size_t n);
/* From one to n messages: how many. */
typedef size_t get_fn(char *messages, size_t len, size_t n);

struct carrier {
	const char *name;
	size_t batch; /* at most so many at once */
	/* Before the processes begin. */
	void (*make)(size_t len);
	put_fn *put;
	/* Messages with so many numbers from first on. */
	void (*produce)(uint64_t first, uint64_t n, size_t len, size_t batch);
	/* Until a message says STOP: the sum of the numbers. */
	uint64_t (*consume)(size_t len, size_t batch);
};

/* Runs what the arguments say; the table ends in no name. */
int queue_main(int argc, char **argv, const struct carrier *carriers);

/* Memory of all processes, zeroed and touched. */
void *queue_memory(size_t size);
char *queue_buffer(size_t len, size_t batch);

#ifdef __cplusplus
}
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void produce_with(put_fn *put, uint64_t first, uint64_t n, size_t len,
				size_t batch)
{
	char *messages = queue_buffer(len, batch);

	for (uint64_t end = first + n; first < end;) {
		size_t k = end - first < batch ? (size_t)(end - first) : batch;

		for (size_t i = 0; i < k; i++, first++)
			memcpy(messages + i * len, &first, sizeof(first));
		put(messages, len, k);
	}
}

ALWAYS_INLINE uint64_t consume_with(get_fn *get, put_fn *put, size_t len, size_t batch)
{
	char *messages = queue_buffer(len, batch);
	uint64_t sum = 0;

	for (;;) {
		size_t n = get(messages, len, batch);

		for (size_t i = 0; i < n; i++) {
			uint64_t number;

			memcpy(&number, messages + i * len, sizeof(number));
			if (number == STOP) {
				/* The rest is for the other consumers to stop. */
				if (i + 1 < n)
					put(messages + (i + 1) * len, len, n - i - 1);
				return sum;
			}
			sum += number;
		}
	}
}

/* One by one is a loop of its own: no carrier has to count to one. */
#define CARRIER(name)                                                                    \
	static void name##_produce(uint64_t first, uint64_t n, size_t len, size_t batch) \
	{                                                                                \
		if (batch == 1)                                                          \
			produce_with(name##_put, first, n, len, 1);                      \
		else                                                                     \
			produce_with(name##_put, first, n, len, batch);                  \
	}                                                                                \
	static uint64_t name##_consume(size_t len, size_t batch)                         \
	{                                                                                \
		if (batch == 1)                                                          \
			return consume_with(name##_get, name##_put, len, 1);             \
		return consume_with(name##_get, name##_put, len, batch);                 \
	}

/* Eight bytes without a call. */
ALWAYS_INLINE void copy_message(void *to, const void *from, size_t len)
{
	if (len == 8)
		memcpy(to, from, 8);
	else
		memcpy(to, from, len);
}

#endif
