/* ops_norm.c: normalizations: softmax and its kin, batch, layer, instance and group statistics. */
#include "frontend/window.h"

#include <string.h>

/* ---- softmax ---- */

/* Before opset 13 the operand is a matrix [axes before, axes from `axis` on], and softmax works on
 * its rows. */
static struct value *old_rows(struct site *s, struct value *x, int axis)
{
	dim dims[2] = {dim_int(s, 1), dim_int(s, 1)};
	for (int i = 0; i < rank_of(x); i++)
		dims[i >= axis] = dim_mul(s->dims, dims[i >= axis], x->type.dims[i]);
	return reshape(s, x, 2, dims);
}

static struct value *hardmax(struct site *s, struct value *x, int axis)
{
	if (!x)
		return NULL;
	struct value *best = argreduce(s, "argmax", x, axis, true);
	struct value *in[4] = {best, iota_at(s, x->type.dims[axis], rank_of(x), axis),
			       int_scalar(s, type_of(x), 1), int_scalar(s, type_of(x), 0)};
	return map_n(s, "a == b ? c : d", type_of(x), 4, in, 0, NULL);
}

static bool import_softmax(struct site *s)
{
	struct value *x = s->in[0], *y = x;
	int axis;
	int64_t given = attr_int(s, "axis", s->opset < 13 ? 1 : -1);
	bool old = s->opset < 13;
	if (old && given == rank_of(x)) {
		/* each row has one element */
		y = insert_axis(s, x, rank_of(x));
		axis = rank_of(x);
		old = false;
	} else if (!site_axis(s, given, rank_of(x), &axis)) {
		return false;
	}
	if (old)
		y = old_rows(s, x, axis);
	int at = old ? 1 : axis;
	if (!strcmp(s->node->op, "Hardmax"))
		y = hardmax(s, y, at);
	else
		y = softmax(s, y, at, !strcmp(s->node->op, "LogSoftmax"));
	return site_out(s, 0, reshape(s, y, rank_of(x), x->type.dims));
}

/* ---- batch normalization ---- */

/* Statistics of the batch take the place of the given ones, which move towards them. */
static bool train(struct site *s, struct value *x, struct value **mean, struct value **var)
{
	int axes[HONE_MAX_RANK], count = 0;
	for (int i = 0; i < rank_of(x); i++)
		if (i != 1)
			axes[count++] = i;
	enum dtype t = type_of(*mean);
	struct named_real m = {"m", attr_real(s, "momentum", 0.9)};
	struct value *wide = widen(s, x), *center = mean_axes(s, wide, count, axes, true);
	struct value *square = map2(s, "(a - b) * (a - b)", DT_NONE, wide, center);
	struct value *now_mean = mean_axes(s, wide, count, axes, false);
	struct value *now_var = mean_axes(s, square, count, axes, false);
	if (site_wants(s, 1)) {
		struct value *in[2] = {*mean, now_mean};
		if (!site_out(s, 1, map_n(s, "a * m + b * (1 - m)", t, 2, in, 1, &m)))
			return false;
	}
	if (site_wants(s, 2)) {
		struct value *in[2] = {*var, now_var};
		if (!site_out(s, 2, map_n(s, "a * m + b * (1 - m)", t, 2, in, 1, &m)))
			return false;
	}
	*mean = now_mean;
	*var = now_var;
	return now_mean && now_var;
}

