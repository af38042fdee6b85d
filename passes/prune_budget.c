/* prune_budget.c: a budget of multiply-adds. Again and again the group shrinks that loses the least of what is left of its
 * score for what it saves. Groups go down to multiples of vectors; where the step that crosses the budget is too coarse to
 * come near to it, as in small models, the group goes down by a part of it, to single units. Where these are too coarse,
 * others may come nearer. */
#include "passes/prune.h"

#include <math.h>

/* What is left may be off by this share of what stays or of what goes, the smaller: by 5 % of the model at most. */
static const double near = 0.1;

enum { FINEST = 16 }; /* steps that are so many times smaller are single units */

struct budget {
	struct prune *p;
	double over, near; /* multiply-adds to save yet; how near is enough */
	double *below; /* by position in the sorted units: the sum of the scores of the units before it, in its group */
	struct node **nodes; /* contractions that units of a group are part of */
	int *first_node;     /* of a group in nodes; one more entry */
};

static bool on_value(const struct prune *p, const bool *marked, const struct value *v)
{
	for (int i = 0; i < v->type.rank; i++) {
		int axis = p->axis_of[v->id * HONE_MAX_RANK + i];

		if (axis >= 0 && marked[axis])
			return true;
	}
	return false;
}

static void list_nodes(struct budget *b)
{
	struct prune *p = b->p;
	struct {
		struct node **at;
		int count, room;
	} list = {0};
	bool *marked = ARENA_ARRAY(p->c->scratch, bool, p->axis_count + 1);

	b->first_node = ARENA_ARRAY(p->c->scratch, int, p->group_count + 1);
	for (int g = 0; g < p->group_count; g++) {
		const struct prune_group *group = &p->groups[g];

		b->first_node[g] = list.count;
		for (int i = 0; i < group->on_count; i++)
			marked[group->on[i].axis] = true;
		for (struct node *n = p->c->graph->body->first; n; n = n->next)
			if (prune_node_macs(p, n) > 0 &&
			    (on_value(p, marked, n->out[0]) || on_value(p, marked, n->in[0]) ||
			     on_value(p, marked, n->in[1])))
				ARENA_PUSH(p->c->scratch, &list, n);
		for (int i = 0; i < group->on_count; i++)
			marked[group->on[i].axis] = false;
	}
	b->first_node[p->group_count] = list.count;
	b->nodes = list.at;
}

static double group_macs(const struct budget *b, int g)
{
	double sum = 0;

	for (int i = b->first_node[g]; i < b->first_node[g + 1]; i++)
		sum += prune_node_macs(b->p, b->nodes[i]);
	return sum;
}

/* The next smaller size of a group, by steps that are `finer` times smaller; 0: no smaller. */
static int next_keep(const struct prune *p, const struct prune_group *g, int finer)
{
	int step = prune_step(g) / finer, keep;

	step = step > 0 ? step : 1;
	keep = (g->keep - 1) / step * step;
	return keep < prune_least(p, g) ? 0 : keep;
}

struct step {
	struct prune_group *group; /* NULL: none */
	int keep;
	double saved, price; /* multiply-adds; the share of the score that is lost for each */
};

/* The share of what is left of a group's score that goes when `keep` units stay. */
static double loss(const struct budget *b, const struct prune_group *g, int keep)
{
	const double *below = b->below + (g->units - b->p->groups[0].units);
	int count = g->unit_count;
	double left =
		below[count - 1] + b->p->units[g->units[count - 1]].score - below[count - g->keep];

	return (below[count - keep] - below[count - g->keep]) / (1e-30 + left);
}

static struct step step_of(struct budget *b, int number, int finer)
{
	struct prune *p = b->p;
	struct prune_group *g = &p->groups[number];
	struct step s = {.group = g, .keep = next_keep(p, g, finer)};
	int before = g->keep;

	if (!s.keep)
		return (struct step){0};
	s.price = loss(b, g, s.keep);
	s.saved = group_macs(b, number);
	prune_set_keep(p, g, s.keep);
	s.saved -= group_macs(b, number);
	prune_set_keep(p, g, before);
	if (!(s.saved > 0))
		return (struct step){0};
	s.price /= s.saved;
	return s;
}

/* The step at the lowest price. */
static struct step cheapest(struct budget *b, int finer, double most)
{
	struct step best = {0};

	for (int i = 0; i < b->p->group_count; i++) {
		struct step s = step_of(b, i, finer);

		if (s.group && s.saved <= most && (!best.group || s.price < best.price))
			best = s;
	}
	return best;
}

/* The most that a step may save to come nearer to the budget, which is not to be missed by more than `below`. */
static double most_of(const struct budget *b, double below)
{
	return b->over + fmin(b->over, below);
}

static void take(struct budget *b, struct step s)
{
	prune_set_keep(b->p, s.group, s.keep);
	b->over -= s.saved;
}

/* Takes the cheapest steps up to one that would miss the budget; its group, NULL: there is none. */
static struct prune_group *take_all(struct budget *b)
{
	while (b->over > 0) {
		struct step s = cheapest(b, 1, INFINITY);

		if (!s.group || s.saved > most_of(b, b->near))
			return s.group;
		take(b, s);
	}
	return NULL;
}

/* Takes a part of such a step. */
static void take_part(struct budget *b, struct prune_group *g)
{
	for (int finer = 2; g && finer <= FINEST; finer *= 2)
		while (b->over > b->near) {
			struct step s = step_of(b, (int)(g - b->p->groups), finer);

			if (!s.group || s.saved > most_of(b, b->near))
				break;
			take(b, s);
		}
}

/* Takes what steps there are that come nearer. */
static void take_any(struct budget *b, double below, int finer)
{
	while (b->over > b->near) {
		struct step s = cheapest(b, finer, most_of(b, below));

		if (!s.group)
			break;
		take(b, s);
	}
}

static void sum_scores(struct budget *b)
{
	struct prune *p = b->p;

	b->below = ARENA_ARRAY(p->c->scratch, double, p->unit_count + 1);
	for (int g = 0; g < p->group_count; g++) {
		int at = (int)(p->groups[g].units - p->groups[0].units);

		for (int i = 1; i < p->groups[g].unit_count; i++)
			b->below[at + i] =
				b->below[at + i - 1] + p->units[p->groups[g].units[i - 1]].score;
	}
}

/* The budget was not met. False: reported as an error, since nothing more may go. */
static bool explain(struct budget *b, double whole)
{
	struct prune *p = b->p;
	double share = p->macs + b->over / whole;

	if (b->over > 0 && !cheapest(b, FINEST, INFINITY).group)
		return diag_add(p->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
				"--prune macs=%g: removing all that may go leaves %.3f of the "
				"multiply-adds",
				p->macs, share);
	diag_add(p->c->diag, DIAG_WARNING, (struct loc){0},
		 "--prune macs=%g: the nearest that can be had is %.3f of the multiply-adds",
		 p->macs, share);
	return true;
}

bool prune_spend(struct prune *p, double whole)
{
	struct budget b = {.p = p,
			   .over = prune_macs(p) - p->macs * whole,
			   .near = near * fmin(p->macs, 1 - p->macs) * whole};

	sum_scores(&b);
	list_nodes(&b);
	take_part(&b, take_all(&b));
	for (int finer = 1; finer <= FINEST; finer *= 2)
		take_any(&b, b.near, finer);
	take_any(&b, whole, FINEST);
	return fabs(b.over) <= b.near || explain(&b, whole);
}
