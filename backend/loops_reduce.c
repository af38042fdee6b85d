/* loops_reduce.c: reductions. One whose value differs from lane to lane has one accumulator for each copy. One
 * that is the same in all lanes is itself computed by vectors along an axis of its own: `unroll` vectors of
 * partial results, joined at the end in a fixed order, so that results depend on extents and level only. */
#include "backend/loops.h"

#include <stdlib.h>

struct reduction {
	const struct expr *e;
	enum reduce_kind kind;
	enum dtype type;     /* of what is reduced */
	int blocks, vectors; /* copies */
	int count;           /* accumulators: copies, or twice that: value and position */
	int lanes;
	bool own_vector;     /* vectorized along `order[last]` */
	int order[AXES_MAX]; /* axes from the outside in */
	LLVMValueRef acc[2 * COPIES_MAX];
};

static bool is_arg(enum reduce_kind kind) { return kind >= REDUCE_ARGMIN; }

LLVMValueRef gen_identity(struct gen *g, enum reduce_kind kind, enum dtype t, int lanes)
{
	bool is_float = dtype_is_float(t), is_signed = dtype_class(t) == DTYPE_SIGNED;
	int bits = dtype_bits(t);
	int64_t top = is_signed ? (int64_t)(UINT64_MAX >> (65 - bits))
				: (int64_t)(UINT64_MAX >> (64 - bits));

	switch (kind) {
	case REDUCE_SUM: return value_int(g->e, t, lanes, 0);
	case REDUCE_PROD: return value_int(g->e, t, lanes, 1);
	case REDUCE_ANY: return value_int(g->e, DT_BOOL, lanes, 0);
	case REDUCE_ALL: return value_int(g->e, DT_BOOL, lanes, 1);
	case REDUCE_MIN:
	case REDUCE_ARGMIN:
	case REDUCE_ARGMIN_LAST:
		if (t == DT_BOOL)
			return value_int(g->e, t, lanes, 1);
		return is_float ? emit_real(g->e, t, lanes, __builtin_inf())
				: value_int(g->e, t, lanes, top);
	default:
		if (t == DT_BOOL)
			return value_int(g->e, t, lanes, 0);
		return is_float ? emit_real(g->e, t, lanes, -__builtin_inf())
				: value_int(g->e, t, lanes, is_signed ? -top - 1 : 0);
	}
}

LLVMValueRef gen_combine(struct gen *g, enum reduce_kind kind, enum dtype t, int lanes,
			 LLVMValueRef a, LLVMValueRef b)
{
	static const enum expr_op ops[] = {
		[REDUCE_SUM] = EXPR_ADD, [REDUCE_PROD] = EXPR_MUL, [REDUCE_MIN] = EXPR_MIN,
		[REDUCE_MAX] = EXPR_MAX, [REDUCE_ANY] = EXPR_OR,   [REDUCE_ALL] = EXPR_AND,
	};
	LLVMValueRef arg[2] = {a, b};

	return emit_scalar(g->e, ops[kind], t, lanes, arg);
}

/* ---- one step ---- */

/* Position over all axes, in C order. */
static LLVMValueRef position(struct gen *g, const struct reduction *r, struct copy c)
{
	struct expr_pool *p = g->k->exprs;
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef at = gen_i64(g, 0);

	for (int i = 0; i < r->e->axis_count; i++) {
		int axis = r->e->axes[i];

		if (i)
			at = LLVMBuildMul(b, at, gen_dim(g, p->axes[axis].extent), "");
		at = LLVMBuildAdd(b, at, gen_value(g, expr_axis(p, axis), c), "");
	}
	return at;
}

