/* loops_block.c: how many vectors along the vector axis and how many iterations of an outer axis are computed
 * together: so that accumulators fill the registers and what copies share is loaded once; or a square of both,
 * where a transpose in registers replaces loads that jump. */
#include "backend/loops_plan.h"

#include <math.h>

/* What the reductions that depend on the block axis read in one step, by how a load moves. */
struct sharing {
	struct chooser *c;
	int vector, block; /* axes */
	int reduces;       /* their number */
	double steps;      /* of all of them */
	int shared;        /* along the vectors: one for all iterations of the block */
	int broadcasts;    /* along the block: one for all vectors */
	int moving;        /* along both */
	int window; /* of those: iterations of a reduced axis in which iterations of the block read the same */
	int stride; /* of the block in that window */
};

/* x[s * i + r] with i along the block and r < K reduced, s < K: iteration i + 1 reads again what i has read. */
static void find_window(struct sharing *s, const struct access *a, const struct expr *reduce)
{
	bool uses;
	dim block = access_coef(&s->c->info, a, s->block, &uses), coef;

	for (int i = 0; i < reduce->axis_count && block && dim_is_const(block); i++) {
		int64_t extent = plan_extent(s->c->k, reduce->axes[i], 64), stride;

		coef = access_coef(&s->c->info, a, reduce->axes[i], &uses);
		if (!coef || !dim_is_const(coef) || coef->value <= 0 || extent > 16 ||
		    block->value % coef->value)
			continue;
		stride = block->value / coef->value;
		if (stride > 0 && stride < extent) {
			s->window = (int)extent;
			s->stride = (int)stride;
		}
	}
}

static void find_sharing(struct sharing *s, const struct expr *e, int vector,
			 const struct expr *inside)
{
	struct note *n = note_of(&s->c->info, e);
	bool block = n->axes & axis_bit(&s->c->info, s->block),
	     along = vector >= 0 && (n->axes & axis_bit(&s->c->info, vector));

	if (n->scanned == s->c->scans)
		return;
	n->scanned = s->c->scans;
	if (e->op == EXPR_LOAD) {
		s->shared += inside && along && !block;
		s->broadcasts += inside && !along && block;
		s->moving += inside && along && block;
		if (inside && along && block)
			find_window(s, n->access, inside);
		return;
	}
	if (e->op == EXPR_REDUCE && block) {
		if (!along) {
			vector = e->reduce >= REDUCE_ARGMIN ? -1 : plan_own_axis(s->c, e);
			s->c->scans++; /* plan_own_axis left its marks */
		}
		s->reduces += !inside;
		if (!inside)
			s->steps += (double)n->work / (note_of(&s->c->info, e->arg[0])->weight + 1);
		inside = e;
	}
	for (int i = 0; i < e->count; i++)
		find_sharing(s, e->arg[i], vector, inside);
}

static int registers(const struct target *t)
{
	return t->isa == ISA_X86_V4 || t->isa == ISA_NEON ? 32 : 16;
}

enum {
	LATENCY = 8, /* accumulators that keep the multipliers busy */
	OVERHEAD = 1 /* of a block, in steps of one vector */
};

/* Work on one block of that many copies, where a multiplication and a load of a vector count as 1. */
static double block_cost(const struct sharing *s, int vectors, int block)
{
	double work = (double)s->reduces * vectors * block, loads = s->moving * vectors * block;

	if (s->window)
		loads *= (double)((block - 1) * s->stride + s->window) / (block * s->window);
	loads += s->shared * vectors + s->broadcasts * block;
	if (work < loads)
		work = loads;
	return s->steps * (work > LATENCY ? work : LATENCY) + OVERHEAD;
}

/* Registers for accumulators, what is shared, and one operand that comes and goes. */
static int block_registers(const struct sharing *s, int vectors, int block)
{
	return s->reduces * vectors * block + s->shared * vectors * (s->window ? s->window : 1) + 2;
}

