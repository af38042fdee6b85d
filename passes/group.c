/* group: the fusion decision. Nodes become `group` regions, each of which is computed as one kernel; the ops
 * in it are unchanged. Which ops may stand together is decided in group_rules.c; here they are collected.
 *
 * The nodes of a region are visited in order. Each starts a cluster of its own, then takes in the clusters
 * of its operands where the rules allow:
 *   - a cluster has one result, that of its last node: it is taken in when this node is its only reader;
 *   - where several nodes read it and all meet again in one node a little later (gelu, x * sigmoid(x), a
 *     normalization in parts), all the nodes in between join it (a diamond);
 *   - where it is only movement or cheap, of one operand, each reader gets a copy of it.
 * So clusters are trees with one way out, and grouping never makes a cycle. Constants, parameters, control
 * flow and binding nodes are never in groups; the bodies of if, loop and scan have groups of their own. */
#include "passes/group.h"
#include "ir/lower.h"

#include <string.h>

enum { DIAMOND_NODES = 24, DIAMOND_SCAN = 96, COPY_NODES = 4, COPY_READERS = 8 };

struct grouping {
	struct pass_context *c;
	int room; /* of the arrays below, by value id */
	int *uses, *order;
	struct cluster **clusters; /* of the node that makes the value */
	struct value **map;        /* for copies; all NULL between them */
};

static struct cluster *cluster_of(const struct grouping *g, const struct value *v)
{
	return v->id < g->room ? g->clusters[v->id] : NULL;
}

static int reads(const struct node *n, const struct value *v)
{
	int count = 0;

	for (int i = 0; i < n->in_count; i++)
		count += n->in[i] == v;
	return count;
}

static struct cluster *cluster_new(struct grouping *g, struct node *n)
{
	struct cluster *k = ARENA_NEW(g->c->scratch, struct cluster);

	ARENA_PUSH(g->c->scratch, &k->nodes, n);
	cluster_start(k, n);
	g->clusters[n->out[0]->id] = k;
	return k;
}

/* k takes in all of `from`, whose result its last node reads. */
static void take(struct grouping *g, struct cluster *k, const struct cluster *from)
{
	for (int i = 0; i < from->nodes.count; i++) {
		ARENA_PUSH(g->c->scratch, &k->nodes, from->nodes.at[i]);
		g->clusters[from->nodes.at[i]->out[0]->id] = k;
	}
	cluster_join(k, from);
}

/* ---- diamonds ---- */

/* The nodes from v on that read it or each other, up to the one where all meet. False when they do not. */
static bool find_diamond(const struct grouping *g, const struct value *v, struct node **found,
			 int *count)
{
	int pending = g->uses[v->id], scanned = 0;

	*count = 0;
	for (struct node *n = v->def->next; n && scanned < DIAMOND_SCAN; n = n->next, scanned++) {
		int read = reads(n, v);

		for (int i = 0; i < *count; i++)
			read += reads(n, found[i]->out[0]);
		if (!read)
			continue;
		if (*count == DIAMOND_NODES || n->out_count != 1 || n->out[0]->id >= g->room)
			return false;
		found[(*count)++] = n;
		pending -= read;
		if (!pending)
			return true;
		pending += g->uses[n->out[0]->id];
	}
	return false;
}

/* Joins the nodes between v, the result of cluster k, and where its readers meet. */
static bool take_diamond(struct grouping *g, struct cluster *k, const struct value *v)
{
	struct node *found[DIAMOND_NODES];
	struct cluster trial = *k;
	int count;

	if (!find_diamond(g, v, found, &count) || count < 2)
		return false;
	for (int i = 0; i < count; i++) {
		if (g->clusters[found[i]->out[0]->id] ||
		    !cluster_takes_inner(&trial, v, found[i], i == count - 1))
			return false;
	}
	for (int i = 0; i < count; i++) {
		ARENA_PUSH(g->c->scratch, &k->nodes, found[i]);
		g->clusters[found[i]->out[0]->id] = k;
	}
	trial.nodes = k->nodes;
	*k = trial;
	return true;
}

/* ---- copies ---- */

/* A small cluster that moves, or computes cheaply, the elements of at most one value: copying it costs the
 * readers nothing, and spares writing it. */
static bool is_copyable(const struct grouping *g, const struct cluster *k, const struct value *v)
{
	const struct value *from = NULL;

	if (k->nodes.count > COPY_NODES || !cluster_is_cheap(k))
		return false;
	for (int i = 0; i < k->nodes.count; i++)
		for (int j = 0; j < k->nodes.at[i]->in_count; j++) {
			const struct value *in = k->nodes.at[i]->in[j];

			if (cluster_of(g, in) == k || value_const(in) || in == from)
				continue;
			if (from)
				return false;
			from = in;
		}
	/* weights of few bits stay so for every reader */
	return !from || g->uses[v->id] <= COPY_READERS;
}

