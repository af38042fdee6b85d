/* op_control.c: if, loop, scan, return_if, group: types of what goes into regions and comes out. The engines
 * run them; a group is lowered in join.c.
 *
 * A dim that control flow leaves open is a symbol that the node binds:
 *   if    where the two branches' dims differ, the result takes the node's symbols in order
 *   loop  a carried value whose dims change has symbols of the node as dims of its region parameter (bound
 *         anew for each turn; the result has the last ones); the last symbol of a loop with scan results is
 *         the number of turns */
#include "ir/op.h"

static bool binds(const struct node *n, dim d)
{
	for (int i = 0; d->kind == DIM_SYMBOL && i < n->symbol_count; i++)
		if (n->symbols[i] == d->value)
			return true;
	return false;
}

static bool check_region(const struct node *n, struct diag *d, const struct region *r, int params,
			 int results)
{
	const char *name = op_table[n->op].name;

	if (r->param_count != params)
		return BAD(d, n, "the region of %s must have %d parameters, found %d", name, params,
			   r->param_count);
	if (r->result_count != results)
		return BAD(d, n, "the region of %s must have %d results, found %d", name, results,
			   r->result_count);
	for (int i = 0; i < r->result_count; i++)
		if (!r->results[i])
			return BAD(d, n, "result %d of the region of %s is missing", i, name);
	return true;
}

static bool same_form(struct graph *g, struct node *n, struct diag *d, const struct type *a,
		      const struct type *b, const char *what)
{
	bool same = a->kind == b->kind;

	if (same && a->kind == TYPE_TENSOR)
		same = a->dtype == b->dtype && a->rank == b->rank;
	else if (same)
		same = type_equal(a, b);
	if (same)
		return true;
	return BAD(d, n, "%s must have one form, found %s and %s", what, type_text(g, &d->arena, a),
		   type_text(g, &d->arena, b));
}

static void set_type(struct node *n, int i, const struct type *t)
{
	n->out[i]->type = *t;
	n->out[i]->elems = NULL;
}

/* ---- if ---- */

bool infer_if(struct graph *g, struct node *n, struct diag *d)
{
	int used = 0;

	if (!op_begin_any(g, n, d) || !op_scalar(g, n, d, 0, DT_BOOL) ||
	    !check_region(n, d, n->regions[0], 0, n->out_count) ||
	    !check_region(n, d, n->regions[1], 0, n->out_count))
		return false;
	for (int i = 0; i < n->out_count; i++) {
		const struct type *a = &n->regions[0]->results[i]->type,
				  *b = &n->regions[1]->results[i]->type;
		struct type t = *a;

		if (!same_form(g, n, d, a, b,
			       arena_printf(&d->arena, "result %d of both branches", i)))
			return false;
		for (int k = 0; t.kind == TYPE_TENSOR && k < t.rank; k++) {
			if (a->dims[k] == b->dims[k])
				continue;
			if (used < n->symbol_count)
				t.dims[k] = dim_symbol(&g->dims, n->symbols[used]);
			used++;
		}
		set_type(n, i, &t);
	}
	if (used > n->symbol_count)
		return BAD(d, n, "the branches differ in %d dims, but the node binds %d symbols",
			   used, n->symbol_count);
	return true;
}

/* ---- loop and scan ---- */

/* A value of type t becomes the carried value of type p. */
static bool check_carried(struct graph *g, struct node *n, struct diag *d, const struct type *p,
			  const struct type *t, const char *what)
{
	if (!same_form(g, n, d, p, t, what))
		return false;
	for (int k = 0; p->kind == TYPE_TENSOR && k < p->rank; k++)
		if (!binds(n, p->dims[k]) && !graph_require(g, d, n, t->dims[k], p->dims[k], what))
			return false;
	return true;
}

/* `count` carried values: operands from `in`, region parameters from `in`, region results from `from`. */
static bool infer_carried(struct graph *g, struct node *n, struct diag *d, int count, int in,
			  int from)
{
	const struct region *r = n->regions[0];

	for (int i = 0; i < count; i++) {
		const struct type *p = &r->params[in + i]->type;
		const char *what = arena_printf(g->arena, "carried value %d", i);

		if (!check_carried(g, n, d, p, &n->in[in + i]->type, what) ||
		    !check_carried(g, n, d, p, &r->results[from + i]->type, what))
			return false;
		set_type(n, i, p);
	}
	return true;
}

