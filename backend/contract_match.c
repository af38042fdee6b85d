/* contract_match.c: recognizes contractions by their index expressions, so that convolutions, matrix products
 * and einsums are one thing. */
#include "backend/contract.h"

dim contract_extent(const struct kernel *k, const struct contract *c, int loop)
{
	return k->exprs->axes[c->loops[loop].loop->axis].extent;
}

/* ---- the sum ---- */

struct search {
	struct loops_info *info;
	const struct expr *sum;
	int count, stamp; /* other traversals count up from 0 */
};

static void find_sum(struct search *s, const struct expr *e)
{
	struct note *n = note_of(s->info, e);

	if (n->scanned == s->stamp)
		return;
	n->scanned = s->stamp;
	if (e->op == EXPR_REDUCE) {
		s->sum = e;
		s->count++;
		return;
	}
	for (int i = 0; i < e->count; i++)
		find_sum(s, e->arg[i]);
}

/* ---- operands ---- */

/* A load that is in range without a mask, and of what nobody writes here. */
static bool is_safe_load(struct loops_info *info, const struct expr *e)
{
	const struct note *n = note_of(info, e);

	return e->op == EXPR_LOAD && n->access->safe && !n->access->check_count && !n->buffers;
}

/* Such a load whose address is affine in the axes. */
static bool is_affine_load(struct loops_info *info, const struct expr *e)
{
	const struct note *n = note_of(info, e);

	if (!is_safe_load(info, e))
		return false;
	for (int i = 0; i < n->access->count; i++)
		if (n->access->terms[i].value->op != EXPR_AXIS)
			return false;
	return true;
}

static bool is_plain_load(struct loops_info *info, const struct expr *e)
{
	return is_affine_load(info, e) && dtype_bits(note_of(info, e)->access->type) >= 8;
}

static bool is_byte(struct loops_info *info, const struct expr *e)
{
	return e->op == EXPR_CAST && e->type == DT_I32 && is_plain_load(info, e->arg[0]) &&
	       (e->arg[0]->type == DT_I8 || e->arg[0]->type == DT_U8);
}

static bool changes_with_k(struct loops_info *info, const struct contract *c, const struct expr *e)
{
	for (int i = 0; i < c->sum->axis_count; i++)
		if (note_of(info, e)->axes & axis_bit(info, c->sum->axes[i]))
			return true;
	return false;
}

/* The same in all of k, and without conditions. */
static bool is_column_value(struct loops_info *info, const struct contract *c, const struct expr *e)
{
	const struct note *n = note_of(info, e);

	return !changes_with_k(info, c, e) && !n->unsafe && !n->reduces && !n->buffers && !n->vars;
}

/* i32(load), i32(load) - zero, i32(load) + zero, zero + i32(load) */
static bool match_bytes(struct loops_info *info, const struct contract *c, const struct expr *e,
			struct contract_operand *o)
{
	int load = 0;

	if (is_byte(info, e)) {
		o->load = e->arg[0];
		return true;
	}
	if (e->type != DT_I32 || (e->op != EXPR_ADD && e->op != EXPR_SUB) || e->count != 2)
		return false;
	if (e->op == EXPR_ADD && !is_byte(info, e->arg[0]))
		load = 1;
	if (!is_byte(info, e->arg[load]))
		return false;
	o->load = e->arg[load]->arg[0];
	o->zero = e->arg[!load];
	o->negated = e->op == EXPR_ADD;
	return is_column_value(info, c, o->zero);
}

/* f32(load), f32(i32(load)): a weight of that many bits. */
static bool match_weight_load(struct loops_info *info, const struct contract *c,
			      const struct expr *e, struct contract_operand *o)
{
	enum dtype t;

	while (e->op == EXPR_CAST && (e->type == DT_F32 || e->type == DT_I32))
		e = e->arg[0];
	if (!is_affine_load(info, e))
		return false;
	t = note_of(info, e)->access->type;
	o->load = e;
	return dtype_is_int(t) && dtype_bits(t) == c->mac->bits;
}

/* f32(load - zero), f32(load) - zero */
static bool match_weight(struct loops_info *info, const struct contract *c, const struct expr *e,
			 struct contract_operand *o)
{
	if (e->type != DT_F32)
		return false;
	if (match_weight_load(info, c, e, o))
		return true;
	if (e->op == EXPR_CAST && e->arg[0]->type == DT_I32)
		e = e->arg[0];
	if (e->op != EXPR_SUB || e->count != 2 || !match_weight_load(info, c, e->arg[0], o))
		return false;
	o->zero = e->arg[1];
	return true;
}

