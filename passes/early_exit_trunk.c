/* early_exit_trunk.c: where a model can be cut, and the proof that rows can leave there.
 * A cut is a value through which all goes that was computed by contractions so far; of what lies beside it only
 * inputs and what is made of them without contractions (masks) is read later, and that is compacted with the rows. */
#include "ir/macs.h"
#include "passes/early_exit.h"

#include <string.h>

/* ---- rows ---- */

dim exits_rows(const struct exits *x, dim d, dim symbol)
{
	struct dim_pool *p = &x->c->graph->dims;
	dim *with;

	if (x->batch->kind != DIM_SYMBOL)
		return d;
	with = ARENA_ARRAY(x->c->scratch, dim, p->symbol_count + 1);
	with[x->batch->value] = symbol;
	return dim_substitute(p, d, with);
}

static bool mentions(const struct exits *x, dim d)
{
	if (d->kind == DIM_CONST)
		return false;
	return exits_rows(x, d, dim_const(&x->c->graph->dims, 1)) != d;
}

bool exits_is_batched(const struct exits *x, const struct value *v)
{
	for (int i = 0; v->type.kind == TYPE_TENSOR && i < v->type.rank; i++)
		if (mentions(x, v->type.dims[i]))
			return true;
	return false;
}

/* The rows of each sample lie together: axis 0 is N * c, and no other axis knows N. */
static bool has_rows(const struct exits *x, const struct type *t)
{
	struct dim_pool *p = &x->c->graph->dims;
	dim each;

	if (t->kind != TYPE_TENSOR || !t->rank || !mentions(x, t->dims[0]))
		return false;
	for (int i = 1; i < t->rank; i++)
		if (mentions(x, t->dims[i]))
			return false;
	each = exits_rows(x, t->dims[0], dim_const(p, 1));
	return !mentions(x, each) && dim_mul(p, x->batch, each) == t->dims[0];
}

static bool knows_batch(const struct expr *e, void *self)
{
	return e->op == EXPR_DIM && mentions(self, e->size);
}

/* An operand that meets the result from the right, as in NumPy: row by row, or the same for all rows. */
static bool meets_rows(const struct exits *x, const struct value *v, const struct type *y)
{
	if (exits_is_batched(x, v))
		return v->type.rank == y->rank && v->type.dims[0] == y->dims[0];
	return v->type.rank < y->rank || dim_is(v->type.dims[0], 1);
}

static bool all_meet_rows(const struct exits *x, const struct node *n, int from)
{
	for (int i = from; i < n->in_count; i++)
		if (n->in[i] && !meets_rows(x, n->in[i], &n->out[0]->type))
			return false;
	return true;
}

static bool none_batched(const struct exits *x, const struct node *n, int from)
{
	for (int i = from; i < n->in_count; i++)
		if (n->in[i] && exits_is_batched(x, n->in[i]))
			return false;
	return true;
}

static bool lacks_axis0(struct ints axes)
{
	for (int i = 0; i < axes.count; i++)
		if (axes.at[i] == 0)
			return false;
	return axes.count > 0;
}

static bool window_is_rowwise(const struct exits *x, const struct node *n)
{
	const struct value *in = n->in[0];
	dim one = dim_const(&x->c->graph->dims, 1);

	switch (n->op) {
	case OP_slice:
		return dim_is(ATTRS_OF(slice, n)->at.at[0], 0) && slice_step(n, 0) == 1 &&
		       n->out[0]->type.dims[0] == in->type.dims[0];
	case OP_pad:
		return dim_is(ATTRS_OF(pad, n)->lo.at[0], 0) &&
		       dim_is(ATTRS_OF(pad, n)->hi.at[0], 0) && none_batched(x, n, 1);
	case OP_expand: return meets_rows(x, in, &n->out[0]->type);
	case OP_transpose: return ATTRS_OF(transpose, n)->perm.at[0] == 0;
	case OP_conv:
	case OP_pool: return exits_rows(x, in->type.dims[0], one) == one && none_batched(x, n, 1);
	default: return false;
	}
}

