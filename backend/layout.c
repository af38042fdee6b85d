/* layout.c: from graph to program: steps, places, slots, sites and words.
 *
 * Lifetimes. A value read inside a deeper region than its own lives until the node that owns that region ends
 * (the region may run again). A value that another one only points at (a branch's result, a loop's initial
 * value) lives as long as that one: alias edges, resolved from the last made to the first. */
#include "backend/layout.h"

#include <string.h>

static bool layout_region(struct layout *l, const struct region *r);

/* ---- words ---- */

int program_word(struct program *p, dim d)
{
	if (d->kind == DIM_SYMBOL)
		return p->symbol_word[d->value];
	for (int i = p->words.count - 1; i >= 0; i--) /* recent ones are asked for again most */
		if (p->words.at[i] == d)
			return i;
	ARENA_PUSH(p->arena, &p->words, d);
	return p->words.count - 1;
}

/* Symbols bound by inputs come first, in their order, then the others. */
static void number_symbols(struct program *p)
{
	struct dim_pool *pool = &p->graph->dims;

	p->symbol_word = ARENA_ARRAY(p->arena, int, pool->symbol_count + 1);
	p->is_late = ARENA_ARRAY(p->arena, bool, pool->symbol_count + 1);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < pool->symbol_count; i++) {
			if ((pool->symbols[i].stage > 0) != (pass == 1))
				continue;
			p->symbol_word[i] = p->words.count;
			ARENA_PUSH(p->arena, &p->words, dim_symbol(pool, i));
		}
		if (pass == 0)
			p->input_symbol_count = p->words.count;
	}
}

dim program_bytes(struct program *p, const struct type *t)
{
	struct dim_pool *d = &p->graph->dims;
	dim bits = dim_mul(d, type_count(p->graph, t), dim_const(d, dtype_bits(t->dtype)));

	return dim_ceildiv(d, bits, dim_const(d, 8));
}

/* ---- slots and lifetimes ---- */

int layout_add_slot(struct layout *l, int kind, dim bytes)
{
	struct slot s = {.kind = kind,
			 .io = -1,
			 .bytes = bytes,
			 .first = l->p->step_count,
			 .last = l->p->step_count,
			 .bytes_word = -1};

	ARENA_PUSH(l->p->arena, &l->p->slots, s);
	return l->p->slots.count - 1;
}

int layout_add_data_slot(struct layout *l, const struct type *t)
{
	dim bytes = program_bytes(l->p, t), bound = dim_static_bound(&l->p->graph->dims, bytes);

	return layout_add_slot(l, bound ? HONE_SLOT_ARENA : HONE_SLOT_DYNAMIC, bound);
}

static void set_place(struct layout *l, const struct value *v, int slot)
{
	l->p->places[v->id] = (struct place){.kind = PLACE_SLOT, .slot = slot, .level = l->level};
}

static void touch(struct program *p, const struct value *v, int step)
{
	struct place *at = &p->places[v->id];

	if (at->kind == PLACE_SLOT && p->slots.at[at->slot].last < step)
		p->slots.at[at->slot].last = step;
}

static void use(struct layout *l, const struct value *v)
{
	struct place *at = &l->p->places[v->id];

	touch(l->p, v, l->p->step_count);
	if (at->kind == PLACE_SLOT && at->level < l->level)
		ARENA_PUSH(l->p->arena, &l->pending[at->level + 1], v);
}

/* Everything a group's inner nodes read from outside of it. */
static void use_region(struct layout *l, const struct region *r)
{
	for (const struct node *n = r->first; n; n = n->next) {
		for (int i = 0; i < n->in_count; i++)
			if (l->p->places[n->in[i]->id].kind != PLACE_NONE)
				use(l, n->in[i]);
		for (int i = 0; i < n->region_count; i++)
			use_region(l, n->regions[i]);
	}
	for (int i = 0; i < r->result_count; i++)
		if (l->p->places[r->results[i]->id].kind != PLACE_NONE)
			use(l, r->results[i]);
}

static bool enter(struct layout *l, const struct node *n)
{
	struct arena *a = l->p->arena;

	if (++l->level >= l->pending_levels) {
		struct pending *more = ARENA_ARRAY(a, struct pending, l->pending_levels * 2 + 8);

		if (l->pending_levels)
			memcpy(more, l->pending, (size_t)l->pending_levels * sizeof(*more));
		l->pending = more;
		l->pending_levels = l->pending_levels * 2 + 8;
	}
	if (l->level > 64)
		return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc, "regions nested deeper than 64");
	return true;
}

/* Values read inside live to the end of the owning node, which is the current step. */
static void leave(struct layout *l)
{
	struct pending *list = &l->pending[l->level--];

	for (int i = 0; i < list->count; i++)
		use(l, list->at[i]);
	list->count = 0;
}

