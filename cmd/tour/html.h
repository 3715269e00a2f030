/* SPDX-License-Identifier: MIT */
/* What all parts of the page are written with. */
#ifndef TINE_HTML_H
#define TINE_HTML_H

#include <stddef.h>
#include <stdio.h>

/* Text as it stands in HTML and in SVG. */
void html_bytes(FILE *, const char *text, size_t len);
void html_text(FILE *, const char *);
/* Names of functions and the like, by their signs, are set as code. */
void html_prose(FILE *, const char *);
/* tour_time() with the sign of microseconds. Returns buf. */
const char *html_time(double seconds, char *buf, size_t size);

/* What looks so in a picture, for its caption: a class of shapes, and what they mean. */
#define HTML_SHAPE(shape, meaning)                                                       \
	" <span class=\"key\"><svg width=\"18\" height=\"12\" "                          \
	"aria-hidden=\"true\">" shape "</svg> " meaning "</span>"
#define HTML_KEY(class, meaning)                                                         \
	HTML_SHAPE("<rect class=\"" class "\" width=\"18\" height=\"12\"/>", meaning)
#define HTML_MARK(class, path, meaning)                                                  \
	HTML_SHAPE("<path class=\"" class "\" d=\"" path "\"/>", meaning)

#endif
