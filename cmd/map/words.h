/* SPDX-License-Identifier: MIT */
#ifndef TINE_MAP_WORDS_H
#define TINE_MAP_WORDS_H

#include "map/text.h"

#include <stdint.h>

/* The columns that words may name. */
struct columns {
	const struct strings *names; /* of the header; NULL: there is none */
	size_t count;		     /* 0: as many as a row has */
};

/* A word with forms, {} {.} {/} {//} {/.} {2} {name} {#}, or without. */
struct word;

/* DONE, or USAGE: it has said what is wrong. what: "--in", or NULL: a word of COMMAND. */
int word_parse(struct word **out, const char *text, const struct columns *,
	       const char *what);
/* A form other than {#}. */
bool word_has_form(const struct word *);
/* Neither a form nor {#}. */
bool word_is_plain(const struct word *);
/* The largest number of a column in it, or 0. */
size_t word_last_column(const struct word *);
/* Adds what it is for a row: one string, or each column where {} or its like is all. */
void word_fill(const struct word *, const struct strings *row, uint64_t number,
	       struct strings *out);

/* The words of COMMAND, and with --script those of the shell before. DONE, or USAGE. */
int command_parse(int argc, char **argv, bool script, const struct columns *);
/* Those of a job; where no word has a form, the row is behind them. */
void command_fill(const struct strings *row, uint64_t number, struct strings *out);
size_t command_count(void);
/* NULL: it has forms. */
const char *command_plain_word(size_t i);
size_t command_last_column(void);

/*
 * The file that a program's name stands for, by PATH: 0 and its path, or -ENOENT, or
 * -EACCES: there is one, but none that can be executed.
 */
int find_program(const char *name, char *path, size_t size);

/* As a shell takes it. */
void add_quoted(struct bytes *, const char *word);

#endif
