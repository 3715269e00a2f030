/* SPDX-License-Identifier: MIT */
/*
 * Outputs of jobs, and the order in which they are printed. Memory is bounded, whatever
 * is written: half of MOST_MEMORY is that of jobs that run, an equal share each, the
 * other half that of jobs that have ended and are not printed. What has no room is in one
 * unlinked file. Of an ended job the queue has 16 bytes, and of one that has long output
 * a list of where that is in the file.
 */
#include "map/output.h"

#include "map/sink.h"
#include "map/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_MEMORY = 8 << 20, LEAST_ROOM = 4 << 10, MOST_ROOM = 64 << 10, HEAD = 4 };
#define OVERHEAD (sizeof(struct output) + 32)

/* One that is queued: an output, or just where it is in the file. */
struct turn {
	uint64_t at;	 /* a pointer, NULL: it is reserved; or in the file */
	uint64_t len_in; /* 0: a pointer; else the bytes + 1 in the file */
};

static struct {
	size_t room;	  /* of a growing output */
	size_t in_memory; /* of ended ones */
	struct output *spare;

	struct turn *turns; /* a ring */
	size_t first, count, ring;
	uint64_t number;      /* of the first turn */
	struct output filed;  /* the first turn, if that is in the file alone */
	struct extent extent; /* its own */

	int file; /* -1: none yet */
	uint64_t file_end, file_used;
} queue = { .file = -1 };

void outputs_open(unsigned workers)
{
	queue.room = MOST_MEMORY / 2 / workers;
	if (queue.room < LEAST_ROOM)
		queue.room = LEAST_ROOM;
	if (queue.room > MOST_ROOM)
		queue.room = MOST_ROOM;
}

/* ---- the file ---------------------------------------------------------------------- */

static int open_file(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];

	folder = folder && *folder ? folder : "/tmp";
	queue.file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (queue.file >= 0)
		return 0;
	/* Not every file system has files without a name. */
	if (snprintf(path, sizeof(path), "%s/tine-map-XXXXXX", folder) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	queue.file = mkostemp(path, O_CLOEXEC);
	if (queue.file < 0)
		return -errno;
	unlink(path);
	return 0;
}

static int write_file(const char *from, size_t len)
{
	int err = queue.file < 0 ? open_file() : 0;

	while (!err && len > 0) {
		ssize_t done = pwrite(queue.file, from, len, (off_t)queue.file_end);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		queue.file_end += (uint64_t)done;
		queue.file_used += (uint64_t)done;
		from += done;
		len -= (size_t)done;
	}
	return err;
}

/* Gives the room back: of what is long at once, of all when nothing is there any more. */
static void release_extent(struct extent extent)
{
	queue.file_used -= extent.len;
	if (queue.file_used == 0) {
		queue.file_end = 0;
		if (ftruncate(queue.file, 0) == 0)
			return;
	}
	if (extent.len >= MOST_ROOM)
		fallocate(queue.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)extent.at, (off_t)extent.len);
}

/* ---- an output --------------------------------------------------------------------- */

struct output *output_new(bool kept)
{
	struct output *output = queue.spare;
	char *memory;

	if (output) {
		queue.spare = output->next;
	} else {
		output = must(calloc(1, sizeof(*output)));
		output->memory = must(malloc(queue.room));
	}
	memory = output->memory;
	*output = (struct output){ .memory = memory,
				   .room = (uint32_t)queue.room,
				   .kept = kept };
	return output;
}

void output_clear(struct output *output)
{
	for (size_t i = 0; i < output->count; i++)
		release_extent(output->extents[i]);
	free(output->extents);
	output->extents = NULL;
	output->count = output->extents_room = 0;
	output->filed = output->printed = 0;
	output->len = output->head = output->left = 0;
}

void output_free(struct output *output)
{
	output_clear(output);
	if (output->small) {
		queue.in_memory -= output->room + OVERHEAD;
		free(output->memory);
		free(output);
		return;
	}
	output->next = queue.spare;
	queue.spare = output;
}

uint64_t output_size(const struct output *output)
{
	return output->filed + output->len;
}

