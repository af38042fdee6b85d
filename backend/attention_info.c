/* attention_info.c: recognizes attention in a kernel, and lays it out. The kernel's form is matched, not the op it
 * came from: views of q, k and v are joined to it by the group, and are part of the addresses. */
#include "backend/attention.h"

#include <math.h>

/* ---- the form ---- */

static const struct expr *local_load(const struct expr *e, int local, int axis)
{
	if (e->op != EXPR_LOAD || e->index != local || e->count != 1 ||
	    e->arg[0]->op != EXPR_AXIS || e->arg[0]->index != axis)
		return NULL;
	return e;
}

static bool reduces_one(const struct expr *e, enum reduce_kind kind)
{
	return e->op == EXPR_REDUCE && e->reduce == kind && e->axis_count == 1;
}

/* exp(s[axis] - max r { s[r] }) */
static bool is_weight(const struct expr *e, int local, int axis)
{
	const struct expr *max;

	if (e->op != EXPR_EXP || e->arg[0]->op != EXPR_SUB ||
	    !local_load(e->arg[0]->arg[0], local, axis))
		return false;
	max = e->arg[0]->arg[1];
	return reduces_one(max, REDUCE_MAX) && local_load(max->arg[0], local, max->axes[0]);
}

/* value = (sum j { weight * load }) / (sum j { weight }): the load of v and its j. */
static const struct expr *match_value(const struct expr *e, int local, int *axis)
{
	const struct expr *top, *sum, *product;

	if (e->op != EXPR_DIV)
		return NULL;
	top = e->arg[0];
	sum = e->arg[1];
	if (!reduces_one(top, REDUCE_SUM) || !reduces_one(sum, REDUCE_SUM) ||
	    !is_weight(sum->arg[0], local, sum->axes[0]) || top->arg[0]->op != EXPR_MUL)
		return NULL;
	product = top->arg[0];
	*axis = top->axes[0];
	for (int i = 0; i < 2; i++)
		if (is_weight(product->arg[i], local, *axis) &&
		    product->arg[1 - i]->op == EXPR_LOAD)
			return product->arg[1 - i];
	return NULL;
}

/* The sum of products of two loads in a score; NULL if there is none, or another reduction. */
static const struct expr *find_product(const struct expr *e, bool *bad)
{
	const struct expr *found = NULL;

	if (e->op == EXPR_REDUCE) {
		*bad |= !reduces_one(e, REDUCE_SUM) || e->arg[0]->op != EXPR_MUL ||
			e->arg[0]->arg[0]->op != EXPR_LOAD || e->arg[0]->arg[1]->op != EXPR_LOAD;
		return e;
	}
	for (int i = 0; i < e->count && e->op != EXPR_LOAD; i++) {
		const struct expr *one = find_product(e->arg[i], bad);

		*bad |= one && found && one != found;
		found = one ? one : found;
	}
	return found;
}

static dim extent(const struct attention *a, int axis) { return a->k->exprs->axes[axis].extent; }

/* ---- addresses ---- */

/* The axes that an address depends on. */
static axis_set access_axes(struct attention *a, const struct access *x)
{
	axis_set axes = 0;

	for (int i = 0; i < x->count; i++)
		axes |= note_of(&a->info, x->terms[i].value)->axes;
	return axes;
}

static bool make_matrix(struct attention *a, struct access *x, int row_axis, int unit_axis,
			struct matrix *m)
{
	axis_set known = axis_bit(&a->info, a->batch) | axis_bit(&a->info, a->head) |
			 axis_bit(&a->info, row_axis) | axis_bit(&a->info, unit_axis);
	bool uses;

	*m = (struct matrix){x, row_axis, unit_axis, NULL, NULL};
	if (x->type != DT_F32 || !x->safe || x->check_count || (access_axes(a, x) & ~known))
		return false;
	m->row = access_coef(&a->info, x, row_axis, &uses);
	m->unit = access_coef(&a->info, x, unit_axis, &uses);
	return m->row && m->unit;
}

/* What may stand in a score: loads with unit stride along the keys or none, in range everywhere. */
static bool score_fits(struct attention *a, const struct expr *e, int depth)
{
	struct access *x;
	bool uses;
	dim coef;

	if (e == a->product)
		return true;
	if (e->op == EXPR_REDUCE || e->op == EXPR_VAR || e->op == EXPR_CHECK || depth > 64)
		return false;
	if (e->op == EXPR_LOAD) {
		x = note_of(&a->info, e)->access;
		coef = access_coef(&a->info, x, a->key, &uses);
		if (!x->safe || x->check_count || dtype_bits(x->type) < 8 || !coef ||
		    a->k->buffers.at[x->buffer].role != BUFFER_IN)
			return false;
		if (!dim_is(coef, 0) && !dim_is(coef, 1))
			return false;
		for (int i = 0; i < x->count; i++)
			if (!score_fits(a, x->terms[i].value, depth + 1))
				return false;
		return true;
	}
	for (int i = 0; i < e->count; i++)
		if (!score_fits(a, e->arg[i], depth + 1))
			return false;
	return true;
}