static bool import_batch_norm(struct site *s)
{
	struct value *x = s->in[0], *mean = s->in[3], *var = s->in[4];
	struct named_real eps = {"eps", attr_real(s, "epsilon", 1e-5)};
	if (!attr_int(s, "spatial", 1))
		return site_unsupported(s, "spatial = 0");
	if (rank_of(x) < 1)
		return site_invalid(s, "expected at least 1 axis");
	bool training = s->opset >= 14 && attr_int(s, "training_mode", 0);
	if (training && !train(s, x, &mean, &var))
		return false;
	/* (x - mean) / sqrt(var + eps) * b + c = x * scale + shift: what each channel has alone is computed once */
	struct value *in[2] = {s->in[1], var};
	struct value *scale = map_n(s, "a / sqrt(b + eps)", DT_NONE, 2, in, 1, &eps);
	struct value *shift = map3(s, "a - b * c", DT_NONE, s->in[2], mean, scale);
	return site_out(s, 0,
			map3(s, "a * b + c", type_of(x), x, per_channel(s, scale, rank_of(x)),
			     per_channel(s, shift, rank_of(x))));
}

/* ---- layer, instance and group normalization ---- */

static bool import_instance_norm(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], count = 0;
	if (rank_of(x) < 3)
		return site_invalid(s, "expected at least 3 axes");
	for (int i = 2; i < rank_of(x); i++)
		axes[count++] = i;
	struct value *y = normalize(s, x, count, axes, attr_real(s, "epsilon", 1e-5));
	return site_out(s, 0,
			map3(s, "a * b + c", type_of(x), y, per_channel(s, s->in[1], rank_of(x)),
			     per_channel(s, s->in[2], rank_of(x))));
}

/* Scale and bias are for each group in opset 18, for each channel from 21 on. */
static bool import_group_norm(struct site *s)
{
	struct value *x = s->in[0], *scale = s->in[1], *bias = s->in[2];
	int64_t groups = attr_int(s, "num_groups", 0);
	int rank = rank_of(x);
	if (rank < 2 || groups < 1)
		return site_invalid(s, "expected at least 2 axes and num_groups");
	dim g = dim_int(s, groups), n = x->type.dims[0], rest = type_count(s->g, &x->type);
	rest = dim_floordiv(s->dims, rest, dim_mul(s->dims, n, g));
	struct value *y = reshape(s, x, 3, (dim[]){n, g, rest});
	y = y ? normalize(s, y, 1, (int[]){2}, attr_real(s, "epsilon", 1e-5)) : NULL;
	if (s->opset >= 21)
		y = reshape(s, y, rank, x->type.dims);
	int as = s->opset >= 21 ? rank : 3;
	y = map3(s, "a * b + c", type_of(x), y, per_channel(s, scale, as),
		 per_channel(s, bias, as));
	return site_out(s, 0, reshape(s, y, rank, x->type.dims));
}

/* Whether v has just the dims of x from `axis` on: then it can be normalize's operand. */
static bool is_suffix(const struct value *v, const struct value *x, int axis)
{
	if (!v || rank_of(v) != rank_of(x) - axis || type_of(v) != type_of(x))
		return false;
	for (int i = 0; i < rank_of(v); i++)
		if (v->type.dims[i] != x->type.dims[axis + i])
			return false;
	return true;
}

static struct value *layer_norm(struct site *s, struct value *x, int axis, struct value *scale,
				struct value *bias, double eps, bool rms)
{
	int64_t axes[HONE_MAX_RANK];
	int count = 0;
	for (int i = axis; i < rank_of(x); i++)
		axes[count++] = i;
	bool inside = is_suffix(scale, x, axis) && (!bias || is_suffix(bias, x, axis));
	struct value *in[3] = {x, scale, bias};
	struct attrs_normalize a = {.axes = {count, axes}, .eps = eps, .rms = rms};
	struct node *n = add_node(s, OP_normalize, !inside ? 1 : bias ? 3 : 2, in, &a);
	struct value *y = n ? n->out[0] : NULL;
	if (!inside && scale)
		y = map2(s, "a * b", type_of(x), y, scale);
	if (!inside && bias)
		y = map2(s, "a + b", type_of(x), y, bias);
	return y;
}

