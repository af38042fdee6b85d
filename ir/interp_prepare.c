/* interp_prepare.c: makes a graph ready for the interpreter: each node is lowered to a kernel and each kernel
 * compiled to code; where each value was used last is noted. */
#include "ir/interp_run.h"

#include "ir/lower.h"

#include <stdlib.h>
#include <string.h>

struct prepare {
	struct engine_program *program;
	struct graph *graph;
	struct diag *diag;
	struct {
		struct step **at;
		int count, room;
	} kernels; /* whose code is still to be made */
	struct {
		const struct kernel **at;
		int count, room;
	} lowered;
	bool ok;
};

struct loc step_loc(const struct graph *g, const struct node *n)
{
	struct loc at = {.file = g->file};

	if (!n)
		return at;
	at = n->loc;
	if (!at.file)
		at.file = g->file;
	if (!at.op)
		at.op = op_table[n->op].name;
	if (!at.node && n->out_count)
		at.node = n->out[0]->name;
	return at;
}

static struct steps *prepare_region(struct prepare *p, const struct region *r);

static bool is_probed(const struct engine_program *p, const struct region *r)
{
	for (const struct node *n = r->first; n; n = n->next) {
		for (int i = 0; i < n->out_count; i++) {
			if (p->probe_of[n->out[i]->id])
				return true;
		}
	}
	return false;
}

static void prepare_const(struct prepare *p, struct step *s)
{
	const struct node *n = s->node;
	const struct attrs_const *attrs = n->attrs;
	const struct type *t = &n->out[0]->type;
	struct arena *a = &p->program->arena;
	int64_t dims[HONE_MAX_RANK], count = type_count_const(t);
	const void *data = tensor_bytes(attrs->data, t->dtype, count, a);

	if ((uintptr_t)data % 16) /* call routines read whole elements */
		data = arena_copy(a, data, (size_t)dtype_bytes(t->dtype, count));
	for (int i = 0; i < t->rank; i++)
		dims[i] = t->dims[i]->value;
	/* never written: only results are */
	s->constant = host_wrap(t->dtype, t->rank, dims, (void *)(uintptr_t)data);
	ARENA_PUSH(a, &p->program->constants, s->constant);
}

static void prepare_param(struct prepare *p, struct step *s)
{
	const struct attrs_param *attrs = s->node->attrs;
	struct run_param param = {attrs->name, attrs->initial};

	for (s->param = 0; s->param < p->program->params.count; s->param++) {
		if (!strcmp(p->program->params.at[s->param].name, attrs->name))
			return;
	}
	ARENA_PUSH(&p->program->arena, &p->program->params, param);
}

/* The symbols of a node, and of the nodes in a group. */
static void prepare_symbols(struct prepare *p, struct step *s)
{
	struct {
		int *at;
		int count, room;
	} list = {0};
	struct arena *a = &p->program->arena;

	for (int i = 0; i < s->node->symbol_count; i++)
		ARENA_PUSH(a, &list, s->node->symbols[i]);
	for (const struct node *n = s->node->op == OP_group ? s->node->regions[0]->first : NULL; n;
	     n = n->next) {
		for (int i = 0; i < n->symbol_count; i++)
			ARENA_PUSH(a, &list, n->symbols[i]);
	}
	s->symbols = list.at;
	s->symbol_count = list.count;
}

static void prepare_kernel(struct prepare *p, struct step *s)
{
	const struct kernel *k = lower_node(p->graph, s->node, &p->program->arena, p->diag);

	if (!k) {
		p->ok = false;
		return;
	}
	ARENA_PUSH(&p->program->arena, &p->kernels, s);
	ARENA_PUSH(&p->program->arena, &p->lowered, k);
}

static bool check_types(struct prepare *p, const struct node *n)
{
	for (int i = 0; i < n->out_count; i++) {
		if (n->out[i]->type.kind != TYPE_TENSOR || n->out[i]->type.dtype == DT_STRING)
			return diag_add(p->diag, DIAG_UNSUPPORTED, step_loc(p->graph, n),
					"the interpreter has no strings, sequences and optionals");
	}
	return true;
}

