/* export_map.c: scalar expressions as elementwise operators of ONNX, joined where ONNX has one for several (Relu, Clip,
 * Sigmoid). */
#include "frontend/export_private.h"

#include <string.h>

/* An expression being written. */
struct writer {
	struct exporter *x;
	int count;
	const char *const *params; /* tensors as they are */
	const enum dtype *types;   /* of them, storage types included */
	const char **computed;     /* of each, in its compute type; NULL: not needed yet */
	struct {
		struct written {
			const struct expr *e;
			const char *name;
		} *at;
		int count, room;
	} done;
};

static const char *write(struct writer *w, const struct expr *e, const char *name);

/* Operators that take and give what ONNX's do. */
static const char *const direct[EXPR_SCALAR_COUNT] = {
	[EXPR_ADD] = "Add",           [EXPR_SUB] = "Sub",        [EXPR_MUL] = "Mul",
	[EXPR_DIV] = "Div",           [EXPR_NEG] = "Neg",        [EXPR_ABS] = "Abs",
	[EXPR_SIGN] = "Sign",         [EXPR_MIN] = "Min",        [EXPR_MAX] = "Max",
	[EXPR_LT] = "Less",           [EXPR_LE] = "LessOrEqual", [EXPR_GT] = "Greater",
	[EXPR_GE] = "GreaterOrEqual", [EXPR_EQ] = "Equal",       [EXPR_NOT] = "Not",
	[EXPR_SELECT] = "Where",      [EXPR_SQRT] = "Sqrt",      [EXPR_EXP] = "Exp",
	[EXPR_LOG] = "Log",           [EXPR_POW] = "Pow",        [EXPR_SIN] = "Sin",
	[EXPR_COS] = "Cos",           [EXPR_TAN] = "Tan",        [EXPR_ASIN] = "Asin",
	[EXPR_ACOS] = "Acos",         [EXPR_ATAN] = "Atan",      [EXPR_SINH] = "Sinh",
	[EXPR_COSH] = "Cosh",         [EXPR_TANH] = "Tanh",      [EXPR_ASINH] = "Asinh",
	[EXPR_ACOSH] = "Acosh",       [EXPR_ATANH] = "Atanh",    [EXPR_ERF] = "Erf",
	[EXPR_FLOOR] = "Floor",       [EXPR_CEIL] = "Ceil",      [EXPR_RNE] = "Round",
};

/* ---- several scalar operations that are one operator ---- */

static bool is_op(const struct expr *e, enum expr_op op) { return e->op == op; }

static bool is_real(const struct expr *e) { return dtype_is_float((enum dtype)e->type); }

/* min(max(a, lo), hi), or the other way round, with literals. */
static const char *write_clip(struct writer *w, const struct expr *e, const char *name)
{
	const struct expr *in = e->arg[0], *low, *high;

	if (!is_real(e) || e->arg[1]->op != EXPR_LITERAL ||
	    !is_op(in, e->op == EXPR_MIN ? EXPR_MAX : EXPR_MIN) || in->arg[1]->op != EXPR_LITERAL)
		return NULL;
	low = e->op == EXPR_MAX ? e->arg[1] : in->arg[1];
	high = e->op == EXPR_MAX ? in->arg[1] : e->arg[1];
	if (low->f > high->f)
		return NULL;
	return OUT(w->x, "Clip", name, write(w, in->arg[0], NULL), write(w, low, NULL),
		   write(w, high, NULL));
}

/* 1 / (1 + exp(-a)) */
static const char *write_sigmoid(struct writer *w, const struct expr *e, const char *name)
{
	const struct expr *sum = e->arg[1], *power;

	if (!expr_is_literal(e->arg[0], 1) || !is_op(sum, EXPR_ADD))
		return NULL;
	power = expr_is_literal(sum->arg[0], 1) ? sum->arg[1] : sum->arg[0];
	if (!(expr_is_literal(sum->arg[0], 1) || expr_is_literal(sum->arg[1], 1)) ||
	    !is_op(power, EXPR_EXP) || !is_op(power->arg[0], EXPR_NEG))
		return NULL;
	return OUT(w->x, "Sigmoid", name, write(w, power->arg[0]->arg[0], NULL));
}

static const char *write_joined(struct writer *w, const struct expr *e, const char *name)
{
	const char *made = NULL;

	if (e->op == EXPR_MAX && is_real(e) && expr_is_literal(e->arg[1], 0) &&
	    !is_op(e->arg[0], EXPR_MIN))
		return OUT(w->x, "Relu", name, write(w, e->arg[0], NULL));
	if (e->op == EXPR_MIN || e->op == EXPR_MAX)
		made = write_clip(w, e, name);
	if (e->op == EXPR_DIV)
		made = write_sigmoid(w, e, name);
	return made;
}

