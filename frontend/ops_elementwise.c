/* ops_elementwise.c: operators that work element by element: the rows of elementwise.def, and those
 * whose expression depends on attributes or types. */
#include "frontend/site.h"

#include <stdlib.h>
#include <string.h>

/* Before opset 7: `broadcast` allowed it, and `axis` said where b's axes begin in a's (PRelu's
 * slope, without attributes, is one number for each channel). */
static struct value *old_broadcast(struct site *s, struct value *a, struct value *b)
{
	dim dims[HONE_MAX_RANK];
	int rank = rank_of(a), axis;
	bool slope = !strcmp(s->node->op, "PRelu") && rank_of(b) == 1;
	if (s->opset >= 7 || rank_of(b) >= rank || (!site_attr(s, "axis") && !slope))
		return b;
	if (!site_axis(s, slope ? (rank > 1) : attr_int(s, "axis", 0), rank, &axis))
		return NULL;
	if (axis + rank_of(b) > rank) {
		site_invalid(s, "operand 1 of rank %d does not fit at axis %d", rank_of(b), axis);
		return NULL;
	}
	for (int i = axis; i < rank; i++)
		dims[i - axis] = i - axis < rank_of(b) ? b->type.dims[i - axis] : dim_int(s, 1);
	return reshape(s, b, rank - axis, dims);
}

/* "alpha=0.01 beta=0.5" with the node's attributes in place of the defaults. */
static int constants_of(struct site *s, const char *defaults, struct named_real *out)
{
	int count = 0;
	while (*defaults) {
		size_t name = strcspn(defaults, "=");
		char *end;
		double initial = strtod(defaults + name + 1, &end);
		char *text = arena_printf(s->g->arena, "%.*s", (int)name, defaults);
		/* the file's numbers are f32, and so are the defaults of the specification */
		out[count++] =
			(struct named_real){text, attr_real(s, text, (double)(float)initial)};
		defaults = *end == ' ' ? end + 1 : end;
	}
	return count;
}

static bool import_map(struct site *s)
{
	const struct elementwise *e = s->row->map;
	struct named_real constants[4];
	int count = constants_of(s, e->defaults, constants);
	if (s->in_count == 2 && !(s->in[1] = old_broadcast(s, s->in[0], s->in[1])))
		return false;
	enum dtype t = e->result == 'a'   ? type_of(s->in[0])
		       : e->result == 'b' ? type_of(s->in[1])
					  : DT_NONE;
	return site_out(s, 0, map_n(s, e->text, t, s->in_count, s->in, count, constants));
}

static bool import_gelu(struct site *s)
{
	bool tanh = attr_text_is(s, "approximate", "none", "tanh");
	const char *text =
		tanh ? "0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)))"
		     : "0.5 * a * (1 + erf(a * 0.7071067811865476))";
	return site_out(s, 0, map1(s, text, type_of(s->in[0]), s->in[0]));
}

/* com.microsoft: an optional bias is added first. */
static bool import_bias_gelu(struct site *s)
{
	struct value *x = s->in[0];
	if (site_in(s, 1))
		x = map2(s, "a + b", type_of(x), x, s->in[1]);
	if (!x)
		return false;
	bool fast = !strcmp(s->node->op, "FastGelu");
	const char *text =
		fast ? "0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)))"
		     : "0.5 * a * (1 + erf(a * 0.7071067811865476))";
	return site_out(s, 0, map1(s, text, type_of(x), x));
}

static bool import_quick_gelu(struct site *s)
{
	struct named_real alpha = {"alpha", attr_real(s, "alpha", 1.702)};
	return site_out(
		s, 0,
		map_n(s, "a / (1 + exp(-(alpha * a)))", type_of(s->in[0]), 1, s->in, 1, &alpha));
}

static bool import_clip(struct site *s)
{
	struct value *x = s->in[0], *low = site_in(s, 1), *high = site_in(s, 2);
	enum dtype t = type_of(x);
	if (s->opset < 11) {
		low = site_attr(s, "min") ? real_scalar(s, t, attr_real(s, "min", 0)) : NULL;
		high = site_attr(s, "max") ? real_scalar(s, t, attr_real(s, "max", 0)) : NULL;
	}
	if (low && high)
		return site_out(s, 0, map3(s, "min(max(a, b), c)", t, x, low, high));
	if (low || high)
		return site_out(s, 0,
				map2(s, low ? "max(a, b)" : "min(a, b)", t, x, low ? low : high));
	return site_out(s, 0, x);
}

