/* interp.c: the interpreter engine: the oracle. Runs the nodes of a prepared graph (interp_prepare.c) in their
 * order. Nothing is computed in place; a value is freed after its last use. */
#include "ir/interp_run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef long long ll; /* for %lld */

/* ---- running ---- */

bool run_error(struct run *r, const struct node *n, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return diag_add(r->diag, DIAG_FILE, step_loc(r->program->graph, n), "%s", text);
}

struct host *run_alloc(struct run *r, const struct node *n, enum dtype t, int rank,
		       const int64_t *dims)
{
	struct host *h;
	int64_t wanted;

	for (int i = 0; i < rank; i++) {
		if (dims[i] < 0) {
			run_error(r, n, "dim %d of its result is %lld", i, (ll)dims[i]);
			return NULL;
		}
	}
	h = host_new(t, rank, dims, &wanted);
	if (!h)
		run_error(r, n, "no memory for %lld bytes", (ll)wanted);
	return h;
}

void run_set(struct run *r, const struct value *v, struct host *h)
{
	hone_tensor t;

	host_drop(r->values[v->id]);
	r->values[v->id] = h;
	if (!r->probe || !r->program->probe_of[v->id])
		return;
	t = host_tensor(h);
	for (int i = r->program->probe_of[v->id]; i; i = r->program->probe_next[i - 1])
		r->probe(r->self, i - 1, &t);
}

void run_clear(struct run *r, const struct value *v)
{
	host_drop(r->values[v->id]);
	r->values[v->id] = NULL;
}

static int later(int a, int b) { return a > b ? a : b; }

static bool mentions(dim d, int symbol)
{
	if (d->kind == DIM_SYMBOL && d->value == symbol)
		return true;
	for (int i = 0; i < d->count; i++) {
		if (mentions(d->arg[i], symbol))
			return true;
	}
	return false;
}

bool run_require(struct run *r, int stage, int unknown)
{
	const struct graph *g = r->program->graph;
	int64_t left, right;

	for (int i = 0; i < g->requires.count; i++) {
		const struct require *q = &g->requires.at[i];

		if (later(dim_stage(q->left), dim_stage(q->right)) != stage)
			continue;
		if (unknown >= 0 && (mentions(q->left, unknown) || mentions(q->right, unknown)))
			continue;
		left = dim_eval(q->left, r->symbols);
		right = dim_eval(q->right, r->symbols);
		if (left != right)
			return run_error(r, q->node, "%s must be equal (%lld and %lld)", q->what,
					 (ll)left, (ll)right);
	}
	return true;
}

/* The largest value that a symbol may have now. */
static int64_t symbol_capacity(const struct run *r, int symbol)
{
	const struct symbol *s = &r->program->graph->dims.symbols[symbol];
	int64_t bound = s->bound ? dim_eval(s->bound, r->symbols) : s->max;

	return bound < s->max ? bound : s->max;
}

bool run_bind(struct run *r, const struct node *n, int symbol, int64_t value)
{
	const struct symbol *s = &r->program->graph->dims.symbols[symbol];
	int64_t min = s->min > 0 ? s->min : 0, max = symbol_capacity(r, symbol);

	if (value < min || value > max)
		return run_error(r, n, "a size computed from data is %lld, expected %lld..%lld",
				 (ll)value, (ll)min, (ll)max);
	r->symbols[symbol] = value;
	return true;
}

bool run_bound(struct run *r, const struct node *n)
{
	return !n->symbol_count ||
	       run_require(r, r->program->graph->dims.symbols[n->symbols[0]].stage, -1);
}

static bool lists(const struct node *n, int symbol)
{
	for (int i = 0; i < n->symbol_count; i++) {
		if (n->symbols[i] == symbol)
			return true;
	}
	return false;
}