static void step_position(struct gen *g, struct reduction *r, LLVMValueRef *acc, LLVMValueRef v,
			  LLVMValueRef at)
{
	static const enum expr_op better[] = {EXPR_LT, EXPR_GT, EXPR_LE, EXPR_GE};
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef arg[2] = {v, acc[0]}, take, first;

	take = emit_scalar(g->e, better[r->kind - REDUCE_ARGMIN], r->type, r->lanes, arg);
	first = LLVMBuildICmp(b, LLVMIntSLT, acc[1], LLVMConstNull(LLVMTypeOf(acc[1])), "");
	take = LLVMBuildOr(b, take, first, "");
	if (r->lanes > 1)
		at = gen_splat(g, at);
	acc[0] = LLVMBuildSelect(b, take, v, acc[0], "");
	acc[1] = LLVMBuildSelect(b, take, at, acc[1], "");
}

static LLVMValueRef term_value(struct gen *g, const struct reduction *r, const struct expr *e,
			       struct copy c)
{
	return g->lanes > 1 && r->lanes > 1 ? gen_vector(g, e, c) : gen_value(g, e, c);
}

/* acc + a*b in one rounding where the body is a product of floats, else acc combined with the body. Lanes past
 * the end keep their accumulator. */
static LLVMValueRef step_value(struct gen *g, struct reduction *r, LLVMValueRef acc, struct copy c)
{
	const struct expr *body = r->e->arg[0];
	LLVMValueRef v;

	if (r->kind == REDUCE_SUM && body->op == EXPR_MUL && dtype_is_float(r->type))
		v = emit_fma(g->e, term_value(g, r, body->arg[0], c),
			     term_value(g, r, body->arg[1], c), acc);
	else
		v = gen_combine(g, r->kind, r->type, r->lanes, acc, term_value(g, r, body, c));
	return g->tail && r->own_vector ? LLVMBuildSelect(g->e->builder, g->tail, v, acc, "") : v;
}

/* For the vectors of iteration b of the block. */
static void step(struct gen *g, struct reduction *r, int b)
{
	int vectors = r->own_vector ? g->unroll : r->vectors;

	for (int u = 0; u < vectors; u++) {
		LLVMValueRef *acc = &r->acc[b * r->vectors + u];
		struct copy c = {b, u};

		if (is_arg(r->kind)) {
			LLVMValueRef pair[2] = {acc[0], r->acc[r->count / 2 + b * r->vectors + u]};

			step_position(g, r, pair, term_value(g, r, r->e->arg[0], c),
				      position(g, r, c));
			acc[0] = pair[0];
			r->acc[r->count / 2 + b * r->vectors + u] = pair[1];
		} else {
			acc[0] = step_value(g, r, acc[0], c);
		}
	}
}

/* ---- few iterations, written out ---- */

/* A step of the inner axes: iteration t, for iteration b of the block. */
struct tap {
	int64_t place; /* of what it reads, along memory */
	int t, b;
};

enum { TAPS_MAX = 32, TAP_STEPS_MAX = 256, TAP_WORK_MAX = 500 };

/* The iterations of the axes from depth on; 0: too many, or not of a kind that is written out. */
static int tap_count(struct gen *g, const struct reduction *r, int depth)
{
	const struct note *body = note_of(&g->info, r->e->arg[0]);
	int64_t taps = 1, steps;

	if (r->own_vector || is_arg(r->kind) || body->reduces || body->fails)
		return 0;
	for (int i = depth; i < r->e->axis_count; i++) {
		dim extent = g->k->exprs->axes[r->order[i]].extent;

		if (!dim_is_const(extent) || extent->value < 1 || extent->value > TAPS_MAX)
			return 0;
		taps *= extent->value;
	}
	steps = taps * r->blocks;
	return taps <= TAPS_MAX && steps <= TAP_STEPS_MAX &&
			       steps * r->vectors * body->weight <= TAP_WORK_MAX
		       ? (int)taps
		       : 0;
}

static void bind_tap(struct gen *g, const struct reduction *r, int depth, int64_t t)
{
	for (int i = r->e->axis_count - 1; i >= depth; i--) {
		int64_t extent = g->k->exprs->axes[r->order[i]].extent->value;

		axis_bind(g, r->order[i], gen_i64(g, t % extent));
		t /= extent;
	}
}

