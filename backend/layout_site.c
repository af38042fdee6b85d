/* layout_site.c: a kernel at its place in the program: its function, constants, words, scratch memory, and whether it
 * is worth forking. */
#include "backend/layout.h"

#include "ir/lower.h"

#include <string.h>

int layout_add_origin(struct layout *l, const struct node *n)
{
	const char *op = n->loc.op ? n->loc.op : op_table[n->op].name;
	const char *text = n->loc.node
				   ? arena_printf(l->p->arena, "node \"%s\" (%s)", n->loc.node, op)
				   : arena_text(l->p->arena, op);

	ARENA_PUSH(l->p->arena, &l->p->nodes, text);
	ARENA_PUSH(l->p->arena, &l->p->node_of, n);
	return l->p->nodes.count - 1;
}

static int find_function(struct layout *l, struct kernel *k, const struct kernel_abi *abi)
{
	struct program *p = l->p;
	const char *key = kernel_text(p->arena, k, true);

	for (int i = 0; i < p->functions.count; i++)
		if (!strcmp(p->functions.at[i].key, key) &&
		    p->functions.at[i].abi.word_count == abi->word_count)
			return i;
	ARENA_PUSH(p->arena, &p->functions, ((struct function){k, *abi, k->name, key}));
	return p->functions.count - 1;
}

/* Rough operations for one element of each expression: memo is by id, below 0 where not known yet. */
static double cost(const struct expr_pool *pool, const struct expr *e, double *memo)
{
	double sum = e->op < EXPR_SQRT ? 1 : e->op < EXPR_SCALAR_COUNT ? 10 : 0;

	if (memo[e->id] >= 0)
		return 0; /* shared: computed once */
	for (int i = 0; i < e->count; i++)
		sum += cost(pool, e->arg[i], memo);
	for (int i = 0; e->op == EXPR_REDUCE && i < e->axis_count; i++) {
		dim extent = pool->axes[e->axes[i]].extent;

		sum *= dim_is_const(extent) ? (double)extent->value : 64;
	}
	return memo[e->id] = sum;
}

static double expr_work(const struct expr_pool *pool, const struct expr *e)
{
	struct arena scratch = {0};
	double *memo = ARENA_ARRAY(&scratch, double, e->id + 1), sum;

	for (int i = 0; i <= e->id; i++)
		memo[i] = -1;
	sum = cost(pool, e, memo);
	arena_free(&scratch);
	return sum;
}

static double work(const struct kernel *k, const struct stmt *s)
{
	double sum = 0;

	for (; s; s = s->next) {
		double inside = s->body    ? work(k, s->body)
				: s->value ? expr_work(k->exprs, s->value) + 1
					   : 0;
		dim extent = s->kind == STMT_FOR ? k->exprs->axes[s->axis].extent : NULL;

		sum += inside * (!extent ? 1 : dim_is_const(extent) ? (double)extent->value : 64);
	}
	return sum;
}

/* Where the kernel's words stand in a row: those of an earlier site when they are the same. */
static int place_words(struct program *p, const struct kernel_abi *abi)
{
	int base = p->words.count;

	for (int i = p->sites.count - 1; i >= 0; i--) {
		const struct site *other = &p->sites.at[i];

		if (other->abi.word_count == abi->word_count &&
		    (!abi->word_count ||
		     !memcmp(other->abi.words, abi->words, (size_t)abi->word_count * sizeof(dim))))
			return other->word_base;
	}
	for (int i = 0; i < abi->word_count; i++)
		ARENA_PUSH(p->arena, &p->words, abi->words[i]);
	return base;
}

static const struct packing *packing_of(const struct packing *all, int count, int buffer)
{
	for (int i = 0; i < count; i++)
		if (all[i].buffer == buffer)
			return &all[i];
	return NULL;
}