/* ---- one operation ---- */

/* Numbers that a float may have before it is cast to a narrow integer, which saturates. */
static bool int_range(enum dtype t, double *low, double *high)
{
	int bits = dtype_bits(t);

	if (!dtype_is_int(t) || bits > 16)
		return false;
	*low = dtype_class(t) == DTYPE_SIGNED ? -(double)(1 << (bits - 1)) : 0;
	*high = (double)(1 << (bits - (dtype_class(t) == DTYPE_SIGNED))) - 1;
	return true;
}

static const char *write_cast(struct writer *w, const struct expr *e, const char *name)
{
	enum dtype from = (enum dtype)e->arg[0]->type, to = (enum dtype)e->type;
	const char *a = write(w, e->arg[0], NULL);
	double low, high;

	if ((dtype_is_float(from) || e->op == EXPR_SAT_CAST) && int_range(to, &low, &high)) {
		union scalar l = {.f = low}, h = {.f = high};

		if (!dtype_is_float(from)) {
			l.i = (int64_t)low;
			h.i = (int64_t)high;
		}
		a = OUT(w->x, "Clip", NULL, a, const_scalar(w->x, from, l),
			const_scalar(w->x, from, h));
	} else if (e->op == EXPR_SAT_CAST && !dtype_is_float(from)) {
		out_refuse(w->x, "a saturating cast from %s to %s", dtype_name(from),
			   dtype_name(to));
		return NULL;
	}
	return OUT_WITH(w->x, "Cast", name, (a), ATTR_I("to", to));
}

static const char *write_logic(struct writer *w, const struct expr *e, const char *name)
{
	const char *op = e->op == EXPR_AND || e->op == EXPR_MIN  ? "And"
			 : e->op == EXPR_OR || e->op == EXPR_MAX ? "Or"
								 : "Xor";

	if (e->type != DT_BOOL) {
		out_refuse(w->x, "the bit operation %s", scalar_text((enum expr_op)e->op));
		return NULL;
	}
	return OUT(w->x, op, name, write(w, e->arg[0], NULL), write(w, e->arg[1], NULL));
}

/* ONNX shifts unsigned integers. */
static const char *write_shift(struct writer *w, const struct expr *e, const char *name)
{
	if (dtype_class((enum dtype)e->type) != DTYPE_UNSIGNED) {
		out_refuse(w->x, "a shift of signed integers");
		return NULL;
	}
	return OUT_WITH(w->x, "BitShift", name,
			(write(w, e->arg[0], NULL), write(w, e->arg[1], NULL)),
			ATTR_S("direction", e->op == EXPR_SHL ? "LEFT" : "RIGHT"));
}

/* mod has the divisor's sign, rem the dividend's; ONNX has both for integers, fmod is rem. */
static const char *write_mod(struct writer *w, const struct expr *e, const char *name)
{
	const char *a = write(w, e->arg[0], NULL), *b = write(w, e->arg[1], NULL), *times;

	if (e->op == EXPR_REM || !is_real(e))
		return OUT_WITH(w->x, "Mod", name, (a, b), ATTR_I("fmod", e->op == EXPR_REM));
	times = OUT(w->x, "Floor", NULL, OUT(w->x, "Div", NULL, a, b));
	return OUT(w->x, "Sub", name, a, OUT(w->x, "Mul", NULL, times, b));
}

static const char *write_trunc(struct writer *w, const struct expr *e, const char *name)
{
	struct exporter *x = w->x;
	const char *a = write(w, e->arg[0], NULL);
	const char *negative = OUT(x, "Less", NULL, a, const_real(x, (enum dtype)e->type, 0));

	return OUT(x, "Where", name, negative, OUT(x, "Ceil", NULL, a), OUT(x, "Floor", NULL, a));
}

static const char *write_param(struct writer *w, const struct expr *e, const char *name)
{
	const char **slot = &w->computed[e->index];

	if (!*slot && w->params[e->index])
		*slot = to_compute(w->x, w->params[e->index], w->types[e->index]);
	return name && *slot ? OUT(w->x, "Identity", name, *slot) : *slot;
}

static const char *write_literal(struct writer *w, const struct expr *e, const char *name)
{
	union scalar value = {.i = e->i};
	const char *made = const_scalar(w->x, (enum dtype)e->type,
					is_real(e) ? (union scalar){.f = e->f} : value);

	return name ? OUT(w->x, "Identity", name, made) : made;
}

