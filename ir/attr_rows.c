/* attr_rows.c: defaults, copies and comparison of attribute structs by the rows of attrs.h. */
#include "ir/attr_rows.h"

#include <stdlib.h>
#include <string.h>

int enum_number(const char *names, const char *name, size_t length)
{
	int number = 0;

	for (const char *at = names; at; number++) {
		const char *end = strchr(at, '|');
		size_t n = end ? (size_t)(end - at) : strlen(at);

		if (n == length && !memcmp(at, name, n))
			return number;
		at = end ? end + 1 : NULL;
	}
	return -1;
}

const char *enum_name(const char *names, int number, size_t *length)
{
	const char *at = names, *end;

	while (number-- > 0 && (at = strchr(at, '|')))
		at++;
	if (!at)
		return NULL;
	end = strchr(at, '|');
	*length = end ? (size_t)(end - at) : strlen(at);
	return at;
}

static void set_default(const struct attr_row *r, void *field)
{
	switch (r->kind) {
	case ATTR_INT:
	case ATTR_BOOL: *(int64_t *)field = strtoll(r->initial, NULL, 10); break;
	case ATTR_REAL: *(double *)field = strtod(r->initial, NULL); break;
	case ATTR_ENUM:
		*(int64_t *)field = enum_number(r->names, r->initial, strlen(r->initial));
		break;
	case ATTR_DTYPE: *(int64_t *)field = dtype_by_name(r->initial, strlen(r->initial)); break;
	default: break;
	}
}

void *attrs_default(enum op_id op, struct arena *a)
{
	const struct op_row *o = &op_table[op];
	char *attrs = arena_alloc(a, o->attrs_size);

	for (int i = 0; i < o->attr_count; i++)
		if (o->attrs[i].initial[0] != '!')
			set_default(&o->attrs[i], attrs + o->attrs[i].offset);
	return attrs;
}

void *attrs_copy(enum op_id op, const void *attrs, struct arena *a)
{
	const struct op_row *o = &op_table[op];
	char *copy = arena_copy(a, attrs, o->attrs_size);

	for (int i = 0; i < o->attr_count; i++) {
		void *field = copy + o->attrs[i].offset;

		if (o->attrs[i].kind == ATTR_INTS) {
			struct ints *list = field;

			list->at = list->count ? arena_copy(a, list->at,
							    (size_t)list->count * sizeof(*list->at))
					       : NULL;
		} else if (o->attrs[i].kind == ATTR_DIMS) {
			struct dims *list = field;

			list->at = list->count ? arena_copy(a, list->at,
							    (size_t)list->count * sizeof(*list->at))
					       : NULL;
		} else if (o->attrs[i].kind == ATTR_TEXT && *(const char **)field) {
			*(const char **)field = arena_text(a, *(const char **)field);
		}
	}
	return copy;
}

static bool tensor_equal(const struct tensor *x, const struct tensor *y)
{
	if (x == y)
		return true;
	if (!x || !y || x->kind != y->kind)
		return false;
	if (x->kind == TENSOR_SPLAT)
		return x->splat.i == y->splat.i;
	if (x->kind == TENSOR_RANDOM)
		return x->seed == y->seed;
	return x->size == y->size &&
	       (x->data == y->data || !memcmp(x->data, y->data, (size_t)x->size));
}

static bool field_equal(enum attr_kind kind, const void *x, const void *y)
{
	const struct ints *p = x, *q = y;
	const char *s, *t;

	switch (kind) {
	case ATTR_REAL: return !memcmp(x, y, sizeof(double));
	case ATTR_DIM: return *(const dim *)x == *(const dim *)y;
	case ATTR_INTS: /* dims are interned: both lists compare by their 8-byte entries */
	case ATTR_DIMS:
		return p->count == q->count &&
		       (!p->count || !memcmp(p->at, q->at, (size_t)p->count * 8));
	case ATTR_TEXT:
		s = *(const char *const *)x;
		t = *(const char *const *)y;
		return s == t || (s && t && !strcmp(s, t));
	case ATTR_TENSOR:
		return tensor_equal(*(const struct tensor *const *)x,
				    *(const struct tensor *const *)y);
	default: return *(const int64_t *)x == *(const int64_t *)y;
	}
}

bool attrs_equal(enum op_id op, const void *x, const void *y)
{
	const struct op_row *o = &op_table[op];

	for (int i = 0; i < o->attr_count; i++)
		if (!field_equal(o->attrs[i].kind, (const char *)x + o->attrs[i].offset,
				 (const char *)y + o->attrs[i].offset))
			return false;
	return true;
}

bool attr_is_default(const struct attr_row *r, const void *attrs)
{
	_Alignas(16) char initial[16] = {0};

	if (r->initial[0] == '!')
		return false;
	set_default(r, initial);
	return field_equal(r->kind, (const char *)attrs + r->offset, initial);
}
