/* SPDX-License-Identifier: MIT */
#include "tour/html.h"

#include "tour/figures.h"

#include <string.h>

void html_bytes(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		switch (text[i]) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(text[i], out);
		}
}

void html_text(FILE *out, const char *text)
{
	html_bytes(out, text, strlen(text));
}

const char *html_time(double seconds, char *buf, size_t size)
{
	char text[32];

	tour_time(seconds, text, sizeof(text));
	if (strstr(text, " us"))
		snprintf(buf, size, "%.*s µs", (int)strcspn(text, " "), text);
	else
		snprintf(buf, size, "%s", text);
	return buf;
}

/* Names of functions and the like, by their signs, are set as code. */
void html_prose(FILE *out, const char *text)
{
	while (*text) {
		size_t space = strspn(text, " \n"), len = strcspn(text + space, " \n");
		const char *word = text + space;
		size_t bare = len;

		while (bare > 0 && strchr(".,:;", word[bare - 1]))
			bare--;
		html_bytes(out, text, space);
		if (memchr(word, '_', bare) ||
		    (bare > 2 && memcmp(word + bare - 2, "()", 2) == 0)) {
			fputs("<code>", out);
			html_bytes(out, word, bare);
			fputs("</code>", out);
			html_bytes(out, word + bare, len - bare);
		} else {
			html_bytes(out, word, len);
		}
		text = word + len;
	}
}
