/* interp_exec.c: runs the code of a kernel on host tensors. */
#include "ir/interp.h"

#include "runtime/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The state of one reduction. */
struct sum {
	union scalar value; /* floats: in f64 */
	double terms;       /* sum of |term| */
	int64_t n, at;      /* terms so far; position of the extreme */
};

struct view {
	enum dtype dtype;
	unsigned char *data;
	int64_t count, dims[HONE_MAX_RANK], strides[HONE_MAX_RANK]; /* in elements */
};

struct frame {
	const struct code *code;
	union scalar *regs;
	struct sum *sums;
	struct view *views;
	struct host *const *hosts;
	double *const *bounds;
	const int64_t *symbols;
	int64_t *bound;
	struct fault *fault;
};

/* ---- reductions ---- */

static union scalar extreme(enum dtype t, bool largest)
{
	union scalar x = {0};

	if (dtype_is_float(t)) {
		x.f = largest ? (double)INFINITY : -(double)INFINITY;
		return x;
	}
	if (t == DT_BOOL)
		x.i = largest;
	else if (dtype_class(t) == DTYPE_UNSIGNED)
		x.i = largest ? (int64_t)(UINT64_MAX >> (64 - dtype_bits(t))) : 0;
	else
		x.i = largest ? (int64_t)(UINT64_MAX >> (65 - dtype_bits(t)))
			      : (int64_t)(UINT64_MAX << (dtype_bits(t) - 1));
	return x;
}

static void sum_begin(struct sum *s, const struct instr *i)
{
	*s = (struct sum){0};
	if (i->reduce == REDUCE_MIN || i->reduce == REDUCE_MAX)
		s->value = extreme(i->type, i->reduce == REDUCE_MIN);
	else if (i->reduce == REDUCE_ALL)
		s->value.i = 1;
	else if (i->reduce == REDUCE_PROD && dtype_is_float(i->type))
		s->value.f = 1;
	else if (i->reduce == REDUCE_PROD)
		s->value.i = 1;
}

/* Whether x replaces the extreme `best` of an arg reduction. NaN never wins: comparisons are false. */
static bool wins(const struct instr *i, union scalar x, union scalar best)
{
	static const enum expr_op ops[] = {EXPR_LT, EXPR_GT, EXPR_LE, EXPR_GE};
	union scalar arg[2] = {x, best};

	return scalar_eval(ops[i->reduce - REDUCE_ARGMIN], i->from, DT_BOOL, arg).i != 0;
}

static union scalar combine(enum reduce_kind kind, enum dtype t, union scalar a, union scalar b)
{
	static const enum expr_op ops[] = {
		[REDUCE_SUM] = EXPR_ADD, [REDUCE_PROD] = EXPR_MUL, [REDUCE_MIN] = EXPR_MIN,
		[REDUCE_MAX] = EXPR_MAX, [REDUCE_ANY] = EXPR_OR,   [REDUCE_ALL] = EXPR_AND,
	};
	union scalar arg[2] = {a, b};

	return scalar_eval(ops[kind], t, t, arg);
}

static void sum_step(struct sum *s, const struct instr *i, union scalar x)
{
	if (i->reduce == REDUCE_SUM && dtype_is_float(i->type)) {
		s->value.f += x.f;
		s->terms += fabs(x.f);
	} else if (i->reduce == REDUCE_PROD && dtype_is_float(i->type)) {
		s->value.f *= x.f;
	} else if (i->reduce < REDUCE_ARGMIN) {
		s->value = combine(i->reduce, i->type, s->value, x);
	} else if (s->n == 0 || wins(i, x, s->value)) {
		s->value = x;
		s->at = s->n;
	}
	s->n++;
}

static union scalar sum_end(const struct sum *s, const struct instr *i)
{
	union scalar x = s->value;

	if (i->reduce >= REDUCE_ARGMIN)
		x.i = s->at;
	else if (i->type == DT_F32)
		x.f = (float)x.f;
	return x;
}

/* ---- instructions ---- */

static bool fail(struct frame *f, enum fault_kind kind, int64_t found, int64_t bound)
{
	f->fault->kind = kind;
	f->fault->found = found;
	f->fault->bound = bound;
	return false;
}

static bool fail_access(struct frame *f, const struct instr *i, int64_t found)
{
	f->fault->buffer = i->b;
	f->fault->axis = i->c;
	return fail(f, FAULT_ACCESS, found, f->views[i->b].dims[i->c]);
}

static union scalar eval(struct frame *f, const struct instr *i)
{
	union scalar arg[3] = {f->regs[i->a], f->regs[i->b], f->regs[i->c]};

	return scalar_eval(i->scalar, i->from, i->type, arg);
}

static void store(struct frame *f, const struct instr *i)
{
	struct view *v = &f->views[i->b];
	int64_t at = i->a < 0 ? 0 : f->regs[i->a].i;
	union scalar x = f->regs[i->c];
	double *bounds = f->bounds ? f->bounds[i->b] : NULL;

	if (i->stmt->combine >= 0)
		x = combine(i->stmt->combine, dtype_compute(v->dtype),
			    element_load(v->dtype, v->data, at), x);
	element_store(v->dtype, v->data, at, x);
	if (!bounds)
		return;
	bounds[at] = 0;
	for (const int32_t *s = i->sums; s && *s >= 0; s++)
		bounds[at] += (double)(f->sums[*s].n + 8) * f->sums[*s].terms;
}

