/* prune_repair.c: weights that make up for what was removed, by least squares on calibration inputs.
 *
 * A copy of the whole model stays in the body for a while. Contractions that lost inputs are repaired in order, some at a
 * time: with the rows X that they read now, and the rows T that the whole model has for what they make,
 *
 *	W', b' = argmin |X W' + b' - T|^2 + ridge |W' - W|^2	W: the weights, less what is gone
 *
 * Since X is what repaired contractions before make, errors do not add up. Of a convolution, X has the window's elements
 * side by side. What is no better on samples that were held back keeps its weights. Where a residual sum follows, T takes in what the other branch is off.
 *
 * X'X and X'T are products that the compiled model makes itself.
 *
 * Source: channel pruning by least squares reconstruction (He et al. 2017, Channel Pruning for Accelerating Very Deep
 * Neural Networks, which also repairs in order and takes residual errors into the target). */
#include "passes/prune_fit.h"
#include "passes/prune_run.h"

#include <math.h>

enum {
	RUNS_MAX = 16, /* about as many */
	RUN_ELEMENTS =
		24
		<< 20, /* of X'X and X'T in one run, of samples to fit to as of those held back */
	INPUTS_MAX = 4608 /* of a contraction that is repaired */
};

/* What is repaired in one run: five probes each, in the order xx, xt, x, t, tt. */
struct batch {
	struct fit *fits;
	int count;
	struct report_table *table;
	struct prune_known *known, next; /* where it starts, and where what follows may */
};

/* ---- the whole model ---- */

bool prune_keep_whole(struct prune *p)
{
	struct graph *g = p->c->graph;
	struct region *body = g->body;
	struct node *last = body->last;
	struct builder b = {.graph = g, .region = body, .diag = p->c->diag};

	p->whole = ARENA_ARRAY(p->c->scratch, struct value *, g->value_count + 1);
	for (int i = 0; i < body->param_count; i++)
		p->whole[body->params[i]->id] = body->params[i];
	for (struct node *n = body->first; n; n = n == last ? NULL : n->next)
		if (!node_clone(&b, n, p->whole))
			return false;
	return true;
}

/* What the whole model has for v; NULL: not known. */
static struct value *whole_of(const struct prune *p, struct value *v)
{
	if (v->id >= p->value_count && v->def && v->def->op == OP_map)
		v = v->def->in[0]; /* a bias that was added */
	return v->id < p->value_count ? p->whole[v->id] : NULL;
}

/* The same for the columns that stay; v is in the graph as it is now. */
static struct value *whole_columns(struct prune_run *r, struct value *v)
{
	struct prune *p = r->p;
	struct value *whole = whole_of(p, v), *base = v;
	int last = v->type.rank - 1, size, count = 0, first;
	int64_t *index;

	if (!whole || whole->type.dims[last] == v->type.dims[last])
		return whole;
	if (v->id >= p->value_count)
		base = v->def->in[0];
	size = (int)whole->type.dims[last]->value;
	first = prune_first(p, base, last);
	index = ARENA_ARRAY(p->c->scratch, int64_t, size);
	for (int i = 0; i < size; i++)
		if (prune_stays(p, first + i))
			index[count++] = i;
	return add_gather(&r->b, 0, whole, add_ints(&r->b, DT_I64, count, index), last, 0);
}

/* ---- X and T ---- */

/* The elements of a window side by side: %x slices of the operand, concatenated on the last axis. */
static struct value *windows(struct prune_run *r, const struct node *n)
{
	const struct attrs_conv *a = ATTRS_OF(conv, n);
	struct dim_pool *d = &r->p->c->graph->dims;
	struct value *x = n->in[0], *y = n->out[0], *w = n->in[1], **parts;
	int rank = x->type.rank, count = 1;
	dim at[HONE_MAX_RANK], size[HONE_MAX_RANK];
	int64_t step[HONE_MAX_RANK];

	for (int i = 0; i < rank - 2; i++)
		count *= (int)w->type.dims[i]->value;
	parts = ARENA_ARRAY(r->p->c->scratch, struct value *, count);
	for (int part = 0; part < count; part++) {
		int rest = part;

		for (int i = rank - 1; i >= 0; i--) {
			bool window = i > 0 && i < rank - 1;
			int64_t kernel = window ? w->type.dims[i - 1]->value : 1;
			int64_t dilation = window && a->dilation.count ? a->dilation.at[i - 1] : 1;

			at[i] = dim_const(d, rest % kernel * dilation);
			rest /= (int)kernel;
			size[i] = window ? y->type.dims[i] : x->type.dims[i];
			step[i] = window && a->stride.count ? a->stride.at[i - 1] : 1;
		}
		parts[part] = add_slice(&r->b, x, at, size, step);
		if (!parts[part])
			return NULL;
	}
	return count == 1 ? parts[0] : add_concat(&r->b, rank - 1, count, parts);
}

