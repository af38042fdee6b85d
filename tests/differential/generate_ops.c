/* generate_ops.c: one random operator on a picked value. */
#include "tests/differential/generate.h"

#include <math.h>

#define WORK_MAX 300000 /* multiply-adds of one operator */

static struct value *add(struct generator *g, enum op_id op, int count, struct value *const *in,
			 const void *attrs)
{
	struct node *n = graph_add(
		&g->b, &(struct node_spec){.op = op, .in_count = count, .in = in, .attrs = attrs});

	return n ? n->out[0] : NULL;
}

static double small(enum dtype t) { return exact_limit(t) < 5 ? 1 : 4; }

/* Some of x's axes, ascending, as many as are fewer than `max`. */
static struct ints draw_axes(struct generator *g, const struct value *v, int max)
{
	int64_t *axes = ARENA_ARRAY(&g->arena, int64_t, HONE_MAX_RANK);
	struct ints list = {.at = axes};

	for (int i = 0; i < v->type.rank && list.count < max; i++) {
		if (draw_one_in(g, 2))
			axes[list.count++] = i;
	}
	return list;
}

static double terms_of(const struct generator *g, const struct value *v, struct ints axes)
{
	double n = 1;

	for (int i = 0; i < axes.count; i++)
		n *= (double)size_of(g, v->type.dims[axes.at[i]]);
	return axes.count ? n : (double)count_of(g, v);
}

/* Whether a float value is whole and small: what order-dependent sums of NaN and infinities would spoil. */
static bool summable(const struct generator *g, const struct item *x, double terms)
{
	return !dtype_is_float(x->v->type.dtype) ||
	       (x->mag * terms <= exact_limit(x->v->type.dtype) && !g->special);
}

static bool step_reduce(struct generator *g, struct item x)
{
	struct attrs_reduce attrs = {.kind = draw_below(g, 4), .keep = draw_one_in(g, 2)};

	attrs.axes = draw_axes(g, x.v, 8);
	if (x.v->type.dtype == DT_BOOL)
		attrs.kind = draw_one_in(g, 2) ? REDUCE_ANY : REDUCE_ALL;
	if (attrs.kind == REDUCE_PROD && dtype_is_float(x.v->type.dtype))
		attrs.kind = REDUCE_MAX;
	if (attrs.kind == REDUCE_SUM && !summable(g, &x, terms_of(g, x.v, attrs.axes)))
		return false;
	if (attrs.kind == REDUCE_SUM)
		x.mag *= terms_of(g, x.v, attrs.axes);
	if (dtype_is_float(x.v->type.dtype) && terms_of(g, x.v, attrs.axes) == 0 &&
	    attrs.kind != REDUCE_SUM)
		return false; /* infinities */
	return keep(g, add(g, OP_reduce, 1, &x.v, &attrs), x.mag);
}

static bool step_argreduce(struct generator *g, struct item x)
{
	struct attrs_argreduce attrs = {.kind = draw_below(g, 4), .keep = draw_one_in(g, 2)};

	if (!x.v->type.rank || x.v->type.dtype == DT_BOOL)
		return false;
	attrs.axis = draw_below(g, x.v->type.rank);
	return keep(g, add(g, OP_argreduce, 1, &x.v, &attrs), 0);
}

static bool step_cumulate(struct generator *g, struct item x)
{
	struct attrs_cumulate attrs = {.exclusive = draw_one_in(g, 2),
				       .reverse = draw_one_in(g, 2)};

	if (!x.v->type.rank || x.v->type.dtype == DT_BOOL)
		return false;
	attrs.axis = draw_below(g, x.v->type.rank);
	attrs.kind = dtype_is_float(x.v->type.dtype) ? 0 : draw_below(g, 4);
	if (!summable(g, &x, (double)size_of(g, x.v->type.dims[attrs.axis])))
		return false;
	return keep(g, add(g, OP_cumulate, 1, &x.v, &attrs),
		    x.mag * (double)size_of(g, x.v->type.dims[attrs.axis]));
}

