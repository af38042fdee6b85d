/* print.h: what the printers share. Private to ir/. */
#ifndef IR_PRINT_H
#define IR_PRINT_H

#include "ir/graph.h"
#include "ir/names.h"
#include "ir/parse.h"

/* The name with every character but [A-Za-z0-9_.] as `_`; never empty. */
const char *name_sanitize(struct arena *a, const char *name);
/* The names that the text gives the values, by id. */
const char **graph_value_names(const struct graph *g, struct arena *a);
/* `text` in quotes, with escapes that the parser reads. */
void print_quoted(FILE *out, const char *text);
/* Whether the type of result 0 tells the attribute when it is not given: dims of iota, random, reshape and
 * expand; type of iota, random, param and map. */
bool attr_is_implied(enum op_id op, const struct attr_row *row);

#endif