/* What reading a part of each line of the cache costs, since the line is gone when its rest is wanted. Where nothing is
 * shared reading is most of the work, and goes best by pairs of lines. */
static double part_of_lines(const struct loops_nest *nest, const struct sharing *s, int vectors)
{
	enum { LINE = 64 };
	int bytes = vectors * nest->lanes * nest->tail_bits / 8;

	return s->window && bytes < (s->shared ? LINE : 2 * LINE) ? 1.1 : 1;
}

/* Vectors along the axis and iterations of the block, chosen together: the least work on the whole plane, with
 * what is left over at its ends. */
static void fill_registers(struct chooser *c, struct loops_nest *nest, const struct sharing *s,
			   int most)
{
	int64_t extent = plan_extent(c->k, nest->vector_axis, 1 << 20),
		rows = plan_extent(c->k, s->block, 1 << 20), whole = extent / nest->lanes;
	double best = INFINITY;

	nest->unroll = 1;
	for (int u = 1; u <= 4 && u <= most && u <= whole + 1; u++) {
		for (int b = 1; b <= 16 && b * u <= most && b <= rows; b++) {
			double groups = (double)(whole / u),
			       singles = (double)(whole % u + (extent % nest->lanes != 0)), cost;
			int rest = (int)(rows % b);

			if (b * u > 1 && block_registers(s, u, b) > registers(c->target))
				continue;
			cost = part_of_lines(nest, s, u) * (double)(rows / b) *
			       (groups * block_cost(s, u, b) + singles * block_cost(s, 1, b));
			if (rest)
				cost = 1.01 * (cost + groups * block_cost(s, u, rest) +
					       singles * block_cost(s, 1, rest));
			if (cost < best * 0.99) {
				best = cost;
				nest->unroll = u;
				nest->block = b;
			}
		}
	}
	nest->block_axis = nest->block > 1 ? s->block : -1;
}

bool plan_stores_use(struct chooser *c, const struct stmt *s, int axis)
{
	for (; s; s = s->next) {
		bool uses = true;

		if (s->kind == STMT_STORE) {
			dim coef = access_coef(&c->info, store_access(&c->info, s), axis, &uses);

			if (!uses || (s->combine >= 0 && !coef) ||
			    dtype_bits(c->k->buffers.at[s->buffer].type.dtype) < 8)
				return false;
		}
		if (s->body && !plan_stores_use(c, s->body, axis))
			return false;
	}
	return true;
}

/* Loads that jump along the vectors and are contiguous along the block axis: a square of both is read as
 * vectors and transposed (loops_access.c). */
static void find_squares(struct sharing *s, const struct expr *e)
{
	struct note *n = note_of(&s->c->info, e);
	bool uses;
	dim vector, block;

	if (n->scanned == s->c->scans || e->op == EXPR_REDUCE)
		return;
	n->scanned = s->c->scans;
	for (int i = 0; i < e->count; i++)
		find_squares(s, e->arg[i]);
	if (e->op != EXPR_LOAD || !n->access->safe || dtype_bits(n->access->type) < 8)
		return;
	block = access_coef(&s->c->info, n->access, s->block, &uses);
	vector = access_coef(&s->c->info, n->access, s->vector, &uses);
	s->shared += uses && block && vector && dim_is(block, 1) && !dim_is(vector, 1);
}

static void choose_square(struct chooser *c, const struct chain *chain, struct loops_nest *nest,
			  int outside)
{
	if (nest->vector_axis < 0 || nest->lanes < 4 || nest->lanes > 16 || outside > 16 ||
	    chain->body->next || chain->body->kind != STMT_STORE)
		return;
	for (int i = chain->count - 1; i >= 0; i--) {
		struct sharing s = {
			.c = c, .vector = nest->vector_axis, .block = chain->loops[i]->axis};

		if (s.block == nest->vector_axis || plan_extent(c->k, s.block, 64) < nest->lanes ||
		    !plan_stores_use(c, chain->body, s.block))
			continue;
		c->scans++;
		find_squares(&s, chain->body->value);
		if (s.shared) {
			nest->block_axis = s.block;
			nest->block = nest->lanes;
			nest->unroll = 1;
			return;
		}
	}
}

