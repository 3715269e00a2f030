/* SPDX-License-Identifier: MIT */
#ifndef TINE_COMMAND_H
#define TINE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes. */
enum { DONE = 0, SOME_FAILED = 1, USAGE = 2, BROKEN = 3 };

/* Reads a value into where it belongs; false: it is none. */
typedef bool read_fn(const char *text, void *into);

/* One option, for the parser, --help, the manual and the completion. */
struct option_row {
	const char *name;
	char letter;	      /* or 0 */
	const char *argument; /* what --help calls it; NULL: a flag, into is a bool */
	read_fn *read;
	void *into;
	const char *wants; /* "a whole number from 1 to 1024" */
	const char *text;  /* one sentence */
	/* Instead of argument, read and wants: the words it may be; into: int, which. */
	const char *const *choices;
};

/* One operand, that must be there unless it is optional. */
struct operand_row {
	const char *name; /* FIRST */
	read_fn *read;
	void *into;
	const char *wants, *text;   /* as above */
	const char *const *choices; /* as above */
	bool optional;		    /* it, and those that follow */
};

struct command {
	const char *name, *summary;
	const char *operands; /* for the synopsis, if run reads them; else NULL */
	const struct operand_row *operand_rows; /* ends in no name; NULL: it takes none */
	bool operands_end_options; /* what follows the first is another command's */
	const struct option_row *options;  /* ends in a row without a name */
	const char *description;	   /* mdoc */
	const char *example;		   /* a line of shell */
	int (*run)(int argc, char **argv); /* the operands */
	/* For the completion: words that operands may be; an option and words of its. */
	const char *operand_words;
	const char *values_of, *values;
};

extern const struct command cache_command, doctor_command, inspect_command,
	isprime_command, manager_command, map_command, pi_command, primes_command,
	top_command, tour_command, worker_command, workers_command;
extern const struct command *const commands[]; /* ends in NULL */

/* What tine worker serves. */
extern const struct tine_task pi_task, primes_task, isprime_task;
/* What is wrong with the URL of an engine, or its server: an exit code. */
int complain_of_engine(const char *command, const char *url, int err);
/*
 * Where it names no pool, that of this command: of whatever build, as its tasks have
 * versions. NULL of NULL. Lent until the next call.
 */
const char *pool_of_tine(const char *url);
/* Of all its hosts; 0 also where nobody says. */
unsigned workers_of_engine(const char *url);
#define ENGINE_ROW(into)                                                                 \
	{                                                                                \
		"engine", 0, "URL", read_text, &(into), "a URL",                         \
			"Have the hosts of this server do the jobs, see "                \
			"tine-engines(7).",                                              \
			NULL                                                             \
	}

/*
 * Parses what follows the command's name. DONE: *first is the first operand. Otherwise it
 * has said on stderr what is wrong, with USAGE, or has printed help, with -1.
 */
int options_parse(const struct command *, int argc, char **argv, int *first);

void print_help(const struct command *, FILE *);
void print_manual(const struct command *, FILE *); /* mdoc; NULL: of tine itself */
void print_completion(FILE *);			   /* for bash */

/* "tine: " and the message, a line on stderr; returns the code. */
int complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The candidate that is nearest to a word, if one is near enough; begins as { 0 }. */
struct suggestion {
	const char *word; /* or NULL */
	int far;
};
void suggest(struct suggestion *, const char *word, const char *candidate);

/* "1.97 times as fast as", or "5.60 times as slow as". Returns buf. */
const char *compare_speed(double ratio, char *buf, size_t size);

/*
 * Whether others have more than half of the processors at work, by the load of the last
 * minute, which is in *load, or below 0 if nobody says.
 */
bool machine_is_busy(double *load);

/* In lines of 80 columns; the first begins where the indent ends. */
void print_wrapped(const char *text, int indent, FILE *);

/* On standard output, in quotes; bytes of any kind. */
void print_json_string(const char *);

/*
 * When standard output takes no more, by errno: says so, unless nobody reads it. BROKEN.
 * command may be NULL.
 */
int lose_output(const char *command);

/* 0, or a negative error. */
int write_all(int fd, const char *, size_t len);

/* 100000000, 100_000_000, 1e8, 2.5e3: exactly, from 0 to 2^64 - 1. */
bool read_count(const char *text, void *uint64);
bool read_positive(const char *text, void *uint64);
bool read_workers(const char *text, void *unsigned_int); /* 1 to 1024 */
#define WORKERS_ROW(into)                                                                \
	{                                                                                \
		"workers", 'j', "WORKERS", read_workers, &(into),                        \
			"a whole number from 1 to 1024",                                 \
			"The number of processes. Default: one for each processor.",     \
			NULL                                                             \
	}

/* The end of a range, the first number after it: up to 2^64, which is 0 and wrapped. */
struct range_end {
	uint64_t number;
	bool wrapped;
};
bool read_range_end(const char *text, void *range_end);

bool read_seed(const char *text, void *uint64); /* decimal, or 0x and hexadecimal */
bool read_text(const char *text, void *string); /* anything, a const char * */

/* A row of every command that computes; main() begins the trace before it runs. */
extern const char *trace_path;
#define TRACE_ROW                                                                        \
	{                                                                                \
		"trace", 0, "FILE", read_text, &trace_path, "the path of a file",        \
			"Write a trace of all processes to this file, see "              \
			"tine-trace(7).",                                                \
			NULL                                                             \
	}
int begin_trace(const char *command);
/* Of a file that has to be written: DONE, or says what is wrong with it. */
int check_trace_file(const char *command, const char *path);
/* Makes the file if it is not there. 0; ENODEV: no regular file; else as open(2). */
int try_trace(const char *path);

/*
 * Makes a folder for this process, in memory where there is a folder for that: 0 and its
 * path, or a negative error. One a process. When this and all that it has forked have
 * ended, in any way, the folder is removed with all that is in it; or by the second, at
 * once, if no child is left.
 */
int temporary_folder(const char **path);
void remove_temporary_folder(void);

/*
 * tine_cache_open(), and says on stderr what is wrong, or that damage was beyond mending,
 * when *restarted (may be NULL) is true. DONE, or an exit code.
 */
struct tine_cache;
struct tine_cache_opts;
int open_cache(const char *command, struct tine_cache **out, const char *dir,
	       const struct tine_cache_opts *, bool *restarted);
/* The folder, or what the library takes for NULL; "~/..." where there is no home. */
const char *cache_name(const char *dir, char *buf, size_t size);
/* What an error of tine_cache_open() means of a folder. */
const char *cache_reason(int err);

#endif
