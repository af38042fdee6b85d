/* graph_build.c: shorthands over graph_add. */
#include "ir/graph.h"
#include "ir/text.h"

#include <string.h>

static struct value *first(struct node *n) { return n ? n->out[0] : NULL; }

static struct value *add_one(struct builder *b, enum op_id op, const void *attrs, struct value *x)
{
	return first(graph_add(
		b, &(struct node_spec){.op = op, .in_count = 1, .in = &x, .attrs = attrs}));
}

/* ---- constants ---- */

struct value *add_const(struct builder *b, const struct type *type, const struct tensor *data)
{
	struct attrs_const attrs = {.data = arena_copy(b->graph->arena, data, sizeof(*data))};

	return first(
		graph_add(b, &(struct node_spec){.op = OP_const, .attrs = &attrs, .type = type}));
}

struct value *add_ints(struct builder *b, enum dtype t, int count, const int64_t *at)
{
	struct arena *a = b->graph->arena;
	struct tensor data = {.kind = TENSOR_BYTES, .size = dtype_bytes(t, count)};
	int64_t *wide = arena_copy(a, at, (size_t)count * sizeof(*at));
	int32_t *narrow;
	dim length = dim_const(&b->graph->dims, count);
	struct type type = type_make(t, 1, &length);

	data.data = wide;
	if (t == DT_I32) {
		narrow = ARENA_ARRAY(a, int32_t, count);
		for (int i = 0; i < count; i++)
			narrow[i] = (int32_t)at[i];
		data.data = narrow;
	} else if (t != DT_I64) {
		BUG("add_ints takes i64 and i32");
	}
	return add_const(b, &type, &data);
}

struct value *add_scalar_int(struct builder *b, enum dtype t, int64_t x)
{
	struct type type = type_make(t, 0, NULL);
	struct tensor data = {.kind = TENSOR_SPLAT};

	if (dtype_is_float(t))
		data.splat.f = (double)x;
	else
		data.splat.i = x;
	return add_const(b, &type, &data);
}

struct value *add_scalar_real(struct builder *b, enum dtype t, double x)
{
	struct type type = type_make(t, 0, NULL);

	return add_const(b, &type, &(struct tensor){.kind = TENSOR_SPLAT, .splat.f = x});
}

/* ---- maps ---- */

struct value *add_map(struct builder *b, const struct expr *e, enum dtype type, int count,
		      struct value *const *in)
{
	struct attrs_map attrs = {.type = type == DT_NONE || (e && type == e->type) ? DT_NONE
										    : type};

	if (!e)
		return NULL;
	return first(graph_add(
		b, &(struct node_spec){
			   .op = OP_map, .in_count = count, .in = in, .attrs = &attrs, .expr = e}));
}

struct value *add_map_text(struct builder *b, const char *text, enum dtype type, int count,
			   struct value *const *in, int constant_count,
			   const struct named_real *constants)
{
	enum dtype types[64];

	for (int i = 0; i < count; i++) {
		if (!in[i] || i == 64)
			return NULL;
		types[i] = dtype_compute(in[i]->type.dtype);
	}
	return add_map(b,
		       expr_parse(&b->graph->exprs, text, count, types,
				  type ? dtype_compute(type) : DT_NONE, constant_count, constants,
				  b->loc, b->diag),
		       type, count, in);
}

static const struct expr *param_of(struct builder *b, struct value *x, int index)
{
	return expr_param(&b->graph->exprs, dtype_compute(x->type.dtype), index);
}

/* Results of arithmetic on storage types go back to them; of comparisons they are bool. */
static enum dtype result_type(const struct expr *e, struct value *x)
{
	return e && e->type == dtype_compute(x->type.dtype) ? x->type.dtype : DT_NONE;
}

static struct value *report_type(struct builder *b, enum expr_op op, struct value *x)
{
	diag_add(b->diag, DIAG_FILE, b->loc, "`%s` does not take operands of type %s",
		 scalar_text(op), dtype_name(x->type.dtype));
	return NULL;
}

struct value *add_unary(struct builder *b, enum expr_op op, struct value *x)
{
	const struct expr *e;

	if (!x)
		return NULL;
	e = expr_unary(&b->graph->exprs, op, param_of(b, x, 0));
	return e ? add_map(b, e, result_type(e, x), 1, &x) : report_type(b, op, x);
}

struct value *add_binary(struct builder *b, enum expr_op op, struct value *x, struct value *y)
{
	struct value *in[2] = {x, y};
	const struct expr *e;