size_t output_room(const struct output *output)
{
	return output->len + HEAD < output->room ? output->room - output->len - HEAD : 0;
}

static int move_to_file(struct output *output)
{
	uint64_t at = queue.file_end;
	struct extent *last = output->count ? &output->extents[output->count - 1] : NULL;
	int err = write_file(output->memory, output->len);

	if (err)
		return err;
	if (last && last->at + last->len == at) {
		last->len += output->len;
	} else {
		if (output->count == output->extents_room) {
			output->extents_room = output->extents_room
						       ? 2 * output->extents_room
						       : 2;
			output->extents = must(
				realloc(output->extents,
					output->extents_room * sizeof(*output->extents)));
		}
		output->extents[output->count++] = (struct extent){ at, output->len };
	}
	output->filed += output->len;
	output->len = output->head = 0;
	return 0;
}

/* Whether the last piece may grow. */
static bool is_last_piece(const struct output *output, bool error, uint32_t *head)
{
	if (output->len == 0)
		return false;
	memcpy(head, output->memory + output->head, HEAD);
	/* What is being printed has been looked at. */
	return (*head & 1) == error && output->printed <= output->filed + output->head;
}

int output_add(struct output *output, bool error, const char *from, size_t len)
{
	while (len > 0) {
		uint32_t head, part;

		if (output_room(output) < 1) {
			int err = move_to_file(output);

			if (err)
				return err;
		}
		if (!is_last_piece(output, error, &head)) {
			output->head = output->len;
			output->len += HEAD;
			head = error;
		}
		part = output->room - output->len;
		part = len < part ? (uint32_t)len : part;
		memcpy(output->memory + output->len, from, part);
		head += part << 1;
		memcpy(output->memory + output->head, &head, HEAD);
		output->len += part;
		from += part;
		len -= part;
	}
	return 0;
}

ssize_t output_read(const struct output *output, uint64_t from, void *buf, size_t size)
{
	uint64_t before = 0;

	for (size_t i = 0; i < output->count; before += output->extents[i++].len) {
		const struct extent *extent = &output->extents[i];
		uint64_t rest = before + extent->len - from;
		ssize_t len;

		if (from >= before + extent->len)
			continue;
		do
			len = pread(queue.file, buf, size < rest ? size : rest,
				    (off_t)(extent->at + from - before));
		while (len < 0 && errno == EINTR);
		return len < 0 ? -errno : len == 0 ? -EIO : len;
	}
	from -= before;
	if (from >= output->len)
		return 0;
	if (size > output->len - from)
		size = output->len - from;
	memcpy(buf, output->memory + from, size);
	return (ssize_t)size;
}

bool output_piece(const char **at, size_t *len, size_t *piece, bool *error)
{
	uint32_t head;

	if (*len < HEAD)
		return false;
	memcpy(&head, *at, HEAD);
	*piece = head >> 1;
	*error = head & 1;
	*at += HEAD;
	*len -= HEAD;
	return *piece <= *len;
}

/* ---- the order --------------------------------------------------------------------- */

static struct turn *turn_at(size_t i)
{
	return &queue.turns[(queue.first + i) & (queue.ring - 1)];
}

static void grow_ring(void)
{
	size_t ring = queue.ring ? 2 * queue.ring : 64;

	queue.turns = must(realloc(queue.turns, ring * sizeof(*queue.turns)));
	/* What had gone around the end is behind it now. */
	for (size_t i = 0; i < queue.first; i++)
		queue.turns[queue.ring + i] = queue.turns[i];
	queue.ring = ring;
}

uint64_t output_reserve(void)
{
	if (queue.count == queue.ring)
		grow_ring();
	*turn_at(queue.count) = (struct turn){ 0 };
	return queue.number + queue.count++;
}

void output_place(struct output *output, uint64_t turn)
{
	output->turn = turn;
	turn_at(turn - queue.number)->at = (uint64_t)(uintptr_t)output;
}

void output_queue(struct output *output)
{
	output_place(output, output_reserve());
}

static struct output *output_of(const struct turn *turn)
{
	return turn->len_in ? NULL : (struct output *)(uintptr_t)turn->at;
}