static bool import_isinf(struct site *s)
{
	bool neg = attr_int(s, "detect_negative", 1), pos = attr_int(s, "detect_positive", 1);
	const char *text = neg && pos ? "abs(a) == inf"
			   : pos      ? "a == inf"
			   : neg      ? "-a == inf"
				      : "a < a";
	return site_out(s, 0, map1(s, text, DT_NONE, s->in[0]));
}

static bool import_bitshift(struct site *s)
{
	bool left = attr_text_is(s, "direction", "", "LEFT");
	if (!left && !attr_text_is(s, "direction", "", "RIGHT"))
		return site_invalid(s, "direction should be LEFT or RIGHT");
	return site_out(s, 0,
			map2(s, left ? "a << b" : "a >> b", type_of(s->in[0]), s->in[0], s->in[1]));
}

static bool import_mod(struct site *s)
{
	bool fmod = attr_int(s, "fmod", 0);
	if (!fmod && dtype_is_float(type_of(s->in[0])))
		return site_invalid(s, "floats need fmod = 1");
	return site_out(
		s, 0,
		map2(s, fmod ? "rem(a, b)" : "mod(a, b)", type_of(s->in[0]), s->in[0], s->in[1]));
}

/* The base's type is the result's; integers are computed in f64. Whole powers of integers are whole: rounded
 * first, for a power one unit below would be cut off to the integer below. */
static bool import_pow(struct site *s)
{
	struct value *x = s->in[0], *y = old_broadcast(s, s->in[0], s->in[1]);
	if (!y)
		return false;
	enum dtype t = type_of(x), ct = dtype_compute(t);
	if (dtype_is_float(t) && dtype_compute(type_of(y)) != DT_F64) {
		char text[64];
		snprintf(text, sizeof(text), "pow(a, %s(b))", dtype_name(ct));
		return site_out(s, 0, map2(s, text, t, x, y));
	}
	char text[128];
	const char *power =
		dtype_is_float(t) ? "pow(f64(a), f64(b))"
		: dtype_is_float(type_of(y))
			? "rne(f64(b)) == f64(b) ? rne(pow(f64(a), f64(b))) : pow(f64(a), f64(b))"
			: "rne(pow(f64(a), f64(b)))";
	snprintf(text, sizeof(text), "%s(%s)", dtype_name(ct), power);
	return site_out(s, 0, map2(s, text, t, x, y));
}

/* Sum, Max, Min, Mean of any number of operands, as one map. */
static bool import_variadic(struct site *s)
{
	enum dtype t = type_of(s->in[0]), ct = dtype_compute(t);
	struct expr_pool *p = &s->g->exprs;
	bool mean = !strcmp(s->node->op, "Mean");
	enum expr_op op = !strcmp(s->node->op, "Max")   ? EXPR_MAX
			  : !strcmp(s->node->op, "Min") ? EXPR_MIN
							: EXPR_ADD;
	const struct expr *e = expr_param(p, ct, 0);
	for (int i = 1; i < s->in_count; i++) {
		if (!s->in[i] || type_of(s->in[i]) != t)
			return site_invalid(s, "operand %d has another type than operand 0", i);
		e = expr_binary(p, op, e, expr_param(p, ct, i));
	}
	if (mean)
		e = expr_binary(p, EXPR_DIV, e, expr_int(p, ct, s->in_count));
	return site_out(s, 0, add_map(s->b, e, t, s->in_count, s->in));
}

static bool cast(struct site *s, enum dtype t)
{
	if (t == DT_NONE)
		return site_unsupported(s, "cast to this type");
	enum dtype from = type_of(s->in[0]);
	bool f8 = dtype_is_float(t) && dtype_bits(t) == 8;
	if (f8 && from != t && !attr_int(s, "saturate", 1))
		return site_unsupported(s, "saturate = 0");
	return site_out(s, 0, cast_to(s, s->in[0], t));
}

/* Opsets 1 to 5 name the type in text. */
static bool import_cast(struct site *s)
{
	const struct onnx_attr *to = site_attr(s, "to");
	if (!to)
		return site_invalid(s, "attribute \"to\" is missing");
	if (to->kind != ONNX_ATTR_STRING)
		return cast(s, import_dtype((int32_t)to->i));
	char name[32];
	for (int32_t t = 1; t < ONNX_DTYPES; t++) {
		snprintf(name, sizeof(name), "%s", onnx_dtype_name(t));
		if (strlen(name) != to->s.size)
			continue;
		bool same = true;
		for (size_t i = 0; i < to->s.size; i++)
			same = same && (to->s.at[i] | 32) == (name[i] | 32);
		if (same)
			return cast(s, import_dtype(t));
	}
	return site_invalid(s, "unknown type \"%s\"", to->s.at);
}