static bool step_matmul(struct generator *g, struct item x)
{
	const struct type *t = &x.v->type;
	int rank = t->rank;
	dim dims[HONE_MAX_RANK];
	struct item w;
	double k;
	struct value *in[2] = {x.v};

	if (rank < 2 || t->dtype == DT_BOOL || x.open)
		return false;
	k = (double)size_of(g, t->dims[rank - 1]);
	for (int i = 0; i < rank - 2; i++)
		dims[i] = draw_one_in(g, 2) ? t->dims[i] : constant(g, 1);
	dims[rank - 2] = t->dims[rank - 1];
	dims[rank - 1] = constant(g, draw_size(g));
	w = add_weights(g, t->dtype, rank, dims, small(t->dtype));
	if (!w.v || !summable(g, &x, k * w.mag) ||
	    (double)count_of(g, x.v) * (double)size_of(g, dims[rank - 1]) > WORK_MAX)
		return false;
	in[1] = w.v;
	return keep(g, add(g, OP_matmul, 2, in, NULL), x.mag * w.mag * k);
}

static struct ints draw_window(struct generator *g, int spatial, int max)
{
	int64_t *at = ARENA_ARRAY(&g->arena, int64_t, HONE_MAX_RANK);

	for (int i = 0; i < spatial; i++)
		at[i] = 1 + draw_below(g, max);
	return (struct ints){spatial, at};
}

/* Windows need inputs at least as large: symbolic ones may be too small, and then both engines say so. */
static bool step_conv(struct generator *g, struct item x)
{
	const struct type *t = &x.v->type;
	int spatial = t->rank - 2;
	struct attrs_conv attrs = {.group = 1};
	struct ints size;
	dim dims[HONE_MAX_RANK];
	struct value *in[2] = {x.v};
	struct item w;
	int64_t channels, terms;

	if (spatial < 1 || spatial > 3 || t->dtype == DT_BOOL || x.open ||
	    !dim_is_const(t->dims[t->rank - 1]))
		return false;
	channels = terms = size_of(g, t->dims[t->rank - 1]);
	if (channels && draw_one_in(g, 3))
		attrs.group = channels % 2 ? channels : draw_one_in(g, 2) ? 2 : channels;
	size = draw_window(g, spatial, 3);
	attrs.stride = draw_window(g, spatial, 2);
	attrs.dilation = draw_window(g, spatial, 2);
	for (int i = 0; i < spatial; i++) {
		if (size_of(g, t->dims[i + 1]) < attrs.dilation.at[i] * (size.at[i] - 1) + 1)
			return false;
		dims[i] = constant(g, size.at[i]);
		terms *= size.at[i];
	}
	dims[spatial] = constant(g, channels / attrs.group);
	dims[spatial + 1] = constant(g, attrs.group * (1 + draw_below(g, 4)));
	w = add_weights(g, t->dtype, spatial + 2, dims, small(t->dtype));
	if (!w.v || !summable(g, &x, w.mag * (double)terms) ||
	    count_of(g, w.v) * count_of(g, x.v) > WORK_MAX * 10)
		return false;
	in[1] = w.v;
	return keep(g, add(g, OP_conv, 2, in, &attrs), x.mag * w.mag * (double)terms);
}

/* ---- products of bytes ---- */

static enum dtype draw_byte(struct generator *g) { return draw_one_in(g, 2) ? DT_I8 : DT_U8; }

/* i32(x), or less a zero point: a number, an input, one of `count` on the last axis. */
static struct value *centered(struct generator *g, struct value *x, dim count)
{
	struct value *in[2] = {x};
	struct named_real zero = {"zero", draw_below(g, 100)};

	if (!x)
		return NULL;
	switch (draw_below(g, 4)) {
	case 0: return add_map_text(&g->b, "(a) -> i32(a)", DT_NONE, 1, in, 0, NULL);
	case 1: return add_map_text(&g->b, "(a) -> i32(a) - zero", DT_NONE, 1, in, 1, &zero);
	default:
		in[1] = add_input(g, x->type.dtype, count ? 1 : 0, &count, 0).v;
		return in[1] ? add_map_text(&g->b, "(a, b) -> i32(a) - i32(b)", DT_NONE, 2, in, 0,
					    NULL)
			     : NULL;
	}
}

/* Random constants print as their seed, however large. */
static struct value *weights(struct generator *g, enum dtype t, int rank, const dim *dims,
			     double mag)
{
	struct tensor data = {.kind = TENSOR_RANDOM, .seed = (uint64_t)draw_below(g, 100)};
	struct type type = type_make(t, rank, dims);

	return draw_one_in(g, 2) && type_count_const(&type) >= 0
		       ? add_const(&g->b, &type, &data)
		       : add_input(g, type.dtype, rank, dims, mag).v;
}