static void prepare_node(struct prepare *p, struct step *s)
{
	const struct node *n = s->node;
	bool opened = n->op == OP_group && is_probed(p->program, n->regions[0]);

	if (!check_types(p, n)) {
		p->ok = false;
		return;
	}
	prepare_symbols(p, s);
	if (n->op == OP_const) {
		prepare_const(p, s);
	} else if (n->op == OP_param) {
		prepare_param(p, s);
	} else if ((op_table[n->op].flags & OP_LOWERS) && !opened) {
		prepare_kernel(p, s);
	} else if (n->region_count) {
		s->regions = ARENA_ARRAY(&p->program->arena, struct steps *, n->region_count);
		for (int i = 0; i < n->region_count; i++)
			s->regions[i] = prepare_region(p, n->regions[i]);
	}
}

/* last[v] = i for every value that a node, or the nodes in it, read. */
static void mark_uses(const struct node *n, int *last, int i)
{
	for (int k = 0; k < n->in_count; k++) {
		if (n->in[k])
			last[n->in[k]->id] = i;
	}
	for (int k = 0; k < n->region_count; k++) {
		const struct region *r = n->regions[k];

		for (const struct node *m = r->first; m; m = m->next)
			mark_uses(m, last, i);
		for (int j = 0; j < r->result_count; j++)
			last[r->results[j]->id] = i;
	}
}

/* Values of this region go after their last use in it; its results stay. */
static void prepare_releases(struct prepare *p, struct steps *s)
{
	int *last = calloc((size_t)p->program->value_count + 1, sizeof(*last));
	struct arena *a = &p->program->arena;

	if (!last) {
		out_of_memory((size_t)p->program->value_count * sizeof(*last));
		return;
	}
	for (int i = 0; i < s->count; i++) {
		for (int k = 0; k < s->at[i].node->out_count; k++)
			last[s->at[i].node->out[k]->id] = i;
		mark_uses(s->at[i].node, last, i);
	}
	for (int i = 0; i < s->region->result_count; i++)
		last[s->region->results[i]->id] = -1;
	for (int i = 0; i < s->region->param_count && s->count; i++) {
		const struct value *v = s->region->params[i];

		if (last[v->id] >= 0)
			ARENA_PUSH(a, &s->at[last[v->id]].release, v->id);
	}
	for (int i = 0; i < s->count; i++) {
		for (int k = 0; k < s->at[i].node->out_count; k++) {
			const struct value *v = s->at[i].node->out[k];

			if (last[v->id] >= 0)
				ARENA_PUSH(a, &s->at[last[v->id]].release, v->id);
		}
	}
	free(last);
}

static struct steps *prepare_region(struct prepare *p, const struct region *r)
{
	struct steps *s = ARENA_NEW(&p->program->arena, struct steps);
	int i = 0;

	s->region = r;
	for (const struct node *n = r->first; n; n = n->next)
		s->count++;
	s->at = ARENA_ARRAY(&p->program->arena, struct step, s->count);
	for (const struct node *n = r->first; n; n = n->next, i++) {
		s->at[i].node = n;
		prepare_node(p, &s->at[i]);
	}
	prepare_releases(p, s);
	return s;
}

void interp_release(struct engine_program *p)
{
	struct arena arena = p->arena; /* which holds p */

	for (int i = 0; i < p->constants.count; i++)
		host_drop(p->constants.at[i]);
	arena_free(&arena);
}

static void prepare_probes(struct engine_program *p, int count, struct value *const *probes)
{
	p->probe_of = ARENA_ARRAY(&p->arena, int, p->value_count + 1);
	p->probe_next = ARENA_ARRAY(&p->arena, int, count + 1);
	for (int i = count - 1; i >= 0; i--) {
		p->probe_next[i] = p->probe_of[probes[i]->id];
		p->probe_of[probes[i]->id] = i + 1;
	}
}

struct engine_program *interp_prepare(struct engine *e, struct graph *g, int probe_count,
				      struct value *const *probes, struct diag *d)
{
	struct arena arena = {0};
	struct engine_program *program = ARENA_NEW(&arena, struct engine_program);
	struct prepare p = {.program = program, .graph = g, .diag = d, .ok = true};
	struct code_memo *memo;

	(void)e;
	program->arena = arena;
	program->graph = g;
	program->value_count = g->value_count;
	prepare_probes(program, probe_count, probes);
	program->body = prepare_region(&p, g->body);
	if (!p.ok) {
		interp_release(program);
		return NULL;
	}
	memo = code_memo_new(&program->arena,
			     &g->exprs); /* lowering is over: no expressions are added */
	for (int i = 0; i < p.kernels.count; i++)
		p.kernels.at[i]->code = code_compile(&program->arena, p.lowered.at[i], memo);
	return program;
}
