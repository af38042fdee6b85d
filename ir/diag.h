/* diag.h: what we tell the user. The user's mistakes are collected here (up to 20, so that all
 * unsupported nodes show at once); our own bugs go to bug(). `bool` results mean: true ok,
 * false already reported. */
#ifndef IR_DIAG_H
#define IR_DIAG_H

#include "ir/arena.h"

#include <stdbool.h>
#include <stdio.h>

/* What kind of failure a message is; the exit status of the command follows from the worst one. */
enum diag_kind {
	DIAG_NOTE, /* belongs to the message before it */
	DIAG_WARNING,
	DIAG_DIFFER,      /* exit 1: outputs differ */
	DIAG_USAGE,       /* exit 2 */
	DIAG_UNSUPPORTED, /* exit 3: a valid model that needs something hone does not have */
	DIAG_FILE,        /* exit 4: a bad or unreadable file */
	DIAG_TOOLCHAIN,   /* exit 5: the linker failed */
	DIAG_INTERNAL,    /* exit 70 */
};

/* Where a message belongs. All parts may be NULL or 0. */
struct loc {
	const char *file;
	int line;         /* of a text file, from 1 */
	const char *node; /* ONNX node name */
	const char *op;   /* ONNX operator, or core op */
};

struct diag_message {
	enum diag_kind kind;
	struct loc loc;
	const char *text;
};

#define DIAG_MAX 20

/* Collected messages. Zero-initialized is ready to use; texts live in `arena`. */
struct diag {
	struct arena arena;
	struct diag_message messages[DIAG_MAX];
	int count, dropped; /* dropped: messages past DIAG_MAX */
	int errors;         /* messages of DIAG_DIFFER and above, also those dropped */
	enum diag_kind worst;
};

/* Adds a message; printf-like. Always returns false, so that `return diag_error(...)` reads well. */
bool diag_add(struct diag *d, enum diag_kind kind, struct loc at, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Prints all messages, most in the form `error: FILE: node "NAME" (OP): TEXT`. */
void diag_print(const struct diag *d, FILE *out, bool color);

/* The exit status for what was collected (design: 0 1 2 3 4 5 70). */
int diag_exit_status(const struct diag *d);

/* Drops all messages and frees them. */
void diag_reset(struct diag *d);

/* Our own bug: prints `internal error:` with the text and exits 70. Never used for bad input. */
_Noreturn void bug(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
#define BUG(...) bug(__FILE__, __LINE__, __VA_ARGS__)

#endif