/* ---- scores that are -inf ---- */

/* left - right + more <= 0 holds for all scores that are not -inf. */
static void add_bound(struct attention *a, const struct expr *left, const struct expr *right,
		      int64_t more)
{
	struct expr_pool *p = a->k->exprs;
	const struct expr *d = index_add(p, index_sub(p, left, right), expr_index(p, more)), *rest;
	const struct expr *j = expr_axis(p, a->key);
	dim cj = affine_coef(p, d, a->key), ci = affine_coef(p, d, a->query);

	if (!cj || !ci || d->type != DT_I64)
		return;
	if (dim_is(cj, 1) && (dim_is(ci, -1) || dim_is(ci, 0)) && a->end_count < WINDOW_MAX) {
		rest = index_sub(p, j, d); /* j <= rest */
		rest = index_add(p, rest, expr_index(p, 1));
		if (!expr_uses_axis(rest, a->key))
			a->end[a->end_count++] = rest;
	} else if (dim_is(cj, -1) && (dim_is(ci, 1) || dim_is(ci, 0)) &&
		   a->begin_count < WINDOW_MAX) {
		rest = index_add(p, d, j); /* rest <= j */
		if (!expr_uses_axis(rest, a->key))
			a->begin[a->begin_count++] = rest;
	}
}

/* c (or its negation) holds for all scores that are not -inf. */
static void add_condition(struct attention *a, const struct expr *c, bool negate)
{
	enum expr_op both = negate ? EXPR_OR : EXPR_AND;

	if (c->op == EXPR_NOT) {
		add_condition(a, c->arg[0], !negate);
	} else if (c->op == both) {
		add_condition(a, c->arg[0], negate);
		add_condition(a, c->arg[1], negate);
	} else if (c->op >= EXPR_LT && c->op <= EXPR_GE && c->arg[0]->type == DT_I64) {
		bool less = (c->op == EXPR_LT || c->op == EXPR_LE) != negate;
		bool equal = (c->op == EXPR_LE || c->op == EXPR_GE) != negate;

		add_bound(a, c->arg[!less], c->arg[less], !equal);
	}
}

/* Notes conditions outside of which e is -inf (or the score of that key is no number). */
static void find_windows(struct attention *a, const struct expr *e)
{
	switch (e->op) {
	case EXPR_SELECT:
		if (expr_is_literal(e->arg[2], -INFINITY)) {
			add_condition(a, e->arg[0], false);
			find_windows(a, e->arg[1]);
		} else if (expr_is_literal(e->arg[1], -INFINITY)) {
			add_condition(a, e->arg[0], true);
			find_windows(a, e->arg[2]);
		}
		break;
	case EXPR_ADD:
		find_windows(a, e->arg[0]);
		find_windows(a, e->arg[1]);
		break;
	case EXPR_SUB: find_windows(a, e->arg[0]); break;
	case EXPR_MUL:
	case EXPR_DIV:
		for (int i = 0; i < (e->op == EXPR_MUL ? 2 : 1); i++)
			if (e->arg[1 - i]->op == EXPR_LITERAL && e->arg[1 - i]->f > 0)
				find_windows(a, e->arg[i]);
		break;
	default: break;
	}
}

/* ---- all together ---- */

static bool match_loops(struct attention *a, const struct stmt **row, const struct stmt **out)
{
	const struct stmt *s = a->k->body;
	int *axes[3] = {&a->batch, &a->query, &a->head};

	for (int i = 0; i < 3; i++) {
		if (!s || s->kind != STMT_FOR || !s->par || s->next)
			return false;
		*axes[i] = s->axis;
		s = s->body;
	}
	for (int i = 0; i < 2; i++, s = s->next) {
		if (!s || s->kind != STMT_FOR || !s->par || !s->body || s->body->next ||
		    s->body->kind != STMT_STORE || s->body->combine >= 0)
			return false;
		*(i ? out : row) = s;
	}
	return !s;
}