static void add_alias(struct layout *l, const struct value *from, const struct value *to)
{
	ARENA_PUSH(l->p->arena, &l->aliases, ((struct alias){from, to}));
}

/* ---- constants ---- */

static bool add_constant(struct layout *l, const struct node *n)
{
	const struct value *v = n->out[0];
	int64_t count = type_count_const(&v->type);
	struct constant c = {.tensor = value_const(v), .type = v->type, .packing.buffer = -1};

	if (v->type.dtype == DT_STRING)
		return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc, "constants of type string");
	c.bytes = dtype_bytes(v->type.dtype, count);
	l->p->places[v->id] =
		(struct place){.kind = PLACE_CONST, .constant = constant_keep(l->p, &c)};
	return true;
}

/* ---- kernels ---- */

/* A slot of its own, or a part of its host's, which begins to live with the first value in it. */
static void place_result(struct layout *l, struct value *v)
{
	struct placement *p = l->placed[v->id];
	struct value *home = p ? p->host : v;

	if (l->p->places[home->id].kind == PLACE_NONE)
		set_place(l, home, layout_add_data_slot(l, &home->type));
	if (p)
		set_place(l, v, l->p->places[home->id].slot);
	touch(l->p, v, l->p->step_count);
}

static bool layout_kernel(struct layout *l, const struct node *n)
{
	for (int i = 0; i < n->in_count; i++)
		use(l, n->in[i]);
	for (int i = 0; i < n->region_count; i++)
		use_region(l, n->regions[i]);
	for (int i = 0; i < n->out_count; i++)
		place_result(l, n->out[i]);
	return layout_add_site(l, n);
}

/* ---- control flow ---- */

static bool layout_if(struct layout *l, const struct node *n)
{
	use(l, n->in[0]);
	for (int i = 0; i < 2; i++) {
		if (!enter(l, n) || !layout_region(l, n->regions[i]))
			return false;
		leave(l);
	}
	for (int i = 0; i < n->out_count; i++) {
		set_place(l, n->out[i], layout_add_slot(l, HONE_SLOT_UNSET, NULL));
		for (int k = 0; k < 2; k++)
			add_alias(l, n->regions[k]->results[i], n->out[i]);
	}
	return true;
}

/* Slots of a region's parameters: pointers that the loop sets (`pointers`), or data of their own. */
static void place_params(struct layout *l, const struct region *r, int data_count)
{
	for (int i = 0; i < r->param_count; i++)
		set_place(l, r->params[i],
			  i < data_count ? layout_add_data_slot(l, &r->params[i]->type)
					 : layout_add_slot(l, HONE_SLOT_UNSET, NULL));
}

/* Buffers of the results: two by parity for carried ones, one for stacked ones. They live from here on. */
static void add_carries(struct layout *l, const struct node *n, const struct region *r, int carried,
			int first_result)
{
	for (int i = 0; i < n->out_count; i++) {
		struct carry c = {.loop = n, .index = i, .slots = {-1, -1}};
		const struct type *t =
			i < carried ? &r->results[first_result + i]->type : &n->out[i]->type;

		for (int k = 0; k < (i < carried ? 2 : 1); k++)
			c.slots[k] = layout_add_data_slot(l, t);
		ARENA_PUSH(l->p->arena, &l->p->carries, c);
	}
}

/* Everything of the loop lives to its end; buffers as long as the results that point at them. */
static void finish_loop(struct layout *l, const struct node *n, int carried, int first_init)
{
	struct program *p = l->p;

	for (int i = 0; i < n->out_count; i++) {
		const struct carry *c = program_carry(p, n, i);

		set_place(l, n->out[i], layout_add_slot(l, HONE_SLOT_UNSET, NULL));
		for (int k = 0; k < 2; k++)
			if (c->slots[k] >= 0)
				p->slots.at[c->slots[k]].last = p->step_count;
		if (i < carried)
			add_alias(l, n->in[first_init + i], n->out[i]);
		else if (n->op == OP_loop && n->out[i]->type.dims[0]->kind == DIM_SYMBOL)
			p->is_late[n->out[i]->type.dims[0]->value] = true;
	}
}