bool run_match(struct run *r, const struct node *n, const struct value *v, const struct host *h)
{
	int64_t expected;
	dim d;

	if (h->rank != v->type.rank || h->dtype != v->type.dtype)
		return run_error(r, n, "a value has another type than declared");
	for (int i = 0; i < h->rank; i++) {
		d = v->type.dims[i];
		if (d->kind == DIM_SYMBOL && lists(n, (int)d->value) &&
		    !run_bind(r, n, (int)d->value, h->dims[i]))
			return false;
	}
	for (int i = 0; i < h->rank; i++) {
		expected = dim_eval(v->type.dims[i], r->symbols);
		if (h->dims[i] != expected)
			return run_error(r, n, "dim %d of a value is %lld, expected %lld", i,
					 (ll)h->dims[i], (ll)expected);
	}
	return true;
}

/* ---- nodes with a kernel ---- */

static bool report_fault(struct run *r, const struct step *s, const struct fault *f)
{
	const struct buffer *b;

	switch (f->kind) {
	case FAULT_INDEX:
		if (f->bound <= 0)
			return run_error(r, s->node,
					 "index %lld is out of range: the axis is empty",
					 (ll)f->found);
		return run_error(r, s->node, "index %lld is out of range [0, %lld]", (ll)f->found,
				 (ll)f->bound - 1);
	case FAULT_MEMORY: return run_error(r, s->node, "no memory for %lld bytes", (ll)f->found);
	case FAULT_CALL: return run_error(r, s->node, "the values of its inputs are not allowed");
	default: break;
	}
	b = &s->code->kernel->buffers.at[f->buffer];
	return diag_add(r->diag, DIAG_INTERNAL, step_loc(r->program->graph, s->node),
			"kernel %s: index %lld of axis %d of buffer %s (extent %lld)",
			s->code->kernel->name, (ll)f->found, f->axis, b->name ? b->name : "?",
			(ll)f->bound);
}

static void eval_dims(const struct run *r, const struct type *t, int64_t *dims)
{
	for (int i = 0; i < t->rank; i++)
		dims[i] = dim_eval(t->dims[i], r->symbols);
}

/* Hosts of the results, at capacity where the node binds symbols. */
static bool make_results(struct run *r, const struct step *s, struct host **hosts)
{
	const struct kernel *k = s->code->kernel;
	int64_t dims[HONE_MAX_RANK], capacity;

	for (int i = 0; i < s->symbol_count; i++) {
		capacity = symbol_capacity(r, s->symbols[i]);
		if (capacity == INT64_MAX)
			return diag_add(r->diag, DIAG_UNSUPPORTED,
					step_loc(r->program->graph, s->node),
					"a result has no bound on its size");
		r->symbols[s->symbols[i]] = capacity;
	}
	for (int i = 0; i < k->buffers.count; i++) {
		const struct buffer *b = &k->buffers.at[i];

		if (b->role == BUFFER_IN)
			hosts[i] = r->values[b->value->id];
		if (b->role == BUFFER_IN && !hosts[i])
			BUG("kernel %s reads a value that is not there", k->name);
		if (b->role != BUFFER_OUT)
			continue;
		eval_dims(r, &b->type, dims);
		hosts[i] = run_alloc(r, s->node, b->type.dtype, b->type.rank, dims);
		if (!hosts[i])
			return false;
	}
	return true;
}

static double **make_bounds(struct run *r, const struct code *c, struct host *const *hosts)
{
	const struct kernel *k = c->kernel;
	double **bounds;

	if (!r->bounds)
		return NULL;
	bounds = ARENA_ARRAY(&r->scratch, double *, k->buffers.count + 1);
	for (int i = 0; i < k->buffers.count; i++) {
		const struct value *v = k->buffers.at[i].value;

		if (k->buffers.at[i].role != BUFFER_OUT || !c->float_sums[i] ||
		    !r->is_output[v->id])
			continue;
		bounds[i] = ARENA_ARRAY(&r->scratch, double, host_count(hosts[i]) + 1);
		r->bounds[v->id] = bounds[i];
	}
	return bounds;
}

static bool bind_results(struct run *r, const struct step *s, const int64_t *bound,
			 struct host **hosts)
{
	const struct kernel *k = s->code->kernel;