/* Outputs 1 and 2: the mean and 1 / standard deviation. */
static bool statistics(struct site *s, struct value *x, int axis, double eps)
{
	int axes[HONE_MAX_RANK], count = 0;
	struct named_real e = {"eps", eps};
	if (!site_wants(s, 1) && !site_wants(s, 2))
		return true;
	for (int i = axis; i < rank_of(x); i++)
		axes[count++] = i;
	struct value *wide = widen(s, x), *mean = mean_axes(s, wide, count, axes, true);
	struct value *square = map2(s, "(a - b) * (a - b)", DT_NONE, wide, mean);
	struct value *var = mean_axes(s, square, count, axes, true);
	return site_out(s, 1, mean) &&
	       site_out(s, 2, map_n(s, "1 / sqrt(a + eps)", DT_NONE, 1, &var, 1, &e));
}

static bool import_layer_norm(struct site *s)
{
	struct value *x = s->in[0];
	double eps = attr_real(s, "epsilon", 1e-5);
	bool rms =
		!strcmp(s->node->op, "RMSNormalization") || !strncmp(s->node->op, "Simplified", 10);
	int axis;
	if (!site_axis(s, attr_int(s, "axis", -1), rank_of(x), &axis))
		return false;
	return site_out(s, 0, layer_norm(s, x, axis, s->in[1], site_in(s, 2), eps, rms)) &&
	       (rms || statistics(s, x, axis, eps));
}

/* com.microsoft: operands x, skip, gamma, beta, bias; output 3 is the sum that is normalized. */
static bool import_skip_layer_norm(struct site *s)
{
	struct value *x = map2(s, "a + b", type_of(s->in[0]), s->in[0], s->in[1]);
	bool rms = !strcmp(s->node->op, "SkipSimplifiedLayerNormalization");
	struct value *bias = site_in(s, rms ? 3 : 4), *beta = rms ? NULL : site_in(s, 3);
	if (bias)
		x = map2(s, "a + b", x ? type_of(x) : DT_NONE, x, bias);
	if (!x || rank_of(x) < 1)
		return false;
	double eps = attr_real(s, "epsilon", rms ? 1e-5 : 1e-12);
	if (!site_out(s, 0, layer_norm(s, x, rank_of(x) - 1, s->in[2], beta, eps, rms)))
		return false;
	if (!rms && !statistics(s, x, rank_of(x) - 1, eps))
		return false;
	return site_out(s, 3, x);
}

/* ---- others ---- */

/* x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta */
static bool import_lrn(struct site *s)
{
	struct value *x = s->in[0];
	int64_t size = attr_int(s, "size", 1), one = 1;
	enum dtype t = type_of(x);
	if (rank_of(x) < 2 || size < 1 || size > INT32_MAX)
		return site_invalid(s, "expected at least 2 axes and size");
	dim n = x->type.dims[0], c = x->type.dims[1], rest = dim_int(s, 1);
	for (int i = 2; i < rank_of(x); i++)
		rest = dim_mul(s->dims, rest, x->type.dims[i]);
	struct value *y = reshape(s, map1(s, "a * a", DT_NONE, x), 3, (dim[]){n, c, rest});
	y = pad_axis(s, y, 1, dim_int(s, (size - 1) / 2), dim_int(s, size - 1 - (size - 1) / 2), 0);
	y = reshape(s, pool(s, y, REDUCE_SUM, 1, &size, &one, &one), rank_of(x), x->type.dims);
	struct named_real k[] = {{"scale", attr_real(s, "alpha", (double)1e-4f) / (double)size},
				 {"beta", attr_real(s, "beta", 0.75)},
				 {"bias", attr_real(s, "bias", 1)}};
	struct value *in[2] = {x, y};
	return site_out(s, 0, map_n(s, "a / pow(bias + scale * b, beta)", t, 2, in, 3, k));
}

