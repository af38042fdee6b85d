/* site.c: messages, attributes, operands and declared types of the node being imported. */
#include "frontend/site.h"

#include "frontend/import_private.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static bool report(struct site *s, enum diag_kind kind, const char *format, va_list list)
{
	char text[512];
	vsnprintf(text, sizeof(text), format, list);
	const char *domain = s->node->domain;
	return diag_add(s->b->diag, kind, s->b->loc, "%s (%s%sopset %d)", text, domain,
			*domain ? " " : "", s->opset);
}

bool site_unsupported(struct site *s, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	report(s, DIAG_UNSUPPORTED, format, list);
	va_end(list);
	return false;
}

bool site_invalid(struct site *s, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	report(s, DIAG_FILE, format, list);
	va_end(list);
	return false;
}

/* ---- attributes ---- */

const struct onnx_attr *site_attr(const struct site *s, const char *name)
{
	return scope_attr(s->scope, s->node, name);
}

int64_t attr_int(const struct site *s, const char *name, int64_t initial)
{
	const struct onnx_attr *a = site_attr(s, name);
	return a && a->kind == ONNX_ATTR_INT ? a->i : initial;
}

double attr_real(const struct site *s, const char *name, double initial)
{
	const struct onnx_attr *a = site_attr(s, name);
	if (a && a->kind == ONNX_ATTR_INT)
		return (double)a->i;
	return a && a->kind == ONNX_ATTR_FLOAT ? (double)a->f : initial;
}

const char *attr_text(const struct site *s, const char *name, const char *initial)
{
	const struct onnx_attr *a = site_attr(s, name);
	return a && a->kind == ONNX_ATTR_STRING ? a->s.at : initial;
}

bool attr_text_is(const struct site *s, const char *name, const char *initial, const char *wanted)
{
	return strcmp(attr_text(s, name, initial), wanted) == 0;
}

struct ints attr_ints(const struct site *s, const char *name)
{
	const struct onnx_attr *a = site_attr(s, name);
	if (a && a->kind == ONNX_ATTR_INTS)
		return (struct ints){a->count, a->ints};
	return (struct ints){-1, NULL};
}

int64_t ints_or(struct ints list, int i, int64_t initial)
{
	return i < list.count ? list.at[i] : initial;
}

/* ---- operands and results ---- */

struct value *site_in(const struct site *s, int i) { return i < s->in_count ? s->in[i] : NULL; }

bool site_wants(const struct site *s, int i) { return i < s->out_count && *s->node->outputs[i]; }

bool site_out(struct site *s, int i, struct value *v)
{
	if (!v)
		return false;
	if (i < s->out_count)
		s->out[i] = v;
	return true;
}

bool site_axis(struct site *s, int64_t axis, int rank, int *out)
{
	if (axis < -rank || axis >= rank)
		return site_invalid(s, "axis %lld is outside of rank %d", (long long)axis, rank);
	*out = (int)(axis < 0 ? axis + rank : axis);
	return true;
}

int64_t value_length(const struct value *v)
{
	if (v->type.rank == 0)
		return 1;
	if (v->type.rank != 1 || !dim_is_const(v->type.dims[0]))
		return -1;
	return v->type.dims[0]->value;
}

bool value_ints(const struct value *v, int room, int64_t *out, int *count)
{
	int64_t n = value_length(v);
	if (n < 0 || n > room || !dtype_is_int(v->type.dtype))
		return false;
	const struct tensor *t = value_const(v);
	if (!t && !v->elems)
		return false;
	for (int i = 0; i < n; i++) {
		if (t)
			out[i] = tensor_element(t, v->type.dtype, i).i;
		else if (v->elems[i] && dim_is_const(v->elems[i]))
			out[i] = v->elems[i]->value;
		else
			return false;
	}
	*count = (int)n;
	return true;
}

