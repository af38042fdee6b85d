/* loops_info.c: analysis of a kernel. It depends on kernel and plan only, so that kernel_abi_of and
 * emit_kernel, which both run it, agree on words and tasks. */
#include "backend/loops.h"

uint64_t bit_of(int i) { return UINT64_C(1) << (i < 63 ? i : 63); }

axis_set axis_bit(struct loops_info *info, int axis)
{
	int i = 0;

	while (i < info->axis_count && info->axes[i] != axis)
		i++;
	if (i == info->axis_count) {
		if (i == AXES_MAX) {
			info->too_large = true;
			return 0;
		}
		info->axes[info->axis_count++] = axis;
	}
	return (axis_set)1 << i;
}

static void add_word(struct loops_info *info, dim d)
{
	if (dim_is_const(d))
		return;
	for (int i = 0; i < info->words.count; i++) {
		if (info->words.at[i] == d)
			return;
	}
	ARENA_PUSH(info->arena, &info->words, d);
}

/* ---- addresses ---- */

struct terms {
	struct term *at;
	int count, room;
};

static void add_term(struct loops_info *info, struct terms *t, const struct expr *value, dim coef)
{
	for (int i = 0; i < t->count; i++) {
		if (t->at[i].value == value) {
			t->at[i].coef = dim_add(info->k->exprs->dims, t->at[i].coef, coef);
			return;
		}
	}
	ARENA_PUSH(info->arena, t, ((struct term){value, coef}));
}

/* Adds e * scale. */
static void add_scaled(struct loops_info *info, struct terms *t, dim *constant,
		       const struct expr *e, dim scale)
{
	struct expr_pool *p = info->k->exprs;
	struct affine f;

	if (!expr_affine(p, e, &f)) {
		add_term(info, t, e, scale);
		return;
	}
	*constant = dim_add(p->dims, *constant, dim_mul(p->dims, f.constant, scale));
	for (int i = 0; i < f.count; i++)
		add_term(info, t, f.term[i], dim_mul(p->dims, f.coef[i], scale));
}

static dim divisor_of(struct expr_pool *p, const struct expr *e)
{
	const struct expr *d = e->arg[1];

	if (d->op == EXPR_LITERAL && d->i > 0)
		return dim_const(p->dims, d->i);
	return d->op == EXPR_DIM ? d->size : NULL;
}

/* (x / n) * (n*s) + (x rem n) * s  =>  x * s. A reshape of a contiguous buffer becomes no arithmetic. */
static bool join_division(struct loops_info *info, struct terms *t, dim *constant)
{
	struct expr_pool *p = info->k->exprs;

	for (int i = 0; i < t->count; i++) {
		const struct expr *q = t->at[i].value;
		dim n = q->op == EXPR_DIV ? divisor_of(p, q) : NULL;

		for (int j = 0; n && j < t->count; j++) {
			struct term r = t->at[j];

			if ((r.value->op != EXPR_REM && r.value->op != EXPR_MOD) ||
			    r.value->arg[0] != q->arg[0] || r.value->arg[1] != q->arg[1] ||
			    t->at[i].coef != dim_mul(p->dims, r.coef, n))
				continue;
			t->at[i].coef = t->at[j].coef = dim_const(p->dims, 0);
			add_scaled(info, t, constant, q->arg[0], r.coef);
			return true;
		}
	}
	return false;
}

static void drop_zero_terms(struct terms *t)
{
	int n = 0;

	for (int i = 0; i < t->count; i++) {
		if (!dim_is(t->at[i].coef, 0))
			t->at[n++] = t->at[i];
	}
	t->count = n;
}

/* j / n and j rem n for a loop j < bound * n, which collapsed two: where n is 0 there are no iterations. */
static bool in_collapsed_range(struct expr_pool *p, const struct expr *e, dim bound)
{
	dim n = e->op == EXPR_DIV || e->op == EXPR_REM ? divisor_of(p, e) : NULL, extent;

	if (!n || e->arg[0]->op != EXPR_AXIS)
		return false;
	extent = p->axes[e->arg[0]->index].extent;
	if (e->op == EXPR_DIV)
		return extent == dim_mul(p->dims, n, bound);
	return bound == n && extent == dim_mul(p->dims, dim_floordiv(p->dims, extent, n), n);
}

static bool in_range(struct expr_pool *p, const struct expr *e, dim bound)
{
	if (e->op == EXPR_AXIS && p->axes[e->index].extent == bound)
		return true;
	if (e->op == EXPR_LITERAL)
		return e->i >= 0 && dim_lower(bound) > e->i;
	return in_collapsed_range(p, e, bound) || expr_below(p, e, bound);
}