/* Which constants the kernel reads, and those that it reads packed. */
static void use_constants(struct layout *l, struct site *s)
{
	struct program *p = l->p;
	const struct kernel *k = s->kernel;
	struct packing packings[PACKINGS_MAX];
	int count = contract_packings(k, packings);

	for (int i = 0; i < k->buffers.count; i++) {
		const struct packing *packing = packing_of(packings, count, i);
		const struct value *v = k->buffers.at[i].value;
		struct constant c;

		if (!v || p->places[v->id].kind != PLACE_CONST)
			continue;
		if (!packing) {
			constant_want(p, v);
			continue;
		}
		c = p->constants->at[p->places[v->id].constant];
		c.packing = *packing;
		c.packing.buffer = 0; /* the same for every reader */
		c.bytes = packing_bytes(packing);
		c.used = true;
		s->packed[s->packed_count].buffer = i;
		s->packed[s->packed_count++].constant = constant_keep(p, &c);
	}
}

/* Products of one row wait for their weights: they take about twice as long as their multiply-adds. */
static double site_work(const struct kernel *k)
{
	const struct contract_plan *c = &k->plan.contract;
	bool one_row = k->plan.driver == DRIVER_CONTRACT && c->rows[0] * c->rows[1] == 1;

	return work(k, k->body) * (one_row ? 2 : 1);
}

bool layout_add_site(struct layout *l, const struct node *n)
{
	struct program *p = l->p;
	struct site s = {.node = n, .scratch_slot = -1, .bound_slot = -1};
	struct type symbols;

	if (placement_is_view(n, l->placed))
		return true;
	s.kernel = lower_node(p->graph, n, p->arena, l->diag);
	if (s.kernel)
		placement_apply(s.kernel, l->placed);
	if (s.kernel && !s.kernel->body)
		return true; /* a concat whose operands were all computed in place */
	if (!s.kernel || !plan_choose(s.kernel, p->target, l->diag) ||
	    !kernel_abi_of(s.kernel, p->arena, &s.abi))
		return false;
	s.function = find_function(l, s.kernel, &s.abi);
	use_constants(l, &s);
	s.origin = layout_add_origin(l, n);
	s.word_base = place_words(p, &s.abi);
	s.forks = site_work(s.kernel) >= p->target->fork_work;
	if (s.abi.scratch >= 0) {
		dim bound = dim_static_bound(&p->graph->dims, s.abi.scratch_bytes);

		if (!bound)
			return diag_add(
				l->diag, DIAG_UNSUPPORTED, n->loc,
				"scratch memory whose size depends on data without a bound");
		s.scratch_slot = layout_add_slot(l, HONE_SLOT_ARENA, bound);
		p->slots.at[s.scratch_slot].per_worker = true;
	}
	if (s.abi.bound >= 0) {
		dim count = dim_const(&p->graph->dims, n->symbol_count);

		symbols = type_make(DT_I64, 1, &count);
		s.bound_slot = layout_add_data_slot(l, &symbols);
	}
	ARENA_PUSH(p->arena, &p->sites, s);
	return true;
}

/* Weights with many blocks of zeros whose products are dense all the same: pruning gains no speed there. */
void layout_say_dense(const struct program *p, struct diag *d)
{
	const struct node *first = NULL;
	const char *others = "";
	double least = 100, most = 0;
	int count = 0;

	for (int i = 0; i < p->sites.count; i++) {
		const struct site *site = &p->sites.at[i];
		const struct contract_plan *plan = &site->kernel->plan.contract;
		double zeros;

		if (site->kernel->plan.driver != DRIVER_CONTRACT || plan->sparse ||
		    plan->sparsity.kept == plan->sparsity.rows)
			continue;
		zeros = 100 - 100 * (double)plan->sparsity.kept / (double)plan->sparsity.rows;
		least = zeros < least ? zeros : least;
		most = zeros > most ? zeros : most;
		first = first ? first : site->node;
		count++;
	}
	if (count > 1)
		others = arena_printf(p->arena, ", and %d more nodes", count - 1);
	if (first)
		diag_add(d, DIAG_WARNING, first->loc,
			 "%.0f to %.0f %% of the blocks of 1x16 weights are zero (here%s), but "
			 "leaving "
			 "them out would not be faster: the products stay dense",
			 least, most, others);
}