static const char *write_plain(struct writer *w, const struct expr *e, const char *name)
{
	const char *in[3];

	if (e->op >= EXPR_SCALAR_COUNT || !direct[e->op]) {
		out_refuse(w->x, "%s",
			   e->op < EXPR_SCALAR_COUNT ? scalar_text((enum expr_op)e->op)
						     : "such an expression");
		return NULL;
	}
	for (int i = 0; i < e->count; i++)
		in[i] = write(w, e->arg[i], NULL);
	return out_node(w->x, direct[e->op], name, e->count, in, 0, NULL);
}

static const char *write_one(struct writer *w, const struct expr *e, const char *name)
{
	struct exporter *x = w->x;
	const char *made = write_joined(w, e, name);

	if (made)
		return made;
	switch (e->op) {
	case EXPR_PARAM: return write_param(w, e, name);
	case EXPR_LITERAL: return write_literal(w, e, name);
	case EXPR_CAST:
	case EXPR_SAT_CAST: return write_cast(w, e, name);
	case EXPR_DIM: return OUT(x, "Squeeze", name, dim_tensor(x, e->size));
	case EXPR_AND:
	case EXPR_OR:
	case EXPR_XOR: return write_logic(w, e, name);
	case EXPR_MIN:
	case EXPR_MAX:
		return e->type == DT_BOOL ? write_logic(w, e, name) : write_plain(w, e, name);
	case EXPR_SHL:
	case EXPR_SHR: return write_shift(w, e, name);
	case EXPR_MOD:
	case EXPR_REM: return write_mod(w, e, name);
	case EXPR_TRUNC: return write_trunc(w, e, name);
	case EXPR_NE:
		return OUT(x, "Not", name,
			   OUT(x, "Equal", NULL, write(w, e->arg[0], NULL),
			       write(w, e->arg[1], NULL)));
	case EXPR_LOG1P:
		return OUT(x, "Log", name,
			   OUT(x, "Add", NULL, write(w, e->arg[0], NULL),
			       const_real(x, (enum dtype)e->type, 1)));
	default: return write_plain(w, e, name);
	}
}

/* Each expression once. */
static const char *write(struct writer *w, const struct expr *e, const char *name)
{
	const char *made;

	for (int i = 0; !name && i < w->done.count; i++)
		if (w->done.at[i].e == e)
			return w->done.at[i].name;
	made = write_one(w, e, name);
	ARENA_PUSH(w->x->arena, &w->done, ((struct written){e, made}));
	return made;
}

const char *out_expr(struct exporter *x, const struct expr *e, int count, const char *const *params,
		     const enum dtype *types, const char *name)
{
	struct writer w = {.x = x,
			   .count = count,
			   .params = params,
			   .types = types,
			   .computed = ARENA_ARRAY(x->arena, const char *, count + 1)};

	return write(&w, e, name);
}

/* ---- maps ---- */

struct used {
	const struct node *node;
	unsigned char *is;
};

static bool note_param(const struct expr *e, void *self)
{
	struct used *u = self;

	if (e->op == EXPR_PARAM)
		u->is[e->index] = 1;
	return false;
}

/* Whether some axis of the result comes from operands that the expression does not read. */
static bool lacks_axes(struct exporter *x, const struct node *n)
{
	const struct type *out = &n->out[0]->type;
	struct used u = {n, ARENA_ARRAY(x->arena, unsigned char, n->in_count + 1)};

	expr_any(n->expr, note_param, &u);
	for (int i = 0; i < out->rank; i++) {
		bool has = dim_is(out->dims[i], 1);

		for (int k = 0; k < n->in_count; k++) {
			const struct type *t = &n->in[k]->type;
			int at = i - (out->rank - t->rank);

			has = has || (u.is[k] && at >= 0 && !dim_is(t->dims[at], 1));
		}
		if (!has)
			return true;
	}
	return false;
}

static const char *expand(struct exporter *x, const struct node *n, const char *made,
			  const int *order, const char *name)
{
	dim dims[HONE_MAX_RANK];

	for (int i = 0; i < n->out[0]->type.rank; i++)
		dims[i] = n->out[0]->type.dims[order[i]];
	return OUT(x, "Expand", name, made, dims_tensor(x, n->out[0]->type.rank, dims));
}

/* The map of tensors that are already in order. */
static const char *out_map(struct exporter *x, const struct node *n, const int *order,
			   const char *const *params, const char *name)
{
	enum dtype t = n->out[0]->type.dtype, *types;
	bool lacks = lacks_axes(x, n);
	const char *made = lacks ? NULL : out_quantized(x, n, order, params, name);

	if (made)
		return made;
	types = ARENA_ARRAY(x->arena, enum dtype, n->in_count + 1);
	for (int i = 0; i < n->in_count; i++)
		types[i] = n->in[i]->type.dtype;
	made = out_expr(x, n->expr, n->in_count, params, types,
			lacks || is_storage(t) ? NULL : name);
	if (lacks)
		made = expand(x, n, made, order, is_storage(t) ? NULL : name);
	return made ? from_compute(x, made, t, name) : NULL;
}