/* The other operand of the residual sum that is the only reader of y, maybe behind a bias; NULL: there is none. */
static struct value *residual(struct node *const *readers, struct value *y)
{
	struct node *n = readers[y->id];
	int i;

	while (n && prune_bias_operand(n, y) >= 0) {
		y = n->out[0];
		n = readers[y->id];
	}
	if (!n || n->op != OP_map || n->in_count != 2 || n->expr->op != EXPR_ADD ||
	    n->expr->arg[0]->op != EXPR_PARAM || n->expr->arg[1]->op != EXPR_PARAM ||
	    n->in[0] == n->in[1])
		return NULL;
	i = n->in[0] == y;
	return type_equal(&n->in[i]->type, &y->type) && !value_const(n->in[i]) ? n->in[i] : NULL;
}

/* T: what y is in the whole model, and what the other branch of its sum lacks. */
static struct value *target(struct prune_run *r, struct value *y, struct value *other)
{
	struct value *t = whole_columns(r, y), *z = other ? whole_columns(r, other) : NULL;

	if (!t || !z)
		return t;
	return add_binary(&r->b, EXPR_ADD, t, add_binary(&r->b, EXPR_SUB, z, other));
}

static bool add_fit(struct prune_run *r, struct node *const *readers, struct fit *f)
{
	const struct node *n = f->consumer->node;
	struct value *y = n->out[0];
	struct value *x = n->op == OP_conv ? windows(r, n) : n->in[0];
	struct value *t = target(r, y, residual(readers, y));

	f->row_step = prune_row_count(r->p, y);
	x = prune_rows(r, x);
	t = prune_rows(r, t);
	return prune_run_probe(r, prune_product(r, x, x)) &&
	       prune_run_probe(r, prune_product(r, x, t)) &&
	       prune_run_probe(r, prune_sum_rows(r, x)) &&
	       prune_run_probe(r, prune_sum_rows(r, t)) &&
	       prune_run_probe(r, t ? prune_sum_rows(r, add_binary(&r->b, EXPR_MUL, t, t)) : NULL);
}

static void take_fit(void *self, int sample, int probe, const hone_tensor *t)
{
	enum { PROBES = 5 };
	struct prune_run *r = self;
	struct batch *b = r->self;
	struct fit *f;
	struct fit_sums *s;

	if (probe >= b->next.first) {
		prune_known_take(&b->next, sample, probe, t);
		return;
	}
	f = &b->fits[probe / PROBES];
	s = prune_is_fit(r->p, sample) ? &f->fitted : &f->held;
	prune_add_to((double *[PROBES]){s->xx, s->xt, s->x, s->t, s->tt}[probe % PROBES], t);
	s->rows += probe % PROBES ? 0 : f->row_step;
}

/* ---- results ---- */

/* Weights of which blocks are zero stand in the node from now on. */
static struct value *take_cleared(struct prune_consumer *c)
{
	if (c->cleared)
		c->node->in[1] = c->cleared;
	return c->node->in[1];
}

static void report(struct prune *p, struct report_table *table, const struct fit *f,
		   const struct fit_error *e, bool is_better)
{
	const struct value *y = f->consumer->node->out[0];

	report_row(table, (struct report_cell[]){{.text = y->name ? y->name : "?"},
						 {.number = f->inputs},
						 {.number = f->held.xx ? e->before : NAN},
						 {.number = f->held.xx ? e->after : NAN},
						 {.text = is_better ? "yes" : "no"}});
	p->unrepaired += !is_better;
}

/* The solution becomes the weights, unless it is worse on the samples that were held back. */
static void finish(struct prune *p, struct fit *f, struct report_table *table)
{
	const struct value *w = take_cleared(f->consumer);
	int64_t count = type_count_const(&w->type);
	const float *from = tensor_bytes(value_const(w), DT_F32, count, p->c->scratch);
	float *to = arena_copy(p->c->graph->arena, from, (size_t)count * sizeof(*to));
	float *shift = ARENA_ARRAY(p->c->graph->arena, float, f->outputs);
	struct fit_error e;
	bool is_better;

	if (!fit_solve(f, to, shift))
		return;
	e = fit_judge(f, from, to, shift);
	is_better = e.after < e.before;
	report(p, table, f, &e, is_better);
	if (is_better)
		prune_install(p, f->consumer->node, to, shift);
}