/* A matrix product or convolution as quantized operators make them. */
static bool step_bytes(struct generator *g, struct item x)
{
	bool conv = draw_one_in(g, 2);
	int rank = conv ? 4 : 2;
	dim dims[4];
	struct attrs_conv attrs = {.group = 1};
	struct value *in[2], *w;
	int64_t terms;

	for (int i = 0; i < rank; i++)
		dims[i] = constant(g, 1 + draw_size(g));
	if (!conv && x.v->type.rank == 2 && !x.open && dim_is_const(x.v->type.dims[1]))
		dims[0] = x.v->type.dims[0], dims[1] = x.v->type.dims[1]; /* may be symbolic */
	in[0] = centered(g, add_input(g, draw_byte(g), rank, dims, 0).v, NULL);
	terms = in[0] ? count_of(g, in[0]) : 0;
	if (conv) {
		dims[2] = dims[3];
		dims[0] = constant(g, 1 + draw_below(g, 2));
		dims[1] = constant(g, 1 + draw_below(g, 2));
		terms *= size_of(g, dims[0]) * size_of(g, dims[1]);
		if (!in[0] || size_of(g, in[0]->type.dims[1]) < 2 ||
		    size_of(g, in[0]->type.dims[2]) < 2)
			return false;
	} else {
		dims[0] = dims[1];
	}
	dims[rank - 1] = constant(g, draw_size(g) + (draw_one_in(g, 2) ? 13 : 0));
	if (terms * size_of(g, dims[rank - 1]) > WORK_MAX)
		return false;
	w = weights(g, draw_byte(g), rank, dims, 0);
	in[1] = centered(g, w, draw_one_in(g, 2) ? dims[rank - 1] : NULL);
	return in[0] && in[1] &&
	       keep(g, add(g, conv ? OP_conv : OP_matmul, 2, in, conv ? &attrs : NULL), 0);
}

static bool step_pool(struct generator *g, struct item x)
{
	const struct type *t = &x.v->type;
	int spatial = t->rank - 2;
	struct attrs_pool attrs = {.kind = draw_one_in(g, 3)   ? REDUCE_SUM
					   : draw_one_in(g, 2) ? REDUCE_MIN
							       : REDUCE_MAX};
	double terms = 1;

	if (spatial < 1 || spatial > 3 || t->dtype == DT_BOOL || x.open)
		return false;
	attrs.size = draw_window(g, spatial, 3);
	attrs.stride = draw_window(g, spatial, 3);
	attrs.dilation = draw_window(g, spatial, 2);
	for (int i = 0; i < spatial; i++) {
		if (size_of(g, t->dims[i + 1]) < attrs.dilation.at[i] * (attrs.size.at[i] - 1) + 1)
			return false;
		terms *= (double)attrs.size.at[i];
	}
	if (attrs.kind == REDUCE_SUM && !summable(g, &x, terms))
		return false;
	return keep(g, add(g, OP_pool, 1, &x.v, &attrs),
		    attrs.kind == REDUCE_SUM ? x.mag * terms : x.mag);
}

/* The transform before the products of F(2x2, 3x3), or both, whose factors are 1 and -1. */
static bool step_winograd(struct generator *g, struct item x)
{
	const struct type *t = &x.v->type;
	struct attrs_winograd_input in = {.tile = 2};
	struct attrs_winograd_output out = {.tile = 2};
	dim none[4], more[4];
	struct value *v;

	if (t->rank != 4 || !dtype_is_float(t->dtype) || x.open || !summable(g, &x, 36) ||
	    !dim_is_const(t->dims[1]) || !dim_is_const(t->dims[2]))
		return false;
	for (int i = 0; i < 4; i++) { /* to whole tiles */
		int64_t size = i == 1 || i == 2 ? t->dims[i]->value : 4;

		none[i] = constant(g, 0);
		more[i] = constant(g, size < 4 ? 4 - size : size % 2);
	}
	v = add_pad(&g->b, x.v, none, more, 0);
	if (!v)
		return false;
	out.h = v->type.dims[1]->value - 2 - draw_below(g, 2);
	out.w = v->type.dims[2]->value - 2 - draw_below(g, 2);
	v = add(g, OP_winograd_input, 1, &v, &in);
	if (!v || draw_one_in(g, 3))
		return keep(g, v, x.mag * 4);
	return keep(g, add(g, OP_winograd_output, 1, &v, &out), x.mag * 36);
}