bool value_real(const struct value *v, double *out)
{
	int count;
	int64_t i;
	if (value_length(v) != 1)
		return false;
	if (value_ints(v, 1, &i, &count)) {
		*out = (double)i;
		return true;
	}
	const struct tensor *t = value_const(v);
	if (!t || !dtype_is_float(v->type.dtype))
		return false;
	*out = tensor_element(t, v->type.dtype, 0).f;
	return true;
}

bool site_axes(struct site *s, int operand, int rank, int *axes, int *count)
{
	int64_t list[HONE_MAX_RANK];
	struct ints given = attr_ints(s, "axes");
	struct value *v = operand >= 0 ? site_in(s, operand) : NULL;
	*count = -1;
	if (v) {
		if (value_length(v) > HONE_MAX_RANK)
			return site_invalid(s, "%lld axes are too many",
					    (long long)value_length(v));
		if (!value_ints(v, HONE_MAX_RANK, list, count))
			return site_unsupported(s, "the axes are only known at run time");
	} else if (given.count > HONE_MAX_RANK) {
		return site_invalid(s, "%d axes are too many", given.count);
	} else if (given.count >= 0) {
		*count = given.count;
		for (int i = 0; i < given.count; i++)
			list[i] = given.at[i];
	}
	bool seen[HONE_MAX_RANK] = {false};
	for (int i = 0; i < *count; i++) {
		if (!site_axis(s, list[i], rank, &axes[i]))
			return false;
		if (seen[axes[i]])
			return site_invalid(s, "axis %d is given twice", axes[i]);
		seen[axes[i]] = true;
	}
	return true;
}

/* ---- declared types ---- */

static const struct onnx_type *declared(const struct site *s, int o)
{
	if (!site_wants(s, o))
		return NULL;
	const struct onnx_type *t = scope_type(s->scope, s->node->outputs[o]);
	return t && t->kind == ONNX_KIND_TENSOR && t->rank >= 0 ? t : NULL;
}

int64_t declared_dim(const struct site *s, int o, int i)
{
	const struct onnx_type *t = declared(s, o);
	return t && i < t->rank ? t->dims[i].value : -1;
}

int declared_rank(const struct site *s, int o)
{
	const struct onnx_type *t = declared(s, o);
	return t ? t->rank : -1;
}

bool declared_const(const struct site *s, int o)
{
	const struct onnx_type *t = declared(s, o);
	for (int i = 0; t && i < t->rank; i++)
		if (t->dims[i].value < 0)
			return false;
	return t != NULL;
}

bool declared_hint(struct site *s, int o, int rank, dim *dims)
{
	if (declared_rank(s, o) != rank)
		return true;
	for (int i = 0; i < rank; i++) {
		int64_t known = declared_dim(s, o, i);
		if (known < 0 || dim_is_const(dims[i]) || dim_stage(dims[i]) == 0)
			continue;
		dim d = dim_int(s, known);
		const char *what =
			arena_printf(s->g->arena, "axis %d of \"%s\" as the model declares it", i,
				     s->node->outputs[o]);
		if (!graph_require(s->g, s->b->diag, s->b->region->last, dims[i], d, what))
			return false;
		dims[i] = d;
	}
	return true;
}

/* ---- binding ---- */

bool bind_dims(struct site *s, struct value *x, int count, dim *out)
{
	if (!x)
		return false;
	if (value_length(x) != count)
		return site_invalid(s, "operand \"%s\" should have %d elements",
				    x->name ? x->name : "", count);
	if (count == 0)
		return true;
	return add_bind(s->b, cast_to(s, x, DT_I64), count, out);
}

void *site_array(struct site *s, int count, size_t size)
{
	return arena_array(s->g->arena, (size_t)(count > 0 ? count : 1), size);
}

/* ---- types ---- */

enum dtype import_dtype(int32_t onnx)
{
	switch (onnx) {
	case ONNX_STRING:
	case ONNX_UNDEFINED: return DT_NONE;
	default:
		return onnx > 0 && onnx < DT_LIMIT && dtype_class((enum dtype)onnx) != DTYPE_INVALID
			       ? (enum dtype)onnx
			       : DT_NONE;
	}
}