	if (!x || !y)
		return NULL;
	e = expr_binary(&b->graph->exprs, op, param_of(b, x, 0), param_of(b, y, 1));
	return e ? add_map(b, e, result_type(e, x), 2, in) : report_type(b, op, x);
}

struct value *add_cast(struct builder *b, struct value *x, enum dtype t)
{
	const struct expr *e;

	if (!x || x->type.dtype == t)
		return x;
	e = expr_cast(&b->graph->exprs, EXPR_CAST, dtype_compute(t), param_of(b, x, 0));
	if (!e) {
		diag_add(b->diag, DIAG_UNSUPPORTED, b->loc, "no conversion from %s to %s",
			 dtype_name(x->type.dtype), dtype_name(t));
		return NULL;
	}
	return add_map(b, e, t, 1, &x);
}

/* ---- movement ---- */

struct value *add_reshape(struct builder *b, struct value *x, int rank, const dim *dims)
{
	struct attrs_reshape attrs = {.dims = {rank, dims}};

	return add_one(b, OP_reshape, &attrs, x);
}

struct value *add_transpose(struct builder *b, struct value *x, const int *perm)
{
	int64_t wide[HONE_MAX_RANK];
	struct attrs_transpose attrs = {.perm = {x ? x->type.rank : 0, wide}};

	for (int i = 0; i < attrs.perm.count; i++)
		wide[i] = perm[i];
	return add_one(b, OP_transpose, &attrs, x);
}

struct value *add_expand(struct builder *b, struct value *x, int rank, const dim *dims)
{
	struct attrs_expand attrs = {.dims = {rank, dims}};

	return add_one(b, OP_expand, &attrs, x);
}

struct value *add_slice(struct builder *b, struct value *x, const dim *at, const dim *size,
			const int64_t *step)
{
	int rank = x ? x->type.rank : 0;
	struct attrs_slice attrs = {
		.at = {rank, at}, .size = {rank, size}, .step = {step ? rank : 0, step}};

	return add_one(b, OP_slice, &attrs, x);
}

struct value *add_pad(struct builder *b, struct value *x, const dim *lo, const dim *hi,
		      double value)
{
	int rank = x ? x->type.rank : 0;
	struct attrs_pad attrs = {.lo = {rank, lo}, .hi = {rank, hi}, .value = value};

	return add_one(b, OP_pad, &attrs, x);
}

struct value *add_concat(struct builder *b, int axis, int count, struct value *const *in)
{
	struct attrs_concat attrs = {.axis = axis};

	return first(graph_add(
		b, &(struct node_spec){
			   .op = OP_concat, .in_count = count, .in = in, .attrs = &attrs}));
}

struct value *add_reduce(struct builder *b, enum reduce_kind kind, struct value *x, int count,
			 const int64_t *axes, bool keep)
{
	struct attrs_reduce attrs = {.kind = kind, .axes = {count, axes}, .keep = keep};

	return add_one(b, OP_reduce, &attrs, x);
}

struct value *add_gather(struct builder *b, int kind, struct value *x, struct value *index,
			 int axis, int batch)
{
	struct attrs_gather attrs = {.kind = kind, .axis = axis, .batch = batch};
	struct value *in[2] = {x, index};

	return first(graph_add(
		b, &(struct node_spec){.op = OP_gather, .in_count = 2, .in = in, .attrs = &attrs}));
}

struct value *add_shape(struct builder *b, int count, const dim *dims)
{
	struct attrs_shape attrs = {.dims = {count, dims}};

	return first(graph_add(b, &(struct node_spec){.op = OP_shape, .attrs = &attrs}));
}

bool add_bind(struct builder *b, struct value *x, int count, dim *out)
{
	struct graph *g = b->graph;
	int symbols[64], known = 0;

	if (!x || count > 64)
		return false;
	for (int i = 0; i < count; i++)
		known += x->elems && x->elems[i];
	for (int i = 0; i < count && known < count; i++)
		symbols[i] = graph_symbol(g, "d", INT64_MAX, NULL);
	if (known < count && !graph_add(b, &(struct node_spec){.op = OP_bind,
							       .in_count = 1,
							       .in = &x,
							       .symbol_count = count,
							       .symbols = symbols}))
		return false;
	for (int i = 0; i < count; i++)
		out[i] = x->elems && x->elems[i] ? x->elems[i] : dim_symbol(&g->dims, symbols[i]);
	return true;
}