/* The innermost axis of the sum along which there is more than one element; -1: none. */
static int innermost_axis(struct loops_info *info, const struct contract *c)
{
	for (int i = c->sum->axis_count - 1; i >= 0; i--)
		if (!dim_is(info->k->exprs->axes[c->sum->axes[i]].extent, 1))
			return c->sum->axes[i];
	return -1;
}

/* What the weights of a block share: a value that is the same in all of k, or a load that changes with k from block to
 * block. *block: 0, or the length of that. */
static bool match_factor(struct loops_info *info, const struct contract *c, const struct expr *e,
			 struct access **at, int64_t *block)
{
	int inner = c->inner;
	dim extent;

	if (is_column_value(info, c, e))
		return true;
	while (e->op == EXPR_CAST && (e->type == DT_F32 || e->type == DT_I32))
		e = e->arg[0];
	extent = inner < 0 ? NULL : info->k->exprs->axes[inner].extent;
	if (!extent || !dim_is_const(extent) || !is_safe_load(info, e))
		return false;
	*at = note_of(info, e)->access;
	*block = extent->value;
	for (int i = 0; i < (*at)->count; i++) {
		const struct expr *t = (*at)->terms[i].value;

		if (t->op == EXPR_DIV && t->arg[0]->op == EXPR_AXIS && t->arg[0]->index == inner &&
		    t->arg[1]->op == EXPR_LITERAL)
			*block = t->arg[1]->i;
		else if (t->op != EXPR_AXIS || t->index == inner)
			return false;
	}
	return *block % c->mac->k == 0 && extent->value % *block == 0;
}

/* weight, weight * scale, scale * weight */
static bool match_weights(struct loops_info *info, const struct contract *c, const struct expr *e,
			  struct contract_operand *o)
{
	int64_t of_scale = 0, of_zero = 0;

	if (!match_weight(info, c, e, o)) {
		int weight = e->op == EXPR_MUL && match_weight(info, c, e->arg[0], o) ? 0 : 1;

		*o = (struct contract_operand){0};
		if (e->op != EXPR_MUL || e->type != DT_F32 ||
		    !match_weight(info, c, e->arg[weight], o))
			return false;
		o->scale = e->arg[!weight];
	}
	if ((o->scale && !match_factor(info, c, o->scale, &o->scales_at, &of_scale)) ||
	    (o->zero && !match_factor(info, c, o->zero, &o->zeros_at, &of_zero)))
		return false;
	o->block = of_scale ? of_scale : of_zero;
	return !of_scale || !of_zero || of_scale == of_zero;
}

static bool match_operand(struct loops_info *info, const struct contract *c, const struct expr *e,
			  bool is_b, struct contract_operand *o)
{
	*o = (struct contract_operand){0};
	if (c->mac->bits && is_b) {
		if (!match_weights(info, c, e, o))
			return false;
	} else if (c->mac->integer) {
		if (!match_bytes(info, c, e, o))
			return false;
	} else if (e->type != DT_F32 || !is_plain_load(info, e) ||
		   (c->mac->storage && note_of(info, e)->access->type != c->mac->storage)) {
		return false;
	} else {
		o->load = e;
	}
	o->at = note_of(info, o->load)->access;
	return true;
}

int contract_bias_a(const struct contract *c)
{
	return c->mac->integer && !c->mac->tiles && c->a.at->type == DT_I8 ? 128 : 0;
}

int contract_bias_b(const struct contract *c)
{
	return c->mac->integer && c->b.at->type == DT_U8 ? -128 : 0;
}

bool contract_known_zero(const struct contract_operand *o, int bias, int64_t *zero)
{
	*zero = bias;
	if (!o->zero)
		return true;
	if (o->zero->op != EXPR_LITERAL)
		return false;
	*zero += o->negated ? -o->zero->i : o->zero->i;
	return true;
}

/* Tiles are cut so that k is a number of them, if that leaves half of their rows or more. */
int contract_turn(const struct contract *c)
{
	int64_t n = c->k_count && c->mac->tiles ? c->k[c->k_count - 1].extent->value : 0,
		steps = (n + c->mac->k - 1) / c->mac->k,
		most = steps < TILE_ROWS ? steps : TILE_ROWS;

	if (!c->mac->tiles)
		return c->mac->k;
	for (int64_t i = most; i >= TILE_ROWS / 2 && n % c->mac->k == 0; i--)
		if (steps % i == 0)
			return (int)i * c->mac->k;
	return (int)(most ? most : 1) * c->mac->k;
}

