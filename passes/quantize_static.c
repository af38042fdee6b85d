/* quantize_static.c: models in which chosen layers are quantized with ranges that calibration found. They are added to
 * the graph behind the model, which stays as it is: so several of them, and the model itself, run on the same samples in
 * one go and are compared there. In the end one takes the model's place. */
#include "passes/quantize.h"

#include <math.h>

/* ---- opening ---- */

static bool is_static(const struct quantizing *q, const struct value *x)
{
	return (x->def ? x->def->parent : x->region) == q->c->graph->body &&
	       x->type.dtype == DT_F32;
}

/* Of images, which are large, everybody reads bytes; a transformer's residual stays in full precision. */
static bool is_shared(const struct layer *l) { return l->node->op == OP_conv; }

static int find_activation(struct static_plan *p, const struct value *x)
{
	for (int i = 0; i < p->activations.count; i++)
		if (p->activations.at[i].x == x)
			return i;
	return -1;
}

static void add_activation(struct static_plan *p, int layer)
{
	const struct layer *l = &p->q->layers.at[layer];
	struct value *x = layer_origin(l->node->in[0], true);

	p->activation[layer] = -1;
	if (!layer_suits_bytes(l) || l->node->parent != p->q->c->graph->body || !is_static(p->q, x))
		return;
	p->activation[layer] = find_activation(p, x);
	if (p->activation[layer] < 0) {
		p->activation[layer] = p->activations.count;
		ARENA_PUSH(p->q->c->scratch, &p->activations, (struct activation){.x = x});
	}
	p->activations.at[p->activation[layer]].shared |= is_shared(l) && x->def;
}

bool static_open(struct static_plan *p, struct quantizing *q, struct range_rule rule)
{
	struct arena *a = q->c->scratch;
	struct value **values;
	struct range *ranges;

	*p = (struct static_plan){.q = q,
				  .activation = ARENA_ARRAY(a, int, q->layers.count + 1),
				  .weights = ARENA_ARRAY(a, struct value *, q->layers.count + 1),
				  .last = q->c->graph->body->last};
	for (int i = 0; i < q->layers.count; i++)
		add_activation(p, i);
	values = ARENA_ARRAY(a, struct value *, p->activations.count + 1);
	for (int i = 0; i < p->activations.count; i++)
		values[i] = p->activations.at[i].x;
	ranges = quantize_ranges(q, p->activations.count, values, rule);
	for (int i = 0; ranges && i < p->activations.count; i++)
		p->activations.at[i].range = ranges[i];
	return ranges != NULL;
}

/* ---- building ---- */

struct variant {
	struct static_plan *p;
	const bool *chosen;
	struct value **map;   /* of the model's values: the copy, or NULL: the same */
	struct value **bytes; /* of each activation, dequantized; NULL: not quantized */
	struct builder b;
};

static struct value *now(const struct variant *v, struct value *x)
{
	return v->map[x->id] ? v->map[x->id] : x;
}

/* `from`, which is the activation or its copy, in bytes and back. */
static struct value *through_bytes(struct builder *b, const struct activation *a,
				   struct value *from)
{
	float s = (a->range.high - a->range.low) / 255;
	struct value *scale, *zero;

	s = s > 0 ? s : 1; /* only zeros were seen */
	scale = add_scalar_real(b, DT_F32, s);
	zero = add_scalar_int(b, DT_U8, (int64_t)rintf(-a->range.low / s));
	return add_dequantize(b, add_quantize(b, from, scale, zero), scale, zero);
}

/* Quantizes x where a chosen layer reads it. */
static bool add_bytes_of(struct variant *v, struct value *x)
{
	int at = find_activation(v->p, x);
	const struct activation *a = at >= 0 ? &v->p->activations.at[at] : NULL;
	bool wanted = false;

	for (int i = 0; a && i < v->p->q->layers.count; i++)
		wanted |= v->chosen[i] && v->p->activation[i] == at;
	if (!wanted)
		return true;
	v->bytes[at] = through_bytes(&v->b, a, now(v, x));
	if (a->shared)
		v->map[x->id] = v->bytes[at];
	return v->bytes[at] != NULL;
}

/* The layer on bytes. NULL: reported. */
static struct value *layer_on(struct static_plan *p, struct builder *b, int layer,
			      struct value *bytes)
{
	const struct layer *l = &p->q->layers.at[layer];
	struct value *in[2];

	if (!p->weights[layer])
		p->weights[layer] = quantize_weight(b, l);
	in[0] = move_again(b, l->node->in[0], p->activations.at[p->activation[layer]].x, bytes);
	in[1] = p->weights[layer];
	return in[0] && in[1] ? add_like(b, l->node, in, l->node->attrs) : NULL;
}

static bool add_layer_copy(struct variant *v, int layer)
{
	struct value *y = layer_on(v->p, &v->b, layer, v->bytes[v->p->activation[layer]]);

	v->map[v->p->q->layers.at[layer].node->out[0]->id] = y;
	return y != NULL;
}

