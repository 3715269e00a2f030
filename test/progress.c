/* SPDX-License-Identifier: MIT */
#include "test.h"

#include <fcntl.h>
#include <sys/ioctl.h>

TEST(nothing_where_there_is_no_terminal)
{
	char text[16];
	FILE *file = tmpfile();

	CHECK(file);
	tine_progress_bar(file, 1, 2);
	rewind(file);
	CHECK_EQ(fread(text, 1, sizeof(text), file), 0);
	fclose(file);
}

static void draw(int columns, size_t done, size_t total, char *text, size_t size)
{
	struct winsize window = { .ws_row = 25, .ws_col = columns };
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	FILE *terminal;
	ssize_t n;

	if (master < 0)
		test_skip("no pseudo terminals");
	CHECK(grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(slave >= 0);
	ioctl(slave, TIOCSWINSZ, &window);
	terminal = fdopen(slave, "w");
	CHECK(terminal);
	tine_progress_bar(terminal, done, total);
	n = read(master, text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	fclose(terminal);
	close(master);
}

TEST(a_bar_on_a_terminal)
{
	char text[256];

	draw(80, 1, 2, text, sizeof(text));
	CHECK(strcmp(text,
		     "\r[##############################------------------------------]"
		     "  50 %") == 0);
}

TEST(the_end_ends_the_line)
{
	char text[256];

	draw(20, 5, 5, text, sizeof(text));
	CHECK(strcmp(text, "\r[##########] 100 %\r\n") == 0);
	draw(20, 0, 0, text, sizeof(text));
	CHECK(strcmp(text, "\r[##########] 100 %\r\n") == 0);
	draw(20, 9, 5, text, sizeof(text));
	CHECK(strcmp(text, "\r[##########] 100 %\r\n") == 0);
}

TEST(it_fits_the_terminal)
{
	for (int columns = 1; columns < 200; columns++) {
		char text[256];

		draw(columns, 1, 3, text, sizeof(text));
		CHECK(strlen(text) < 256);
		if (columns > 10)
			CHECK((int)strlen(text) - 1 < columns);
	}
}
