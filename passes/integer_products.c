/* integer_products: contractions of dequantized values, as quantized models and the pass quantize have them, become
 * contractions of their integers, whose sums are scaled afterwards. First, what only moves elements is done to the
 * integers, so that dequantization and contraction are neighbours; and what is quantized again as it was quantized
 * before is taken as it is. Source of the algebra: Jacob et al. 2018, "Quantization and training of neural networks for
 * efficient integer-arithmetic-only inference". */
#include "passes/patterns.h"

#include <string.h>

/* ---- dequantization ---- */

/* scale * (q - zero): what a map computes of its only operand of bytes. */
struct dequantized {
	struct node *node;
	int data; /* number of the operand q */
	const struct expr *scale,
		*zero; /* of the map's other operands, f32 and i32; NULL: 1 and 0 */
};

static bool is_byte_type(enum dtype t) { return t == DT_I8 || t == DT_U8; }

static bool is_param(const struct expr *e, int i) { return e->op == EXPR_PARAM && e->index == i; }

static bool is_cast(const struct expr *e, enum dtype t)
{
	return e->op == EXPR_CAST && e->type == t;
}

/* q, i32(q), i32(q) - zero */
static bool match_integer(const struct expr *e, struct dequantized *out)
{
	if (is_param(e, out->data))
		return true;
	if (e->type != DT_I32)
		return false;
	if (e->op == EXPR_SUB && !expr_reads(e->arg[1], out->data)) {
		out->zero = e->arg[1];
		e = e->arg[0];
	}
	return is_cast(e, DT_I32) && is_param(e->arg[0], out->data);
}

/* f32(integer), f32(integer) * scale, scale * f32(integer) */
static bool match_dequantized(struct value *v, struct dequantized *out)
{
	struct node *n = value_def(v, OP_map);
	const struct expr *e;

	*out = (struct dequantized){.node = n, .data = -1};
	if (!n || v->type.dtype != DT_F32)
		return false;
	for (int i = 0; i < n->in_count && out->data < 0; i++)
		if (is_byte_type(n->in[i]->type.dtype) && same_dims(&n->in[i]->type, &v->type))
			out->data = i;
	if (out->data < 0)
		return false;
	e = n->expr;
	if (e->op == EXPR_MUL) {
		int of = expr_reads(e->arg[1], out->data);

		if (expr_reads(e->arg[!of], out->data))
			return false;
		out->scale = e->arg[!of];
		e = e->arg[of];
	}
	return is_cast(e, DT_F32) && match_integer(e->arg[0], out);
}

/* The value of e, which reads some operands of n (none has its data): a map of those, with their broadcast dims. */
static struct value *part_value(struct builder *b, const struct node *n, const struct expr *e)
{
	struct expr_pool *p = &b->graph->exprs;
	const struct expr **with = ARENA_ARRAY(b->graph->arena, const struct expr *, n->in_count);
	struct value **in = ARENA_ARRAY(b->graph->arena, struct value *, n->in_count);
	int count = 0;

	if (e->op == EXPR_PARAM)
		return n->in[e->index];
	if (e->op == EXPR_LITERAL)
		return dtype_is_float(e->type) ? add_scalar_real(b, e->type, e->f)
					       : add_scalar_int(b, e->type, e->i);
	for (int i = 0; i < n->in_count; i++) {
		enum dtype t = dtype_compute(n->in[i]->type.dtype);

		with[i] = expr_reads(e, i) ? expr_param(p, t, count) : expr_int(p, t, 0);
		if (expr_reads(e, i))
			in[count++] = n->in[i];
	}
	return add_map(b, expr_bind_params(p, e, with), DT_NONE, count, in);
}

/* A single number, of any rank, in rank 0. */
static struct value *as_number(struct builder *b, struct value *v)
{
	return v->type.rank ? add_reshape(b, v, 0, NULL) : v;
}

static bool reads_operand(const struct expr *e, int i) { return e && expr_reads(e, i); }

/* Whether all that scale and zero read are single numbers. */
static bool is_per_tensor(const struct dequantized *q)
{
	for (int i = 0; i < q->node->in_count; i++)
		if ((reads_operand(q->scale, i) || reads_operand(q->zero, i)) &&
		    type_count_const(&q->node->in[i]->type) != 1)
			return false;
	return true;
}

/* ---- movement ---- */

