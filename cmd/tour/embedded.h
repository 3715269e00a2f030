/* SPDX-License-Identifier: MIT */
#ifndef TINE_EMBEDDED_H
#define TINE_EMBEDDED_H

/* The text of files of the source tree, by their names: tools/embed makes it. */
struct embedded {
	const char *name, *text;
};

extern const struct embedded embedded_files[]; /* ends in no name */
/* NULL: there is none. */
const char *embedded(const char *name);

#endif
