/* attr_rows.h: handling attributes by their rows, without code for each operator. */
#ifndef IR_ATTR_ROWS_H
#define IR_ATTR_ROWS_H

#include "ir/graph.h"

/* A struct of the op's attributes with every field at its default (required ones zero), in `a`. */
void *attrs_default(enum op_id op, struct arena *a);
/* A deep copy: lists too, texts too; tensors are shared. */
void *attrs_copy(enum op_id op, const void *attrs, struct arena *a);
bool attrs_equal(enum op_id op, const void *x, const void *y);
/* Whether one field is at its default (then it is not printed). */
bool attr_is_default(const struct attr_row *r, const void *attrs);
/* The number of an enum name in names joined by `|`; -1 if there is none. The name of a number: length in *length. */
int enum_number(const char *names, const char *name, size_t length);
const char *enum_name(const char *names, int number, size_t *length);

#endif