/* The zero point as a constant number. */
static bool known_zero(const struct dequantized *q, int64_t *zero)
{
	const struct expr *e = q->zero;
	union scalar s;

	*zero = 0;
	if (!e)
		return true;
	if (e->op == EXPR_LITERAL) {
		*zero = e->i;
		return true;
	}
	if (!is_cast(e, DT_I32) || e->arg[0]->op != EXPR_PARAM ||
	    !splat_value(q->node->in[e->arg[0]->index], &s))
		return false;
	*zero = s.i;
	return true;
}

static bool known_positive_scale(const struct dequantized *q)
{
	const struct expr *e = q->scale;
	union scalar s;

	if (!e || e->op == EXPR_LITERAL)
		return !e || e->f > 0;
	return e->op == EXPR_PARAM && splat_value(q->node->in[e->index], &s) && s.f > 0;
}

/* The zero point as a value that a pad of bytes can be filled with; NULL: it is none. */
static struct value *zero_operand(struct builder *b, const struct dequantized *q)
{
	const struct expr *e = q->zero;
	struct value *v;

	if (!e || !is_cast(e, DT_I32) || e->arg[0]->op != EXPR_PARAM)
		return NULL;
	v = q->node->in[e->arg[0]->index];
	if (v->type.dtype != q->node->in[q->data]->type.dtype || type_count_const(&v->type) != 1)
		return NULL;
	return as_number(b, v);
}

/* A constant pad of bytes that stands for that of the numbers: 0 is the zero point, -inf the least byte. */
static bool byte_of_pad(const struct dequantized *q, const struct attrs_pad *a, double *byte)
{
	int64_t zero;

	if (a->kind)
		*byte = 0;
	else if (a->value == 0 && known_zero(q, &zero))
		*byte = (double)zero;
	else if (a->value < 0 && a->value * 0 != 0 && known_positive_scale(q))
		*byte = q->node->in[q->data]->type.dtype == DT_U8 ? 0 : -128;
	else
		return false;
	return true;
}

static struct value *pad_bytes(struct builder *b, struct node *n, const struct dequantized *q,
			       struct value *bytes)
{
	struct attrs_pad a = *ATTRS_OF(pad, n);
	struct value *in[2] = {bytes, NULL};

	if (n->in_count > 1)
		return NULL;
	if (byte_of_pad(q, &a, &a.value))
		return add_like(b, n, in, &a);
	if (a.value == 0)
		in[1] = zero_operand(b, q);
	if (!in[1])
		return NULL;
	return graph_add(b, &(struct node_spec){.op = OP_pad, .in_count = 2, .in = in, .attrs = &a})
		->out[0];
}

/* The node n on bytes instead of numbers; NULL: it is no movement, or cannot be. */
static struct value *move_bytes(struct builder *b, struct node *n, const struct dequantized *q,
				struct value *bytes)
{
	struct value *in[2] = {bytes, n->in_count > 1 ? n->in[1] : NULL};

	switch (n->op) {
	case OP_transpose:
	case OP_reshape:
	case OP_slice:
	case OP_expand: return add_like(b, n, in, n->attrs);
	case OP_gather: return n->in[0] == q->node->out[0] ? add_like(b, n, in, n->attrs) : NULL;
	case OP_pool:
		return ATTRS_OF(pool, n)->kind == REDUCE_MAX && known_positive_scale(q)
			       ? add_like(b, n, in, n->attrs)
			       : NULL;
	case OP_pad: return pad_bytes(b, n, q, bytes);
	default: return NULL;
	}
}

/* An operand of the map, for its result transposed by perm: broadcast from the right. */
static struct value *transpose_part(struct builder *b, struct value *v, int rank,
				    const int64_t *perm)
{
	return type_count_const(&v->type) == 1
		       ? v
		       : add_transpose_perm(b, add_leading_ones(b, v, rank), perm);
}

/* move(map(%q, s, z) -> s * (q - z))   =>   map(move(%q), s, z) -> s * (q - z)
 * of one scale; a transpose also of several. */
static struct value *move_first(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dequantized q;
	struct value **in, *moved;

	if (!n->in_count || !n->in[0] || !match_dequantized(n->in[0], &q))
		return NULL;
	if (!is_per_tensor(&q) && n->op != OP_transpose)
		return NULL;
	moved = move_bytes(&b, n, &q, q.node->in[q.data]);
	if (!moved)
		return NULL;
	in = ARENA_ARRAY(c->scratch, struct value *, q.node->in_count);
	for (int i = 0; i < q.node->in_count; i++) {
		in[i] = q.node->in[i];
		if (i == q.data)
			in[i] = moved;
		else if (n->op == OP_transpose)
			in[i] = transpose_part(&b, in[i], n->out[0]->type.rank,
					       ATTRS_OF(transpose, n)->perm.at);
		else
			in[i] = as_number(&b, in[i]);
	}
	return add_map(&b, q.node->expr, DT_F32, q.node->in_count, in);
}