/* Sorts a few nodes so that each comes after those it reads. */
static void sort_nodes(struct node **at, int count)
{
	for (int i = 0; i < count; i++)
		for (int k = i + 1; k < count; k++)
			if (reads(at[i], at[k]->out[0])) {
				struct node *swap = at[i];

				at[i] = at[k];
				at[k] = swap;
				k = i; /* what is at i now may read others */
			}
}

/* Copies the nodes of cluster k before n, which then reads the copy. NULL: no room, or refused. */
static struct cluster *copy_cluster(struct grouping *g, const struct cluster *k, struct value *v,
				    struct node *n)
{
	struct builder b = build_before(g->c, n);
	struct cluster *copy = ARENA_NEW(g->c->scratch, struct cluster);
	struct node **nodes =
		arena_copy(g->c->scratch, k->nodes.at, (size_t)k->nodes.count * sizeof(*nodes));

	if (g->c->graph->value_count + k->nodes.count >= g->room)
		return NULL;
	sort_nodes(nodes, k->nodes.count);
	*copy = *k;
	copy->nodes.at = NULL;
	copy->nodes.count = copy->nodes.room = 0;
	for (int i = 0; i < k->nodes.count; i++) {
		struct node *made = node_clone(&b, nodes[i], g->map);

		if (!made)
			return NULL;
		ARENA_PUSH(g->c->scratch, &copy->nodes, made);
		g->clusters[made->out[0]->id] = copy;
		g->uses[made->out[0]->id] = g->uses[nodes[i]->out[0]->id];
		for (int j = 0; j < made->in_count; j++)
			if (made->in[j]->id < g->room && cluster_of(g, made->in[j]) != copy)
				g->uses[made->in[j]->id]++;
	}
	for (int i = 0; i < n->in_count; i++)
		if (n->in[i] == v) {
			n->in[i] = g->map[v->id];
			g->uses[v->id]--;
		}
	g->uses[g->map[v->id]->id] = reads(n, g->map[v->id]);
	for (int i = 0; i < k->nodes.count; i++)
		g->map[nodes[i]->out[0]->id] = NULL;
	return copy;
}

/* ---- the visit ---- */

/* Tries to take in the cluster that makes operand i of n. */
static void take_operand(struct grouping *g, struct cluster *k, struct node *n, int i)
{
	struct value *v = n->in[i];
	struct cluster *from = cluster_of(g, v);

	if (!from || from == k || from->result != v || v->def->parent != n->parent)
		return;
	if (!cluster_takes(k, from, n, i))
		return;
	if (g->uses[v->id] != reads(n, v)) {
		if (!is_copyable(g, from, v) || g->uses[v->id] < 2)
			return;
		from = copy_cluster(g, from, v, n);
		if (!from)
			return;
		v = n->in[i];
	}
	take(g, k, from);
}

/* If n begins a diamond of an operand's cluster, or is in one, all of it joins that cluster. */
static bool visit_diamond(struct grouping *g, struct node *n)
{
	for (int i = 0; i < n->in_count; i++) {
		struct value *v = n->in[i];
		struct cluster *k = cluster_of(g, v);

		if (k && k->result == v && v->def->parent == n->parent &&
		    g->uses[v->id] > reads(n, v) && take_diamond(g, k, v))
			return true;
	}
	return false;
}

static void visit(struct grouping *g, struct node *n)
{
	struct cluster *k;

	if (n->out_count != 1 || n->out[0]->id >= g->room || cluster_of(g, n->out[0]) ||
	    !node_groups(n))
		return;
	if (visit_diamond(g, n))
		return;
	k = cluster_new(g, n);
	if (node_is_byte_factor(n)) { /* only what the contraction takes too */
		struct cluster *from = cluster_of(g, n->in[0]);

		if (from && !from->computes && contraction_takes(from))
			take_operand(g, k, n, 0);
		return;
	}
	for (int i = 0; i < n->in_count; i++) /* what is heavy first: at most one such fits */
		if (cluster_of(g, n->in[i]) && cluster_of(g, n->in[i])->reduces)
			take_operand(g, k, n, i);
	for (int i = 0; i < n->in_count; i++)
		take_operand(g, k, n, i);
	/* n may itself be what several read and what meets again: visited with its readers */
}

/* ---- making regions ---- */

/* The group's nodes stand where it stood, on their own again. */
static void dissolve(struct node *group)
{
	struct region *r = group->regions[0];
	struct value *result = group->out[0], *inner = r->results[0];
	struct node *last = inner->def, *next;

	for (struct node *n = r->first; n; n = next) {
		next = n->next;
		node_move_before(n, group);
	}
	group->out[0] = inner;
	inner->def = group;
	last->out[0] = result;
	result->def = last;
	node_remove(group);
}