static bool gather_is_rowwise(const struct exits *x, const struct node *n)
{
	const struct attrs_gather *a = ATTRS_OF(gather, n);
	bool rows = exits_is_batched(x, n->in[0]), index = exits_is_batched(x, n->in[1]);

	if (a->batch && a->kind != 1)
		return rows && index;
	switch (a->kind) {
	case 0: return rows ? !index && a->axis != 0 : a->axis == 0;
	case 1: return rows && index && a->axis != 0;
	default: return !rows;
	}
}

/* Whether each row of n's results is made of the same row of its operands. Only what is listed here is proved. */
static bool is_rowwise(const struct exits *x, const struct node *n)
{
	switch (n->op) {
	case OP_map:
		return !expr_any(n->expr, knows_batch, (void *)(uintptr_t)x) &&
		       all_meet_rows(x, n, 0);
	case OP_reduce: return lacks_axis0(ATTRS_OF(reduce, n)->axes);
	case OP_argreduce: return ATTRS_OF(argreduce, n)->axis != 0;
	case OP_cumulate: return ATTRS_OF(cumulate, n)->axis != 0;
	case OP_softmax: return ATTRS_OF(softmax, n)->axis != 0;
	case OP_topk: return ATTRS_OF(topk, n)->axis != 0;
	case OP_normalize:
		return lacks_axis0(ATTRS_OF(normalize, n)->axes) && none_batched(x, n, 1);
	case OP_matmul:
		return n->in[0]->type.rank == 2 && n->in[1]->type.rank == 2
			       ? none_batched(x, n, 1)
			       : n->out[0]->type.rank > 2 && all_meet_rows(x, n, 0);
	case OP_attention: return all_meet_rows(x, n, 0);
	case OP_concat: return ATTRS_OF(concat, n)->axis != 0 && all_meet_rows(x, n, 0);
	case OP_reshape: return true; /* both have rows, and C order keeps each sample together */
	case OP_iota: return ATTRS_OF(iota, n)->axis != 0;
	case OP_gather: return gather_is_rowwise(x, n);
	default: return window_is_rowwise(x, n);
	}
}

bool exits_is_cuttable(const struct exits *x, const struct node *n)
{
	bool batched = false;

	if (x->batch->kind != DIM_SYMBOL)
		return n->op != OP_return_if;
	for (int i = 0; i < n->in_count; i++) {
		if (!n->in[i] || !exits_is_batched(x, n->in[i]))
			continue;
		batched = true;
		if (!has_rows(x, &n->in[i]->type))
			return false;
	}
	for (int i = 0; i < n->out_count; i++) {
		if (!exits_is_batched(x, n->out[i])) {
			if (batched)
				return false;
			continue;
		}
		batched = true;
		if (!has_rows(x, &n->out[i]->type))
			return false;
	}
	return batched ? !n->symbol_count && !n->region_count && is_rowwise(x, n)
		       : !n->symbol_count && is_pure(n);
}

/* ---- the output ---- */

static bool refuse(const struct exits *x, const char *what)
{
	return diag_add(x->c->diag, DIAG_UNSUPPORTED, (struct loc){0}, "--early-exit: %s", what);
}

static bool refuse_outputs(const struct exits *x)
{
	const struct graph *g = x->c->graph;
	const char *names = "";

	for (int i = 0; i < g->body->result_count; i++)
		names = arena_printf(x->c->scratch, "%s%s%s", names, i ? ", " : "",
				     g->output_names[i]);
	return refuse(x, arena_printf(x->c->scratch,
				      "the model has %d outputs (%s), and exits answer one: name "
				      "those that are heads in heads=, or take the others off the "
				      "model",
				      g->body->result_count, names));
}

