/* parse_attr.c: attributes, by the rows of attrs.h: {name=value, ...}; a name alone means name=1.
 *	value := [-] integer | [-] number | word | "text" | dim | [ value {, value} ] */
#include "ir/parse.h"
#include "ir/attr_rows.h"

#include <string.h>

enum { LIST_MAX = 4096 };

static bool parse_list(struct parser *p, const struct attr_row *row, void *field)
{
	struct {
		int64_t *at;
		int count, room;
	} ints = {0};
	struct {
		dim *at;
		int count, room;
	} dims = {0};
	int64_t x;
	dim d;

	if (!parse_sign(p, "["))
		return false;
	while (!next_is(p, "]")) {
		if (ints.count + dims.count == LIST_MAX)
			return parse_fail(p, "over %d entries", LIST_MAX);
		if (row->kind == ATTR_INTS) {
			if (!parse_int(p, &x))
				return false;
			ARENA_PUSH(p->graph->arena, &ints, x);
		} else {
			d = parse_dim(p);
			if (!d)
				return false;
			ARENA_PUSH(p->graph->arena, &dims, d);
		}
		if (!parse_maybe(p, ","))
			break;
	}
	if (row->kind == ATTR_INTS)
		*(struct ints *)field = (struct ints){ints.count, ints.at};
	else
		*(struct dims *)field = (struct dims){dims.count, dims.at};
	return parse_sign(p, "]");
}

static bool parse_bool(struct parser *p, int64_t *out)
{
	if (next_is(p, "true") || next_is(p, "false")) {
		*out = next_is(p, "true");
		lex_next(&p->lx);
		return true;
	}
	if (next_kind(p, TOKEN_INT) && p->lx.token.integer > 1)
		return parse_expected(p, "0 or 1");
	return parse_int(p, out);
}

static bool parse_enum(struct parser *p, const struct attr_row *row, int64_t *out)
{
	const struct token *t = &p->lx.token;

	*out = t->kind == TOKEN_NAME ? enum_number(row->names, t->text, (size_t)t->length) : -1;
	if (*out < 0)
		return parse_fail(p, "%s is one of %s, found %s", row->name, row->names,
				  token_shown(&p->scratch, t));
	lex_next(&p->lx);
	return true;
}

static bool parse_value(struct parser *p, const struct attr_row *row, void *field)
{
	enum dtype t;

	switch (row->kind) {
	case ATTR_INT: return parse_int(p, field);
	case ATTR_BOOL: return parse_bool(p, field);
	case ATTR_REAL: return parse_real(p, field);
	case ATTR_ENUM: return parse_enum(p, row, field);
	case ATTR_INTS:
	case ATTR_DIMS: return parse_list(p, row, field);
	case ATTR_DIM: return (*(dim *)field = parse_dim(p)) != NULL;
	case ATTR_TEXT:
		return (*(const char **)field =
				parse_name(p, p->graph->arena, TOKEN_STRING, "a text")) != NULL;
	case ATTR_DTYPE:
		if (!parse_dtype(p, &t))
			return false;
		*(int64_t *)field = t;
		return true;
	case ATTR_TENSOR: break;
	}
	return parse_fail(p, "%s is not written as an attribute", row->name);
}

bool parse_attrs(struct parser *p, enum op_id op, void *attrs, bool *given)
{
	const struct op_row *o = &op_table[op];

	if (!parse_sign(p, "{"))
		return false;
	while (!next_is(p, "}")) {
		const struct attr_row *row = NULL;
		void *field;

		for (int i = 0; i < o->attr_count && !row; i++)
			if (token_is(&p->lx.token, o->attrs[i].name))
				row = &o->attrs[i];
		if (!row)
			return parse_fail(p, "%s has no attribute %s", o->name,
					  token_shown(&p->scratch, &p->lx.token));
		if (given[row - o->attrs])
			return parse_fail(p, "the attribute %s is given twice", row->name);
		given[row - o->attrs] = true;
		field = (char *)attrs + row->offset;
		lex_next(&p->lx);
		if (parse_maybe(p, "=")) {
			if (!parse_value(p, row, field))
				return false;
		} else if (row->kind == ATTR_BOOL) {
			*(int64_t *)field = 1;
		} else {
			return parse_sign(p, "=");
		}
		if (!parse_maybe(p, ","))
			break;
	}
	return parse_sign(p, "}");
}