/* The load whose address moves with the block axis and the inner axes: copies read the same there. */
static const struct access *window_of(struct gen *g, const struct reduction *r, int depth,
				      const struct expr *e)
{
	const struct note *n = note_of(&g->info, e);
	const struct access *a = NULL;
	bool uses;
	dim coef;

	if (!gen_depends(g, n->axes, g->block_axis))
		return NULL;
	for (int i = 0; e->op != EXPR_LOAD && i < e->count && !a; i++)
		a = window_of(g, r, depth, e->arg[i]);
	if (e->op != EXPR_LOAD)
		return a;
	coef = access_coef(&g->info, n->access, g->block_axis, &uses);
	if (!coef || !dim_is_const(coef))
		return NULL;
	for (int i = depth; i < r->e->axis_count; i++) {
		coef = access_coef(&g->info, n->access, r->order[i], &uses);
		if (!coef || !dim_is_const(coef))
			return NULL;
	}
	return n->access;
}

static int64_t tap_place(struct gen *g, const struct reduction *r, int depth,
			 const struct access *a, int64_t t, int b)
{
	bool uses;
	int64_t at = b * access_coef(&g->info, a, g->block_axis, &uses)->value;

	for (int i = r->e->axis_count - 1; i >= depth; i--) {
		int64_t extent = g->k->exprs->axes[r->order[i]].extent->value;

		at += t % extent * access_coef(&g->info, a, r->order[i], &uses)->value;
		t /= extent;
	}
	return at;
}

static int tap_order(const void *a, const void *b)
{
	const struct tap *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->t != y->t ? x->t - y->t : x->b - y->b;
}

/* Steps by iteration; or by the address they read, so that what several copies of the block read is loaded
 * once and then used up. Each sum adds its terms in the order of the iterations in both cases. */
static void sort_taps(struct gen *g, const struct reduction *r, int depth, struct tap *tap,
		      int count)
{
	const struct access *a = window_of(g, r, depth, r->e->arg[0]);
	int64_t last = INT64_MIN;

	for (int t = 0; a && t < count; t++) {
		int64_t at = tap_place(g, r, depth, a, t, 0);

		if (at < last)
			a = NULL;
		last = at;
	}
	for (int i = 0; i < count * r->blocks; i++) {
		int t = i / r->blocks, b = i % r->blocks;

		tap[i] = (struct tap){a ? tap_place(g, r, depth, a, t, b) : 0, t, b};
	}
	qsort(tap, (size_t)(count * r->blocks), sizeof(*tap), tap_order);
}

static void write_taps(struct gen *g, struct reduction *r, int depth, int count)
{
	struct tap tap[TAP_STEPS_MAX];

	sort_taps(g, r, depth, tap, count);
	g->reuse = true;
	g->depth++;
	for (int i = 0; i < count * r->blocks; i++) {
		int mark = memo_mark(g);

		bind_tap(g, r, depth, tap[i].t);
		step(g, r, tap[i].b);
		memo_release(g, mark);
	}
	for (int i = depth; i < r->e->axis_count; i++)
		axis_unbind(g, r->order[i]);
	g->depth--;
	g->reuse = false;
	gen_forget_loaded(g);
}

/* ---- loops ---- */

static void reduce_from(struct gen *g, struct reduction *r, int depth);

static void reduce_loop(struct gen *g, struct reduction *r, int depth, LLVMValueRef low,
			LLVMValueRef high, int64_t by)
{
	int axis = r->order[depth];
	struct loop l;

	if (!loop_open(g, &l, low, high, by, r->count, r->acc))
		return;
	for (int i = 0; i < r->count; i++)
		r->acc[i] = l.value[i];
	axis_bind(g, axis, l.index);
	reduce_from(g, r, depth + 1);
	axis_unbind(g, axis);
	loop_close(g, &l, r->acc);
	for (int i = 0; i < r->count; i++)
		r->acc[i] = l.value[i];
}