	for (int i = 0; i < s->symbol_count; i++) {
		if (!run_bind(r, s->node, s->symbols[i], bound[i]))
			return false;
	}
	for (int i = 0; i < k->buffers.count && s->symbol_count; i++) {
		if (k->buffers.at[i].role != BUFFER_OUT)
			continue;
		eval_dims(r, &k->buffers.at[i].type, hosts[i]->dims);
		hosts[i]->bytes = dtype_bytes(hosts[i]->dtype, host_count(hosts[i]));
	}
	return !s->symbol_count ||
	       run_require(r, r->program->graph->dims.symbols[s->symbols[0]].stage, -1);
}

static bool run_kernel(struct run *r, const struct step *s)
{
	const struct kernel *k = s->code->kernel;
	struct host **hosts = calloc((size_t)k->buffers.count + 1, sizeof(struct host *));
	int64_t *bound = calloc((size_t)s->symbol_count + 1, sizeof(*bound));
	struct fault fault = {0};
	bool ok;

	if (!hosts || !bound) {
		free(hosts);
		free(bound);
		return run_error(r, s->node, "no memory");
	}
	ok = make_results(r, s, hosts);
	if (ok &&
	    !code_run(s->code, hosts, make_bounds(r, s->code, hosts), r->symbols, bound, &fault))
		ok = report_fault(r, s, &fault);
	ok = ok && bind_results(r, s, bound, hosts);
	for (int i = 0; i < k->buffers.count; i++) {
		if (k->buffers.at[i].role != BUFFER_OUT)
			continue;
		if (ok)
			run_set(r, k->buffers.at[i].value, hosts[i]);
		else
			host_drop(hosts[i]);
	}
	free(hosts);
	free(bound);
	return ok;
}

/* ---- other nodes ---- */

static bool run_bind_node(struct run *r, const struct step *s)
{
	const struct host *x = r->values[s->node->in[0]->id];

	if (host_count(x) < s->node->symbol_count)
		return run_error(r, s->node, "%lld sizes, expected %d", (ll)host_count(x),
				 s->node->symbol_count);
	for (int i = 0; i < s->node->symbol_count; i++) {
		if (!run_bind(r, s->node, s->node->symbols[i],
			      element_load(x->dtype, x->data, i).i))
			return false;
	}
	return run_bound(r, s->node);
}

static bool run_param_node(struct run *r, const struct step *s)
{
	const struct type *t = &s->node->out[0]->type;
	union scalar x = {.f = r->program->params.at[s->param].value};
	struct host *h = run_alloc(r, s->node, t->dtype, 0, NULL);

	if (!h)
		return false;
	x = scalar_eval(EXPR_CAST, DT_F64, dtype_compute(t->dtype), &x);
	element_store(t->dtype, h->data, 0, x);
	run_set(r, s->node->out[0], h);
	return true;
}

static bool run_plain(struct run *r, const struct step *s)
{
	if (s->code)
		return run_kernel(r, s);
	switch (s->node->op) {
	case OP_const: run_set(r, s->node->out[0], host_keep(s->constant)); return true;
	case OP_param: return run_param_node(r, s);
	case OP_bind: return run_bind_node(r, s);
	default: BUG("the interpreter has no code for %s", op_table[s->node->op].name);
	}
}

enum flow run_steps(struct run *r, const struct steps *s)
{
	enum flow flow;

	for (int i = 0; i < s->count; i++) {
		const struct step *t = &s->at[i];

		flow = t->regions || t->node->op == OP_return_if ? run_control(r, t)
		       : run_plain(r, t)                         ? FLOW_NEXT
								 : FLOW_FAILED;
		if (flow != FLOW_NEXT)
			return flow;
		for (int k = 0; k < t->release.count; k++) {
			host_drop(r->values[t->release.at[k]]);
			r->values[t->release.at[k]] = NULL;
		}
	}
	return FLOW_NEXT;
}

/* ---- inputs and outputs ---- */

static bool bad_input(struct run *r, int i, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool bad_input(struct run *r, int i, const char *format, ...)
{
	const struct graph *g = r->program->graph;
	const char *name = g->input_names ? g->input_names[i] : NULL;
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!name)
		name = g->body->params[i]->name;
	return diag_add(r->diag, DIAG_USAGE, step_loc(g, NULL), "input \"%s\": %s",
			name ? name : "?", text);
}