/* The rules look at neighbours; whether all of a group can be one kernel is known when it is lowered. */
static bool lowers(struct grouping *g, const struct node *group)
{
	struct arena scratch = {0};
	struct diag d = {0};
	bool ok = lower_node(g->c->graph, group, &scratch, &d) != NULL;

	diag_reset(&d);
	arena_free(&scratch);
	return ok;
}

/* The nodes of k move into a group, at the place of the last. The group's result takes over the value, so
 * that no reader changes. */
static bool make_group(struct grouping *g, struct cluster *k)
{
	struct node *last = k->result->def, *group;
	struct graph *graph = g->c->graph;
	struct builder b = build_before(g->c, last);
	struct region *r = region_new(graph);
	struct value *result = k->result, *inner;
	struct node *before = last->next;
	struct region *parent = last->parent;

	for (int i = 0; i < k->nodes.count; i++)
		node_remove(k->nodes.at[i]);
	for (int i = 0; i < k->nodes.count; i++) {
		struct node *n = k->nodes.at[i];

		n->parent = r;
		n->prev = r->last;
		n->next = NULL;
		if (r->last)
			r->last->next = n;
		else
			r->first = n;
		r->last = n;
	}
	region_set_results(graph, r, 1, &result);
	b.region = parent;
	b.before = before;
	group = graph_add(
		&b, &(struct node_spec){
			    .op = OP_group, .out_count = 1, .region_count = 1, .regions = &r});
	if (!group)
		return false;
	inner = group->out[0];
	group->out[0] = result;
	result->def = group;
	result->index = 0;
	last->out[0] = inner;
	inner->def = last;
	inner->index = 0;
	r->results[0] = inner;
	if (!lowers(g, group)) {
		dissolve(group);
		return true;
	}
	g->c->changes++;
	return true;
}

/* Copies whose originals nobody reads any more: clusters from their results on. An unread node within a cluster that is
 * read stays: the cluster lists it, and lowering drops it. */
static void remove_unread(struct grouping *g, struct region *r)
{
	struct node *prev;

	for (struct node *n = r->last; n; n = prev) {
		struct cluster *k = n->out_count == 1 ? cluster_of(g, n->out[0]) : NULL;

		prev = n->prev;
		if (!k || g->uses[n->out[0]->id] || (k->result != n->out[0] && !k->removed))
			continue;
		k->removed = true;
		for (int i = 0; i < n->in_count; i++)
			if (n->in[i]->id < g->room)
				g->uses[n->in[i]->id]--;
		node_remove(n);
	}
}

static bool group_region(struct grouping *g, struct region *r)
{
	struct {
		struct cluster **at;
		int count, room;
	} made = {0};
	struct node *next;
	int order = 0;

	for (struct node *n = r->first; n; n = next) {
		next = n->next;
		for (int i = 0; i < n->region_count; i++)
			if (n->op != OP_group && !group_region(g, n->regions[i]))
				return false;
		visit(g, n);
	}
	remove_unread(g, r);
	for (struct node *n = r->first; n; n = n->next)
		if (n->out_count == 1 && n->out[0]->id < g->room) {
			struct cluster *k = cluster_of(g, n->out[0]);

			g->order[n->out[0]->id] = order++;
			if (k && k->result == n->out[0] && k->nodes.count > 1)
				ARENA_PUSH(g->c->scratch, &made, k);
		}
	for (int i = 0; i < made.count; i++) {
		struct cluster *k = made.at[i];

		for (int j = 0; j < k->nodes.count; j++) /* insertion sort: nearly in order */
			for (int m = j; m > 0 && g->order[k->nodes.at[m]->out[0]->id] <
							 g->order[k->nodes.at[m - 1]->out[0]->id];
			     m--) {
				struct node *swap = k->nodes.at[m];

				k->nodes.at[m] = k->nodes.at[m - 1];
				k->nodes.at[m - 1] = swap;
			}
		if (!make_group(g, k))
			return false;
	}
	return true;
}

bool pass_group(struct pass_context *c)
{
	struct grouping g = {.c = c, .room = c->graph->value_count * 2 + 4096};
	int *uses = graph_count_uses(c->graph, c->scratch);

	g.uses = ARENA_ARRAY(c->scratch, int, g.room);
	memcpy(g.uses, uses, (size_t)c->graph->value_count * sizeof(*uses));
	g.order = ARENA_ARRAY(c->scratch, int, g.room);
	g.clusters = ARENA_ARRAY(c->scratch, struct cluster *, g.room);
	g.map = ARENA_ARRAY(c->scratch, struct value *, g.room);
	return group_region(&g, c->graph->body);
}