/* ---- movement ---- */

/* Merges two axes, splits one, or adds one of size 1. */
static bool step_reshape(struct generator *g, struct item x)
{
	const struct type *t = &x.v->type;
	struct dim_pool *p = &g->graph->dims;
	int at = t->rank ? draw_below(g, t->rank) : 0, rank = 0, way = draw_below(g, 3),
	    divisor = 2 + draw_below(g, 2);
	dim dims[HONE_MAX_RANK + 1];

	for (int i = 0; i < t->rank; i++) {
		if (i == at && way == 1 && i + 1 < t->rank) {
			dims[rank++] = dim_mul(p, t->dims[i], t->dims[i + 1]);
			i++;
		} else if (i == at && way == 2 && dim_is_const(t->dims[i]) &&
			   t->dims[i]->value % divisor == 0) {
			dims[rank++] = constant(g, t->dims[i]->value / divisor);
			dims[rank++] = constant(g, divisor);
		} else {
			if (i == at && way == 0)
				dims[rank++] = constant(g, 1);
			dims[rank++] = t->dims[i];
		}
		if (rank > 6)
			return false;
	}
	if (!t->rank)
		dims[rank++] = constant(g, 1);
	return keep(g, add_reshape(&g->b, x.v, rank, dims), x.mag);
}

static bool step_transpose(struct generator *g, struct item x)
{
	int perm[HONE_MAX_RANK], rank = x.v->type.rank, k, swap;

	for (int i = 0; i < rank; i++)
		perm[i] = i;
	for (int i = rank - 1; i > 0; i--) {
		k = draw_below(g, i + 1);
		swap = perm[i];
		perm[i] = perm[k];
		perm[k] = swap;
	}
	return keep(g, add_transpose(&g->b, x.v, perm), x.mag);
}

static bool step_slice(struct generator *g, struct item x)
{
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int64_t step[HONE_MAX_RANK], n, begin, count;

	for (int i = 0; i < x.v->type.rank; i++) {
		step[i] = 1;
		at[i] = constant(g, 0);
		size[i] = x.v->type.dims[i];
		if (!dim_is_const(size[i]) || draw_one_in(g, 2) || size[i]->value == 0)
			continue;
		n = size[i]->value;
		step[i] = draw_one_in(g, 3) ? 2 : draw_one_in(g, 4) ? -1 : 1;
		begin = draw_below(g, (int)n);
		count = step[i] < 0 ? begin + 1 : (n - begin + step[i] - 1) / step[i];
		count -= draw_below(g, (int)count);
		at[i] = constant(g, begin);
		size[i] = constant(g, count);
	}
	return keep(g, add_slice(&g->b, x.v, at, size, step), x.mag);
}

static bool step_expand(struct generator *g, struct item x)
{
	dim dims[HONE_MAX_RANK];
	int rank = x.v->type.rank, more = rank < 5 ? draw_below(g, 2) : 0;

	for (int i = 0; i < more; i++)
		dims[i] = constant(g, 1 + draw_below(g, 3));
	for (int i = 0; i < rank; i++) {
		dims[more + i] = x.v->type.dims[i];
		if (dim_is(dims[more + i], 1))
			dims[more + i] = constant(g, draw_size(g));
	}
	return keep(g, add_expand(&g->b, x.v, rank + more, dims), x.mag);
}

static bool step_pad(struct generator *g, struct item x)
{
	struct attrs_pad attrs = {.kind = draw_one_in(g, 2) ? 0 : draw_below(g, 4)};
	dim lo[HONE_MAX_RANK], hi[HONE_MAX_RANK];
	int rank = x.v->type.rank;

	for (int i = 0; i < rank; i++) {
		int64_t n = size_of(g, x.v->type.dims[i]);
		int max = attrs.kind == 0 ? 3 : n > 3 && dim_is_const(x.v->type.dims[i]) ? 3 : 1;

		lo[i] = constant(g, draw_below(g, max));
		hi[i] = constant(g, draw_below(g, max));
	}
	attrs.lo = (struct dims){rank, lo};
	attrs.hi = (struct dims){rank, hi};
	attrs.value = x.v->type.dtype == DT_BOOL ? 1 : draw_below(g, 3);
	return keep(g, add(g, OP_pad, 1, &x.v, &attrs), x.mag > 2 ? x.mag : 2);
}

