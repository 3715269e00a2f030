/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <string.h>

enum { LONGEST = 32 };

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* How many letters are to be changed, added, taken away or swapped with the next. */
static int distance(const char *a, const char *b)
{
	int rows[LONGEST + 1][LONGEST + 1];
	int n = (int)strlen(a), m = (int)strlen(b);

	for (int i = 0; i <= n; i++)
		for (int j = 0; j <= m; j++) {
			int best = i + j;

			if (i > 0 && j > 0) {
				best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
				best = least(best, rows[i - 1][j] + 1);
				best = least(best, rows[i][j - 1] + 1);
			}
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				best = least(best, rows[i - 2][j - 2] + 1);
			rows[i][j] = best;
		}
	return rows[n][m];
}

void suggest(struct suggestion *suggestion, const char *word, const char *candidate)
{
	size_t len = strlen(word), other = strlen(candidate);
	int far;

	if (len < 2 || len > LONGEST || other > LONGEST)
		return;
	/* The beginning of a word is meant to be it. */
	far = strncmp(word, candidate, len) == 0 ? 1 : distance(word, candidate);
	if (far > (len > 4 ? 2 : 1) || (suggestion->word && far >= suggestion->far))
		return;
	suggestion->word = candidate;
	suggestion->far = far;
}
