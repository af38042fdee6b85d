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
	int count;
};

static void find_sum(struct search *s, const struct expr *e)
{
	enum { STAMP = -1 }; /* other traversals count up from 0 */
	struct note *n = note_of(s->info, e);

	if (n->scanned == STAMP)
		return;
	n->scanned = STAMP;
	if (e->op == EXPR_REDUCE) {
		s->sum = e;
		s->count++;
		return;
	}
	for (int i = 0; i < e->count; i++)
		find_sum(s, e->arg[i]);
}

/* A load that is in range without a mask, whose address is affine in the axes, and of what nobody writes here. */
static bool is_plain_load(struct loops_info *info, const struct expr *e)
{
	const struct note *n = note_of(info, e);

	if (e->op != EXPR_LOAD || e->type != DT_F32 || !n->access->safe || n->access->check_count ||
	    n->buffers || dtype_bits(n->access->type) < 8)
		return false;
	for (int i = 0; i < n->access->count; i++)
		if (n->access->terms[i].value->op != EXPR_AXIS)
			return false;
	return true;
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

static bool is_constant(const struct kernel *k, int buffer)
{
	const struct value *v = k->buffers.at[buffer].value;

	return v && v->def && v->def->op == OP_const && k->buffers.at[buffer].type.dtype == DT_F32;
}

/* Constants are packed at compile time when all of the address is known then. */
static bool can_pack(const struct kernel *k, const struct contract *c)
{
	const struct access *b = c->b_at;

	if (!is_constant(k, b->buffer) || !dim_is_const(b->constant))
		return false;
	for (int i = 0; i < b->count; i++)
		if (!dim_is_const(b->terms[i].coef) ||
		    !dim_is_const(k->exprs->axes[b->terms[i].value->index].extent))
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
		bool in_a = contract_uses(info, c->a_at, axis),
		     in_b = contract_uses(info, c->b_at, axis), used;

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
		    (c->constant_b || has_unit_stride(info, c->b_at, axis)))
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
		dim a = access_coef(info, c->a_at, axis, &used),
		    b = access_coef(info, c->b_at, axis, &used), extent = p->axes[axis].extent;

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
	for (int64_t i = c->k_count - 1, step = 1; i >= 0 && c->constant_b; i--) {
		c->k[i].panel_step = step;
		step *= c->k[i].extent->value;
	}
	return true;
}

bool contract_match(const struct kernel *k, struct loops_info *info, struct contract *c)
{
	const struct stmt *loops[CONTRACT_LOOPS_MAX], *s = k->body;
	struct search search = {.info = info};
	int count = 0;

	*c = (struct contract){0};
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
	for (int swap = 0; swap < 2; swap++) {
		c->a = c->sum->arg[0]->arg[swap];
		c->b = c->sum->arg[0]->arg[!swap];
		if (!is_plain_load(info, c->a) || !is_plain_load(info, c->b))
			return false;
		c->a_at = note_of(info, c->a)->access;
		c->b_at = note_of(info, c->b)->access;
		c->constant_b = can_pack(k, c);
		if (assign_roles(info, c, loops, count))
			return add_k_loops(info, c);
	}
	return false;
}