static bool layout_loop(struct layout *l, const struct node *n, int carried, int first_result,
			int data_params, int first_init)
{
	const struct region *r = n->regions[0];

	for (int i = carried; i < n->out_count; i++)
		if (dtype_bits(n->out[i]->type.dtype) < 8)
			return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc,
					"stacked results of type %s: their slices share bytes",
					dtype_name(n->out[i]->type.dtype));

	for (int i = 0; i < n->in_count; i++)
		use(l, n->in[i]);
	add_carries(l, n, r, carried, first_result);
	if (!enter(l, n))
		return false;
	place_params(l, r, data_params);
	if (!layout_region(l, r))
		return false;
	for (int i = 0; i < r->param_count;
	     i++) /* a parameter is set anew after the last read of the next value */
		touch(l->p, r->params[i], l->p->step_count);
	leave(l);
	for (int i = 0; i < n->in_count;
	     i++) /* the parameters point at them in the first iteration */
		use(l, n->in[i]);
	finish_loop(l, n, carried, first_init);
	return true;
}

static bool layout_node(struct layout *l, const struct node *n)
{
	const struct attrs_scan *scan = n->attrs;

	switch (n->op) {
	case OP_const: return add_constant(l, n);
	case OP_param:
		set_place(l, n->out[0], layout_add_data_slot(l, &n->out[0]->type));
		if (program_param(l->p, ((const struct attrs_param *)n->attrs)->name) < 0)
			ARENA_PUSH(l->p->arena, &l->p->params, n);
		return true;
	case OP_bind: use(l, n->in[0]); return layout_add_origin(l, n) >= 0;
	case OP_return_if:
		if (l->level && n->parent->owner && n->parent->owner->op != OP_if)
			return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc, "return_if inside %s",
					op_table[n->parent->owner->op].name);
		for (int i = 0; i < n->in_count; i++)
			use(l, n->in[i]);
		return true;
	case OP_if: return layout_if(l, n);
	case OP_loop: return layout_loop(l, n, n->in_count - 2, 1, 2, 2);
	case OP_scan: return layout_loop(l, n, (int)scan->carried, 0, 0, 0);
	default:
		if (!(op_table[n->op].flags & OP_LOWERS))
			return diag_add(l->diag, DIAG_UNSUPPORTED, n->loc, "%s cannot be compiled",
					op_table[n->op].name);
		return layout_kernel(l, n);
	}
}

static bool layout_region(struct layout *l, const struct region *r)
{
	for (const struct node *n = r->first; n; n = n->next) {
		l->p->step_count++;
		for (int i = 0; !(op_table[n->op].flags & OP_LOWERS) && i < n->in_count; i++)
			constant_want(l->p, n->in[i]);
		if (!layout_node(l, n))
			return false;
		if (n->region_count)
			l->p->step_count++;
	}
	l->p->step_count++;
	for (int i = 0; i < r->result_count; i++) {
		constant_want(l->p, r->results[i]);
		use(l, r->results[i]);
	}
	return true;
}

/* ---- inputs and outputs ---- */

static bool layout_inputs(struct layout *l)
{
	const struct region *r = l->p->graph->body;

	for (int i = 0; i < r->param_count; i++) {
		int slot = layout_add_slot(l, HONE_SLOT_INPUT, NULL);

		if (r->params[i]->type.kind != TYPE_TENSOR || r->params[i]->type.dtype == DT_STRING)
			return diag_add(
				l->diag, DIAG_UNSUPPORTED, (struct loc){.file = l->p->graph->file},
				"input \"%s\" is no numeric tensor", l->p->graph->input_names[i]);
		l->p->slots.at[slot].io = i;
		set_place(l, r->params[i], slot);
	}
	return true;
}

/* A result that a kernel of the function's own region makes goes straight into the caller's buffer; others are
 * handed over at the return. */
static bool layout_outputs(struct layout *l)
{
	struct program *p = l->p;

	p->outputs = ARENA_ARRAY(p->arena, struct program_output, p->output_count);
	for (int i = 0; i < p->output_count; i++) {
		const struct value *v = p->results[i];
		struct slot *s;

		if (v->type.kind != TYPE_TENSOR || v->type.dtype == DT_STRING)
			return diag_add(l->diag, DIAG_UNSUPPORTED,
					(struct loc){.file = p->graph->file},
					"output \"%s\" is no numeric tensor", p->output_names[i]);
		for (int k = 0; k < v->type.rank; k++) /* not of the bytes: another dim may be 0 */
			if (dim_stage(v->type.dims[k]) > p->outputs[i].stage)
				p->outputs[i].stage = dim_stage(v->type.dims[k]);
		if (!v->def || v->def->parent != p->graph->body ||
		    !(op_table[v->def->op].flags & OP_LOWERS) || p->outputs[i].stage)
			continue;
		s = &p->slots.at[p->places[v->id].slot];
		if (s->kind != HONE_SLOT_ARENA) /* an earlier output has it already */
			continue;
		s->kind = HONE_SLOT_OUTPUT;
		s->io = i;
		p->outputs[i].direct = true;
	}
	return true;
}

const struct site *program_site(const struct program *p, const struct node *n)
{
	int low = 0, high = p->sites.count;

	for (int i = low; i < high; i++)
		if (p->sites.at[i].node == n)
			return &p->sites.at[i];
	return NULL;
}