/* ---- quantized again ---- */

/* e of a byte, its only parameter. False: it has something else in it. */
static bool value_of_byte(const struct expr *e, int64_t byte, union scalar *out)
{
	union scalar arg[2];

	if (e->op == EXPR_PARAM) {
		out->i = byte;
		return true;
	}
	if (e->op == EXPR_LITERAL) {
		if (dtype_is_float(e->type))
			out->f = e->f;
		else
			out->i = e->i;
		return true;
	}
	if (e->op > EXPR_BITS_CAST || e->count < 1 || e->count > 2)
		return false;
	for (int i = 0; i < e->count; i++)
		if (!value_of_byte(e->arg[i], byte, &arg[i]))
			return false;
	*out = scalar_eval(e->op, e->arg[0]->type, e->type, arg);
	return true;
}

/* The expression of map n, with numbers in place of its operands of one element, and `data` for the one that is left.
 * NULL: several are left. */
static const struct expr *with_numbers(struct pass_context *c, const struct node *n, int *left,
				       const struct expr *data)
{
	struct expr_pool *p = &c->graph->exprs;
	const struct expr **with = ARENA_ARRAY(c->scratch, const struct expr *, n->in_count);

	*left = -1;
	for (int i = 0; i < n->in_count; i++) {
		enum dtype t = dtype_compute(n->in[i]->type.dtype);
		union scalar s;

		with[i] = data;
		if (splat_value(n->in[i], &s))
			with[i] = dtype_is_float(t) ? expr_real(p, t, s.f) : expr_int(p, t, s.i);
		else if (*left >= 0)
			return NULL;
		else
			*left = i;
	}
	return *left >= 0 ? expr_bind_params(p, n->expr, with) : NULL;
}

/* %x = map(%q: u8) -> s * (q - z)  %y: u8 = map(%x) -> u8(rne(x / s) + z)   =>   %q
 * or whatever gives the same byte for each. */
static struct value *quantize_again(struct pass_context *c, struct node *n)
{
	struct dequantized q;
	const struct expr *e;
	enum dtype t = n->out[0]->type.dtype;
	int left, inner;
	int low = t == DT_I8 ? -128 : 0;

	if (!is_byte_type(t))
		return NULL;
	for (left = 0; left < n->in_count && !match_dequantized(n->in[left], &q);)
		left++;
	if (left == n->in_count || q.node->in[q.data]->type.dtype != t ||
	    !same_dims(&q.node->in[q.data]->type, &n->out[0]->type))
		return NULL;
	e = with_numbers(c, q.node, &inner, expr_param(&c->graph->exprs, t, 0));
	e = e && inner == q.data ? with_numbers(c, n, &inner, e) : NULL;
	if (!e || inner != left)
		return NULL;
	for (int byte = low; byte < low + 256; byte++) {
		union scalar y;

		if (!value_of_byte(e, byte, &y) || y.i != byte)
			return NULL;
	}
	return q.node->in[q.data];
}

/* ---- contractions ---- */

/* A factor in integers: i32(q) - zero, and what its sums are to be multiplied by. */
struct factor {
	struct dequantized q;
	struct value *zero, *scale; /* as they broadcast to the result; NULL: 0 and 1 */
};

/* A part of a factor for the contraction's result: of rank 0, or with 1 along what is summed. `whole`: rank of the
 * factor; summed: its axis of k, or -1 for all axes but the last (a convolution's weight). False: it changes along k. */
static bool place_part(struct builder *b, struct value **part, int whole, int summed)
{
	struct value *v = *part;
	int rank = v->type.rank;

	if (type_count_const(&v->type) == 1) {
		*part = as_number(b, v);
		return *part != NULL;
	}
	for (int i = 0; i < rank; i++)
		if (summed < 0 ? i < rank - 1 : i + whole - rank == summed)
			if (!dim_is(v->type.dims[i], 1))
				return false;
	if (summed < 0 && rank > 1)
		*part = add_reshape(b, v, 1, v->type.dims + rank - 1);
	return *part != NULL;
}

/* Zero points of 0, as symmetric weights have them. */
static bool is_all_zero(const struct value *v, struct arena *a)
{
	const struct tensor *t = value_const(v);
	int64_t count = t ? type_count_const(&v->type) : 0;
	const unsigned char *at;

	if (!t || !is_byte_type(v->type.dtype))
		return false;
	at = tensor_bytes(t, v->type.dtype, count, a);
	for (int64_t i = 0; i < count; i++)
		if (at[i])
			return false;
	return true;
}