static void set_view(struct view *v, enum dtype t, int rank, const int64_t *dims,
		     unsigned char *data)
{
	int64_t stride = 1;

	v->dtype = t;
	v->data = data;
	v->count = dims_count(rank, dims);
	for (int i = rank - 1; i >= 0; i--) {
		v->dims[i] = dims[i];
		v->strides[i] = stride;
		if (__builtin_mul_overflow(stride, dims[i], &stride))
			stride = INT64_MAX; /* some other dim is 0: never used */
	}
}

static void set_array(struct frame *f, int buffer, struct hone_array *a)
{
	const struct view *v;

	*a = (struct hone_array){.rank = -1};
	if (buffer < 0)
		return;
	v = &f->views[buffer];
	a->data = v->data;
	a->dtype = (int32_t)v->dtype;
	a->rank = f->code->kernel->buffers.at[buffer].type.rank;
	memcpy(a->dims, v->dims, sizeof(a->dims));
}

static bool call_with(struct frame *f, const struct stmt *s, const struct hone_call_row *row,
		      struct hone_call *call)
{
	int64_t scratch = row->scratch ? row->scratch(call) : 0;
	int32_t code;

	call->scratch = malloc(scratch > 0 ? (size_t)scratch : 1);
	if (!call->scratch)
		return fail(f, FAULT_MEMORY, scratch, 0);
	code = row->fn(call);
	free(call->scratch);
	if (code) {
		f->fault->code = code;
		return fail(f, FAULT_CALL, 0, 0);
	}
	for (int i = 0; i < s->out_count; i++) { /* dims found by the routine */
		struct host *h = s->out[i] >= 0 ? f->hosts[s->out[i]] : NULL;

		if (h && call->out[i].rank == h->rank)
			memcpy(h->dims, call->out[i].dims, sizeof(h->dims));
	}
	return true;
}

static bool call_routine(struct frame *f, const struct stmt *s)
{
	const struct hone_call_row *row = hone_call_find(s->routine);
	struct hone_call call = {
		.bound = f->bound, .in_count = s->in_count, .out_count = s->out_count};
	struct arena scratch = {0};
	struct hone_array *in = ARENA_ARRAY(&scratch, struct hone_array, s->in_count + 1);
	int64_t *attrs = ARENA_ARRAY(&scratch, int64_t, s->attr_count + 1);
	bool ok;

	if (!row)
		BUG("kernel %s calls %s, which is no routine", f->code->kernel->name, s->routine);
	call.in = in;
	call.out = ARENA_ARRAY(&scratch, struct hone_array, s->out_count + 1);
	call.attrs = attrs;
	for (int i = 0; i < s->in_count; i++)
		set_array(f, s->in[i], &in[i]);
	for (int i = 0; i < s->out_count; i++)
		set_array(f, s->out[i], &call.out[i]);
	for (int i = 0; i < s->attr_count; i++)
		attrs[i] = dim_eval(s->attrs[i], f->symbols);
	ok = call_with(f, s, row, &call);
	arena_free(&scratch);
	return ok;
}

static bool exec(struct frame *f, const struct block *block);

static bool exec_loop(struct frame *f, const struct instr *i)
{
	int64_t n = f->regs[i->a].i;

	for (int64_t k = 0; k < n; k++) {
		f->regs[i->dst].i = k;
		if (!exec(f, i->body))
			return false;
	}
	return true;
}

/* Takes the arm of a BRANCH. */
static bool exec_branch(struct frame *f, const struct instr *i)
{
	bool taken = f->regs[i->a].i != 0;
	const struct block *arm = taken ? i->body : i->other;

	if (arm && !exec(f, arm))
		return false;
	f->regs[i->dst] = f->regs[taken ? i->b : i->c];
	return true;
}

static bool exec_scale(struct frame *f, const struct instr *i)
{
	const struct view *v = &f->views[i->b];
	int64_t index = f->regs[i->a].i;

	if ((uint64_t)index >= (uint64_t)v->dims[i->c])
		return fail_access(f, i, index);
	f->regs[i->dst].i = index * v->strides[i->c];
	return true;
}

static bool exec_check(struct frame *f, const struct instr *i)
{
	int64_t index = f->regs[i->a].i, bound = f->regs[i->b].i;

	if (index < 0 || index >= bound)
		return fail(f, FAULT_INDEX, index, bound);
	f->regs[i->dst].i = index;
	return true;
}

/* Integer arithmetic wraps, so it is done in unsigned. */
static int64_t wrapping(enum instr_op op, int64_t a, int64_t b)
{
	uint64_t x = (uint64_t)a, y = (uint64_t)b;

	return (int64_t)(op == I_ADD_I64 ? x + y : op == I_SUB_I64 ? x - y : x * y);
}