static bool match_form(struct attention *a, const struct expr **load_v, int *sum_axis,
		       const struct stmt **store)
{
	const struct stmt *row = NULL, *out = NULL;
	const struct expr *at;
	bool bad = false;
	int local;

	if (!match_loops(a, &row, &out))
		return false;
	*store = out->body;
	local = row->body->buffer;
	at = row->body->rank == 1 ? row->body->index[0] : NULL;
	if (a->k->buffers.at[local].role != BUFFER_LOCAL || !at || at->op != EXPR_AXIS ||
	    at->index != row->axis || out->body->value->type != DT_F32)
		return false;
	a->key = row->axis;
	a->score = row->body->value;
	a->product = find_product(a->score, &bad);
	*load_v = match_value(out->body->value, local, sum_axis);
	if (bad || !a->product || !*load_v || a->product->type != DT_F32)
		return false;
	a->keys = extent(a, a->key);
	a->batches = extent(a, a->batch);
	a->queries = extent(a, a->query);
	a->heads = extent(a, a->head);
	if (!dim_is_const(extent(a, a->product->axes[0])) || !dim_is_const(extent(a, out->axis)) ||
	    extent(a, *sum_axis) != a->keys)
		return false;
	a->depth = extent(a, a->product->axes[0])->value;
	a->width = extent(a, out->axis)->value;
	return a->depth > 0 && a->width > 0 && a->depth <= 1024 && a->width <= 1024;
}

/* Which of the two loads has the query as a row. */
static bool match_operands(struct attention *a, const struct expr *load_v, int sum_axis,
			   const struct stmt *store)
{
	const struct expr *q = a->product->arg[0]->arg[0], *kt = a->product->arg[0]->arg[1];
	int depth = a->product->axes[0], width;

	if (expr_uses_axis(q, a->key)) {
		const struct expr *swap = q;

		q = kt;
		kt = swap;
	}
	width = store->rank ? store->index[store->rank - 1]->index : -1;
	if (!store->rank || store->index[store->rank - 1]->op != EXPR_AXIS)
		return false;
	return make_matrix(a, note_of(&a->info, q)->access, a->query, depth, &a->q) &&
	       make_matrix(a, note_of(&a->info, kt)->access, a->key, depth, &a->kt) &&
	       make_matrix(a, note_of(&a->info, load_v)->access, sum_axis, width, &a->v) &&
	       make_matrix(a, store_access(&a->info, store), a->query, width, &a->y) &&
	       dim_is(a->q.unit, 1) && dim_is(a->v.unit, 1) && dim_is(a->y.unit, 1);
}

bool attention_analyze(const struct kernel *k, struct arena *a, struct attention *out)
{
	struct kernel *bare = ARENA_NEW(a, struct kernel);
	const struct expr *load_v;
	const struct stmt *store;
	int sum_axis;

	*bare = *k;
	bare->plan = (struct plan){.driver = DRIVER_NONE};
	*out = (struct attention){.k = k};
	if (k->vars.count || !match_form(out, &load_v, &sum_axis, &store) ||
	    !loops_analyze(bare, a, &out->info) || !match_operands(out, load_v, sum_axis, store) ||
	    !score_fits(out, out->score, 0))
		return false;
	find_windows(out, out->score);
	return true;
}

/* ---- plans ---- */

static int64_t round_up(int64_t x, int64_t by) { return (x + by - 1) / by * by; }

void attention_layout(struct attention *at)
{
	const struct attention_plan *plan = &at->k->plan.attention;
	struct dim_pool *p = at->k->exprs->dims;
	int64_t lanes = plan->lanes, panel = lanes * plan->vectors, rows = plan->rows, end;

	at->query_row = 4 * round_up(at->depth, lanes);
	at->score_row = 4 * (round_up(plan->keys, panel) + lanes);
	at->sum_row = 4 * round_up(at->width, lanes);
	at->query_at = 0;
	at->state_at = round_up(at->query_at + rows * at->query_row, 64);
	at->score_at = round_up(at->state_at + 3 * 4 * round_up(rows, lanes), 64);
	at->sum_at = round_up(at->score_at + rows * at->score_row, 64);
	at->key_at = round_up(at->sum_at + rows * at->sum_row, 64);
	end = at->depth * panel * 4;
	at->panels = dim_ceildiv(p, at->keys, dim_const(p, panel));
	at->scratch =
		dim_add(p, dim_const(p, at->key_at), dim_mul(p, at->panels, dim_const(p, end)));
	at->chunks = dim_ceildiv(p, at->queries, dim_const(p, plan->chunk));
	at->tasks = dim_mul(p, dim_mul(p, at->batches, at->heads), at->chunks);
}

/* The tile's rows: with few queries all, else what wastes least, the larger of equals. */
static int choose_rows(dim queries, int most)
{
	int64_t n = dim_is_const(queries) ? queries->value : 0, best = INT64_MAX;
	int rows = most;

	if (n <= 0)
		return most;
	if (n <= most)
		return (int)n;
	for (int r = most; r > most / 2; r--) {
		int64_t rest = n % r, cost = n + (rest > 2 ? r - rest : 0);

		if (cost < best) {
			best = cost;
			rows = r;
		}
	}
	return rows;
}