/* Binds the symbols that are dims of an input; each at its first use. */
static bool bind_symbols(struct run *r, int i, const hone_tensor *x, bool *bound)
{
	const struct type *t = &r->program->graph->body->params[i]->type;
	const struct symbol *s;

	if (t->kind != TYPE_TENSOR || x->dtype != (int32_t)t->dtype)
		return bad_input(r, i, "dtype is %s, expected %s", dtype_name((enum dtype)x->dtype),
				 dtype_name(t->dtype));
	if (x->rank != t->rank)
		return bad_input(r, i, "rank is %d, expected %d", x->rank, t->rank);
	for (int k = 0; k < t->rank; k++) {
		if (x->dims[k] < 0)
			return bad_input(r, i, "dim %d is %lld", k, (ll)x->dims[k]);
		if (t->dims[k]->kind != DIM_SYMBOL || bound[t->dims[k]->value])
			continue;
		s = &r->program->graph->dims.symbols[t->dims[k]->value];
		if (x->dims[k] < s->min || x->dims[k] > s->max)
			return bad_input(r, i, "dim %d (%s) is %lld, expected %lld..%lld", k,
					 s->name, (ll)x->dims[k], (ll)s->min, (ll)s->max);
		r->symbols[t->dims[k]->value] = x->dims[k];
		bound[t->dims[k]->value] = true;
	}
	return true;
}

static bool check_input(struct run *r, int i, const hone_tensor *x)
{
	const struct type *t = &r->program->graph->body->params[i]->type;
	int64_t expected, bytes;

	for (int k = 0; k < t->rank; k++) {
		expected = dim_eval(t->dims[k], r->symbols);
		if (x->dims[k] != expected)
			return bad_input(r, i, "dim %d is %lld, expected %lld", k, (ll)x->dims[k],
					 (ll)expected);
	}
	bytes = dtype_bytes(t->dtype, dims_count(x->rank, x->dims));
	if (x->size < bytes)
		return bad_input(r, i, "its buffer has %lld bytes, %lld are needed", (ll)x->size,
				 (ll)bytes);
	if (!x->data && bytes)
		return bad_input(r, i, "data is NULL");
	return true;
}

static bool set_inputs(struct run *r, const hone_tensor *inputs)
{
	const struct graph *g = r->program->graph;
	bool *bound = ARENA_ARRAY(&r->scratch, bool, g->dims.symbol_count + 1);

	for (int i = 0; i < g->body->param_count; i++) {
		if (!bind_symbols(r, i, &inputs[i], bound))
			return false;
	}
	for (int i = 0; i < g->body->param_count; i++) {
		if (!check_input(r, i, &inputs[i]))
			return false;
	}
	if (!run_require(r, 0, -1))
		return false;
	for (int i = 0; i < g->body->param_count; i++)
		run_set(r, g->body->params[i],
			host_wrap((enum dtype)inputs[i].dtype, inputs[i].rank, inputs[i].dims,
				  inputs[i].data));
	return true;
}

static void set_param_symbols(struct run *r)
{
	const struct dim_pool *p = &r->program->graph->dims;

	for (int i = 0; i < p->symbol_count; i++) {
		for (int k = 0; k < r->program->params.count; k++) {
			if (p->symbols[i].binding == SYMBOL_PARAM &&
			    !strcmp(p->symbols[i].name, r->program->params.at[k].name))
				r->symbols[i] = (int64_t)r->program->params.at[k].value;
		}
	}
}

static void *copy_bytes(const void *data, int64_t bytes)
{
	void *to = malloc(bytes > 0 ? (size_t)bytes : 1);

	if (to && bytes > 0)
		memcpy(to, data, (size_t)bytes);
	return to;
}

