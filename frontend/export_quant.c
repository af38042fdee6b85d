/* export_quant.c: maps to and from integers of few bits as QuantizeLinear and DequantizeLinear. */
#include "frontend/export_private.h"

#include <string.h>

/* The parts of x / scale + zero, rounded, or of (q - zero) * scale. Literals, or parameters. */
struct affine_map {
	const struct expr *of, *scale, *zero; /* of: a parameter; zero NULL: 0 */
	struct value
		*inverse; /* not NULL: x is multiplied by `scale`, which is 1 over this value */
};

static const struct expr *strip(const struct expr *e, enum expr_op op, enum dtype t)
{
	return e->op == op && (t == DT_NONE || e->type == t) ? e->arg[0] : NULL;
}

/* %r = map(%s) (s: f32) -> 1 / s   =>   %s */
static struct value *inverse_of(const struct node *n, const struct expr *e)
{
	struct node *def = e->op == EXPR_PARAM ? value_def(n->in[e->index], OP_map) : NULL;

	return def && def->in_count == 1 && def->expr->op == EXPR_DIV &&
			       expr_is_literal(def->expr->arg[0], 1) &&
			       def->expr->arg[1]->op == EXPR_PARAM
		       ? def->in[0]
		       : NULL;
}

static bool is_leaf(const struct expr *e)
{
	return e->op == EXPR_LITERAL || e->op == EXPR_PARAM ||
	       (e->op == EXPR_CAST && e->arg[0]->op == EXPR_PARAM);
}

/* T(rne(a / s) + z), T(rne(a / s)), of 4 bits with min(max(.., low), high); a / s may be a * (1 / s) */
static bool is_quantize(const struct node *n, struct affine_map *m)
{
	const struct expr *e = n->expr, *round;

	*m = (struct affine_map){0};
	if ((e->op != EXPR_CAST && e->op != EXPR_SAT_CAST) || !dtype_is_int((enum dtype)e->type))
		return false;
	e = e->arg[0];
	if (e->op == EXPR_MIN && e->arg[1]->op == EXPR_LITERAL)
		e = e->arg[0];
	if (e->op == EXPR_MAX && e->arg[1]->op == EXPR_LITERAL)
		e = e->arg[0];
	round = e;
	if (e->op == EXPR_ADD && is_leaf(e->arg[1])) {
		m->zero = e->arg[1];
		round = e->arg[0];
	}
	if (round->op != EXPR_RNE || round->type != DT_F32 || round->arg[0]->count != 2)
		return false;
	m->of = round->arg[0]->arg[0];
	m->scale = round->arg[0]->arg[1];
	if (round->arg[0]->op == EXPR_MUL)
		m->inverse = inverse_of(n, m->scale);
	return (round->arg[0]->op == EXPR_DIV || m->inverse) && m->of->op == EXPR_PARAM &&
	       is_leaf(m->scale);
}

/* f32(q) * s, f32(i32(q) - z) * s */
static bool is_dequantize(const struct expr *e, struct affine_map *m)
{
	const struct expr *q;

	*m = (struct affine_map){0};
	if (e->op != EXPR_MUL || e->type != DT_F32 || !is_leaf(e->arg[1]))
		return false;
	m->scale = e->arg[1];
	q = strip(e->arg[0], EXPR_CAST, DT_F32);
	if (!q || !dtype_is_int((enum dtype)q->type))
		return false;
	if (q->op == EXPR_SUB && is_leaf(q->arg[1])) {
		m->zero = q->arg[1];
		q = q->arg[0];
	}
	if (q->op == EXPR_CAST && q->type == DT_I32)
		q = q->arg[0];
	m->of = q;
	return q->op == EXPR_PARAM;
}

/* A scale or zero point as ONNX takes it: a scalar, or a vector along *axis of the result (-1: none yet). v: the value, if
 * it is not what e says. NULL: it is not of that form. */
static const char *out_vector(struct exporter *x, const struct node *n, const struct expr *e,
			      struct value *v, enum dtype t, int *axis)
{
	int rank = n->out[0]->type.rank, found = -1;
	int64_t length = 1;
	axis_order same;

	if (e->op == EXPR_LITERAL)
		return const_scalar(x, t,
				    dtype_is_float(t) ? (union scalar){.f = e->f}
				    : dtype_is_float((enum dtype)e->type)
					    ? (union scalar){.i = (int64_t)e->f}
					    : (union scalar){.i = e->i});
	if (!v)
		v = n->in[e->op == EXPR_CAST ? e->arg[0]->index : e->index];
	if (v->type.dtype != t)
		return NULL;
	if (v->type.rank == 0)
		return value_plain(x, v);
	if (!value_const(v))
		return NULL;
	for (int i = 0; i < v->type.rank; i++) {
		if (v->type.dims[i]->value == 1)
			continue;
		if (found >= 0)
			return NULL;
		found = rank - v->type.rank + i;
		length = v->type.dims[i]->value;
	}
	if (found < 0 || (*axis >= 0 && *axis != found))
		return NULL;
	*axis = found;
	order_identity(same, 1);
	return const_bytes(x, name_of(x, v), t, 1, &length,
			   bytes_in_order(x, value_const(v), t, 1, &length, same),
			   (size_t)dtype_bytes(t, length));
}