int contract_width(const struct contract *c, int vectors) { return vectors + c->sums_a; }

int contract_height(const struct contract *c, int rows)
{
	return rows + (c->sums_b && !c->constant_b);
}

/* ---- roles ---- */

bool contract_uses(struct loops_info *info, const struct access *a, int axis)
{
	bool used;

	access_coef(info, a, axis, &used);
	return used;
}

static bool has_unit_stride(struct loops_info *info, const struct access *a, int axis)
{
	bool used;
	dim coef = access_coef(info, a, axis, &used);

	return used && coef && dim_is(coef, 1);
}

/* A constant all of whose address is known at compile time. a NULL: nothing. */
static bool is_constant(const struct kernel *k, const struct access *a)
{
	const struct value *v = a ? k->buffers.at[a->buffer].value : NULL;

	if (!a)
		return true;
	if (!v || !v->def || v->def->op != OP_const || !dim_is_const(a->constant))
		return false;
	for (int i = 0; i < a->count; i++) {
		const struct expr *t = a->terms[i].value;

		t = t->op == EXPR_DIV ? t->arg[0] : t;
		if (!dim_is_const(a->terms[i].coef) ||
		    !dim_is_const(k->exprs->axes[t->index].extent))
			return false;
	}
	return true;
}

/* Panels hold elements as the multiply-adds take them. */
static bool can_pack(const struct kernel *k, const struct contract *c)
{
	if (!c->mac->integer && !c->mac->storage && !c->mac->bits && c->b.at->type != DT_F32)
		return false;
	if (!is_constant(k, c->b.at) || !is_constant(k, c->b.zeros_at) ||
	    !is_constant(k, c->b.scales_at))
		return false;
	for (int i = 0; i < c->sum->axis_count; i++)
		if (!dim_is_const(k->exprs->axes[c->sum->axes[i]].extent))
			return false;
	return true;
}

static void add_loops(struct contract *c, const struct stmt *const *loops, const int *roles,
		      int count, int role)
{
	for (int i = 0; i < count; i++) {
		if (roles[i] != role)
			continue;
		c->loops[c->count].loop = loops[i];
		c->loops[c->count++].role = (enum contract_role)role;
	}
}

/* Gives every loop its role, and orders them. */
static bool assign_roles(struct loops_info *info, struct contract *c,
			 const struct stmt *const *loops, int count)
{
	const struct access *out = store_access(info, c->store);
	int role[CONTRACT_LOOPS_MAX], n = -1;

	for (int i = 0; i < count; i++) {
		int axis = loops[i]->axis;
		bool in_a = contract_uses(info, c->a.at, axis),
		     in_b = contract_uses(info, c->b.at, axis), used;

		if (!access_coef(info, out, axis, &used))
			return false;
		if (dim_is(info->k->exprs->axes[axis].extent, 1))
			role[i] = in_b && !in_a ? CONTRACT_N_OUTER : CONTRACT_BATCH;
		else if (!used || (!in_a && !in_b))
			return false;
		else
			role[i] = in_a && in_b ? CONTRACT_BATCH
				  : in_a       ? CONTRACT_M
					       : CONTRACT_N_OUTER;
		if (role[i] == CONTRACT_N_OUTER && has_unit_stride(info, out, axis) &&
		    (c->constant_b || has_unit_stride(info, c->b.at, axis)))
			n = i;
	}
	if (n < 0)
		return false;
	role[n] = CONTRACT_N;
	c->count = 0;
	for (int r = CONTRACT_BATCH; r <= CONTRACT_M; r++) {
		if (r == CONTRACT_N)
			c->n = c->count;
		add_loops(c, loops, role, count, r);
	}
	return true;
}

/* ---- the reduction's loops ---- */