static bool set_outputs(struct run *r, struct host *const *from, hone_tensor *outputs)
{
	const struct region *body = r->program->graph->body;

	for (int i = 0; i < body->result_count; i++) {
		outputs[i] = host_tensor(from[i]);
		outputs[i].data = copy_bytes(from[i]->data, from[i]->bytes);
		if (outputs[i].data)
			continue;
		while (i-- > 0) {
			free(outputs[i].data);
			outputs[i].data = NULL;
		}
		return run_error(r, NULL, "no memory for the outputs");
	}
	return true;
}

static void set_bounds(struct run *r, const hone_tensor *outputs, hone_tensor *bounds)
{
	const struct region *body = r->program->graph->body;

	for (int i = 0; i < body->result_count; i++) {
		const double *from = r->bounds[body->results[i]->id];

		bounds[i] = outputs[i];
		bounds[i].dtype = HONE_F64;
		bounds[i].size = dims_count(outputs[i].rank, outputs[i].dims) * 8;
		bounds[i].data = from && !r->returned ? copy_bytes(from, bounds[i].size) : NULL;
	}
}

static bool run_body(struct run *r, const hone_tensor *inputs, hone_tensor *outputs)
{
	const struct region *body = r->program->graph->body;
	struct host **from = ARENA_ARRAY(&r->scratch, struct host *, body->result_count + 1);
	enum flow flow;

	if (!set_inputs(r, inputs))
		return false;
	flow = run_steps(r, r->program->body);
	if (flow == FLOW_FAILED)
		return false;
	if (flow == FLOW_RETURN && r->returned_count != body->result_count)
		return run_error(r, NULL, "return_if gives %d values, the model has %d outputs",
				 r->returned_count, body->result_count);
	for (int i = 0; i < body->result_count; i++)
		from[i] = flow == FLOW_RETURN ? r->returned[i] : r->values[body->results[i]->id];
	return set_outputs(r, from, outputs);
}

static bool run_with(struct engine_program *p, const hone_tensor *inputs, hone_tensor *outputs,
		     hone_tensor *bounds, engine_probe_fn *probe, void *self, struct diag *d)
{
	struct run r = {.program = p, .diag = d, .probe = probe, .self = self};
	const struct region *body = p->graph->body;
	bool ok;

	r.values = ARENA_ARRAY(&r.scratch, struct host *, p->value_count + 1);
	r.symbols = ARENA_ARRAY(&r.scratch, int64_t, p->graph->dims.symbol_count + 1);
	r.is_output = ARENA_ARRAY(&r.scratch, bool, p->value_count + 1);
	if (bounds)
		r.bounds = ARENA_ARRAY(&r.scratch, double *, p->value_count + 1);
	for (int i = 0; i < body->result_count; i++) {
		outputs[i].data = NULL;
		if (bounds)
			bounds[i].data = NULL;
		r.is_output[body->results[i]->id] = true;
	}
	set_param_symbols(&r);
	ok = run_body(&r, inputs, outputs);
	if (ok && bounds)
		set_bounds(&r, outputs, bounds);
	for (int i = 0; i < p->value_count; i++)
		host_drop(r.values[i]);
	for (int i = 0; i < r.returned_count; i++)
		host_drop(r.returned[i]);
	arena_free(&r.scratch);
	return ok;
}

static bool run(struct engine_program *p, const hone_tensor *inputs, hone_tensor *outputs,
		engine_probe_fn *probe, void *self, struct diag *d)
{
	return run_with(p, inputs, outputs, NULL, probe, self, d);
}

bool interpreter_run_bounds(struct engine_program *p, const hone_tensor *inputs,
			    hone_tensor *outputs, hone_tensor *bounds, struct diag *d)
{
	return run_with(p, inputs, outputs, bounds, NULL, NULL, d);
}

static bool set_param(struct engine_program *p, const char *name, double value)
{
	for (int i = 0; i < p->params.count; i++) {
		if (!strcmp(p->params.at[i].name, name)) {
			p->params.at[i].value = value;
			return true;
		}
	}
	return false;
}

struct engine interpreter = {
	.name = "interpreter",
	.compile = interp_prepare,
	.run = run,
	.set_param = set_param,
	.release = interp_release,
};
