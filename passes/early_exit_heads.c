/* early_exit_heads.c: exits that the model has already: auxiliary outputs, each a head behind one of its blocks
 * (BranchyNet, Teerapittayanon et al. 2016; MSDNet, Huang et al. 2018; DeeBERT, Xin et al. 2020). heads=a+b names them. */
#include "passes/early_exit.h"

#include <string.h>

static bool refuse(const struct exits *x, const char *name, const char *what)
{
	return diag_add(x->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
			"--early-exit heads=: output \"%s\" %s", name, what);
}

/* The outputs that are named become heads; returns whether exactly one is left, the model's answer. */
static bool split_outputs(struct exits *x)
{
	struct graph *g = x->c->graph;
	const char *name = NULL;
	struct value *answer = NULL;
	int left = 0;

	for (const char *at = x->head_names; *at;) {
		size_t length = strcspn(at, "+");
		int i = 0;

		while (i < g->body->result_count && (strlen(g->output_names[i]) != length ||
						     memcmp(g->output_names[i], at, length)))
			i++;
		if (i == g->body->result_count)
			return refuse(x, arena_printf(x->c->scratch, "%.*s", (int)length, at),
				      "is not there");
		if (x->head_count == CUTS_MAX)
			return refuse(x, g->output_names[i], "is one head too many: at most 10");
		x->heads[x->head_count++] = (struct head){
			.output = i, .name = g->output_names[i], .value = g->body->results[i]};
		at += length + (at[length] == '+');
	}
	for (int i = 0; i < g->body->result_count; i++) {
		bool head = false;

		for (int k = 0; k < x->head_count; k++)
			head = head || x->heads[k].output == i;
		if (head)
			continue;
		answer = g->body->results[i];
		name = g->output_names[i];
		left++;
	}
	if (left != 1)
		return diag_add(x->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
				"--early-exit heads=: expected one output besides the heads, "
				"found %d",
				left);
	graph_set_outputs(g, 1, &answer, &name);
	return true;
}

/* Marks by value id what `from` is made of. What regions read counts as read by their node, so all before them. */
static void mark(struct node *const *nodes, int count, const struct value *from, bool *is_part)
{
	bool all = false;

	is_part[from->id] = true;
	for (int i = count - 1; i >= 0; i--) {
		const struct node *n = nodes[i];
		bool part = all || n->out_count == 0;

		for (int k = 0; k < n->out_count; k++)
			part = part || is_part[n->out[k]->id];
		if (!part)
			continue;
		all = all || n->region_count;
		for (int k = 0; k < n->out_count; k++)
			is_part[n->out[k]->id] = true;
		for (int k = 0; k < n->in_count; k++)
			if (n->in[k])
				is_part[n->in[k]->id] = true;
	}
}

/* The nodes that only this head is made of, in order. */
static bool find_nodes(struct exits *x, struct node *const *nodes, int count, const bool *is_answer,
		       struct head *h)
{
	bool *is_part = ARENA_ARRAY(x->c->scratch, bool, x->c->graph->value_count + 1);

	mark(nodes, count, h->value, is_part);
	h->nodes = ARENA_ARRAY(x->c->scratch, struct node *, count);
	for (int i = 0; i < count; i++) {
		struct node *n = nodes[i];

		if (n->op == OP_const || !n->out_count || !is_part[n->out[0]->id] ||
		    is_answer[n->out[0]->id])
			continue;
		h->nodes[h->node_count++] = n;
	}
	return h->node_count > 0 || refuse(x, h->name, "is no head: the answer is made of it");
}

static int node_total(const struct graph *g)
{
	int count = 0;

	for (const struct node *n = g->body->first; n; n = n->next)
		count++;
	return count;
}

bool exits_take_heads(struct exits *x)
{
	struct graph *g = x->c->graph;
	struct arena *a = x->c->scratch;
	int count = node_total(g), at = 0;
	struct node **nodes = ARENA_ARRAY(a, struct node *, count + 1);
	bool *is_answer = ARENA_ARRAY(a, bool, g->value_count + 1);

	if (!split_outputs(x))
		return false;
	for (struct node *n = g->body->first; n; n = n->next)
		nodes[at++] = n;
	mark(nodes, count, g->body->results[0], is_answer);
	x->is_aside = ARENA_ARRAY(a, bool, g->value_count + 1);
	for (int i = 0; i < x->head_count; i++) {
		struct head *h = &x->heads[i];

		if (!find_nodes(x, nodes, count, is_answer, h))
			return false;
		for (int k = 0; k < h->node_count; k++)
			for (int j = 0; j < h->nodes[k]->out_count; j++)
				x->is_aside[h->nodes[k]->out[j]->id] = true;
	}
	return true;
}

/* The position in the body of the last node that a head reads, of those that are not its own. */
static int last_read(const struct exits *x, const struct head *h)
{
	int last = -1;

	for (int i = 0; i < h->node_count; i++)
		for (int k = 0; k < h->nodes[i]->in_count; k++) {
			const struct value *v = h->nodes[i]->in[k];

			for (int at = 0; v && v->def && at < x->node_count; at++)
				if (x->nodes[at] == v->def && v->def->op != OP_const && at > last)
					last = at;
		}
	return last;
}

bool exits_place_heads(struct exits *x, const struct cut *all, int count, int first)
{
	for (int i = 0; i < x->head_count; i++) {
		struct head *h = &x->heads[i];
		struct node *last = value_def(h->value, OP_softmax);
		int read = last_read(x, h), k = 0;

		h->logits = x->softmax && last ? last->in[0] : h->value;
		if (h->value->type.rank != 2 || h->value->type.dtype != DT_F32 ||
		    h->value->type.dims[0] != x->batch ||
		    !dim_is(h->value->type.dims[1], x->classes))
			return refuse(x, h->name, "has other dims than the model's answer");
		for (int n = 0; n < h->node_count; n++)
			if (!exits_is_cuttable(x, h->nodes[n]))
				return diag_add(x->c->diag, DIAG_UNSUPPORTED, h->nodes[n]->loc,
						"--early-exit heads=: this %s of \"%s\" cannot run "
						"on some of the rows",
						op_table[h->nodes[n]->op].name, h->name);
		while (k < count && (all[k].position < read || all[k].position <= first))
			k++;
		if (k == count)
			return refuse(x, h->name, "leaves no work to skip behind it");
		x->cuts[x->cut_count] = all[k];
		x->cuts[x->cut_count++].head = h;
	}
	for (int i = 1; i < x->cut_count; i++) /* in the order of the body; there are few */
		for (int k = i; k > 0 && x->cuts[k].position < x->cuts[k - 1].position; k--) {
			struct cut c = x->cuts[k];

			x->cuts[k] = x->cuts[k - 1];
			x->cuts[k - 1] = c;
		}
	return true;
}

struct value *exits_copy_head(const struct exits *x, struct builder *b, const struct head *h,
			      dim symbol, struct value **map)
{
	for (int i = 0; i < h->node_count; i++) {
		if (!exits_copy(x, b, h->nodes[i], symbol, map))
			return NULL;
		if (h->nodes[i]->out[0] == h->logits)
			break;
	}
	return map[h->logits->id];
}
