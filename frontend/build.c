/* build.c: small compositions of core operators that many importers use. Each returns NULL when an
 * operand is NULL or inference failed (reported). */
#include "frontend/site.h"

#include <string.h>

dim dim_int(struct site *s, int64_t value) { return dim_const(s->dims, value); }

struct value *real_scalar(struct site *s, enum dtype t, double x)
{
	return add_scalar_real(s->b, t, x);
}

struct value *int_scalar(struct site *s, enum dtype t, int64_t x)
{
	return dtype_is_float(t) ? add_scalar_real(s->b, t, (double)x) : add_scalar_int(s->b, t, x);
}

int64_t enum_value(enum op_id op, const char *attr, const char *name)
{
	const struct op_row *row = &op_table[op];
	size_t length = strlen(name);
	for (int i = 0; i < row->attr_count; i++) {
		if (strcmp(row->attrs[i].name, attr))
			continue;
		int64_t n = 0;
		for (const char *at = row->attrs[i].names; at; n++) {
			size_t size = strcspn(at, "|");
			if (size == length && !memcmp(at, name, size))
				return n;
			at = at[size] ? at + size + 1 : NULL;
		}
	}
	BUG("%s has no %s=%s", row->name, attr, name);
}

struct node *add_node(struct site *s, enum op_id op, int count, struct value *const *in,
		      const void *attrs)
{
	for (int i = 0; i < count; i++)
		if (!in[i])
			return NULL;
	return graph_add(
		s->b, &(struct node_spec){.op = op, .in_count = count, .in = in, .attrs = attrs});
}

static struct value *only(struct node *n) { return n ? n->out[0] : NULL; }

/* ---- maps ---- */

struct value *map_n(struct site *s, const char *text, enum dtype t, int count,
		    struct value *const *in, int constant_count, const struct named_real *constants)
{
	char whole[1024];
	size_t at = 0;
	whole[at++] = '(';
	for (int i = 0; i < count; i++) {
		if (!in[i])
			return NULL;
		if (i) {
			whole[at++] = ',';
			whole[at++] = ' ';
		}
		whole[at++] = (char)('a' + i);
	}
	int n = snprintf(whole + at, sizeof(whole) - at, ") -> %s", text);
	if (n < 0 || (size_t)n >= sizeof(whole) - at)
		BUG("map text too long");
	return add_map_text(s->b, whole, t, count, in, constant_count, constants);
}

struct value *map1(struct site *s, const char *text, enum dtype t, struct value *a)
{
	return map_n(s, text, t, 1, &a, 0, NULL);
}

struct value *map2(struct site *s, const char *text, enum dtype t, struct value *a, struct value *b)
{
	return map_n(s, text, t, 2, (struct value *[]){a, b}, 0, NULL);
}

struct value *map3(struct site *s, const char *text, enum dtype t, struct value *a, struct value *b,
		   struct value *c)
{
	return map_n(s, text, t, 3, (struct value *[]){a, b, c}, 0, NULL);
}

struct value *cast_to(struct site *s, struct value *x, enum dtype t)
{
	return !x || x->type.dtype == t ? x : add_cast(s->b, x, t);
}

struct value *widen(struct site *s, struct value *x)
{
	return x ? cast_to(s, x, dtype_compute(x->type.dtype)) : NULL;
}

/* ---- movement ---- */

/* Whether x (which may be NULL: reported) has that axis. */
static bool has_axis(struct site *s, const struct value *x, int axis)
{
	if (!x || axis < x->type.rank)
		return x != NULL;
	return site_invalid(s, "an operand has %d axes, at least %d are needed", x->type.rank,
			    axis + 1);
}

struct value *reshape(struct site *s, struct value *x, int rank, const dim *dims)
{
	if (!x)
		return NULL;
	bool same = rank == x->type.rank;
	for (int i = 0; same && i < rank; i++)
		same = dims[i] == x->type.dims[i];
	return same ? x : add_reshape(s->b, x, rank, dims);
}

struct value *insert_axis(struct site *s, struct value *x, int axis)
{
	dim dims[HONE_MAX_RANK + 1];
	if (!has_axis(s, x, axis - 1))
		return NULL;
	int rank = x->type.rank;
	if (rank >= HONE_MAX_RANK) {
		site_unsupported(s, "more than %d axes", HONE_MAX_RANK);
		return NULL;
	}
	for (int i = 0; i <= rank; i++)
		dims[i] = i < axis    ? x->type.dims[i]
			  : i == axis ? dim_int(s, 1)
				      : x->type.dims[i - 1];
	return add_reshape(s->b, x, rank + 1, dims);
}

struct value *drop_axis(struct site *s, struct value *x, int axis)
{
	dim dims[HONE_MAX_RANK];
	if (!has_axis(s, x, axis))
		return NULL;
	int rank = 0;
	for (int i = 0; i < x->type.rank; i++)
		if (i != axis)
			dims[rank++] = x->type.dims[i];
	return add_reshape(s->b, x, rank, dims);
}