static void collect_checks(struct loops_info *info, struct access *a, const struct expr *e)
{
	if (e->op == EXPR_CHECK) {
		const struct expr **list =
			ARENA_ARRAY(info->arena, const struct expr *, a->check_count + 1);

		for (int i = 0; i < a->check_count; i++)
			list[i] = a->checks[i];
		list[a->check_count++] = e;
		a->checks = list;
	}
	for (int i = 0; e->op != EXPR_LOAD && i < e->count; i++)
		collect_checks(info, a, e->arg[i]);
}

static struct access *make_access(struct loops_info *info, int buffer, int rank,
				  const struct expr *const *index)
{
	struct expr_pool *p = info->k->exprs;
	const struct type *type = &info->k->buffers.at[buffer].type;
	struct access *a = ARENA_NEW(info->arena, struct access);
	dim stride = dim_const(p->dims, 1);
	struct terms t = {0};

	*a = (struct access){.buffer = buffer,
			     .type = type->dtype,
			     .safe = true,
			     .constant = dim_const(p->dims, 0)};
	for (int i = rank - 1; i >= 0; i--) {
		add_scaled(info, &t, &a->constant, index[i], stride);
		stride = dim_mul(p->dims, stride, type->dims[i]);
		collect_checks(info, a, index[i]);
		/* a CHECK keeps its index in range unless the extent is 0 */
		if (!in_range(p, index[i], type->dims[i]))
			a->safe = false;
	}
	while (join_division(info, &t, &a->constant))
		drop_zero_terms(&t);
	drop_zero_terms(&t);
	a->terms = t.at;
	a->count = t.count;
	add_word(info, a->constant);
	for (int i = 0; i < t.count; i++)
		add_word(info, t.at[i].coef);
	return a;
}

dim access_coef(struct loops_info *info, const struct access *a, int axis, bool *uses)
{
	dim coef = dim_const(info->k->exprs->dims, 0);
	axis_set bit = axis_bit(info, axis);

	*uses = false;
	for (int i = 0; i < a->count; i++) {
		const struct expr *v = a->terms[i].value;

		if (v->op == EXPR_AXIS && v->index == axis) {
			coef = a->terms[i].coef;
			*uses = true;
		} else if (note_of(info, v)->axes & bit) {
			*uses = true;
			return NULL;
		}
	}
	return coef;
}

/* ---- expressions ---- */

static struct note *find_note(struct loops_info *info, const struct expr *e, struct note ***slot)
{
	*slot = &info->notes[(unsigned)e->id % 1024];
	for (struct note *n = **slot; n; n = n->next) {
		if (n->e == e)
			return n;
	}
	return NULL;
}

enum { WORK_MAX = INT32_MAX, EXTENT_GUESS = 64 };

static int64_t times_extent(struct loops_info *info, int64_t work, int axis)
{
	dim d = info->k->exprs->axes[axis].extent;
	int64_t n = dim_is_const(d) ? d->value : EXTENT_GUESS;

	return n && work > WORK_MAX / n ? WORK_MAX : work * n;
}

static void note_operation(struct loops_info *info, struct note *n)
{
	const struct expr *e = n->e;

	switch (e->op) {
	case EXPR_AXIS: n->axes |= axis_bit(info, e->index); break;
	case EXPR_DIM: add_word(info, e->size); break;
	case EXPR_VAR:
		n->axes |= info->var_axes[e->index];
		n->vars |= bit_of(e->index);
		break;
	case EXPR_CHECK: n->unsafe = n->fails = info->can_fail = true; break;
	case EXPR_REDUCE:
		n->reduces = true;
		for (int i = 0; i < e->axis_count; i++) {
			add_word(info, info->k->exprs->axes[e->axes[i]].extent);
			n->axes &= ~axis_bit(info, e->axes[i]);
			n->work = times_extent(info, n->work, e->axes[i]);
		}
		break;
	case EXPR_LOAD:
		n->access = make_access(info, e->index, e->count, e->arg);
		n->unsafe |= !n->access->safe;
		if (info->stored & bit_of(e->index))
			n->buffers |= bit_of(e->index);
		/* the address may have lost divisions, never gained an axis */
		for (int i = 0; i < n->access->count; i++)
			(void)note_of(info, n->access->terms[i].value);
		break;
	default: break;
	}
}

static int operation_weight(const struct expr *e)
{
	if (e->op >= EXPR_EXP && e->op <= EXPR_ERF)
		return 16;
	if ((e->op == EXPR_DIV || e->op == EXPR_MOD || e->op == EXPR_REM) && e->count == 2)
		return 4;
	return e->op == EXPR_LITERAL || e->op == EXPR_DIM || e->op == EXPR_AXIS || e->op == EXPR_VAR
		       ? 0
		       : 1;
}