static bool step_concat(struct generator *g, struct item x)
{
	struct value *in[3] = {x.v, x.v, x.v};
	int rank = x.v->type.rank, axis = draw_below(g, rank);
	dim dims[HONE_MAX_RANK];
	struct item y;

	if (!rank || x.open)
		return false;
	for (int i = 0; i < rank; i++)
		dims[i] = i == axis ? constant(g, draw_size(g)) : x.v->type.dims[i];
	y = add_input(g, x.v->type.dtype, rank, dims, small(x.v->type.dtype));
	if (!y.v)
		return false;
	in[draw_below(g, 2)] = y.v;
	return keep(g, add_concat(&g->b, axis, 2 + draw_below(g, 2), in), fmax(x.mag, y.mag));
}

/* ---- gather, scatter, selection ---- */

static bool step_gather(struct generator *g, struct item x)
{
	int kind = draw_below(g, 3), rank = x.v->type.rank, axis = draw_below(g, rank),
	    index_rank = rank;
	dim dims[HONE_MAX_RANK];
	struct value *index;
	int64_t below;

	if (!rank || x.open)
		return false;
	below = size_of(g, x.v->type.dims[axis]);
	if (kind == 0) {
		index_rank = draw_below(g, 3);
		for (int i = 0; i < index_rank; i++)
			dims[i] = constant(g, 1 + draw_below(g, 5));
	} else if (kind == 1) {
		for (int i = 0; i < rank; i++)
			dims[i] = i == axis ? constant(g, draw_below(g, 6)) : x.v->type.dims[i];
	} else {
		axis = 0;
		index_rank = 2;
		dims[0] = constant(g, draw_below(g, 6));
		dims[1] = constant(g, 1);
		below = size_of(g, x.v->type.dims[0]);
	}
	if (!draw_one_in(g, 20) && below == 0)
		return false;
	if (draw_one_in(g, 30))
		below += 2; /* sometimes out of range: both engines must say so */
	index = add_indices(g, index_rank, dims, below > 0 ? below : 1);
	return index && keep(g, add_gather(&g->b, kind, x.v, index, axis, 0), x.mag);
}

static bool step_scatter(struct generator *g, struct item x)
{
	int rank = x.v->type.rank, axis = draw_below(g, rank), n = draw_below(g, 5);
	struct attrs_scatter attrs = {
		.kind = draw_one_in(g, 2), .axis = axis, .combine = draw_below(g, 5)};
	dim dims[HONE_MAX_RANK], vector[1];
	struct value *in[3] = {x.v};
	struct item u;
	int64_t below;

	if (!rank || x.open || x.v->type.dtype == DT_BOOL)
		return false;
	below = size_of(g, x.v->type.dims[axis]);
	if (below == 0)
		return false;
	if (attrs.combine == 0)
		n = 1; /* the order of several into one place is not defined */
	for (int i = 0; i < rank; i++)
		dims[i] = i == axis ? constant(g, n) : x.v->type.dims[i];
	vector[0] = constant(g, n);
	in[1] = attrs.kind ? add_indices(g, rank, dims, below) : add_indices(g, 1, vector, below);
	u = add_input(g, x.v->type.dtype, rank, dims, small(x.v->type.dtype));
	in[2] = u.v;
	if (!in[1] || !u.v || (dtype_is_float(x.v->type.dtype) && attrs.combine == 2))
		return false;
	if (attrs.combine == 1 && !summable(g, &x, 1))
		return false;
	return keep(g, add(g, OP_scatter, 3, in, &attrs), x.mag + u.mag * (n + 1));
}

static bool step_topk(struct generator *g, struct item x)
{
	struct attrs_topk attrs = {.largest = draw_one_in(g, 2), .sorted = 1};
	struct node *n;
	dim size;

	if (!x.v->type.rank || x.open || dtype_bits(x.v->type.dtype) < 8 ||
	    x.v->type.dtype == DT_BOOL)
		return false;
	attrs.axis = draw_below(g, x.v->type.rank);
	size = x.v->type.dims[attrs.axis];
	if (!dim_is_const(size))
		return false;
	attrs.k = constant(g, draw_below(g, (int)size->value + 1));
	n = graph_add(&g->b, &(struct node_spec){
				     .op = OP_topk, .in_count = 1, .in = &x.v, .attrs = &attrs});
	return n && keep(g, n->out[0], x.mag) && keep(g, n->out[1], 0);
}