struct value *iota(struct site *s, int rank, const dim *dims, int axis, enum dtype t)
{
	struct attrs_iota a = {.dims = {rank, dims}, .axis = axis, .type = t};
	return only(add_node(s, OP_iota, 0, NULL, &a));
}

struct value *iota_at(struct site *s, dim extent, int rank, int axis)
{
	dim dims[HONE_MAX_RANK];
	for (int i = 0; i < rank; i++)
		dims[i] = i == axis ? extent : dim_int(s, 1);
	return iota(s, rank, dims, axis, DT_I64);
}

struct value *slice_axis(struct site *s, struct value *x, int axis, dim at, dim size)
{
	dim ats[HONE_MAX_RANK], sizes[HONE_MAX_RANK];
	if (!has_axis(s, x, axis))
		return NULL;
	for (int i = 0; i < x->type.rank; i++) {
		ats[i] = i == axis ? at : dim_int(s, 0);
		sizes[i] = i == axis ? size : x->type.dims[i];
	}
	if (dim_is(at, 0) && size == x->type.dims[axis])
		return x;
	return add_slice(s->b, x, ats, sizes, NULL);
}

struct value *flip_axis(struct site *s, struct value *x, int axis)
{
	dim at[HONE_MAX_RANK];
	int64_t step[HONE_MAX_RANK];
	if (!has_axis(s, x, axis))
		return NULL;
	for (int i = 0; i < x->type.rank; i++) {
		at[i] = i == axis ? dim_sub(s->dims, x->type.dims[i], dim_int(s, 1))
				  : dim_int(s, 0);
		step[i] = i == axis ? -1 : 1;
	}
	return add_slice(s->b, x, at, x->type.dims, step);
}

struct value *pad_axis(struct site *s, struct value *x, int axis, dim lo, dim hi, double value)
{
	dim los[HONE_MAX_RANK], his[HONE_MAX_RANK], zero = dim_int(s, 0);
	if (!has_axis(s, x, axis))
		return NULL;
	dim cut_lo = dim_max(s->dims, dim_sub(s->dims, zero, lo), zero);
	dim cut_hi = dim_max(s->dims, dim_sub(s->dims, zero, hi), zero);
	if (!dim_is(cut_lo, 0) || !dim_is(cut_hi, 0)) {
		dim size = dim_sub(s->dims, dim_sub(s->dims, x->type.dims[axis], cut_lo), cut_hi);
		x = slice_axis(s, x, axis, cut_lo, size);
		if (!x)
			return NULL;
	}
	for (int i = 0; i < x->type.rank; i++)
		los[i] = his[i] = zero;
	los[axis] = dim_max(s->dims, lo, zero);
	his[axis] = dim_max(s->dims, hi, zero);
	if (dim_is(los[axis], 0) && dim_is(his[axis], 0))
		return x;
	return add_pad(s->b, x, los, his, value);
}

struct value *concat2(struct site *s, int axis, struct value *x, struct value *y)
{
	if (!x || !y)
		return NULL;
	return add_concat(s->b, axis, 2, (struct value *[]){x, y});
}

struct value *expand_to(struct site *s, struct value *x, int rank, const dim *dims)
{
	if (!x)
		return NULL;
	bool same = rank == x->type.rank;
	for (int i = 0; same && i < rank; i++)
		same = dims[i] == x->type.dims[i];
	return same ? x : add_expand(s->b, x, rank, dims);
}

struct value *transpose(struct site *s, struct value *x, const int *perm)
{
	if (!x)
		return NULL;
	bool same = true;
	for (int i = 0; i < x->type.rank; i++)
		same = same && perm[i] == i;
	return same ? x : add_transpose(s->b, x, perm);
}

struct value *swap_axes(struct site *s, struct value *x, int i, int j)
{
	int perm[HONE_MAX_RANK];
	if (!has_axis(s, x, i > j ? i : j))
		return NULL;
	for (int k = 0; k < x->type.rank; k++)
		perm[k] = k == i ? j : k == j ? i : k;
	return transpose(s, x, perm);
}

struct value *move_axis(struct site *s, struct value *x, int from, int to)
{
	int perm[HONE_MAX_RANK], n = 0;
	if (!has_axis(s, x, from > to ? from : to))
		return NULL;
	for (int k = 0; k < x->type.rank; k++) {
		if (k == to) {
			perm[k] = from;
			continue;
		}
		if (n == from)
			n++;
		perm[k] = n++;
	}
	return transpose(s, x, perm);
}

struct value *splat(struct site *s, enum dtype t, double x, int rank, const dim *dims)
{
	struct value *v = dtype_is_float(t) ? real_scalar(s, t, x) : int_scalar(s, t, (int64_t)x);
	return expand_to(s, v, rank, dims);
}

/* ---- reductions and contractions ---- */

static void sort_axes(int count, const int *axes, int64_t *out)
{
	for (int i = 0; i < count; i++) {
		int k = i;
		for (; k > 0 && out[k - 1] > axes[i]; k--)
			out[k] = out[k - 1];
		out[k] = axes[i];
	}
}

