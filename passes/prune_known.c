/* prune_known.c: where a run of prune_repair starts. It would be the inputs, for each layer the whole model again; so a run
 * that repairs a layer keeps what is alive before it, of the model that is repaired and of the whole one, and the next
 * begins there. */
#include "passes/prune_run.h"

#include <stdlib.h>
#include <string.h>

static const double bytes_max = 256 << 20; /* of what is kept, over all samples */

/* ---- what is alive ---- */

/* Marks what nodes before `end` make, and the same of the whole model. */
static bool *mark_made(const struct prune *p, const struct node *end)
{
	bool *made = ARENA_ARRAY(p->c->scratch, bool, p->c->graph->value_count + 1);

	for (const struct node *n = p->c->graph->body->first; n != end; n = n->next)
		for (int i = 0; i < n->out_count; i++) {
			int id = n->out[i]->id;

			made[id] = true;
			if (id < p->value_count && p->whole[id])
				made[p->whole[id]->id] = true;
		}
	return made;
}

/* Whether it can be an input. */
static bool can_start(const struct value *v)
{
	if (v->type.kind != TYPE_TENSOR || dtype_bits(v->type.dtype) % 8 ||
	    v->type.dtype == DT_STRING)
		return false;
	for (int i = 0; i < v->type.rank; i++)
		if (!dim_is_const(v->type.dims[i]) && v->type.dims[i]->kind != DIM_SYMBOL)
			return false;
	return true;
}

static double bytes_of(const struct prune *p, const struct value *v)
{
	double bytes = dtype_bits(v->type.dtype) / 8;

	for (int i = 0; i < v->type.rank; i++)
		bytes *= (double)dim_eval(v->type.dims[i], p->symbols);
	return bytes * p->c->calibration->count;
}

/* Lists what is made before `end` and read behind it. False: not all of it can be kept. */
static bool list_alive(struct prune *p, const struct node *end, struct prune_known *k)
{
	bool *made = mark_made(p, end);
	double bytes = 0;

	for (const struct node *n = end; n; n = n->next) {
		if (n->out_count && made[n->out[0]->id])
			continue;
		for (int i = 0; i < n->in_count; i++) {
			struct value *v = n->in[i];

			if (!v || !made[v->id] || value_const(v))
				continue;
			made[v->id] = false; /* once */
			if (!can_start(v))
				return false;
			bytes += bytes_of(p, v);
			ARENA_PUSH(p->c->scratch, &k->values, v);
		}
	}
	return bytes <= bytes_max;
}

/* ---- keeping it ---- */

void prune_known_open(struct prune_run *r, const struct node *end, struct prune_known *k)
{
	*k = (struct prune_known){.first = r->probes.count};
	if (!list_alive(r->p, end, k))
		k->values.count = 0;
	for (int i = 0; i < k->values.count; i++)
		prune_run_probe(r, k->values.at[i]);
	k->tensors = prune_numbers((int64_t)r->p->c->calibration->count * k->values.count,
				   sizeof(*k->tensors));
}

void prune_known_take(struct prune_known *k, int sample, int probe, const hone_tensor *t)
{
	hone_tensor *to = &k->tensors[(int64_t)sample * k->values.count + probe - k->first];

	*to = *t;
	to->data = memcpy(prune_numbers(t->size, 1), t->data, (size_t)t->size);
}

void prune_known_close(const struct prune *p, struct prune_known *k)
{
	for (int64_t i = 0; i < (int64_t)p->c->calibration->count * k->values.count; i++)
		free(k->tensors[i].data);
	free(k->tensors);
	*k = (struct prune_known){0};
}