/* Results from `first` on: the region's, stacked along a new leading axis. */
static bool infer_stacked(struct graph *g, struct node *n, struct diag *d, int first, int from,
			  dim length)
{
	for (int i = first; i < n->out_count; i++) {
		const struct type *t = &n->regions[0]->results[from + i - first]->type;
		dim dims[HONE_MAX_RANK + 1] = {length};

		if (t->kind != TYPE_TENSOR)
			return BAD(d, n, "result %d cannot be stacked: %s", i,
				   type_text(g, &d->arena, t));
		for (int k = 0; k < t->rank; k++)
			dims[k + 1] = t->dims[k];
		if (!op_result(n, d, i, t->dtype, t->rank + 1, dims))
			return false;
	}
	return true;
}

static bool is_scalar(const struct value *v, enum dtype t)
{
	return v->type.kind == TYPE_TENSOR && v->type.rank == 0 && v->type.dtype == t;
}

bool infer_loop(struct graph *g, struct node *n, struct diag *d)
{
	const struct region *r;
	int carried = n->in_count - 2;
	dim length = NULL;

	if (!op_begin_any(g, n, d) || !op_scalar(g, n, d, 0, DT_I64) ||
	    !op_scalar(g, n, d, 1, DT_BOOL))
		return false;
	r = n->regions[0];
	if (n->out_count < carried)
		return BAD(d, n, "a loop has a result for each of %d carried values, found %d",
			   carried, n->out_count);
	if (!check_region(n, d, r, n->in_count, n->out_count + 1))
		return false;
	if (!is_scalar(r->params[0], DT_I64) || !is_scalar(r->params[1], DT_BOOL) ||
	    !is_scalar(r->results[0], DT_BOOL))
		return BAD(d, n,
			   "the region of a loop takes an i64 and a bool scalar first, and gives a "
			   "bool scalar");
	if (n->out_count > carried) {
		if (!n->symbol_count)
			return BAD(d, n,
				   "a loop with stacked results binds its number of turns to a "
				   "symbol");
		length = dim_symbol(&g->dims, n->symbols[n->symbol_count - 1]);
	}
	return infer_carried(g, n, d, carried, 2, 1) &&
	       infer_stacked(g, n, d, carried, carried + 1, length);
}

/* Operands after the carried ones give the region one slice a turn. */
static bool check_scanned(struct graph *g, struct node *n, struct diag *d, int carried, dim length)
{
	for (int i = carried; i < n->in_count; i++) {
		const struct type *x = &n->in[i]->type, *p = &n->regions[0]->params[i]->type;

		if (x->kind != TYPE_TENSOR || p->kind != TYPE_TENSOR || x->dtype != p->dtype ||
		    x->rank != p->rank + 1)
			return BAD(d, n, "operand %d, %s, does not have slices %s", i,
				   op_type(g, d, n->in[i]), type_text(g, &d->arena, p));
		if (!graph_require(g, d, n, x->dims[0], length, "length of a scanned operand"))
			return false;
		for (int k = 0; k < p->rank; k++)
			if (!graph_require(g, d, n, x->dims[k + 1], p->dims[k],
					   "dims of a scanned operand"))
				return false;
	}
	return true;
}

bool infer_scan(struct graph *g, struct node *n, struct diag *d)
{
	const struct attrs_scan *a = ATTRS(scan, n);
	int carried = (int)a->carried;

	if (!op_begin_any(g, n, d))
		return false;
	if (a->carried < 0 || a->carried > n->in_count || a->carried > n->out_count)
		return BAD(d, n, "carried is %lld, with %d operands and %d results",
			   (long long)a->carried, n->in_count, n->out_count);
	return check_region(n, d, n->regions[0], n->in_count, n->out_count) &&
	       infer_carried(g, n, d, carried, 0, 0) &&
	       check_scanned(g, n, d, carried, a->length) &&
	       infer_stacked(g, n, d, carried, carried, a->length);
}

/* ---- return_if and group ---- */

bool infer_return_if(struct graph *g, struct node *n, struct diag *d)
{
	return op_begin_any(g, n, d) && op_scalar(g, n, d, 0, DT_BOOL);
}

bool infer_group(struct graph *g, struct node *n, struct diag *d)
{
	if (!op_begin(g, n, d) || !check_region(n, d, n->regions[0], 0, n->out_count))
		return false;
	for (int i = 0; i < n->out_count; i++) {
		n->out[i]->type = n->regions[0]->results[i]->type;
		n->out[i]->elems = n->regions[0]->results[i]->elems;
	}
	return true;
}