bool output_has_turn(const struct output *output)
{
	return queue.count > 0 && output_of(turn_at(0)) == output;
}

/* With as much memory as it needs; that of the other serves the next job. */
static struct output *make_small(struct output *output)
{
	struct output *small = must(malloc(sizeof(*small)));

	*small = *output;
	small->memory = NULL;
	if (output->len) {
		small->memory = must(malloc(output->len));
		memcpy(small->memory, output->memory, output->len);
	}
	small->room = output->len;
	small->small = true;
	queue.in_memory += small->room + OVERHEAD;
	output->extents = NULL;
	output->count = 0;
	output_free(output);
	return small;
}

int output_end(struct output *output)
{
	struct turn *turn = turn_at(output->turn - queue.number);

	output->ended = true;
	output->kept = output->held = false;
	if (turn == turn_at(0))
		return 0;
	if (output->len > 0 &&
	    queue.in_memory + output->len + OVERHEAD > MOST_MEMORY / 2) {
		int err = move_to_file(output);

		if (err)
			return err;
	}
	if (output->len > 0 || output->count > 1) {
		turn->at = (uint64_t)(uintptr_t)make_small(output);
		return 0;
	}
	turn->at = output->count ? output->extents[0].at : 0;
	turn->len_in = 1 + (output->count ? output->extents[0].len : 0);
	output->count = 0;
	output_free(output);
	return 0;
}

/* ---- printing ---------------------------------------------------------------------- */

/* Pieces from here on, some of them whole; how many bytes were printed, in *done. */
static int print_pieces(struct output *output, const char *at, size_t len, int *fd)
{
	while (len > 0) {
		size_t taken;
		int err;

		if (output->left == 0) {
			uint32_t head;

			if (len < HEAD)
				return 0;
			memcpy(&head, at, HEAD);
			output->left = head >> 1;
			output->error = head & 1;
			output->printed += HEAD;
			at += HEAD;
			len -= HEAD;
			continue;
		}
		taken = len < output->left ? len : output->left;
		err = sink_add(output->error, at, taken, &taken, fd);
		output->printed += taken;
		output->left -= (uint32_t)taken;
		at += taken;
		len -= taken;
		if (err)
			return err;
	}
	return 0;
}

static int print_output(struct output *output, int *fd)
{
	static char text[MOST_ROOM];

	while (output->printed < output_size(output)) {
		const char *at = text;
		ssize_t len;
		int err;

		if (output->printed >= output->filed) {
			at = output->memory + (output->printed - output->filed);
			len = (ssize_t)(output_size(output) - output->printed);
		} else {
			len = output_read(output, output->printed, text, sizeof(text));
			*fd = -1;
		}
		if (len < 0)
			return (int)len;
		err = print_pieces(output, at, (size_t)len, fd);
		if (err)
			return err;
	}
	if (!output->kept)
		output_clear(output);
	return 0;
}

/* The output of the first turn, or NULL. */
static struct output *first_output(void)
{
	struct turn *turn = turn_at(0);

	if (!turn->len_in)
		return output_of(turn);
	/* It is made once, and so knows how much of it was printed. */
	if (queue.filed.turn != queue.number + 1) {
		queue.extent = (struct extent){ turn->at, turn->len_in - 1 };
		queue.filed = (struct output){ .extents = &queue.extent,
					       .count = turn->len_in > 1,
					       .filed = turn->len_in - 1,
					       .turn = queue.number + 1,
					       .kept = true,
					       .ended = true };
	}
	return &queue.filed;
}

static void drop_first(struct output *output)
{
	if (output != &queue.filed)
		output_free(output);
	else if (output->count)
		release_extent(queue.extent);
	queue.first = (queue.first + 1) & (queue.ring - 1);
	queue.count--;
	queue.number++;
}

int outputs_print(int *fd)
{
	while (queue.count > 0) {
		struct output *output = first_output();
		int err;

		if (!output || output->held)
			break;
		err = print_output(output, fd);
		if (err)
			return err;
		if (!output->ended)
			break;
		drop_first(output);
	}
	return sink_flush(fd);
}

bool outputs_done(void)
{
	return queue.count == 0;
}