/* The rows of x where a row of flags is set. */
static bool step_nonzero(struct generator *g, struct item x)
{
	struct dim_pool *p = &g->graph->dims;
	struct item flags;
	struct node *n;
	int symbol;

	if (!x.v->type.rank || x.open || p->symbol_count >= MAX_SYMBOLS - 1)
		return false;
	flags = add_input(g, DT_BOOL, 1, x.v->type.dims, 0);
	if (!flags.v)
		return false;
	symbol = graph_symbol(g->graph, "K", INT64_MAX, x.v->type.dims[0]);
	g->symbols[symbol] = size_of(g, x.v->type.dims[0]);
	n = graph_add(&g->b, &(struct node_spec){.op = OP_nonzero,
						 .in_count = 1,
						 .in = &flags.v,
						 .symbol_count = 1,
						 .symbols = &symbol});
	return n && keep(g, add_gather(&g->b, 0, x.v, n->out[0], 0, 0), x.mag);
}

static bool step_source(struct generator *g, struct item x)
{
	struct attrs_iota iota = {.dims = {x.v->type.rank, x.v->type.dims}, .type = DT_I64};

	if (draw_one_in(g, 3))
		return keep(g, add_shape(&g->b, x.v->type.rank, x.v->type.dims), 0);
	if (!x.v->type.rank)
		return false;
	iota.axis = draw_below(g, x.v->type.rank);
	return keep(g, add(g, OP_iota, 0, NULL, &iota), 0);
}

/* ---- control flow ---- */

/* loop: v = v + step, n times, stacking nothing; if: one of two maps. */
static bool step_control(struct generator *g, struct item x)
{
	struct value *condition = add_input(g, DT_BOOL, 0, NULL, 0).v, *y;
	struct region *r[2] = {region_new(g->graph), region_new(g->graph)};
	struct builder inner = g->b;
	struct node *n;

	if (!condition || x.v->type.dtype == DT_BOOL)
		return false;
	for (int i = 0; i < 2; i++) {
		inner.region = r[i];
		y = i ? add_unary(&inner, EXPR_NEG, x.v) : add_unary(&inner, EXPR_ABS, x.v);
		if (!y || y->type.dtype != x.v->type.dtype)
			return false;
		region_set_results(g->graph, r[i], 1, &y);
	}
	n = graph_add(&g->b, &(struct node_spec){.op = OP_if,
						 .in_count = 1,
						 .in = &condition,
						 .out_count = 1,
						 .region_count = 2,
						 .regions = r});
	return n && keep(g, n->out[0], x.mag);
}

static bool step_loop(struct generator *g, struct item x)
{
	struct type scalar = type_make(DT_I64, 0, NULL), flag = type_make(DT_BOOL, 0, NULL);
	struct region *r = region_new(g->graph);
	struct value *in[3], *i, *c, *v, *y[3];
	struct builder inner = g->b;
	bool stacks = draw_one_in(g, 2) && x.v->type.rank < 5;
	int turns = draw_below(g, 4), symbol = -1;
	struct node *n;

	if (x.v->type.dtype == DT_BOOL || x.open || g->graph->dims.symbol_count >= MAX_SYMBOLS - 1)
		return false;
	in[0] = add_scalar_int(&g->b, DT_I64, turns);
	in[1] = add_scalar_int(&g->b, DT_BOOL, 1);
	in[2] = x.v;
	i = region_param(g->graph, r, NULL, &scalar);
	c = region_param(g->graph, r, NULL, &flag);
	v = region_param(g->graph, r, NULL, &x.v->type);
	inner.region = r;
	y[0] = add_map_text(&inner, "(i, c) -> c & i < 2", DT_NONE, 2, (struct value *[]){i, c}, 0,
			    NULL);
	y[1] = y[2] = add_unary(&inner, EXPR_NEG, v);
	if (!y[0] || !y[1] || y[1]->type.dtype != x.v->type.dtype)
		return false;
	region_set_results(g->graph, r, stacks ? 3 : 2, y);
	if (stacks) {
		symbol = graph_symbol(g->graph, "turns", 4, NULL);
		g->symbols[symbol] = 4;
	}
	n = graph_add(&g->b, &(struct node_spec){.op = OP_loop,
						 .in_count = 3,
						 .in = in,
						 .out_count = stacks ? 2 : 1,
						 .region_count = 1,
						 .regions = &r,
						 .symbol_count = stacks,
						 .symbols = &symbol});
	return n && keep(g, n->out[stacks], x.mag);
}