struct note *note_of(struct loops_info *info, const struct expr *e)
{
	struct note **slot, *n = find_note(info, e, &slot);

	if (n)
		return n;
	n = ARENA_NEW(info->arena, struct note);
	n->e = e;
	n->weight = operation_weight(e);
	n->work = n->weight;
	for (int i = 0; i < e->count; i++) {
		const struct note *m = note_of(info, e->arg[i]);

		n->axes |= m->axes;
		n->buffers |= m->buffers;
		n->vars |= m->vars;
		n->unsafe |= m->unsafe;
		n->fails |= m->fails;
		n->reduces |= m->reduces;
		n->weight = n->weight + m->weight < 10000 ? n->weight + m->weight : 10000;
		n->work = n->work + m->work < WORK_MAX ? n->work + m->work : WORK_MAX;
	}
	note_operation(info, n);
	find_note(info, e, &slot);
	n->next = *slot;
	*slot = n;
	return n;
}

/* ---- statements ---- */

static void find_writes(struct loops_info *info, const struct stmt *s, axis_set around)
{
	for (; s; s = s->next) {
		if (s->kind == STMT_STORE)
			info->stored |= bit_of(s->buffer);
		if (s->kind == STMT_SET)
			info->var_axes[s->var] |= around;
		if (s->kind == STMT_FOR)
			find_writes(info, s->body, around | axis_bit(info, s->axis));
		if (s->kind == STMT_WHEN)
			find_writes(info, s->body, around);
	}
}

static void note_statements(struct loops_info *info, const struct stmt *s)
{
	for (; s; s = s->next) {
		if (s->value)
			note_of(info, s->value);
		if (s->kind == STMT_FOR)
			add_word(info, info->k->exprs->axes[s->axis].extent);
		if (s->kind == STMT_STORE) {
			struct access *a = make_access(info, s->buffer, s->rank, s->index);

			for (int i = 0; i < a->count; i++)
				note_of(info, a->terms[i].value);
			info->stores.room = info->stores.access_room = info->stores.count;
			info->stores.at = arena_grow(info->arena, info->stores.at,
						     &info->stores.room, sizeof(*info->stores.at));
			info->stores.access =
				arena_grow(info->arena, info->stores.access,
					   &info->stores.access_room, sizeof(*info->stores.access));
			info->stores.at[info->stores.count] = s;
			info->stores.access[info->stores.count++] = a;
			for (int i = 0; i < s->rank; i++)
				note_of(info, s->index[i]);
		}
		note_statements(info, s->body);
	}
}

struct access *store_access(struct loops_info *info, const struct stmt *s)
{
	for (int i = 0; i < info->stores.count; i++) {
		if (info->stores.at[i] == s)
			return info->stores.access[i];
	}
	BUG("store without address");
}

static const struct stmt *nth_write(const struct stmt *s, const struct stmt *want, int *n)
{
	for (; s; s = s->next) {
		const struct stmt *found;

		if (s->kind == STMT_STORE || s->kind == STMT_SET) {
			if (s == want)
				return s;
			++*n;
		}
		found = s->body ? nth_write(s->body, want, n) : NULL;
		if (found)
			return found;
	}
	return NULL;
}

const struct loops_nest *nest_of(const struct kernel *k, const struct stmt *s)
{
	int n = 0;

	if (k->plan.driver != DRIVER_LOOPS || !nth_write(k->body, s, &n) ||
	    n >= k->plan.loops.count)
		return NULL;
	return &k->plan.loops.nests[n];
}

const struct loops_nest *nest_inside(const struct kernel *k, const struct stmt *s)
{
	for (; s; s = s->next) {
		const struct loops_nest *nest = NULL;

		if (s->kind == STMT_STORE || s->kind == STMT_SET)
			return nest_of(k, s);
		if (s->body)
			nest = nest_inside(k, s->body);
		if (nest)
			return nest;
	}
	return NULL;
}

/* ---- tasks ---- */

/* Work of the statements from s on, in rough cycles; saturates. */
static int64_t work_inside(struct loops_info *info, const struct stmt *s)
{
	int64_t work = 0;

	for (; s; s = s->next) {
		int64_t one = 0;

		if (s->value)
			one += note_of(info, s->value)->work;
		if (s->body)
			one += work_inside(info, s->body);
		if (s->kind == STMT_FOR)
			one = times_extent(info, one, s->axis);
		work = work + one < WORK_MAX ? work + one : WORK_MAX;
	}
	return work;
}

enum { TASK_WORK = 20000 }; /* enough in one task that its overhead does not count */