/* ---- all together ---- */

static bool open_fit(struct prune_consumer *c, struct fit *f)
{
	const struct type *w = &c->node->in[1]->type;
	int64_t inputs = type_count_const(w) / w->dims[w->rank - 1]->value;

	if (inputs > INPUTS_MAX)
		return false;
	*f = (struct fit){
		.consumer = c, .inputs = (int)inputs, .outputs = (int)w->dims[w->rank - 1]->value};
	return true;
}

static bool repair_batch(struct prune *p, struct batch *b)
{
	struct prune_run r = prune_run_begin(p, b);
	struct node **readers = prune_find_readers(p);
	const struct calibration_known start = {b->known->values.count, b->known->values.at,
						b->known->tensors};
	bool ok = true;

	for (int i = 0; i < b->count; i++) {
		fit_allocate(&b->fits[i], prune_holds_back(p));
		ok = ok && add_fit(&r, readers, &b->fits[i]);
	}
	prune_known_open(&r, b->fits[0].consumer->node, &b->next);
	r.known = b->known->values.count ? &start : NULL;
	ok = ok && prune_run_all(&r, take_fit);
	prune_run_end(&r);
	if (b->next.values.count) {
		struct prune_known old = *b->known;

		*b->known = b->next;
		b->next = old;
	}
	prune_known_close(p, &b->next);
	for (int i = 0; i < b->count; i++) {
		if (ok)
			finish(p, &b->fits[i], b->table);
		fit_release(&b->fits[i]);
	}
	return ok;
}

/* Whether anything of x, or of the weights, is gone. */
static bool lost_inputs(const struct prune *p, const struct prune_consumer *c)
{
	if (c->cleared)
		return true;
	for (int i = 0; i < c->k_size; i++)
		if (!prune_stays(p, c->k_first + i))
			return true;
	return false;
}

/* Blocks are zero from the run on that repairs them: in those before, what follows in the same run would be fitted to
 * inputs that it will never see. */
static void give_back(struct prune_consumer *c)
{
	if (c->cleared)
		c->node->in[1] = c->uncleared;
}

static struct report_table *open_table(struct prune *p)
{
	static const char *const columns[] = {"layer", "inputs",   "error_without_repair",
					      "error", "repaired", NULL};

	return report_table(report_section(p->c->report, "prune", "structured pruning"),
			    REPORT_TABLE, "repair_of_layers", columns);
}

/* Lists what is repaired, in order. */
static int open_fits(struct prune *p, struct fit *fits)
{
	const struct node *skipped = NULL;
	int count = 0;

	for (int i = 0; i < p->consumers.count; i++) {
		struct prune_consumer *c = &p->consumers.at[i];

		if (!lost_inputs(p, c))
			continue;
		if (open_fit(c, &fits[count]))
			give_back(fits[count++].consumer);
		else if (!skipped)
			skipped = c->node;
	}
	if (skipped)
		diag_add(p->c->diag, DIAG_WARNING, skipped->loc,
			 "--prune: products of more than %d inputs, as here, are not repaired",
			 INPUTS_MAX);
	return count;
}

/* How many of so many fits go into one run. */
static int batch_size(const struct fit *fits, int count, int share)
{
	int64_t elements = 0;
	int size = 0;

	while (size < count && size < share && (!size || elements < RUN_ELEMENTS)) {
		const struct fit *f = &fits[size++];

		elements += (int64_t)f->inputs * (f->inputs + f->outputs);
	}
	return size;
}

bool prune_repair(struct prune *p)
{
	struct fit *fits = ARENA_ARRAY(p->c->scratch, struct fit, p->consumers.count + 1);
	int count = open_fits(p, fits), share = (count + RUNS_MAX - 1) / RUNS_MAX;
	struct report_table *table = open_table(p);
	struct prune_known known = {0};
	bool ok = true;

	for (int at = 0; at < count && ok;) {
		struct batch b = {.fits = fits + at, .table = table, .known = &known};

		b.count = batch_size(fits + at, count - at, share);
		ok = repair_batch(p, &b);
		at += b.count;
	}
	prune_known_close(p, &known);
	return ok;
}
