/* contract_sparse.c: the sum of a tile over sparse panels. Each panel has its own rows, whose places in A are read from
 * its list: of every panel of the tile one row at a time, as long as all of them have more, then what is left of each.
 * A column's sum runs over its kept rows in order of k, as that of a dense panel does: the bits are the same. */
#include "backend/contract_code.h"

/* Panels of the tile. */
struct lists {
	int count, vectors; /* vectors: of a panel */
	LLVMValueRef length[COPIES_MAX], places[COPIES_MAX], rows[COPIES_MAX];
};

static LLVMValueRef load_i32(struct coder *c, LLVMValueRef at)
{
	LLVMBuilderRef b = c->g.e->builder;
	LLVMValueRef v = LLVMBuildLoad2(b, c->g.e->i32, at, "");

	LLVMSetAlignment(v, 4);
	return LLVMBuildSExt(b, v, c->g.e->i64, "");
}

static void open_lists(struct coder *c, struct lists *l)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef table = g->base[c->plan->packed], at, size;

	l->vectors = PANEL / c->plan->lanes;
	l->count = (c->tile.vectors + l->vectors - 1) / l->vectors;
	for (int i = 0; i < l->count; i++) {
		at = contract_offset(c, c->panel,
				     gen_i64(g, i * (int64_t)sizeof(struct packing_entry)));
		l->length[i] = load_i32(c, contract_offset(c, at, gen_i64(g, 4)));
		l->places[i] = contract_offset(
			c, table, LLVMBuildMul(b, load_i32(c, at), gen_i64(g, STEP_BYTES), ""));
		size = LLVMBuildMul(b, l->length[i], gen_i64(g, 4), "");
		size = LLVMBuildAdd(b, size, gen_i64(g, STEP_BYTES - 1), "");
		size = LLVMBuildAnd(b, size, gen_i64(g, -(int64_t)STEP_BYTES), "");
		l->rows[i] = contract_offset(c, l->places[i], size);
	}
}

/* Row `at` of panel i. */
static void add_row(struct coder *c, const struct lists *l, int i, LLVMValueRef at)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	int axis = c->c.k[c->c.k_count - 1].axis, first = i * l->vectors,
	    end = first + l->vectors < c->tile.vectors ? first + l->vectors : c->tile.vectors,
	    mark = memo_mark(g);
	LLVMValueRef row, v[PANEL], a, by = LLVMBuildMul(b, at, gen_i64(g, 4), "");

	axis_bind(g, axis, load_i32(c, contract_offset(c, l->places[i], by)));
	row = contract_offset(c, l->rows[i], LLVMBuildMul(b, at, gen_i64(g, STEP_BYTES), ""));
	for (int u = first; u < end; u++) {
		v[u - first] = LLVMBuildLoad2(
			b, contract_sum_type(c),
			contract_offset(c, row,
					gen_i64(g, (int64_t)(u - first) * c->plan->lanes * 4)),
			"");
		LLVMSetAlignment(v[u - first], 4 * (unsigned)c->plan->lanes);
	}
	for (int r = 0; r < c->tile.outer * c->tile.inner; r++) {
		a = gen_splat(g, gen_value(g, c->c.a.load, (struct copy){r, 0}));
		for (int u = first; u < end; u++)
			contract_add(c, &a, &v[u - first], &c->sums[r * c->tile.vectors + u]);
	}
	axis_unbind(g, axis);
	memo_release(g, mark);
}

/* Rows low..high of panels from..to. */
static void add_rows(struct coder *c, const struct lists *l, int from, int to, LLVMValueRef low,
		     LLVMValueRef high)
{
	int count = c->tile.outer * c->tile.inner * c->tile.vectors, mark = memo_mark(&c->g);
	struct loop loop;

	gen_hoist(&c->g, c->c.a.load, 0, 0);
	if (loop_open(&c->g, &loop, low, high, 1, count, c->sums)) {
		for (int i = 0; i < count; i++)
			c->sums[i] = loop.value[i];
		for (int i = from; i < to; i++)
			add_row(c, l, i, loop.index);
		loop_close(&c->g, &loop, c->sums);
		for (int i = 0; i < count; i++)
			c->sums[i] = loop.value[i];
	}
	memo_release(&c->g, mark);
}

void contract_sparse_sum(struct coder *c)
{
	struct gen *g = &c->g;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef common, zero = gen_i64(g, 0);
	struct lists l = {0};

	open_lists(c, &l);
	common = l.length[0];
	for (int i = 1; i < l.count; i++)
		common = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, l.length[i], common, ""),
					 l.length[i], common, "");
	for (int i = 0; i < c->c.k_count - 1; i++) /* a place holds all of k */
		axis_bind(g, c->c.k[i].axis, zero);
	add_rows(c, &l, 0, l.count, zero, common);
	for (int i = 0; i < l.count && l.count > 1; i++)
		add_rows(c, &l, i, i + 1, common, l.length[i]);
	for (int i = 0; i < c->c.k_count - 1; i++)
		axis_unbind(g, c->c.k[i].axis);
}