/* Stores a few elements apart along the vectors, and next to each other along a short axis: its iterations together
 * fill the gaps, and are stored as whole vectors (loops_access.c). */
static void choose_interleaved(struct chooser *c, const struct chain *chain,
			       struct loops_nest *nest)
{
	const struct stmt *store = chain->body;
	bool uses;
	dim stride;

	if (nest->vector_axis < 0 || nest->lanes < 4 || store->next || store->kind != STMT_STORE ||
	    store->combine >= 0)
		return;
	stride = access_coef(&c->info, store_access(&c->info, store), nest->vector_axis, &uses);
	for (int i = chain->count - 1; i >= 0 && stride && dim_is_const(stride); i--) {
		int axis = chain->loops[i]->axis;
		dim coef = access_coef(&c->info, store_access(&c->info, store), axis, &uses);

		if (axis == nest->vector_axis || !coef || !dim_is(coef, 1) || stride->value < 2 ||
		    stride->value > 4 || plan_extent(c->k, axis, 0) != stride->value)
			continue;
		nest->block_axis = axis;
		nest->block = (int)stride->value;
		nest->unroll = nest->unroll < 2 ? nest->unroll : 2;
		return;
	}
}

/* Copies of reductions that are vectors along an axis of their own, or no vectors: a few, to share loads. */
static void few_rows(struct chooser *c, struct loops_nest *nest, const struct sharing *s, int most)
{
	int64_t rows = plan_extent(c->k, s->block, 1 << 20);

	nest->block = most / s->reduces;
	if (nest->block > 4)
		nest->block = 4;
	while (nest->block > 1 && rows < 16 * nest->block && rows % nest->block)
		nest->block--;
	nest->block_axis = nest->block > 1 ? s->block : -1;
	if (nest->block < 1)
		nest->block = 1;
}

/* Windows overlap from row to row too: with the vectors outside of the plane, what a few rows read stays in the
 * nearest cache, however many channels there are, and weights stay in registers. Without weights (pooling) it is faster to
 * read whole pixels as they come: 1.3 to 1.8 times on Zen 3. */
static void move_vectors_out(const struct chain *chain, const struct loops_nest *nest)
{
	int at = 0;

	while (chain->loops[at]->axis != nest->vector_axis)
		at++;
	for (; at > 0; at--) {
		chain->loops[at]->axis = chain->loops[at - 1]->axis;
		chain->loops[at - 1]->axis = nest->vector_axis;
	}
}

static void choose_block(struct chooser *c, const struct chain *chain, struct loops_nest *nest,
			 int outside)
{
	int most = outside > 200 ? 4 : outside > 60 ? 8 : COPIES_MAX;

	for (int i = chain->count - 1; i >= 0; i--) {
		struct sharing s = {
			.c = c, .vector = nest->vector_axis, .block = chain->loops[i]->axis};

		if (chain->loops[i]->axis == nest->vector_axis ||
		    plan_extent(c->k, s.block, 64) < 2 || !plan_stores_use(c, chain->body, s.block))
			continue;
		for (const struct stmt *b = chain->body; b; b = b->next) {
			c->scans++;
			if (b->value)
				find_sharing(&s, b->value, s.vector, NULL);
		}
		if (!s.reduces || (!s.shared && !s.window))
			continue;
		if (nest->vector_axis >= 0)
			fill_registers(c, nest, &s, most);
		if (s.window && s.shared && nest->vector_axis >= 0)
			move_vectors_out(chain, nest);
		else if (nest->vector_axis < 0)
			few_rows(c, nest, &s, most);
		return;
	}
}

void plan_block(struct chooser *c, const struct chain *chain, struct loops_nest *nest, int outside)
{
	choose_block(c, chain, nest, outside);
	if (nest->block == 1)
		choose_square(c, chain, nest, outside);
	if (nest->block == 1)
		choose_interleaved(c, chain, nest);
}
