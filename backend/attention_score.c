/* attention_score.c: the expression from score to score. What is the same for a whole row of keys is computed
 * once, before the loop over the row. */
#include "backend/attention.h"

#include <math.h>

/* Values known so far: of the row, or of one vector of keys. */
struct memo_list {
	struct {
		struct {
			const struct expr *e;
			LLVMValueRef value;
		} *at;
		int count, room;
	} known;
};

struct score {
	struct attention_gen *g;
	LLVMValueRef query;
	struct memo_list row, vector;
	/* of the vector */
	int lanes;
	LLVMValueRef key, product, mask;
};

static LLVMValueRef recall(const struct memo_list *m, const struct expr *e)
{
	for (int i = 0; i < m->known.count; i++)
		if (m->known.at[i].e == e)
			return m->known.at[i].value;
	return NULL;
}

static LLVMValueRef remember(struct score *s, struct memo_list *m, const struct expr *e,
			     LLVMValueRef v)
{
	ARENA_PUSH(s->g->arena, &m->known, ((__typeof__(*m->known.at)){e, v}));
	return v;
}

LLVMValueRef attention_dim(struct attention_gen *g, dim d)
{
	if (dim_is_const(d))
		return tile_i64(g->e, d->value);
	for (int i = 0; i < g->abi->word_count; i++)
		if (g->abi->words[i] == d)
			return g->word[i];
	BUG("kernel %s: a dim that is no word", g->a->k->name);
}

/* Whether e differs from key to key. */
static bool varies(const struct score *s, const struct expr *e)
{
	struct loops_info *info = &((struct attention *)s->g->a)->info;

	return (note_of(info, e)->axes & axis_bit(info, s->g->a->key)) != 0;
}

static LLVMValueRef eval(struct score *s, const struct expr *e);

/* An operand for an operation on the lanes of now. */
static LLVMValueRef operand(struct score *s, const struct expr *e, bool vector)
{
	LLVMValueRef v = eval(s, e);

	return vector && s->lanes > 1 && !varies(s, e) ? value_splat(s->g->e, v, s->lanes) : v;
}

static LLVMValueRef axis_value(struct score *s, int axis)
{
	const struct attention *a = s->g->a;
	struct emitter *e = s->g->e;

	if (axis == a->batch)
		return s->g->batch;
	if (axis == a->head)
		return s->g->head;
	if (axis == a->query && s->query)
		return s->query;
	if (axis == a->key)
		return LLVMBuildAdd(e->builder, value_splat(e, s->key, s->lanes),
				    value_lanes(e, s->lanes), "");
	BUG("kernel %s: an axis that has no value", a->k->name);
}

/* ---- loads ---- */

/* The sum of an address's terms that do not vary, in elements. */
static LLVMValueRef row_address(struct score *s, const struct access *x)
{
	LLVMBuilderRef b = s->g->e->builder;
	LLVMValueRef at = attention_dim(s->g, x->constant);

	for (int i = 0; i < x->count; i++) {
		LLVMValueRef coef = attention_dim(s->g, x->terms[i].coef);

		if (!varies(s, x->terms[i].value))
			at = LLVMBuildAdd(
				b, at, LLVMBuildMul(b, eval(s, x->terms[i].value), coef, ""), "");
	}
	return at;
}

static LLVMValueRef load(struct score *s, const struct expr *e)
{
	struct emitter *m = s->g->e;
	const struct access *x = note_of(&((struct attention *)s->g->a)->info, e)->access;
	bool vector = varies(s, e);
	int lanes = vector ? s->lanes : 1;
	LLVMTypeRef element = memory_type(m, x->type, 1), type = memory_type(m, x->type, lanes);
	LLVMValueRef at = row_address(s, x), v, arg[3];
	unsigned align = (unsigned)dtype_bits(x->type) / 8;

	if (vector)
		at = LLVMBuildAdd(m->builder, at, s->key, "");
	at = LLVMBuildGEP2(m->builder, element, s->g->base[x->buffer], &at, 1, "");
	if (vector && s->mask) {
		arg[0] = at;
		arg[1] = s->mask;
		arg[2] = LLVMConstNull(type);
		v = emit_masked(m, "llvm.masked.load", type, 3, arg, 0, align);
	} else {
		v = LLVMBuildLoad2(m->builder, type, at, "");
		LLVMSetAlignment(v, align);
	}
	return emit_decode(m, x->type, lanes, v);
}

/* ---- expressions ---- */

static LLVMValueRef compute(struct score *s, const struct expr *e)
{
	struct emitter *m = s->g->e;
	bool vector = varies(s, e);
	int lanes = vector ? s->lanes : 1;
	LLVMValueRef arg[3];

	switch (e->op) {
	case EXPR_LITERAL:
		return dtype_is_float((enum dtype)e->type)
			       ? emit_real(m, (enum dtype)e->type, 1, e->f)
			       : value_int(m, (enum dtype)e->type, 1, e->i);
	case EXPR_DIM: return attention_dim(s->g, e->size);
	case EXPR_AXIS: return axis_value(s, e->index);
	case EXPR_LOAD: return load(s, e);
	case EXPR_CAST:
	case EXPR_SAT_CAST:
	case EXPR_BITS_CAST:
		return emit_cast(m, (enum expr_op)e->op, (enum dtype)e->arg[0]->type,
				 (enum dtype)e->type, lanes, eval(s, e->arg[0]));
	default: break;
	}
	for (int i = 0; i < e->count; i++)
		arg[i] = operand(s, e->arg[i], vector);
	return emit_scalar(m, (enum expr_op)e->op, (enum dtype)e->arg[0]->type, lanes, arg);
}