static bool add_node_copy(struct variant *v, const struct node *n)
{
	bool changed = false;

	for (int i = 0; i < n->in_count; i++)
		changed |= n->in[i] && v->map[n->in[i]->id];
	if (!changed && !n->region_count)
		return true;
	return n->symbol_count ? diag_add(v->b.diag, DIAG_UNSUPPORTED, n->loc,
					  "quantization of a model with %s", op_table[n->op].name)
			       : node_clone(&v->b, n, v->map) != NULL;
}

bool static_build(struct static_plan *p, const bool *chosen, struct value **outputs)
{
	struct graph *g = p->q->c->graph;
	struct arena *a = p->q->c->scratch;
	struct variant v = {.p = p,
			    .chosen = chosen,
			    .map = ARENA_ARRAY(a, struct value *, g->value_count + 1),
			    .bytes = ARENA_ARRAY(a, struct value *, p->activations.count + 1),
			    .b = {.graph = g, .region = g->body, .diag = p->q->c->diag}};
	int layer = 0;
	bool ok = true;

	for (int i = 0; ok && i < g->body->param_count; i++)
		ok = add_bytes_of(&v, g->body->params[i]);
	for (struct node *n = g->body->first; ok && n; n = n == p->last ? NULL : n->next) {
		while (layer < p->q->layers.count && p->q->layers.at[layer].node->parent != g->body)
			layer++;
		v.b.loc = n->loc;
		if (layer < p->q->layers.count && p->q->layers.at[layer].node == n) {
			ok = chosen[layer] ? add_layer_copy(&v, layer) : add_node_copy(&v, n);
			layer++;
		} else {
			ok = add_node_copy(&v, n);
		}
		for (int i = 0; ok && i < n->out_count; i++)
			ok = add_bytes_of(&v, n->out[i]);
	}
	for (int i = 0; ok && i < g->body->result_count; i++)
		outputs[i] = now(&v, g->body->results[i]);
	p->map = v.map;
	return ok;
}

/* ---- errors ---- */

/* Sums of squares, by probe: of each output's difference for each variant, then of the outputs themselves. */
static void add_square(void *self, int sample, int probe, const hone_tensor *value)
{
	(void)sample;
	((double *)self)[probe] += *(const float *)value->data;
}

static struct value *sum_of_squares(struct builder *b, const char *text, struct value *x,
				    struct value *y)
{
	struct value *in[2] = {x, y};

	return add_reduce(b, REDUCE_SUM, add_map_text(b, text, DT_F32, y ? 2 : 1, in, 0, NULL), 0,
			  NULL, false);
}

/* The outputs of floats, which are compared. */
static int find_outputs(const struct static_plan *p, struct value **found)
{
	const struct region *r = p->q->c->graph->body;
	int count = 0;

	for (int i = 0; i < r->result_count; i++)
		if (r->results[i]->type.kind == TYPE_TENSOR &&
		    dtype_is_float(r->results[i]->type.dtype))
			found[count++] = r->results[i];
	return count;
}

bool static_has_outputs(const struct static_plan *p)
{
	return find_outputs(p, ARENA_ARRAY(p->q->c->scratch, struct value *,
					   p->q->c->graph->body->result_count + 1)) > 0;
}

/* The first `most` samples. */
static struct calibration first_samples(const struct calibration *k, int most, struct arena *a)
{
	struct calibration part = *k;
	hone_tensor *inputs;
	int count = 0;

	while (k->inputs[count].data)
		count++;
	if (most >= k->count)
		return part;
	inputs = arena_copy(a, k->inputs, (size_t)count * sizeof(*inputs));
	for (int i = 0; i < count; i++) {
		inputs[i].size = inputs[i].size / k->count * most;
		inputs[i].dims[0] = inputs[i].dims[0] / k->count * most;
	}
	part.count = most;
	part.inputs = inputs;
	return part;
}

#define DIFFERENCE "(a, b) -> (f32(a) - f32(b)) * (f32(a) - f32(b))"
#define SQUARE "(a) -> f32(a) * f32(a)"

static struct value **add_probes(struct static_plan *p, int count, bool *const *chosen,
				 struct value *const *outputs, int output_count)
{
	struct graph *g = p->q->c->graph;
	struct builder b = {.graph = g, .region = g->body, .diag = p->q->c->diag};
	struct value **probes =
		ARENA_ARRAY(p->q->c->scratch, struct value *, (count + 1) * output_count + 1);
	struct value **results =
		ARENA_ARRAY(p->q->c->scratch, struct value *, g->body->result_count + 1);

	for (int i = 0; i <= count; i++) {
		if (i < count && !static_build(p, chosen[i], results))
			return NULL;
		for (int k = 0, o = 0; o < output_count; k++) {
			struct value **at = &probes[i * output_count + o];

			if (g->body->results[k] != outputs[o])
				continue;
			*at = i < count ? sum_of_squares(&b, DIFFERENCE, outputs[o], results[k])
					: sum_of_squares(&b, SQUARE, outputs[o], NULL);
			if (!*at)
				return NULL;
			o++;
		}
	}
	return probes;
}