int program_origin(const struct program *p, const struct node *n)
{
	for (int i = 0; i < p->node_of.count; i++)
		if (p->node_of.at[i] == n)
			return i;
	return -1;
}

int program_param(const struct program *p, const char *name)
{
	for (int i = 0; i < p->params.count; i++)
		if (!strcmp(((const struct attrs_param *)p->params.at[i]->attrs)->name, name))
			return i;
	return -1;
}

const struct carry *program_carry(const struct program *p, const struct node *loop, int index)
{
	for (int i = 0; i < p->carries.count; i++)
		if (p->carries.at[i].loop == loop && p->carries.at[i].index == index)
			return &p->carries.at[i];
	return NULL;
}

/* Pointing values keep what they point at alive: results are made after what they point at, so going from the
 * last edge to the first sees each final lifetime. */
static void resolve_aliases(struct layout *l)
{
	struct program *p = l->p;

	for (int i = l->aliases.count - 1; i >= 0; i--) {
		const struct place *to = &p->places[l->aliases.at[i].to->id];

		touch(p, l->aliases.at[i].from, p->slots.at[to->slot].last);
	}
	for (int i = 0; i < p->carries.count; i++) {
		const struct carry *c = &p->carries.at[i];
		int last = p->slots.at[p->places[c->loop->out[c->index]->id].slot].last;

		for (int k = 0; k < 2; k++)
			if (c->slots[k] >= 0 && p->slots.at[c->slots[k]].last < last)
				p->slots.at[c->slots[k]].last = last;
	}
}

static void add_words(struct program *p)
{
	struct graph *g = p->graph;

	for (int i = 0; i < p->slots.count; i++)
		if (p->slots.at[i].bytes)
			p->slots.at[i].bytes_word = program_word(p, p->slots.at[i].bytes);
	p->check_left = ARENA_ARRAY(p->arena, int, g->requires.count);
	p->check_right = ARENA_ARRAY(p->arena, int, g->requires.count);
	for (int i = 0; i < g->requires.count; i++) {
		p->check_left[i] = program_word(p, g->requires.at[i].left);
		p->check_right[i] = program_word(p, g->requires.at[i].right);
	}
}

static struct program *lay_out(struct graph *g, const struct target *t, struct constants *constants,
			       int extra_count, struct value *const *extra, struct arena *a,
			       struct diag *d)
{
	struct program *p = ARENA_NEW(a, struct program);
	struct layout l = {.p = p, .diag = d};

	*p = (struct program){.arena = a,
			      .graph = g,
			      .target = t,
			      .constants = constants,
			      .value_count = g->value_count,
			      .stage_count = g->stage_count};
	p->places = ARENA_ARRAY(a, struct place, g->value_count + 1);
	p->output_count = g->body->result_count + extra_count;
	p->results = ARENA_ARRAY(a, struct value *, p->output_count);
	p->output_names = ARENA_ARRAY(a, const char *, p->output_count);
	for (int i = 0; i < p->output_count; i++) {
		bool own = i < g->body->result_count;

		p->results[i] = own ? g->body->results[i] : extra[i - g->body->result_count];
		p->output_names[i] = own ? g->output_names[i]
					 : arena_printf(a, "probe%d", i - g->body->result_count);
	}
	l.pending_levels = 8;
	l.pending = ARENA_ARRAY(a, struct pending, l.pending_levels);
	number_symbols(p);
	l.placed = placement_find(g, extra_count, extra, a);
	if (!layout_inputs(&l) || !layout_region(&l, g->body))
		return NULL;
	for (int i = 0; i < p->output_count; i++) {
		constant_want(p, p->results[i]);
		use(&l, p->results[i]);
	}
	if (!layout_outputs(&l))
		return NULL;
	resolve_aliases(&l);
	add_words(p);
	return p;
}

struct program *program_layout(struct graph *g, const struct target *t, int extra_count,
			       struct value *const *extra, struct arena *a, struct diag *d)
{
	struct constants *constants = ARENA_NEW(a, struct constants);
	struct program *p = lay_out(g, t, constants, extra_count, extra, a, d);

	constants_place(constants);
	return p;
}

bool programs_layout(struct graph *g, const struct targets *levels, struct arena *a,
		     struct program *out[TARGETS_MAX], struct diag *d)
{
	struct constants *constants = ARENA_NEW(a, struct constants);

	for (int i = 0; i < levels->count; i++) {
		out[i] = lay_out(g, &levels->at[i], constants, 0, NULL, a, d);
		if (!out[i])
			return false;
	}
	constants_place(constants);
	layout_say_dense(out[0], d);
	return true;
}
