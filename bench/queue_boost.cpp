/* SPDX-License-Identifier: MIT */
/* Boost.Interprocess' message_queue: queue-boost boost, and then as queue.c. */
#include "queue.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdlib>
#include <string>
#include <unistd.h>

using boost::interprocess::create_only;
using boost::interprocess::message_queue;

static message_queue *queue;

static void boost_make(size_t len)
{
	std::string name = "tine-bench-" + std::to_string(getpid());

	queue = new message_queue(create_only, name.c_str(), CAPACITY, len);
	message_queue::remove(name.c_str());
}

ALWAYS_INLINE void boost_put(const char *message, size_t len, size_t)
{
	queue->send(message, len, 0);
}

ALWAYS_INLINE size_t boost_get(char *message, size_t len, size_t)
{
	message_queue::size_type received;
	unsigned priority;

	queue->receive(message, len, received, priority);
	if (received != len)
		std::abort();
	return 1;
}

CARRIER(boost)

int main(int argc, char **argv)
{
	static const struct carrier carriers[] = {
		{ "boost", 1, boost_make, boost_put, boost_produce, boost_consume },
		{},
	};

	return queue_main(argc, argv, carriers);
}