static bool find_output(struct exits *x)
{
	struct graph *g = x->c->graph;
	struct value *y = g->body->results[0];
	struct node *last = value_def(y, OP_softmax);

	if (g->body->result_count != 1)
		return refuse_outputs(x);
	if (y->type.kind != TYPE_TENSOR || y->type.dtype != DT_F32 || y->type.rank != 2 ||
	    !dim_is_const(y->type.dims[1]) || y->type.dims[1]->value < 2)
		return refuse(x, "the output is no f32[N,classes] of at least two classes");
	x->answer = y;
	x->answer_name = g->output_names[0];
	x->batch = y->type.dims[0];
	if (x->batch->kind != DIM_SYMBOL && !dim_is(x->batch, 1))
		return refuse(x, "axis 0 of the output is not the batch");
	x->softmax = last && !ATTRS_OF(softmax, last)->log;
	x->logits = last ? last->in[0] : y;
	x->classes = (int)y->type.dims[1]->value;
	return !last || ATTRS_OF(softmax, last)->axis == 1 ||
	       refuse(x, "the output is a softmax over the batch");
}

/* ---- the trunk ---- */

struct trunk {
	struct exits *x;
	int *last_use;   /* by value id: position; node_count for outputs */
	bool *computed;  /* by value id: a contraction had a part in it */
	double *work;    /* by position: up to and with that node */
	struct cut *all; /* every cut */
	int count;
};

static bool count_node(struct node *n, void *self)
{
	(void)n;
	++*(int *)self;
	return true;
}

static bool is_aside(const struct exits *x, const struct node *n)
{
	return x->is_aside && n->out_count && x->is_aside[n->out[0]->id];
}

static void read_body(struct trunk *t)
{
	struct exits *x = t->x;
	struct graph *g = x->c->graph;
	struct arena *a = x->c->scratch;
	int64_t *symbols = calibration_symbols(x->c->calibration, g, a);
	int count = 0;

	graph_walk(g, count_node, &count);
	x->value_count = g->value_count;
	x->nodes = ARENA_ARRAY(a, struct node *, count + 1);
	t->last_use = ARENA_ARRAY(a, int, g->value_count + 1);
	t->computed = ARENA_ARRAY(a, bool, g->value_count + 1);
	t->work = ARENA_ARRAY(a, double, count + 1);
	t->all = ARENA_ARRAY(a, struct cut, count + 1);
	for (struct node *n = g->body->first; n; n = n->next) {
		int at = x->node_count++;
		double own = node_macs(n, symbols);
		bool computed = false;

		if (is_aside(x, n)) {
			x->node_count--;
			continue;
		}
		for (int i = 0; i < n->in_count; i++) {
			if (!n->in[i])
				continue;
			t->last_use[n->in[i]->id] = at;
			computed = computed || t->computed[n->in[i]->id] ||
				   (own > 0 && !value_const(n->in[i]));
		}
		for (int i = 0; i < n->out_count; i++)
			t->computed[n->out[i]->id] = computed;
		x->nodes[at] = n;
		x->work += own;
		t->work[at] = x->work;
	}
	for (int i = 0; i < g->body->result_count; i++)
		t->last_use[g->body->results[i]->id] = x->node_count;
}

/* Every value after which nothing computed before it is read. */
static void find_all(struct trunk *t)
{
	struct exits *x = t->x;
	int reach = 0; /* the last use of any computed value so far */

	for (int at = 0; at < x->node_count; at++) {
		struct value *v = x->nodes[at]->out_count == 1 ? x->nodes[at]->out[0] : NULL;

		for (int i = 0; i < x->nodes[at]->out_count && !v; i++)
			if (t->computed[x->nodes[at]->out[i]->id] &&
			    t->last_use[x->nodes[at]->out[i]->id] > reach)
				reach = t->last_use[x->nodes[at]->out[i]->id];
		if (!v || !t->computed[v->id])
			continue;
		if (reach <= at && v->type.rank >= 2 && v->type.dtype == DT_F32 &&
		    (x->batch->kind == DIM_SYMBOL
			     ? has_rows(x, &v->type) && v->type.dims[0] == x->batch
			     : dim_is(v->type.dims[0], 1)))
			t->all[t->count++] = (struct cut){
				.value = v, .position = at, .work = t->work[at] / x->work};
		if (t->last_use[v->id] > reach)
			reach = t->last_use[v->id];
	}
}

/* The value that the model's own pooling reads after the last block: like this one, made alike, with no contraction
 * behind it before the one that makes the logits. */