static bool add_k_loops(struct loops_info *info, struct contract *c)
{
	struct expr_pool *p = info->k->exprs;
	dim a_before = NULL, b_before = NULL;
	bool used;

	c->k_total = dim_const(p->dims, 1);
	for (int i = 0; i < c->sum->axis_count; i++) {
		int axis = c->sum->axes[i];
		dim a = access_coef(info, c->a.at, axis, &used),
		    b = access_coef(info, c->b.at, axis, &used), extent = p->axes[axis].extent;

		if (c->k_count == CONTRACT_LOOPS_MAX)
			return false;
		c->k_total = dim_mul(p->dims, c->k_total, extent);
		if (dim_is(extent, 1))
			continue;
		if (c->k_count && a_before == dim_mul(p->dims, a, extent) &&
		    (c->constant_b || b_before == dim_mul(p->dims, b, extent))) {
			c->k[c->k_count - 1].axis = axis;
			c->k[c->k_count - 1].extent =
				dim_mul(p->dims, c->k[c->k_count - 1].extent, extent);
		} else {
			c->k[c->k_count].axis = axis;
			c->k[c->k_count++].extent = extent;
		}
		a_before = a;
		b_before = b;
	}
	c->panel_steps = 1;
	for (int i = c->k_count - 1; i >= 0 && c->constant_b; i--) {
		int64_t n = c->k[i].extent->value;

		c->k[i].panel_step = c->panel_steps;
		c->panel_steps *= i == c->k_count - 1 ? (n + c->mac->k - 1) / c->mac->k : n;
	}
	return true;
}

/* A step of several k reads neighbours of A. */
static bool steps_fit(struct loops_info *info, const struct contract *c)
{
	return c->mac->k == 1 || c->mac->bits ||
	       (c->k_count && has_unit_stride(info, c->a.at, c->k[c->k_count - 1].axis));
}

/* The zero, or scale, of a factor must not change with the loops of the other. e NULL: there is none. */
static bool factor_fits(struct loops_info *info, const struct contract *c, const struct expr *e,
			bool of_a)
{
	for (int i = 0; e && i < c->count; i++)
		if ((of_a ? c->loops[i].role == CONTRACT_N : c->loops[i].role == CONTRACT_M) &&
		    note_of(info, e)->axes & axis_bit(info, c->loops[i].loop->axis))
			return false;
	return true;
}

/* Tries e, a product, with a as A. */
static bool match_product(const struct kernel *k, struct loops_info *info, struct contract *c,
			  const struct expr *a, const struct expr *b,
			  const struct stmt *const *loops, int count)
{
	int64_t zero;

	if (!match_operand(info, c, a, false, &c->a) || !match_operand(info, c, b, true, &c->b))
		return false;
	c->constant_b = can_pack(k, c);
	if ((c->mac->bits || c->mac->tiles) && !c->constant_b)
		return false;
	c->k_count = 0;
	if (!assign_roles(info, c, loops, count) || !add_k_loops(info, c) || !steps_fit(info, c) ||
	    !factor_fits(info, c, c->a.zero, true) || !factor_fits(info, c, c->b.zero, false) ||
	    !factor_fits(info, c, c->b.scale, false))
		return false;
	if (!c->mac->integer)
		return true;
	c->sums_a = !contract_known_zero(&c->b, contract_bias_b(c), &zero) || zero;
	c->sums_b = !contract_known_zero(&c->a, contract_bias_a(c), &zero) || zero;
	/* tiles of B hold no ones to sum A with */
	return !c->mac->tiles || !c->sums_a;
}

bool contract_match(const struct kernel *k, struct loops_info *info, enum contract_mac mac,
		    struct contract *c)
{
	const struct stmt *loops[CONTRACT_LOOPS_MAX], *s = k->body;
	struct search search = {.info = info, .stamp = -1 - (int)mac};
	int count = 0;

	*c = (struct contract){.mac = &mac_table[mac]};
	if (!s || s->next)
		return false;
	for (; s && s->kind == STMT_FOR && s->par && !s->next; s = s->body) {
		if (count == CONTRACT_LOOPS_MAX)
			return false;
		loops[count++] = s;
	}
	if (!s || s->kind != STMT_STORE || s->next || s->combine >= 0 || !count ||
	    dtype_bits(k->buffers.at[s->buffer].type.dtype) < 8)
		return false;
	find_sum(&search, s->value);
	if (search.count != 1 || search.sum->reduce != REDUCE_SUM ||
	    search.sum->arg[0]->op != EXPR_MUL)
		return false;
	c->store = s;
	c->sum = search.sum;
	c->inner = innermost_axis(info, c);
	for (int swap = 0; swap < 2; swap++)
		if (match_product(k, info, c, c->sum->arg[0]->arg[swap], c->sum->arg[0]->arg[!swap],
				  loops, count))
			return true;
	return false;
}