bool step_any(struct generator *g)
{
	static bool (*const steps[])(struct generator *, struct item) = {
		step_reduce,  step_reduce,  step_argreduce, step_cumulate,  step_matmul,
		step_matmul,  step_conv,    step_conv,      step_pool,      step_winograd,
		step_reshape, step_reshape, step_transpose, step_transpose, step_slice,
		step_slice,   step_expand,  step_pad,       step_pad,       step_concat,
		step_concat,  step_gather,  step_scatter,   step_topk,      step_nonzero,
		step_source,  step_control, step_loop,      step_bytes,     step_bytes,
	};
	int which = draw_below(g, 11 + (int)(sizeof(steps) / sizeof(*steps)));

	if (which < 9)
		return step_map(g);
	if (which < 11)
		return step_cast(g);
	return steps[which - 11](g, pick(g));
}

/* ---- one inexact operation at the end ---- */

static bool inexact_matmul(struct generator *g, struct item x)
{
	dim dims[2] = {x.v->type.dims[1], constant(g, draw_size(g))};
	struct value *in[2] = {x.v, add_input(g, x.v->type.dtype, 2, dims, -1).v};

	return in[1] && keep(g, add(g, OP_matmul, 2, in, NULL), 1);
}

/* Of bf16, in an input of its own whose length is often odd. */
static bool inexact_bf16(struct generator *g, struct item x)
{
	dim inner = constant(g, 1 + draw_below(g, 90)), a[2] = {x.v->type.dims[0], inner},
	    b[2] = {inner, constant(g, draw_size(g) + 8)};
	struct value *in[2] = {add_input(g, DT_BF16, 2, a, -1).v, weights(g, DT_BF16, 2, b, -1)};

	g->judge = JUDGE_BF16;
	return in[0] && in[1] && keep(g, add(g, OP_matmul, 2, in, NULL), 1);
}

static bool inexact_normalize(struct generator *g, struct item x)
{
	int64_t axes[1] = {draw_below(g, x.v->type.rank)};
	struct attrs_normalize attrs = {.axes = {1, axes}, .eps = 0.01, .rms = draw_one_in(g, 2)};
	double n = (double)size_of(g, x.v->type.dims[axes[0]]);

	/* an error of the mean or of x, at most n * eps of |x| < 2, is divided by sqrt(var + 0.01) >= 0.1 */
	g->judge = JUDGE_ABS;
	g->tolerance = (n + 8) * 0x1p-23 * 2 / 0.1;
	return keep(g, add(g, OP_normalize, 1, &x.v, &attrs), 1);
}

static bool inexact_softmax(struct generator *g, struct item x)
{
	struct attrs_softmax attrs = {.axis = draw_below(g, x.v->type.rank),
				      .log = draw_one_in(g, 3)};
	double n = (double)size_of(g, x.v->type.dims[attrs.axis]);

	g->judge = JUDGE_ABS; /* results of softmax are up to 1, of its logarithm up to 4 + log n */
	g->tolerance = (n + 8) * 0x1p-23 * (attrs.log ? 8 : 1);
	return keep(g, add(g, OP_softmax, 1, &x.v, &attrs), 1);
}

static bool inexact_reduce(struct generator *g, struct item x)
{
	struct attrs_reduce attrs = {.kind = REDUCE_SUM, .axes = draw_axes(g, x.v, 8)};

	return keep(g, add(g, OP_reduce, 1, &x.v, &attrs), 1);
}

bool step_inexact(struct generator *g)
{
	static bool (*const steps[])(struct generator *, struct item) = {
		inexact_matmul,    inexact_normalize, inexact_softmax, inexact_reduce,
		inexact_attention, inexact_bf16,      inexact_weights};
	static const char *const names[] = {
		"matmul",    "normalize",      "softmax",           "reduce",
		"attention", "matmul of bf16", "matmul of few bits"};
	int which = draw_below(g, 9);
	dim dims[2] = {constant(g, draw_size(g)), constant(g, draw_size(g))};
	struct item x;

	if (which >= 7)
		return step_function(g);
	g->low = -2;
	g->high = 2;
	x = add_input(g, DT_F32, 2, dims, -1);
	if (!x.v)
		return false;
	g->judge = JUDGE_BOUNDS;
	g->subject = names[which];
	if (steps[which](g, x))
		return true;
	g->judge = JUDGE_EXACT;
	return false;
}