static struct value *find_last(const struct trunk *t, const struct cut *cut)
{
	const struct exits *x = t->x;
	const struct node *n = cut->value->def;
	int at = x->node_count - 1;
	double end;

	while (at > 0 && t->work[at - 1] == t->work[at])
		at--; /* the last contraction */
	end = at > 0 ? t->work[at - 1] / x->work : 0;
	for (int i = 0; i < t->count; i++) {
		const struct cut *k = &t->all[i];

		if (k->work == end && k->position < at &&
		    same_dims(&k->value->type, &cut->value->type) && k->value->def->op == n->op &&
		    k->value->def->expr == n->expr)
			return k->value;
	}
	return NULL;
}

static bool named(const char *names, const struct value *v)
{
	size_t length = v->name ? strlen(v->name) : 0;

	for (const char *at = names; length && *at;) {
		size_t n = strcspn(at, "+");

		if (n == length && !memcmp(at, v->name, n))
			return true;
		at += n + (at[n] == '+');
	}
	return false;
}

/* The operators between two positions, as a number. */
static uint64_t signature(const struct exits *x, int from, int to)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (int i = from + 1; i <= to; i++)
		if (x->nodes[i]->op != OP_const)
			h = (h ^ (uint64_t)x->nodes[i]->op) * 0x100000001b3u;
	return h;
}

/* How many cuts make up one block: the least period of what lies between them. 1 if it has none. */
static int find_period(const struct exits *x, const struct cut *cuts, int count)
{
	for (int p = 1; p < count; p++) {
		int same = 0;

		for (int i = 1; i + p < count; i++)
			same += signature(x, cuts[i - 1].position, cuts[i].position) ==
				signature(x, cuts[i + p - 1].position, cuts[i + p].position);
		if (same * 2 > count - p - 1 && same > 0)
			return p;
	}
	return 1;
}

/* Of several cuts with no contraction between them only the last; only those after the last node that cannot run on
 * some rows, before which and after which there is work; and of blocks of several cuts the last. */
static int choose(const struct trunk *t, int first, struct cut *out)
{
	const struct exits *x = t->x;
	int count = 0, period, kept = 0;

	for (int i = 0; i < t->count; i++) {
		const struct cut *k = &t->all[i];

		if (k->position <= first || k->work > 0.95 || k->value->type.rank < 2)
			continue;
		if (x->names && !named(x->names, k->value))
			continue;
		if (!x->names && count && out[count - 1].work == k->work &&
		    out[count - 1].value->type.rank == k->value->type.rank)
			count--;
		out[count++] = *k;
	}
	period = x->names ? 1 : find_period(x, out, count);
	for (int i = 0; i < count; i++)
		if ((count - 1 - i) % period == period - 1) /* the last block's end is too late */
			out[kept++] = out[i];
	return kept;
}

bool exits_find(struct exits *x)
{
	struct trunk t = {.x = x};
	struct cut *chosen;
	int count, first = -1;

	if (!find_output(x))
		return false;
	read_body(&t);
	for (int i = 0; i < x->node_count; i++)
		if (!exits_is_cuttable(x, x->nodes[i]))
			first = i;
	if (x->work > 0)
		find_all(&t);
	if (x->head_count)
		return exits_place_heads(x, t.all, t.count, first);
	chosen = ARENA_ARRAY(x->c->scratch, struct cut, t.count + 1);
	count = choose(&t, first, chosen);
	if (!count && first >= 0)
		return diag_add(
			x->c->diag, DIAG_UNSUPPORTED, x->nodes[first]->loc,
			"--early-exit: rows cannot leave before this %s: nothing proves that each "
			"row of it is made of the same row of its operands",
			op_table[x->nodes[first]->op].name);
	if (!count)
		return refuse(x, x->names ? "no block of the model ends at a value of these names"
					  : "the model has no trunk: no single value that all goes "
					    "through, with work before and after it");
	x->cut_count = count < CUTS_MAX ? count : CUTS_MAX;
	for (int i = 0; i < x->cut_count; i++) {
		x->cuts[i] = chosen[(int64_t)i * count / x->cut_count];
		x->cuts[i].last = find_last(&t, &x->cuts[i]);
	}
	return true;
}