static bool import_mvn(struct site *s)
{
	struct value *x = s->in[0];
	int axes[HONE_MAX_RANK], count;
	if (!site_axes(s, -1, rank_of(x), axes, &count))
		return false;
	if (count < 0) {
		if (rank_of(x) < 4)
			return site_invalid(s, "the default axes 0, 2, 3 need 4 axes");
		count = 3;
		memcpy(axes, (int[]){0, 2, 3}, 3 * sizeof(int));
	}
	struct value *wide = widen(s, x), *mean = mean_axes(s, wide, count, axes, true);
	struct value *square = map2(s, "(a - b) * (a - b)", DT_NONE, wide, mean);
	struct value *var = mean_axes(s, square, count, axes, true);
	return site_out(s, 0, map3(s, "(a - b) / (sqrt(c) + 1e-9)", type_of(x), wide, mean, var));
}

static bool import_lp_normalization(struct site *s)
{
	struct value *x = s->in[0];
	int axis;
	int64_t p = attr_int(s, "p", 2);
	if (p != 1 && p != 2)
		return site_invalid(s, "p should be 1 or 2");
	if (!site_axis(s, attr_int(s, "axis", -1), rank_of(x), &axis))
		return false;
	struct value *sum = map1(s, p == 1 ? "abs(a)" : "a * a", DT_NONE, x);
	sum = reduce_axes(s, REDUCE_SUM, sum, 1, &axis, true);
	return site_out(s, 0, map2(s, p == 1 ? "a / b" : "a / sqrt(b)", type_of(x), x, sum));
}

const struct import_row ops_norm[] = {
	{"", "Softmax", 1, 0, 1, 1, import_softmax, "axis", "exp(x) over its sum along an axis",
	 NULL},
	{"", "LogSoftmax", 1, 0, 1, 1, import_softmax, "axis", "logarithm of softmax", NULL},
	{"", "Hardmax", 1, 0, 1, 1, import_softmax, "axis", "1 at the first largest, else 0", NULL},
	{"", "BatchNormalization", 1, 0, 5, 5, import_batch_norm,
	 "epsilon momentum spatial is_test training_mode consumed_inputs",
	 "by given, or the batch's, mean and variance", NULL},
	{"", "InstanceNormalization", 1, 0, 3, 3, import_instance_norm, "epsilon consumed_inputs",
	 "each plane by its mean and variance", NULL},
	{"", "GroupNormalization", 18, 0, 3, 3, import_group_norm, "epsilon num_groups stash_type",
	 "groups of channels by their mean and variance", NULL},
	{"", "LayerNormalization", 1, 0, 2, 3, import_layer_norm, "axis epsilon stash_type",
	 "the last axes by their mean and variance", NULL},
	{"", "RMSNormalization", 23, 0, 2, 2, import_layer_norm, "axis epsilon stash_type",
	 "the last axes by their root mean square", NULL},
	{"", "SimplifiedLayerNormalization", 1, 0, 2, 2, import_layer_norm,
	 "axis epsilon stash_type", "as RMSNormalization", NULL},
	{"com.microsoft", "LayerNormalization", 1, 0, 2, 3, import_layer_norm,
	 "axis epsilon stash_type", "the last axes by their mean and variance", NULL},
	{"com.microsoft", "SkipLayerNormalization", 1, 0, 3, 5, import_skip_layer_norm, "epsilon",
	 "LayerNormalization of a sum", NULL},
	{"com.microsoft", "SkipSimplifiedLayerNormalization", 1, 0, 3, 4, import_skip_layer_norm,
	 "epsilon", "RMSNormalization of a sum", NULL},
	{"", "LRN", 1, 0, 1, 1, import_lrn, "alpha beta bias size", "by neighbouring channels",
	 NULL},
	{"", "MeanVarianceNormalization", 9, 0, 1, 1, import_mvn, "axes",
	 "by mean and standard deviation", NULL},
	{"", "LpNormalization", 1, 0, 1, 1, import_lp_normalization, "axis p",
	 "by the p-norm along an axis", NULL},
	{0},
};