/* Rows of a second, small tile for what remains, when that is little; 0: none. */
static int choose_tail(dim queries, int rows)
{
	enum { TAIL = 2, FEW = 4 };

	if (!dim_is_const(queries))
		return TAIL;
	if (queries->value <= FEW)
		return rows;
	return queries->value % rows <= TAIL ? (int)(queries->value % rows) : 0;
}

/* Register tiles of two vectors: rows, sums and broadcasts fill the registers of the level. */
static int most_rows(const struct target *t)
{
	switch (t->isa) {
	case ISA_X86_V4: return 14;
	case ISA_NEON: return 12;
	default: return 6;
	}
}

bool attention_choose(const struct kernel *k, const struct target *t, struct plan *out)
{
	enum { KEYS = 512, CHUNK = 256 };
	struct arena scratch = {0};
	struct attention a;
	struct attention_plan *plan = &out->attention;
	bool ok = attention_analyze(k, &scratch, &a);

	if (ok) {
		int64_t n = dim_is_const(a.queries) ? a.queries->value : CHUNK, parts;

		*out = (struct plan){.driver = DRIVER_ATTENTION};
		plan->lanes = t->vector_bytes / 4;
		plan->vectors = 2;
		plan->rows = choose_rows(a.queries, most_rows(t));
		plan->tail = choose_tail(a.queries, plan->rows);
		plan->direct = dim_is(a.kt.unit, 1);
		plan->keys = KEYS;
		if (dim_is_const(a.keys) && a.keys->value < KEYS)
			plan->keys = (int)round_up(a.keys->value + !a.keys->value,
						   plan->lanes * plan->vectors);
		parts = (n + CHUNK - 1) / CHUNK;
		plan->chunk = (int)round_up((n + parts - 1) / (parts ? parts : 1) + !n, plan->rows);
	}
	arena_free(&scratch);
	return ok;
}

int attention_enumerate(const struct kernel *k, const struct target *t, struct plan *out, int room)
{
	static const struct {
		int rows, tail, vectors, blocks, chunk;
		bool direct;
	} shapes[] = {{1, 1, 1, 1, 1, false},
		      {3, 2, 2, 1, 7, true},
		      {5, 1, 2, 2, 64, false},
		      {2, 1, 3, 1, 3, true},
		      {3, 3, 2, 2, 64, true}};
	int n = 0;

	if (room < 1 || !attention_choose(k, t, &out[0]))
		return 0;
	n = 1;
	for (int i = 0; i < (int)(sizeof(shapes) / sizeof(*shapes)) && n < room; i++, n++) {
		int lanes = out[0].attention.lanes;

		out[n] = out[0];
		out[n].attention = (struct attention_plan){.lanes = lanes,
							   .rows = shapes[i].rows,
							   .tail = shapes[i].tail,
							   .vectors = shapes[i].vectors,
							   .keys = lanes * shapes[i].vectors *
								   shapes[i].blocks,
							   .chunk = shapes[i].chunk};
	}
	return n;
}

/* ---- words ---- */

struct words {
	struct arena *arena;
	dim *at;
	int count, room;
};

static void add_word(struct words *w, dim d)
{
	if (dim_is_const(d))
		return;
	for (int i = 0; i < w->count; i++)
		if (w->at[i] == d)
			return;
	ARENA_PUSH(w->arena, w, d);
}

static void add_expr_words(struct words *w, const struct expr *e)
{
	if (e->op == EXPR_DIM)
		add_word(w, e->size);
	for (int i = 0; i < e->count; i++)
		add_expr_words(w, e->arg[i]);
}

bool attention_abi(const struct kernel *k, struct arena *a, struct kernel_abi *abi, dim *scratch)
{
	struct attention *at = ARENA_NEW(a, struct attention);
	struct words w = {.arena = a};

	if (!attention_analyze(k, a, at))
		return false;
	attention_layout(at);
	for (int i = 0; i < at->info.words.count; i++)
		add_word(&w, at->info.words.at[i]);
	add_word(&w, at->queries);
	add_word(&w, at->heads);
	add_word(&w, at->keys);
	add_word(&w, at->chunks);
	for (int i = 0; i < at->end_count; i++)
		add_expr_words(&w, at->end[i]);
	for (int i = 0; i < at->begin_count; i++)
		add_expr_words(&w, at->begin[i]);
	abi->word_count = w.count;
	abi->words = w.at;
	abi->tasks = at->tasks;
	*scratch = at->scratch;
	return true;
}