/* The last elements one by one into lane 0 of the first vector. */
static void scalar_tail(struct gen *g, struct reduction *r, int depth, LLVMValueRef low,
			LLVMValueRef high)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef zero = LLVMConstInt(g->e->i32, 0, 0), kept[2 * COPIES_MAX];
	struct reduction one = *r;

	one.lanes = one.vectors = g->lanes = 1;
	one.count = r->blocks;
	for (int i = 0; i < r->blocks; i++)
		one.acc[i] = LLVMBuildExtractElement(b, r->acc[i * r->vectors], zero, "");
	for (int i = 0; i < r->count; i++)
		kept[i] = r->acc[i];
	reduce_loop(g, &one, depth, low, high, 1);
	for (int i = 0; i < r->blocks; i++)
		kept[i * r->vectors] =
			LLVMBuildInsertElement(b, kept[i * r->vectors], one.acc[i], zero, "");
	for (int i = 0; i < r->count; i++)
		r->acc[i] = kept[i];
	g->lanes = r->lanes;
}

static void vector_axis_loops(struct gen *g, struct reduction *r, int depth, LLVMValueRef high,
			      int tail_bits)
{
	LLVMValueRef low = gen_i64(g, 0), whole, rest;
	int unroll = g->unroll;

	whole = gen_round_down(g, low, high, (int64_t)r->lanes * unroll);
	reduce_loop(g, r, depth, low, whole, (int64_t)r->lanes * unroll);
	g->unroll = 1;
	rest = unroll > 1 ? gen_round_down(g, whole, high, r->lanes) : whole;
	if (unroll > 1)
		reduce_loop(g, r, depth, whole, rest, r->lanes);
	if (gen_masks_cheap(g, tail_bits)) {
		LLVMValueRef left = LLVMBuildSub(g->e->builder, high, rest, "");

		left = LLVMBuildICmp(g->e->builder, LLVMIntULT, value_lanes(g->e, r->lanes),
				     value_splat(g->e, left, r->lanes), "");
		g->tail = left;
		reduce_loop(g, r, depth, rest, high, r->lanes);
		g->tail = NULL;
	} else {
		scalar_tail(g, r, depth, rest, high);
	}
	g->unroll = unroll;
}

static int narrowest_load(struct gen *g, const struct expr *e, int bits);

static void reduce_from(struct gen *g, struct reduction *r, int depth)
{
	struct expr_pool *p = g->k->exprs;
	int mark = memo_mark(g), taps;
	dim extent;

	if (depth == r->e->axis_count) {
		for (int b = 0; b < r->blocks; b++)
			step(g, r, b);
		return;
	}
	extent = p->axes[r->order[depth]].extent;
	gen_hoist(g, r->e->arg[0], 0, 0);
	taps = tap_count(g, r, depth);
	if (taps) {
		write_taps(g, r, depth, taps);
		memo_release(g, mark);
		return;
	}
	if (r->own_vector && depth == r->e->axis_count - 1) {
		vector_axis_loops(g, r, depth, gen_dim(g, extent),
				  narrowest_load(g, r->e->arg[0], 64));
	} else if (dim_is_const(extent) && extent->value <= 4 &&
		   note_of(&g->info, r->e)->weight * r->count < 200) {
		for (int64_t i = 0; i < extent->value; i++)
			reduce_loop(g, r, depth, gen_i64(g, i), gen_i64(g, i + 1), 1);
	} else {
		reduce_loop(g, r, depth, gen_i64(g, 0), gen_dim(g, extent), 1);
	}
	memo_release(g, mark);
}

/* ---- the axis to vectorize along ---- */

struct scan {
	struct gen *g;
	int axis, good, bad, bits, narrow;
};