static bool import_cast_like(struct site *s) { return cast(s, type_of(s->in[1])); }

static bool import_identity(struct site *s) { return site_out(s, 0, s->in[0]); }

/* Inference only: y = x, the mask all true. */
static bool import_dropout(struct site *s)
{
	struct value *x = s->in[0], *training = site_in(s, 2), *ratio = site_in(s, 1);
	double r = 1;
	if (training &&
	    (!value_const(training) || tensor_element(value_const(training), DT_BOOL, 0).i)) {
		/* training with ratio 0 drops nothing either */
		bool none = ratio && value_real(ratio, &r) && r == 0;
		if (!none && value_const(training))
			return site_unsupported(s, "training mode draws random numbers");
		if (!none)
			return site_unsupported(s, "training_mode is only known at run time");
	}
	if (!site_out(s, 0, x))
		return false;
	if (!site_wants(s, 1))
		return true;
	enum dtype t = s->opset < 10 ? type_of(x) : DT_BOOL;
	return site_out(s, 1, splat(s, t, 1, rank_of(x), x->type.dims));
}

#define LEGACY "broadcast axis consumed_inputs"
static const struct elementwise maps[] = {
#define MAP(op, since, until, operands, result, defaults, text, doc) {result, defaults, text},
#include "frontend/elementwise.def"
#undef MAP
};

enum {
#define MAP(op, since, until, operands, result, defaults, text, doc) MAP_##op##_##since,
#include "frontend/elementwise.def"
#undef MAP
};

const struct import_row ops_elementwise[] = {
#define MAP(op, since, until, operands, result, defaults, text, doc) \
	{"",         #op,                                            \
	 since,      until,                                          \
	 operands,   operands,                                       \
	 import_map, defaults " " LEGACY,                            \
	 doc,        &maps[MAP_##op##_##since]},
#include "frontend/elementwise.def"
#undef MAP
	{"", "Gelu", 20, 0, 1, 1, import_gelu, "approximate", "Gaussian error linear unit", NULL},
	{"com.microsoft", "Gelu", 1, 0, 1, 1, import_bias_gelu, "", "Gaussian error linear unit",
	 NULL},
	{"com.microsoft", "FastGelu", 1, 0, 1, 2, import_bias_gelu, "",
	 "Gelu by tanh, after a bias", NULL},
	{"com.microsoft", "BiasGelu", 1, 0, 2, 2, import_bias_gelu, "", "Gelu after a bias", NULL},
	{"com.microsoft", "QuickGelu", 1, 0, 1, 1, import_quick_gelu, "alpha",
	 "a * sigmoid(alpha * a)", NULL},
	{"", "Clip", 1, 0, 1, 3, import_clip, "min max consumed_inputs",
	 "a kept within min and max", NULL},
	{"", "IsInf", 10, 0, 1, 1, import_isinf, "detect_negative detect_positive", "is infinite",
	 NULL},
	{"", "BitShift", 11, 0, 2, 2, import_bitshift, "direction", "bits moved", NULL},
	{"", "Mod", 10, 0, 2, 2, import_mod, "fmod", "remainder", NULL},
	{"", "Pow", 1, 0, 2, 2, import_pow, "broadcast axis", "a to the power of b", NULL},
	{"", "Sum", 1, 0, 1, -1, import_variadic, "consumed_inputs", "sum of the operands", NULL},
	{"", "Max", 1, 0, 1, -1, import_variadic, "consumed_inputs", "largest of the operands",
	 NULL},
	{"", "Min", 1, 0, 1, -1, import_variadic, "consumed_inputs", "smallest of the operands",
	 NULL},
	{"", "Mean", 1, 0, 1, -1, import_variadic, "consumed_inputs", "mean of the operands", NULL},
	{"", "Cast", 1, 0, 1, 1, import_cast, "to saturate round_mode", "another type", NULL},
	{"", "CastLike", 15, 0, 2, 2, import_cast_like, "saturate round_mode",
	 "the type of the other operand", NULL},
	{"", "Identity", 1, 0, 1, 1, import_identity, "", "a itself", NULL},
	{"", "Dropout", 1, 0, 1, 3, import_dropout, "ratio is_test seed consumed_inputs",
	 "a itself (inference)", NULL},
	{0},
};
