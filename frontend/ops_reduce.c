/* ops_reduce.c: reductions along axes; the compound ones are a map, a reduction and a map. */
#include "frontend/site.h"

#include <string.h>

enum kind { SUM, MEAN, MAX, MIN, PROD, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE };
static const char *const names[] = {
	"ReduceSum", "ReduceMean", "ReduceMax",    "ReduceMin",       "ReduceProd",
	"ReduceL1",  "ReduceL2",   "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};

static enum kind kind_of(const struct site *s)
{
	int i = 0;
	while (strcmp(names[i], s->node->op))
		i++;
	return (enum kind)i;
}

/* log sum exp(x) = m + log sum exp(x - m), with m the largest (0 where that is not finite). */
static struct value *log_sum_exp(struct site *s, struct value *x, int count, const int *axes,
				 bool keep)
{
	dim dims[HONE_MAX_RANK];
	struct value *m = reduce_axes(s, REDUCE_MAX, x, count, axes, true);
	m = m ? map1(s, "abs(a) < inf ? a : 0", type_of(x), m) : NULL;
	struct value *e = map2(s, "exp(a - b)", type_of(x), x, m);
	struct value *sum = reduce_axes(s, REDUCE_SUM, e, count, axes, keep);
	if (!sum)
		return NULL;
	memcpy(dims, sum->type.dims, sizeof(dims));
	return map2(s, "log(a) + b", type_of(x), sum, reshape(s, m, rank_of(sum), dims));
}

static struct value *reduce(struct site *s, enum kind kind, struct value *x, int count,
			    const int *axes, bool keep)
{
	enum dtype t = type_of(x);
	struct value *y = NULL;
	/* sums of squares and exponentials overflow f16: it is rounded once, at the end */
	if (kind != MAX && kind != MIN)
		x = widen(s, x);
	if (!x)
		return NULL;
	enum dtype ct = type_of(x);
	switch (kind) {
	case SUM: y = reduce_axes(s, REDUCE_SUM, x, count, axes, keep); break;
	case MEAN: y = mean_axes(s, x, count, axes, keep); break;
	case MAX:
		y = reduce_axes(s, t == DT_BOOL ? REDUCE_ANY : REDUCE_MAX, x, count, axes, keep);
		break;
	case MIN:
		y = reduce_axes(s, t == DT_BOOL ? REDUCE_ALL : REDUCE_MIN, x, count, axes, keep);
		break;
	case PROD: y = reduce_axes(s, REDUCE_PROD, x, count, axes, keep); break;
	case L1: y = reduce_axes(s, REDUCE_SUM, map1(s, "abs(a)", ct, x), count, axes, keep); break;
	case L2:
		y = reduce_axes(s, REDUCE_SUM, map1(s, "a * a", ct, x), count, axes, keep);
		y = dtype_is_float(ct) ? map1(s, "sqrt(a)", ct, y)
				       : cast_to(s, map1(s, "sqrt(f64(a))", DT_NONE, y), ct);
		break;
	case LOG_SUM:
		y = reduce_axes(s, REDUCE_SUM, x, count, axes, keep);
		y = dtype_is_float(ct) ? map1(s, "log(a)", ct, y)
				       : cast_to(s, map1(s, "log(f64(a))", DT_NONE, y), ct);
		break;
	case LOG_SUM_EXP:
		if (dtype_is_float(ct))
			y = log_sum_exp(s, x, count, axes, keep);
		else
			y = log_sum_exp(s, cast_to(s, x, DT_F64), count, axes, keep);
		break;
	case SUM_SQUARE:
		y = reduce_axes(s, REDUCE_SUM, map1(s, "a * a", ct, x), count, axes, keep);
		break;
	}
	return cast_to(s, y, t);
}

/* Whether reducing the axes in `mask` gives the declared dims of the result. */
static bool fits(struct site *s, const struct value *x, unsigned mask, bool keep)
{
	int at = 0;
	for (int i = 0; i < rank_of(x); i++) {
		bool reduced = mask >> i & 1;
		if (reduced && !keep)
			continue;
		int64_t d = declared_dim(s, 0, at++);
		if (d < 0 || (reduced ? d != 1 : !dim_is(x->type.dims[i], d)))
			return false;
	}
	return at == declared_rank(s, 0);
}

/* For an axis vector only known at run time: true for the set `mask`. An empty vector means all
 * axes, or with noop_with_empty_axes none. */
static struct value *is_mask(struct site *s, struct value *axes, unsigned mask, int rank)
{
	int64_t n = value_length(axes);
	dim whole = dim_int(s, rank);
	struct value *off = splat(s, DT_I64, 0, 1, &whole),
		     *on = splat(s, DT_I64, 1, 1, axes->type.dims);
	struct value *set =
		n ? scatter(s, GATHER_TAKE, off, fix_index(s, axes, whole), on, 0, "none") : off;
	int64_t wanted[HONE_MAX_RANK];
	for (int i = 0; i < rank; i++)
		wanted[i] = mask >> i & 1;
	struct value *same = map2(s, "a == b", DT_NONE, set, add_ints(s->b, DT_I64, rank, wanted));
	return reduce_axes(s, REDUCE_ALL, same, 1, (int[]){0}, false);
}

/* Axes only known at run time: of the sets of axes that give the declared dims, the one asked for. */
static bool reduce_declared(struct site *s, struct value *axes, bool keep)
{
	struct value *x = s->in[0], *y = NULL;
	int rank = rank_of(x), list[HONE_MAX_RANK];
	int64_t n = value_length(axes);
	if (n < 0 || !declared_const(s, 0))
		return site_unsupported(
			s, "the axes are only known at run time, and the model declares no dims");
	for (unsigned mask = 0; mask < 1u << rank; mask++) {
		int count = 0;
		for (int i = 0; i < rank; i++)
			if (mask >> i & 1)
				list[count++] = i;
		if (count != n || !fits(s, x, mask, keep))
			continue;
		struct value *one = reduce(s, kind_of(s), x, count, list, keep);
		if (!one)
			return false;
		y = y ? map3(s, "a ? b : c", type_of(x), is_mask(s, axes, mask, rank), one, y)
		      : one;
	}
	if (!y)
		return site_invalid(s, "no axes give the declared dims");
	return site_out(s, 0, y);
}

static bool import_reduce(struct site *s)
{
	struct value *x = s->in[0], *axes_in = site_in(s, 1);
	bool keep = attr_int(s, "keepdims", 1), sum = kind_of(s) == SUM;
	int axes[HONE_MAX_RANK], count = -1, since = sum ? 13 : 18;
	int64_t list[HONE_MAX_RANK];
	if (s->opset < since && axes_in)
		return site_invalid(s, "axes are an attribute before opset %d", since);
	if (axes_in && value_length(axes_in) == 0)
		axes_in = NULL;
	if (axes_in && value_length(axes_in) <= HONE_MAX_RANK &&
	    !value_ints(axes_in, HONE_MAX_RANK, list, &count))
		return reduce_declared(s, axes_in, keep);
	if (axes_in ? !site_axes(s, 1, rank_of(x), axes, &count)
		    : !site_axes(s, -1, rank_of(x), axes, &count))
		return false;
	if (count <= 0) {
		count = attr_int(s, "noop_with_empty_axes", 0) ? 0 : rank_of(x);
		for (int i = 0; i < count; i++)
			axes[i] = i;
	}
	return site_out(s, 0, reduce(s, kind_of(s), x, count, axes, keep));
}

static bool import_arg(struct site *s)
{
	int axis;
	if (!site_axis(s, attr_int(s, "axis", 0), rank_of(s->in[0]), &axis))
		return false;
	bool max = !strcmp(s->node->op, "ArgMax"), last = attr_int(s, "select_last_index", 0);
	const char *kind = max ? last ? "argmax_last" : "argmax" : last ? "argmin_last" : "argmin";
	return site_out(s, 0, argreduce(s, kind, s->in[0], axis, attr_int(s, "keepdims", 1)));
}

#define REDUCE(op, doc)                                                                      \
	{"", op, 1, 0, 1, 2, import_reduce, "axes keepdims noop_with_empty_axes", doc, NULL}
const struct import_row ops_reduce[] = {
	REDUCE("ReduceSum", "sum along axes"),
	REDUCE("ReduceMean", "mean along axes"),
	REDUCE("ReduceMax", "largest along axes"),
	REDUCE("ReduceMin", "smallest along axes"),
	REDUCE("ReduceProd", "product along axes"),
	REDUCE("ReduceL1", "sum of magnitudes along axes"),
	REDUCE("ReduceL2", "root of the sum of squares along axes"),
	REDUCE("ReduceLogSum", "logarithm of the sum along axes"),
	REDUCE("ReduceLogSumExp", "logarithm of the sum of exponentials along axes"),
	REDUCE("ReduceSumSquare", "sum of squares along axes"),
	{"", "ArgMax", 1, 0, 1, 1, import_arg, "axis keepdims select_last_index",
	 "position of the largest along an axis", NULL},
	{"", "ArgMin", 1, 0, 1, 1, import_arg, "axis keepdims select_last_index",
	 "position of the smallest along an axis", NULL},
	{0},
};