const char *map_in_order(struct exporter *x, struct node *n, const int *order, const char *name)
{
	const char **params = ARENA_ARRAY(x->arena, const char *, n->in_count + 1);
	const struct node *outer = x->node;

	x->node = n;
	for (int i = 0; i < n->in_count; i++)
		params[i] = value_in_order(x, n->in[i], n->out[0]->type.rank, order);
	name = out_map(x, n, order, params, name);
	x->node = outer;
	return name;
}

/* The first computed operand of all axes decides their order. */
static struct value *find_lead(struct exporter *x, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		if (n->in[i]->type.rank == n->out[0]->type.rank && view_of(x, n->in[i])->name)
			return n->in[i];
	return NULL;
}

static bool is_late(struct exporter *x, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		if (!value_const(n->in[i]) && !view_of(x, n->in[i])->later)
			return false;
	return n->in_count && n->out[0]->type.rank;
}

/* ---- borders ---- */

struct constant_eval {
	const struct node *node;
	const struct value *lead;
	double fill;
	bool ok;
};

/* The value of e where the lead operand is `fill` and all others are constant scalars. */
static union scalar eval(struct constant_eval *c, const struct expr *e)
{
	union scalar arg[3] = {{0}}, fill = {.f = c->fill};
	const struct value *v;

	if (e->op == EXPR_LITERAL)
		return is_real(e) ? (union scalar){.f = e->f} : (union scalar){.i = e->i};
	if (e->op == EXPR_PARAM) {
		v = c->node->in[e->index];
		if (v == c->lead)
			return is_real(e) ? fill : (union scalar){.i = (int64_t)c->fill};
		c->ok = c->ok && value_const(v) && v->type.rank == 0;
		return c->ok ? tensor_element(value_const(v), v->type.dtype, 0) : fill;
	}
	c->ok = c->ok && e->op < EXPR_BITS_CAST;
	for (int i = 0; c->ok && i < e->count; i++)
		arg[i] = eval(c, e->arg[i]);
	return c->ok ? scalar_eval((enum expr_op)e->op,
				   (enum dtype)e->arg[e->op == EXPR_SELECT]->type,
				   (enum dtype)e->type, arg)
		     : fill;
}

/* Where the lead is padded, the result is the map of the rest, padded with the map of the border. */
static bool keep_border(struct exporter *x, struct node *n, struct value *lead)
{
	struct view *from = view_of(x, lead), *to = view_of(x, n->out[0]);
	struct constant_eval c = {n, lead, from->fill, from->padded && !from->whole};
	const char **params = ARENA_ARRAY(x->arena, const char *, n->in_count + 1);
	union scalar fill;
	axis_order order;

	fill = eval(&c, n->expr);
	if (!c.ok || is_storage(n->out[0]->type.dtype))
		return false;
	order_inverse(order, from->axis, lead->type.rank);
	for (int i = 0; i < n->in_count; i++)
		params[i] = n->in[i] == lead ? from->name : value_plain(x, n->in[i]);
	value_set_view(x, n->out[0], out_map(x, n, order, params, name_new(x, "inner")),
		       from->axis);
	to->padded = true;
	memcpy(to->lo, from->lo, sizeof(to->lo));
	memcpy(to->hi, from->hi, sizeof(to->hi));
	to->fill = is_real(n->expr) ? fill.f : (double)fill.i;
	return true;
}

bool export_map(struct exporter *x, struct node *n)
{
	struct value *y = n->out[0], *lead = find_lead(x, n);
	axis_order axis, order;
	bool plain = true;

	if (view_of(x, y)->name) /* written with the convolution before it */
		return true;
	if (is_late(x, n)) {
		view_of(x, y)->later = n;
		return true;
	}
	if (lead && keep_border(x, n, lead))
		return true;
	order_identity(axis, y->type.rank);
	if (lead)
		memcpy(axis, view_of(x, lead)->axis, (size_t)y->type.rank * sizeof(*axis));
	for (int i = 0; i < y->type.rank; i++)
		plain = plain && axis[i] == i;
	order_inverse(order, axis, y->type.rank);
	value_set_view(x, y,
		       map_in_order(x, n, order,
				    plain ? name_of(x, y) : name_new(x, y->name ? y->name : "map")),
		       axis);
	return true;
}