struct value *reduce_axes(struct site *s, enum reduce_kind kind, struct value *x, int count,
			  const int *axes, bool keep)
{
	int64_t list[HONE_MAX_RANK];
	if (!x)
		return NULL;
	if (count == 0)
		return x;
	sort_axes(count, axes, list);
	return add_reduce(s->b, kind, x, count, list, keep);
}

struct value *mean_axes(struct site *s, struct value *x, int count, const int *axes, bool keep)
{
	if (!x)
		return NULL;
	dim n = dim_int(s, 1);
	for (int i = 0; i < count; i++)
		n = dim_mul(s->dims, n, x->type.dims[axes[i]]);
	struct value *sum = reduce_axes(s, REDUCE_SUM, x, count, axes, keep);
	if (!sum)
		return NULL;
	enum dtype t = dtype_compute(sum->type.dtype);
	struct expr_pool *p = &s->g->exprs;
	const struct expr *divisor = dim_is_const(n) ? expr_int(p, t, n->value)
						     : expr_cast(p, EXPR_CAST, t, expr_dim(p, n));
	const struct expr *e = expr_binary(p, EXPR_DIV, expr_param(p, t, 0), divisor);
	return add_map(s->b, e, sum->type.dtype, 1, &sum);
}

struct value *argreduce(struct site *s, const char *kind, struct value *x, int axis, bool keep)
{
	struct attrs_argreduce a = {
		.kind = enum_value(OP_argreduce, "kind", kind), .axis = axis, .keep = keep};
	return only(add_node(s, OP_argreduce, 1, &x, &a));
}

struct value *normalize(struct site *s, struct value *x, int count, const int *axes, double eps)
{
	int64_t list[HONE_MAX_RANK];
	sort_axes(count, axes, list);
	struct attrs_normalize a = {.axes = {count, list}, .eps = eps};
	return only(add_node(s, OP_normalize, 1, &x, &a));
}

struct value *softmax(struct site *s, struct value *x, int axis, bool log)
{
	struct attrs_softmax a = {.axis = axis, .log = log};
	return only(add_node(s, OP_softmax, 1, &x, &a));
}

struct value *matmul(struct site *s, struct value *x, struct value *y)
{
	return only(add_node(s, OP_matmul, 2, (struct value *[]){x, y}, NULL));
}

struct value *pool(struct site *s, struct value *x, enum reduce_kind kind, int count,
		   const int64_t *size, const int64_t *stride, const int64_t *dilation)
{
	struct attrs_pool a = {.kind = enum_value(OP_pool, "kind", reduce_names[kind]),
			       .size = {count, size},
			       .stride = {count, stride},
			       .dilation = {count, dilation}};
	return only(add_node(s, OP_pool, 1, &x, &a));
}

/* ---- indices ---- */

struct value *gather(struct site *s, int kind, struct value *x, struct value *index, int axis,
		     int batch)
{
	return x && index ? add_gather(s->b, kind, x, index, axis, batch) : NULL;
}

struct value *scatter(struct site *s, int kind, struct value *x, struct value *index,
		      struct value *update, int axis, const char *combine)
{
	struct attrs_scatter a = {
		.kind = kind, .axis = axis, .combine = enum_value(OP_scatter, "combine", combine)};
	return only(add_node(s, OP_scatter, 3, (struct value *[]){x, index, update}, &a));
}

struct value *shape_of(struct site *s, const struct value *x)
{
	return add_shape(s->b, x->type.rank, x->type.dims);
}

/* A constant index without negative numbers, made here so that shapes that follow from it are
 * known. */
static struct value *fix_constant(struct site *s, struct value *index, dim extent)
{
	const struct tensor *t = value_const(index);
	int64_t n = type_count_const(&index->type), low = 0;
	if (!t || n < 0)
		return NULL;
	int64_t *at = arena_array(s->g->arena, (size_t)n + 1, sizeof(*at));
	for (int64_t i = 0; i < n; i++) {
		at[i] = tensor_element(t, index->type.dtype, i).i;
		low = at[i] < low ? at[i] : low;
	}
	if (low >= 0 && index->type.dtype == DT_I64)
		return index;
	if (low < 0 && !dim_is_const(extent))
		return NULL;
	for (int64_t i = 0; i < n; i++)
		at[i] += at[i] < 0 ? extent->value : 0;
	struct type type = type_make(DT_I64, index->type.rank, index->type.dims);
	return add_const(s->b, &type, &(struct tensor){.data = at, .size = n * 8});
}

struct value *fix_index(struct site *s, struct value *index, dim extent)
{
	if (!index)
		return NULL;
	struct value *known = fix_constant(s, index, extent);
	if (known)
		return known;
	struct expr_pool *p = &s->g->exprs;
	const struct expr *i = expr_param(p, dtype_compute(index->type.dtype), 0);
	i = expr_cast(p, EXPR_CAST, DT_I64, i);
	const struct expr *negative = expr_binary(p, EXPR_LT, i, expr_index(p, 0));
	const struct expr *e = expr_select(p, negative, index_add(p, i, expr_dim(p, extent)), i);
	return add_map(s->b, e, DT_I64, 1, &index);
}