bool static_errors(struct static_plan *p, int count, bool *const *chosen, int samples,
		   double *errors)
{
	struct pass_context c = *p->q->c;
	struct calibration part = first_samples(c.calibration, samples, p->q->c->scratch);
	struct value **outputs =
		ARENA_ARRAY(c.scratch, struct value *, c.graph->body->result_count + 1);
	int output_count = find_outputs(p, outputs);
	double *sums = ARENA_ARRAY(c.scratch, double, (count + 1) * output_count + 1);
	struct value **probes = add_probes(p, count, chosen, outputs, output_count);

	c.calibration = &part;
	for (int i = 0; i < count; i++)
		errors[i] = (double)NAN;
	if (!output_count)
		return true;
	if (!probes || !calibration_run(&c, (count + 1) * output_count, probes, add_square, sums))
		return false;
	for (int i = 0; i < count; i++) {
		errors[i] = 0;
		for (int k = 0; k < output_count; k++) {
			double e = sqrt(sums[i * output_count + k] /
					(sums[count * output_count + k] + 1e-30));

			errors[i] = e > errors[i] || isnan(e) ? e : errors[i];
		}
	}
	return true;
}

bool static_layer_errors(struct static_plan *p, int samples, double *errors)
{
	struct pass_context c = *p->q->c;
	struct calibration part = first_samples(c.calibration, samples, c.scratch);
	struct builder b = {.graph = c.graph, .region = c.graph->body, .diag = c.diag};
	struct value **probes = ARENA_ARRAY(c.scratch, struct value *, 2 * p->q->layers.count + 1);
	double *sums = ARENA_ARRAY(c.scratch, double, 2 * p->q->layers.count + 1);
	int count = 0;

	for (int i = 0; i < p->q->layers.count; i++) {
		struct value *y = p->q->layers.at[i].node->out[0], *z;
		const struct activation *a;

		if (p->activation[i] < 0)
			continue;
		a = &p->activations.at[p->activation[i]];
		z = layer_on(p, &b, i, through_bytes(&b, a, a->x));
		probes[count++] = sum_of_squares(&b, DIFFERENCE, y, z);
		probes[count++] = sum_of_squares(&b, SQUARE, y, NULL);
		if (!probes[count - 2] || !probes[count - 1])
			return false;
	}
	c.calibration = &part;
	if (!calibration_run(&c, count, probes, add_square, sums))
		return false;
	for (int i = 0, k = 0; i < p->q->layers.count; i++) {
		errors[i] =
			p->activation[i] < 0 ? (double)NAN : sqrt(sums[k] / (sums[k + 1] + 1e-30));
		k += p->activation[i] < 0 ? 0 : 2;
	}
	return true;
}

/* ---- the end ---- */

void quantize_report(const struct static_plan *p, const bool *chosen, const char *what,
		     const double *errors, double error)
{
	const char *const columns[] = {"node", what, "macs", "choice", NULL};
	const struct pass_context *c = p->q->c;
	struct report_section *s = report_section(c->report, "quantize", "quantization");
	struct report_table *t = report_table(s, REPORT_BARS, "sensitivity", columns);
	double bytes = 0, all = 0;
	int count = 0;

	for (int i = 0; i < p->q->layers.count; i++) {
		const struct layer *l = &p->q->layers.at[i];

		count += chosen[i];
		bytes += chosen[i] ? l->work : 0;
		all += l->work;
		report_row(t, (struct report_cell[]){
				      {.text = l->node->loc.node},
				      {.number = p->activation[i] >= 0 ? errors[i] : (double)NAN},
				      {.number = l->work},
				      {.text = chosen[i] ? "int8" : "f32"}});
	}
	report_number(s, "error", error);
	report_change(s, "layers_of_floats", p->q->layers.count, p->q->layers.count - count);
	if (c->calibration->progress || c->report)
		fprintf(stderr,
			"int8: %d of %d layers, %.1f %% of their multiply-adds; error of the "
			"outputs %.4f\n",
			count, p->q->layers.count, 100 * bytes / (all + 1e-30), error);
}

bool static_commit(struct static_plan *p, const bool *chosen)
{
	struct graph *g = p->q->c->graph;
	struct value **outputs =
		ARENA_ARRAY(p->q->c->scratch, struct value *, g->body->result_count + 1);

	if (!static_build(p, chosen, outputs))
		return false;
	for (struct node *n = g->body->first; n; n = n == p->last ? NULL : n->next)
		for (int i = 0; i < n->out_count; i++) {
			struct value *copy = p->map[n->out[i]->id];

			if (!copy || copy->name)
				continue;
			copy->name = n->out[i]->name;
			n->out[i]->name = NULL;
		}
	for (int i = 0; i < g->body->result_count; i++)
		g->body->results[i] = outputs[i];
	for (int i = 0; i < p->q->layers.count; i++)
		p->q->c->changes += chosen[i];
	return true;
}