static bool read_factor(struct builder *b, struct value *v, int summed, struct factor *f)
{
	*f = (struct factor){.zero = NULL};
	if (!match_dequantized(v, &f->q))
		return false;
	if (f->q.scale) {
		f->scale = part_value(b, f->q.node, f->q.scale);
		if (!f->scale || !place_part(b, &f->scale, v->type.rank, summed))
			return false;
	}
	if (f->q.zero) {
		const struct expr *e = f->q.zero;

		if (is_cast(e, DT_I32) && e->arg[0]->op == EXPR_PARAM)
			e = e->arg[0]; /* widened where it is subtracted */
		f->zero = part_value(b, f->q.node, e);
		if (!f->zero)
			return false;
		if (is_all_zero(f->zero, b->graph->arena))
			f->zero = NULL;
		else if (type_count_const(&f->zero->type) == 1)
			f->zero = as_number(b, f->zero);
		else /* stands beside the bytes */
			for (int i = 0, r = f->zero->type.rank; i < r; i++)
				if ((summed < 0 ? i < r - 1 : i + v->type.rank - r == summed) &&
				    !dim_is(f->zero->type.dims[i], 1))
					return false;
	}
	return true;
}

/* i32(q) - zero. The zero point is a byte where it was one. */
static struct value *centered(struct builder *b, const struct factor *f)
{
	struct value *in[2] = {f->q.node->in[f->q.data], f->zero};

	return f->zero ? add_map_text(b, "(a, b) -> i32(a) - i32(b)", DT_NONE, 2, in, 0, NULL)
		       : add_map_text(b, "(a) -> i32(a)", DT_NONE, 1, in, 0, NULL);
}

/* The sums times both scales: constant ones are multiplied first. */
static struct value *scaled(struct builder *b, struct value *sum, struct value *s, struct value *t)
{
	struct value *in[3] = {s, t};

	if (s && t && value_const(s) && value_const(t)) {
		s = add_map_text(b, "(a, b) -> a * b", DT_NONE, 2, in, 0, NULL);
		t = NULL;
	}
	in[0] = sum;
	in[1] = s ? s : t;
	in[2] = t;
	return s && t  ? add_map_text(b, "(a, b, c) -> f32(a) * (b * c)", DT_NONE, 3, in, 0, NULL)
	       : in[1] ? add_map_text(b, "(a, b) -> f32(a) * b", DT_NONE, 2, in, 0, NULL)
		       : add_map_text(b, "(a) -> f32(a)", DT_NONE, 1, in, 0, NULL);
}

/* %1 = map(%p, s, z) -> s * (p - z)  %2 = map(%q, t) -> t * q  %y = matmul(%1, %2)
 *	=>   %3 = map(%p, z) -> i32(p) - z  %4 = map(%q) -> i32(q)  %5 = matmul(%3, %4)
 *	     %y = map(%5, s, t) -> f32(sum) * (s * t) */
static struct value *multiply_integers(struct pass_context *c, struct node *n)
{
	struct builder b = build_before(c, n);
	struct dequantized q;
	struct factor x, w;
	struct value *in[2], *sum;
	bool conv = n->op == OP_conv;

	if (!match_dequantized(n->in[0], &q) || (conv && !is_per_tensor(&q)) ||
	    !match_dequantized(n->in[1], &q))
		return NULL;
	if (!read_factor(&b, n->in[0], n->in[0]->type.rank - 1, &x) ||
	    !read_factor(&b, n->in[1], conv ? -1 : n->in[1]->type.rank - 2, &w))
		return NULL;
	in[0] = centered(&b, &x);
	in[1] = centered(&b, &w);
	sum = in[0] && in[1] ? add_like(&b, n, in, n->attrs) : NULL;
	return sum ? scaled(&b, sum, x.scale, w.scale) : NULL;
}

/* ---- the pass ---- */

static struct value *rewrite(struct pass_context *c, struct node *n, void *self)
{
	(void)self;
	switch (n->op) {
	case OP_matmul:
	case OP_conv: return multiply_integers(c, n);
	case OP_map: return quantize_again(c, n);
	default: return move_first(c, n);
	}
}

bool pass_integer_products(struct pass_context *c)
{
	int errors = c->diag->errors;

	rewrite_graph(c, rewrite, NULL);
	return c->diag->errors == errors;
}
