/* text.h: the text form of graphs: printed, and read back to the same graph. docs/ir.md has the grammar. */
#ifndef IR_TEXT_H
#define IR_TEXT_H

#include "ir/graph.h"

/* The whole function. Byte-identical for print(parse(print(g))). Big constants (over 64 elements) print as
 * `file("NAME.bin", offset, size)` when side is not NULL (then their bytes are appended to it, at offsets
 * aligned to 64), else as `data(N bytes, hash)`, which cannot be read back. */
struct text_side {
	const char *name; /* as it stands in the text, relative to the text file */
	FILE *out;
	int64_t offset;
};
void graph_print(const struct graph *g, FILE *out, struct text_side *side);
const char *graph_text(const struct graph *g, struct arena *a);

/* Parses a function. file: for messages and to find side files beside it. Result types are checked
 * against inference, not trusted. NULL: reported, with line. */
struct graph *graph_parse(const char *text, size_t length, const char *file, struct arena *a,
			  struct diag *d);

/* Parses one scalar expression. Leading parameters may be given by `(a: f32, b: f32) -> ` in the text, or,
 * with types left out, `(a, b) -> ` whose types are `types`. want: the result's type for literals at the
 * root, DT_NONE if free. Names of constants are looked up in constants. NULL: reported. */
const struct expr *expr_parse(struct expr_pool *p, const char *text, int type_count,
			      const enum dtype *types, enum dtype want, int constant_count,
			      const struct named_real *constants, struct loc at, struct diag *d);

/* Graphviz text of the graph. */
void graph_dot(const struct graph *g, FILE *out);

#endif