static void scan_loads(struct scan *s, const struct expr *e)
{
	struct note *n = note_of(&s->g->info, e);
	bool uses;
	dim coef;

	if (n->scanned == s->g->scans)
		return;
	n->scanned = s->g->scans;
	if (dtype_is_float((enum dtype)e->type) && dtype_bits((enum dtype)e->type) > s->bits)
		s->bits = dtype_bits((enum dtype)e->type);
	if (e->op == EXPR_LOAD) {
		int bits = dtype_bits((enum dtype)e->type);

		if (bits > s->bits)
			s->bits = bits;
		bits = dtype_bits(n->access->type);
		if (bits < s->narrow)
			s->narrow = bits;
		coef = access_coef(&s->g->info, n->access, s->axis, &uses);
		if (uses && coef && dim_is(coef, 1) && bits >= 8)
			s->good++;
		else if (uses)
			s->bad++;
		return;
	}
	for (int i = 0; i < e->count; i++)
		scan_loads(s, e->arg[i]);
}

static int narrowest_load(struct gen *g, const struct expr *e, int bits)
{
	struct scan s = {.g = g, .axis = g->vector_axis, .bits = 1, .narrow = bits};

	g->scans++;
	scan_loads(&s, e);
	return s.narrow;
}

/* Sets lanes and unroll; false: better one by one. */
static bool choose_vectors(struct gen *g, struct reduction *r, const struct scan *s, int axis,
			   int blocks, int *unroll)
{
	dim extent = g->k->exprs->axes[axis].extent;
	int bits = s->bits > dtype_bits(r->type) ? s->bits : dtype_bits(r->type), limit;

	if (bits < 8)
		bits = 8;
	r->lanes = g->e->target->vector_bytes * 8 / bits;
	*unroll = 4;
	if (dim_is_const(extent)) {
		while (r->lanes > 1 && r->lanes / 2 >= extent->value)
			r->lanes /= 2;
		while (*unroll > 1 && (int64_t)r->lanes * *unroll > extent->value)
			*unroll /= 2;
	}
	limit = g->e->target->isa == ISA_X86_V4 || g->e->target->isa == ISA_NEON ? 24 : 12;
	while (*unroll > 1 && blocks * *unroll > limit)
		*unroll /= 2;
	return r->lanes > 1;
}

static bool choose_axis(struct gen *g, struct reduction *r, int *unroll)
{
	const struct expr *e = r->e;
	struct scan best = {0};
	int chosen = -1, n = 0;

	if (is_arg(r->kind) || (g->condition_count && note_of(&g->info, e)->unsafe) ||
	    note_of(&g->info, e)->fails)
		return false;
	for (int i = 0; i < e->axis_count; i++) {
		struct scan s = {.g = g, .axis = e->axes[i], .bits = 1, .narrow = 64};
		dim extent = g->k->exprs->axes[e->axes[i]].extent;

		if (dim_is_const(extent) && extent->value < 4)
			continue;
		g->scans++;
		scan_loads(&s, e->arg[0]);
		if (s.good > s.bad && (chosen < 0 || s.good - s.bad >= best.good - best.bad)) {
			best = s;
			chosen = e->axes[i];
		}
	}
	if (chosen < 0 || !choose_vectors(g, r, &best, chosen, g->most_block, unroll))
		return false;
	for (int i = 0; i < e->axis_count; i++) {
		if (e->axes[i] != chosen)
			r->order[n++] = e->axes[i];
	}
	r->order[n] = chosen;
	return true;
}

/* ---- results ---- */

static LLVMValueRef half(struct gen *g, LLVMValueRef v, int from, int lanes)
{
	LLVMValueRef index[LANES_MAX];

	for (int i = 0; i < lanes; i++)
		index[i] = LLVMConstInt(g->e->i32, (unsigned)(from + i), 0);
	if (lanes == 1)
		return LLVMBuildExtractElement(g->e->builder, v, index[0], "");
	return LLVMBuildShuffleVector(g->e->builder, v, LLVMGetPoison(LLVMTypeOf(v)),
				      LLVMConstVector(index, (unsigned)lanes), "");
}

