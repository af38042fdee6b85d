/* contract_packing.c: how a contraction's constant operand stands in panels, and whether so many of its rows of 16
 * are zero that they can be left out. Blocks of 1 x 16 are zero as magnitude pruning leaves them (passes/prune.c); Gale,
 * Zaharia, Young and Elsen 2020, "Sparse GPU kernels for deep learning", and Elsen et al. 2020, "Fast sparse
 * ConvNets", keep the places of what is not zero in the same way. */
#include "backend/contract.h"

/* What k adds to the index of A: 0 where that is no multiple of what the innermost loop's step adds. */
static int64_t place_step(struct loops_info *info, const struct contract *c, int axis)
{
	bool used;
	int64_t inner = access_coef(info, c->a.at, c->k[c->k_count - 1].axis, &used)->value;

	return access_coef(info, c->a.at, axis, &used)->value / inner;
}

bool contract_can_be_sparse(const struct kernel *k, struct loops_info *info,
			    const struct contract *c)
{
	const struct tensor *data = value_const(k->buffers.at[c->b.at->buffer].value);
	int64_t inner, most = 0;
	bool used;

	if (!c->constant_b || c->mac->k > 1 || c->mac->storage || c->mac->bits ||
	    c->b.at->type != DT_F32 || !c->k_count || !data || data->kind != TENSOR_BYTES)
		return false;
	for (int i = c->sum->axis_count - 1; i >= 0; i--)
		if (!dim_is_const(access_coef(info, c->a.at, c->sum->axes[i], &used)))
			return false;
	inner = access_coef(info, c->a.at, c->k[c->k_count - 1].axis, &used)->value;
	for (int i = 0; inner > 0 && i < c->k_count; i++) {
		int64_t step = access_coef(info, c->a.at, c->k[i].axis, &used)->value;

		most += step / inner * (c->k[i].extent->value - 1);
		if (step < 0 || step % inner || most > INT32_MAX)
			return false;
	}
	return inner > 0;
}

/* How the element of a packed operand moves along an axis; `by` elements of the axis share one. */
static struct packing_axis packing_axis(struct loops_info *info, const struct access *at, int axis,
					int64_t by)
{
	struct packing_axis to = {.extent = info->k->exprs->axes[axis].extent->value / by};

	for (int i = 0; i < at->count; i++) {
		const struct expr *t = at->terms[i].value;

		t = t->op == EXPR_DIV ? t->arg[0] : t;
		if (t->index == axis)
			to.stride = at->terms[i].coef->value;
	}
	return to;
}

/* All but the form of the elements. block: elements of k that share one of this operand's. */
static struct packing pack_operand(const struct kernel *k, struct loops_info *info,
				   const struct contract *c, const struct access *at, int64_t block)
{
	struct packing p = {.buffer = at->buffer,
			    .type = at->type,
			    .elements = type_count_const(&k->buffers.at[at->buffer].type),
			    .start = at->constant->value,
			    .columns = contract_extent(k, c, c->n)->value};

	p.column_stride = packing_axis(info, at, c->loops[c->n].loop->axis, 1).stride;
	for (int i = 0; i < c->n; i++)
		if (contract_uses(info, c->b.at, c->loops[i].loop->axis))
			p.batch[p.batch_count++] =
				packing_axis(info, at, c->loops[i].loop->axis, 1);
	for (int i = 0; i < c->sum->axis_count; i++) {
		int axis = c->sum->axes[i];
		bool inner = !dim_is(k->exprs->axes[axis].extent, 1) && axis == c->inner;

		p.k[p.k_count++] = packing_axis(info, at, axis, inner ? block : 1);
	}
	return p;
}

/* sparse: with the places of k. */
static struct packing pack_weights(const struct kernel *k, struct loops_info *info,
				   const struct contract *c, bool sparse)
{
	struct packing p = pack_operand(k, info, c, c->b.at, 1);

	p.group = c->mac->k;
	p.steps = c->panel_steps;
	p.run = c->k_count ? c->k[c->k_count - 1].extent->value : 1;
	p.sums = c->mac->integer;
	p.sparse = sparse;
	for (int i = 0; sparse && i < p.k_count; i++)
		p.k[i].index = place_step(info, c, c->sum->axes[i]);
	return p;
}

struct sparsity contract_sparsity(const struct kernel *k, struct loops_info *info,
				  const struct contract *c, double least)
{
	struct packing p = pack_weights(k, info, c, true);
	const struct tensor *t = value_const(k->buffers.at[p.buffer].value);
	struct sparsity found = packing_sparsity(&p, t->data, least);

	tensor_rest(t);
	return found;
}

/* Scales or zeros of blocks: two neighbours side by side where they are bf16, else f32. */
static struct packing pack_factors(const struct kernel *k, struct loops_info *info,
				   const struct contract *c, const struct access *at)
{
	struct packing p = pack_operand(k, info, c, at, c->b.block);

	p.group = contract_factors_group(at);
	p.widen = at->type != DT_F32 && p.group == 1;
	p.run = contract_blocks(c);
	p.steps = (p.run + p.group - 1) / p.group;
	return p;
}

int contract_packings(const struct kernel *k, struct packing out[PACKINGS_MAX])
{
	struct arena scratch = {0};
	struct loops_info info;
	struct contract c;
	int count = 0;

	if (k->plan.driver != DRIVER_CONTRACT || k->plan.contract.packed < 0)
		return 0;
	if (!contract_analyze(k, &scratch, &info, &c))
		BUG("kernel %s: its plan does not fit", k->name);
	out[count] = pack_weights(k, &info, &c, k->plan.contract.sparse);
	if (k->plan.contract.sparse)
		out[count].lines = k->plan.contract.sparsity.lines;
	count++;
	if (c.b.zeros_at)
		out[count++] = pack_factors(k, &info, &c, c.b.zeros_at);
	if (c.b.scales_at)
		out[count++] = pack_factors(k, &info, &c, c.b.scales_at);
	arena_free(&scratch);
	return count;
}