static void exec_load_f32(struct frame *f, const struct instr *i)
{
	float x;

	memcpy(&x, f->views[i->b].data + f->regs[i->a].i * 4, sizeof(x));
	f->regs[i->dst].f = x;
}

static void exec_load(struct frame *f, const struct instr *i)
{
	const struct view *v = &f->views[i->b];

	f->regs[i->dst] = element_load(v->dtype, v->data, i->a < 0 ? 0 : f->regs[i->a].i);
}

static bool exec_instr(struct frame *f, const struct instr *i)
{
	union scalar *r = f->regs;

	switch ((enum instr_op)i->op) {
	case I_EVAL: r[i->dst] = eval(f, i); return true;
	case I_ADD_F32: r[i->dst].f = (float)r[i->a].f + (float)r[i->b].f; return true;
	case I_SUB_F32: r[i->dst].f = (float)r[i->a].f - (float)r[i->b].f; return true;
	case I_MUL_F32: r[i->dst].f = (float)r[i->a].f * (float)r[i->b].f; return true;
	case I_ADD_I64:
	case I_SUB_I64:
	case I_MUL_I64: r[i->dst].i = wrapping(i->op, r[i->a].i, r[i->b].i); return true;
	case I_SELECT: r[i->dst] = r[r[i->a].i ? i->b : i->c]; return true;
	case I_BRANCH: return exec_branch(f, i);
	case I_SCALE: return exec_scale(f, i);
	case I_LOAD: exec_load(f, i); return true;
	case I_LOAD_F32: exec_load_f32(f, i); return true;
	case I_CHECK: return exec_check(f, i);
	case I_BEGIN: sum_begin(&f->sums[i->dst], i); return true;
	case I_STEP: sum_step(&f->sums[i->dst], i, r[i->a]); return true;
	case I_END: r[i->dst] = sum_end(&f->sums[i->a], i); return true;
	case I_FOR: return exec_loop(f, i);
	case I_WHEN: return !r[i->a].i || exec(f, i->body);
	case I_STORE: store(f, i); return true;
	case I_MOVE: r[i->dst] = r[i->a]; return true;
	case I_CALL: return call_routine(f, i->stmt);
	}
	return true;
}

static bool exec(struct frame *f, const struct block *block)
{
	const struct instr *end = block->at + block->count;

	for (const struct instr *i = block->at; i < end; i++) {
		if (!exec_instr(f, i))
			return false;
	}
	return true;
}

/* ---- a run ---- */

/* Views of the buffers; locals are allocated. */
static bool set_views(struct frame *f)
{
	const struct kernel *k = f->code->kernel;
	int64_t dims[HONE_MAX_RANK], bytes;
	const struct buffer *b;
	const struct host *h;
	unsigned char *data;

	for (int i = 0; i < k->buffers.count; i++) {
		b = &k->buffers.at[i];
		h = f->hosts[i];
		if (b->role != BUFFER_LOCAL) {
			set_view(&f->views[i], h->dtype, h->rank, h->dims, h->data);
			continue;
		}
		for (int r = 0; r < b->type.rank; r++) {
			dims[r] = dim_eval(b->type.dims[r], f->symbols);
			dims[r] = dims[r] < 0 ? 0 : dims[r];
		}
		bytes = dtype_bytes(b->type.dtype, dims_count(b->type.rank, dims));
		data = bytes < PTRDIFF_MAX / 2 ? calloc(1, (size_t)bytes + 1) : NULL;
		if (!data)
			return fail(f, FAULT_MEMORY, bytes, 0);
		set_view(&f->views[i], b->type.dtype, b->type.rank, dims, data);
	}
	return true;
}

static void free_locals(struct frame *f)
{
	const struct kernel *k = f->code->kernel;

	for (int i = 0; i < k->buffers.count; i++) {
		if (k->buffers.at[i].role == BUFFER_LOCAL)
			free(f->views[i].data);
	}
}

static void set_presets(struct frame *f)
{
	for (int i = 0; i < f->code->presets.count; i++) {
		const struct preset *p = &f->code->presets.at[i];

		if (p->size)
			f->regs[p->reg].i = dim_eval(p->size, f->symbols);
		else if (dtype_is_float(p->literal->type))
			f->regs[p->reg].f = p->literal->f;
		else
			f->regs[p->reg].i = p->literal->i;
	}
}

bool code_run(const struct code *c, struct host *const *hosts, double *const *bounds,
	      const int64_t *symbols, int64_t *bound, struct fault *fault)
{
	struct arena scratch = {0};
	struct frame f = {.code = c,
			  .hosts = hosts,
			  .bounds = bounds,
			  .symbols = symbols,
			  .bound = bound,
			  .fault = fault};
	bool ok;

	f.regs = ARENA_ARRAY(&scratch, union scalar, c->reg_count + 1);
	f.sums = ARENA_ARRAY(&scratch, struct sum, c->sum_count + 1);
	f.views = ARENA_ARRAY(&scratch, struct view, c->kernel->buffers.count + 1);
	*fault = (struct fault){0};
	set_presets(&f);
	ok = set_views(&f) && exec(&f, &c->body);
	free_locals(&f);
	arena_free(&scratch);
	return ok;
}