/* Vectors pairwise, then halves of the last one. */
static LLVMValueRef join(struct gen *g, const struct reduction *r, LLVMValueRef *acc)
{
	LLVMValueRef v;

	for (int n = r->vectors; n > 1; n /= 2) {
		for (int i = 0; i < n / 2; i++)
			acc[i] = gen_combine(g, r->kind, r->type, r->lanes, acc[2 * i],
					     acc[2 * i + 1]);
	}
	v = acc[0];
	for (int n = r->lanes / 2; n >= 1; n /= 2)
		v = gen_combine(g, r->kind, r->type, n, half(g, v, 0, n), half(g, v, n, n));
	return v;
}

static void remember(struct gen *g, struct reduction *r, struct copy wanted, LLVMValueRef *result)
{
	struct note *n = note_of(&g->info, r->e);
	int vectors = r->own_vector ? 1 : r->vectors;

	for (int b = 0; b < r->blocks; b++) {
		for (int u = 0; u < vectors; u++) {
			LLVMValueRef v = r->acc[b * r->vectors + u];

			if (is_arg(r->kind)) {
				v = r->acc[r->count / 2 + b * r->vectors + u];
				v = LLVMBuildSelect(g->e->builder,
						    LLVMBuildICmp(g->e->builder, LLVMIntSLT, v,
								  LLVMConstNull(LLVMTypeOf(v)), ""),
						    LLVMConstNull(LLVMTypeOf(v)), v, "");
			} else if (r->own_vector) {
				v = join(g, r, &r->acc[b * r->vectors]);
			}
			if (b == wanted.b && u == wanted.u)
				*result = v; /* gen_value remembers this one */
			else
				memo_add(g, &n->memo,
					 (struct memo){.value = v,
						       .b = (int16_t)b,
						       .u = (int16_t)u,
						       .changeable = n->buffers || n->vars});
		}
	}
}

static void run(struct gen *g, struct reduction *r)
{
	int copies = r->blocks * r->vectors;

	r->count = is_arg(r->kind) ? 2 * copies : copies;
	for (int i = 0; i < copies; i++) {
		r->acc[i] = gen_identity(g, r->kind, r->type, r->lanes);
		r->acc[copies + i] = value_int(g->e, DT_I64, r->lanes, -1);
	}
	reduce_from(g, r, 0);
}

LLVMValueRef gen_reduce(struct gen *g, const struct expr *e, struct copy c)
{
	struct note *n = note_of(&g->info, e);
	struct reduction r = {
		.e = e, .kind = (enum reduce_kind)e->reduce, .type = (enum dtype)e->arg[0]->type};
	LLVMValueRef result = NULL, tail = g->tail;
	int axis = g->vector_axis, lanes = g->lanes, unroll = g->unroll, own = 1;

	r.blocks = gen_in_block(g, n->axes) ? g->block : 1;
	r.vectors = gen_depends(g, n->axes, g->vector_axis) ? g->unroll : 1;
	r.lanes = gen_is_vector(g, n) ? g->lanes : 1;
	for (int i = 0; i < e->axis_count; i++)
		r.order[i] = e->axes[i];
	if (!gen_depends(g, n->axes, g->vector_axis) && choose_axis(g, &r, &own)) {
		r.own_vector = true;
		g->vector_axis = r.order[e->axis_count - 1];
		g->lanes = r.lanes;
		g->unroll = r.vectors = own;
		g->tail = NULL;
	} else if (!gen_depends(g, n->axes, g->vector_axis)) {
		r.lanes = 1;
	}
	run(g, &r);
	remember(g, &r, c, &result);
	g->vector_axis = axis;
	g->lanes = lanes;
	g->unroll = unroll;
	g->tail = tail;
	return result;
}
