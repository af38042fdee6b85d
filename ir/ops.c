/* ops.c: the table of operators, made from ops.def and attrs.h. */
#include "ir/op.h"

#include <stddef.h>
#include <string.h>

#define ATTR_ROW(op, kind, field, initial, names)                                           \
	{OP_##op, ATTR_##kind, #field, offsetof(struct attrs_##op, field), initial, names},
#define OP(id, text, min, max, outs, regions, flags, doc)               \
	static const struct attr_row rows_##id[] = {                    \
		ATTRS_##id(ATTR_ROW){OP_##id, 0, NULL, 0, NULL, NULL}};
#include "ir/ops.def"
#undef OP

/* The engines handle these themselves: they have no kernel. */
#define lower_const NULL
#define lower_param NULL
#define lower_bind NULL
#define lower_if NULL
#define lower_loop NULL
#define lower_scan NULL
#define lower_return_if NULL

enum { PURE = OP_PURE, LOWERS = OP_LOWERS, MOVES = OP_MOVES, EXPR = OP_EXPR, BINDS = OP_BINDS };

/* clang-format off */
const struct op_row op_table[OP_COUNT] = {
#define OP(id, text, min, max, outs, regions, flags, doc)                                          \
	[OP_##id] = {text, doc, min, max, outs, regions, flags, sizeof(struct attrs_##id),         \
		     (int)(sizeof(rows_##id) / sizeof(rows_##id[0])) - 1, rows_##id, infer_##id, lower_##id},
#include "ir/ops.def"
#undef OP
};
/* clang-format on */

enum op_id op_by_name(const char *name, size_t length)
{
	for (int i = 0; i < OP_COUNT; i++)
		if (strlen(op_table[i].name) == length && !memcmp(op_table[i].name, name, length))
			return (enum op_id)i;
	return OP_COUNT;
}