/* Whole bytes hold several elements of packed types: such kernels do not split. */
static bool stores_packed(const struct loops_info *info)
{
	for (int i = 0; i < info->stores.count; i++) {
		if (dtype_bits(info->k->buffers.at[info->stores.at[i]->buffer].type.dtype) < 8)
			return true;
	}
	return false;
}

/* Whether e has a reduction that is the same for all values of the axis: chunks would each compute it again. */
static bool repeats_reduction(struct loops_info *info, const struct expr *e, int axis, int depth)
{
	if (e->op == EXPR_REDUCE && !(note_of(info, e)->axes & axis_bit(info, axis)))
		return true;
	for (int i = 0; i < e->count && depth < 20; i++) {
		if (repeats_reduction(info, e->arg[i], axis, depth + 1))
			return true;
	}
	return false;
}

static bool chunks_repeat_work(struct loops_info *info, const struct stmt *s, int axis)
{
	for (; s; s = s->next) {
		if ((s->value && repeats_reduction(info, s->value, axis, 0)) ||
		    chunks_repeat_work(info, s->body, axis))
			return true;
	}
	return false;
}

/* The vector axis is cut in chunks of whole vectors. */
static int64_t chunk_size(struct loops_info *info, const struct stmt *s,
			  const struct loops_nest *nest)
{
	int64_t step = (int64_t)nest->lanes * nest->unroll, work = work_inside(info, s->body),
		chunk = step;

	while (chunk * work < TASK_WORK * 4 && chunk < (1 << 20))
		chunk *= 2;
	return chunk;
}

static void add_task(struct loops_info *info, const struct stmt *s, int64_t step)
{
	struct dim_pool *p = info->k->exprs->dims;
	dim extent = info->k->exprs->axes[s->axis].extent;
	struct task_axis *t = &info->tasks[info->task_count++];

	*t = (struct task_axis){s, step,
				step == 1 ? extent : dim_ceildiv(p, extent, dim_const(p, step))};
	add_word(info, t->count);
}

static void choose_tasks(struct loops_info *info)
{
	const struct stmt *s = info->k->body;
	const struct loops_nest *nest = nest_inside(info->k, s);

	if (!nest || stores_packed(info))
		return;
	for (; s && s->kind == STMT_FOR && s->par && !s->next && info->task_count < DEPTH_MAX;
	     s = s->body) {
		bool is_vector = s->axis == nest->vector_axis,
		     is_block = s->axis == nest->block_axis;
		int64_t step = is_block ? nest->block : 1;

		if (is_vector) {
			dim extent = info->k->exprs->axes[s->axis].extent;
			int64_t chunk = chunk_size(info, s, nest);

			if ((!dim_is_const(extent) || extent->value > chunk) &&
			    !chunks_repeat_work(info, s->body, s->axis))
				add_task(info, s, chunk);
			if (chunk > (int64_t)nest->lanes * nest->unroll)
				return;
			continue;
		}
		if (info->task_count && (work_inside(info, s) < TASK_WORK ||
					 chunks_repeat_work(info, s->body, s->axis)))
			return;
		add_task(info, s, step);
	}
}

/* ---- scratch ---- */

static void place_locals(struct loops_info *info)
{
	struct dim_pool *p = info->k->exprs->dims;
	dim at = dim_const(p, 0), align = dim_const(p, 64);

	info->local_at = ARENA_ARRAY(info->arena, dim, info->k->buffers.count + 1);
	for (int i = 0; i < info->k->buffers.count; i++) {
		const struct buffer *b = &info->k->buffers.at[i];
		dim bytes = dim_const(p, 1);

		if (b->role != BUFFER_LOCAL)
			continue;
		for (int j = 0; j < b->type.rank; j++)
			bytes = dim_mul(p, bytes, b->type.dims[j]);
		if (dtype_bits(b->type.dtype) < 8)
			bytes = dim_ceildiv(p, bytes, dim_const(p, 8 / dtype_bits(b->type.dtype)));
		else
			bytes = dim_mul(p, bytes, dim_const(p, dtype_bits(b->type.dtype) / 8));
		info->local_at[i] = at;
		add_word(info, at);
		at = dim_add(p, at, dim_mul(p, dim_ceildiv(p, bytes, align), align));
	}
	info->scratch_bytes = at;
}

bool loops_analyze(const struct kernel *k, struct arena *a, struct loops_info *info)
{
	*info = (struct loops_info){.k = k, .arena = a};
	info->var_axes = ARENA_ARRAY(a, axis_set, k->vars.count + 1);
	find_writes(info, k->body, 0);
	note_statements(info, k->body);
	choose_tasks(info);
	place_locals(info);
	return !info->too_large;
}