static LLVMValueRef eval(struct score *s, const struct expr *e)
{
	struct memo_list *m;
	LLVMValueRef v;

	if (e == s->g->a->product)
		return s->product;
	m = varies(s, e) ? &s->vector : &s->row;
	v = recall(m, e);
	return v ? v : remember(s, m, e, compute(s, e));
}

/* Computes what is the same for the whole row. */
static void prepare(struct score *s, const struct expr *e)
{
	if (e == s->g->a->product)
		return;
	if (!varies(s, e)) {
		eval(s, e);
		return;
	}
	if (e->op == EXPR_LOAD) {
		const struct access *x = note_of(&((struct attention *)s->g->a)->info, e)->access;

		for (int i = 0; i < x->count; i++)
			prepare(s, x->terms[i].value);
		return;
	}
	for (int i = 0; i < e->count; i++)
		prepare(s, e->arg[i]);
}

LLVMValueRef attention_index(struct attention_gen *g, const struct expr *e, LLVMValueRef query)
{
	struct score s = {.g = g, .query = query, .lanes = 1};

	return eval(&s, e);
}

LLVMValueRef attention_base(struct attention_gen *g, const struct matrix *m)
{
	LLVMBuilderRef b = g->e->builder;
	LLVMValueRef at = attention_dim(g, m->at->constant);

	for (int i = 0; i < m->at->count; i++) {
		const struct expr *v = m->at->terms[i].value;

		if (v->op == EXPR_AXIS && (v->index == m->row_axis || v->index == m->unit_axis))
			continue;
		at = LLVMBuildAdd(b, at,
				  LLVMBuildMul(b, attention_index(g, v, NULL),
					       attention_dim(g, m->at->terms[i].coef), ""),
				  "");
	}
	at = LLVMBuildMul(b, at, tile_i64(g->e, 4), "");
	return tile_at(g->e, g->base[m->at->buffer], at, 0);
}

/* One vector of the row from `at` on (in keys, from the block's start); lanes outside of the mask become -inf. */
static LLVMValueRef one_vector(struct score *s, LLVMValueRef row, LLVMValueRef at,
			       LLVMValueRef first, LLVMValueRef mask)
{
	struct emitter *e = s->g->e;
	LLVMBuilderRef b = e->builder;
	LLVMValueRef p = tile_at(e, row, LLVMBuildMul(b, at, tile_i64(e, 4), ""), 0), v;

	s->key = LLVMBuildAdd(b, first, at, "");
	s->mask = mask;
	s->vector = (struct memo_list){0};
	s->product = tile_load(e, p, s->lanes, NULL);
	v = operand(s, s->g->a->score, true);
	if (mask)
		v = LLVMBuildSelect(b, mask, v, emit_real(e, DT_F32, s->lanes, -INFINITY), "");
	tile_store(e, p, v, s->lanes, NULL);
	return v;
}

static LLVMValueRef larger(struct emitter *e, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealOGT, a, b, ""), a, b,
			       "");
}

/* The largest lane. */
static LLVMValueRef largest(struct emitter *e, LLVMValueRef v, int lanes)
{
	LLVMValueRef index[64];

	for (int half = lanes / 2; half; half /= 2) {
		for (int i = 0; i < lanes; i++)
			index[i] = LLVMConstInt(e->i32, (unsigned)((i + half) % lanes), 0);
		v = larger(e, v,
			   LLVMBuildShuffleVector(e->builder, v, LLVMGetUndef(LLVMTypeOf(v)),
						  LLVMConstVector(index, (unsigned)lanes), ""));
	}
	return LLVMBuildExtractElement(e->builder, v, LLVMConstInt(e->i32, 0, 0), "");
}

LLVMValueRef attention_scores(struct attention_gen *g, LLVMValueRef row, LLVMValueRef query,
			      LLVMValueRef first, LLVMValueRef count, LLVMValueRef most)
{
	struct emitter *e = g->e;
	int lanes = g->plan->lanes;
	struct score s = {.g = g, .query = query, .lanes = lanes};
	LLVMValueRef whole = LLVMBuildAnd(e->builder, count, tile_i64(e, -lanes), ""), max;
	struct count_loop l;

	prepare(&s, g->a->score);
	max = value_splat(e, most, lanes);
	count_open(e, &l, tile_i64(e, 0), whole, lanes, 1, &max);
	max = larger(e, one_vector(&s, row, l.index, first, NULL), l.value[0]);
	count_close(e, &l, &max);
	max = l.value[0];
	count_open(e, &l, whole, count, lanes, 1, &max);
	max = larger(e, one_vector(&s, row, l.index, first, tile_mask(e, l.index, count, lanes)),
		     l.value[0]);
	count_close(e, &l, &max);
	return largest(e, l.value[0], lanes);
}