const char *out_quantized(struct exporter *x, const struct node *n, const int *order,
			  const char *const *params, const char *name)
{
	enum dtype t = n->out[0]->type.dtype;
	int axis = -1, rank = n->out[0]->type.rank, at = 0;
	const char *op = "QuantizeLinear", *in[3];
	struct affine_map m;
	const struct value *of;

	if (!is_quantize(n, &m)) {
		if (!is_dequantize(n->expr, &m))
			return NULL;
		op = "DequantizeLinear";
		t = n->in[m.of->index]->type.dtype;
	} else if (n->in[m.of->index]->type.dtype != DT_F32) {
		return NULL;
	}
	of = n->in[m.of->index];
	if (dtype_bits(t) > 8 || of->type.rank != rank)
		return NULL;
	in[0] = params[m.of->index];
	in[1] = out_vector(x, n, m.scale, m.inverse, DT_F32, &axis);
	in[2] = NULL;
	if (in[1] && m.zero)
		in[2] = out_vector(x, n, m.zero, NULL, t, &axis);
	else if (in[1] && axis < 0)
		in[2] = const_scalar(x, t, (union scalar){.i = 0});
	if (!in[1] || (m.zero && !in[2]))
		return NULL;
	while (axis >= 0 && order[at] != axis)
		at++;
	if (!in[2] && *op == 'Q') /* its zero point says the type */
		return NULL;
	return out_node(x, op, name, in[2] ? 3 : 2, in, axis >= 0,
			(struct out_attr[]){ATTR_I("axis", at)});
}

/* A constant as the tensor of these dims, of type t: its own, or f32. */
static const char *out_const(struct exporter *x, struct value *v, enum dtype t, int rank,
			     const int64_t *dims)
{
	const struct tensor *data = value_const(v);
	int64_t count = type_count_const(&v->type);
	size_t size = (size_t)dtype_bytes(t, count);
	float *floats;

	if (v->type.dtype == t)
		return const_bytes(x, name_of(x, v), t, rank, dims,
				   tensor_bytes(data, t, count, x->arena), size);
	floats = ARENA_ARRAY(x->arena, float, count);
	for (int64_t i = 0; i < count; i++)
		floats[i] = (float)tensor_element(data, v->type.dtype, i).f;
	return const_bytes(x, name_of(x, v), t, rank, dims, floats, size);
}

/* The axis B of blocks [..,B,b,..] with scales [..,B,1,..], in a reshape to [..,B*b,..]; -1: it is none. */
static int block_axis(struct exporter *x, const struct type *blocks, const struct type *scales,
		      const struct type *to)
{
	int at = 0;

	if (blocks->rank != to->rank + 1 || scales->rank != blocks->rank)
		return -1;
	while (at < to->rank && to->dims[at] == blocks->dims[at])
		at++;
	if (at == to->rank)
		return -1;
	for (int i = at + 1; i < to->rank; i++)
		if (to->dims[i] != blocks->dims[i + 1])
			return -1;
	for (int i = 0; i < blocks->rank; i++)
		if (scales->dims[i] !=
		    (i == at + 1 ? dim_const(&x->graph->dims, 1) : blocks->dims[i]))
			return -1;
	return at;
}

/* %m: f32[..,B,b,..] = map(%q, %s) (q: i4, s: f32) -> f32(q) * s, with %s [..,B,1,..] and both constant, then
 * reshaped so that B and b are one axis: DequantizeLinear of blocks of b (opset 21). n: the reshape. */
bool export_blocks(struct exporter *x, struct node *n)
{
	struct node *map = view_of(x, n->in[0])->later;
	struct value *q, *s, *y = n->out[0];
	int64_t dims[HONE_MAX_RANK];
	const char *in[2];
	struct affine_map m;
	int at;

	if (!map || x->opset < 21 || !is_dequantize(map->expr, &m) || m.zero ||
	    m.scale->op != EXPR_PARAM)
		return false;
	q = map->in[m.of->index];
	s = map->in[m.scale->index];
	at = block_axis(x, &q->type, &s->type, &y->type);
	if (at < 0 || !value_const(q) || !value_const(s))
		return false;
	for (int i = 0; i < y->type.rank; i++)
		dims[i] = y->type.dims[i]->value;
	in[0] = out_const(x, q, q->type.dtype, y->type.rank, dims);
	dims[at] = q->type.dims[at]->value;
	in[1] = out_const(x, s, DT_F32, y->type.rank, dims);
	value_set(x, y,
		  out_node(x, "DequantizeLinear", name_of(x, y), 2, in, 2,
			   (struct out_attr[]){ATTR_I("axis", at),
					       ATTR_I("block_size", q->type.dims[at + 1]->value)}));
	return true;
}
