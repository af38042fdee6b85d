/* quantize_int8.c: modes whose products are of bytes: weights i8 with a scale for each output channel, activations u8
 * with one scale and zero point. Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
 * integer-arithmetic-only inference". */
#include "passes/quantize.h"

#include <stdlib.h>
#include <string.h>

/* ---- ranges at run time ---- */

/* As ONNX DynamicQuantizeLinear: scale = (max - min) / 255 with 0 in the range. Kept for each value, since several
 * layers read the same. */
static struct value *quantize_dynamic(struct builder *b, struct value *x)
{
	struct value *low = add_reduce(b, REDUCE_MIN, x, 0, NULL, false),
		     *high = add_reduce(b, REDUCE_MAX, x, 0, NULL, false), *in[2] = {low, high},
		     *scale, *zero;

	/* a tensor of zeros: any scale but 0 */
	scale = add_map_text(b, "(a, b) -> max((max(b, 0) - min(a, 0)) / 255, 1e-30)", DT_F32, 2,
			     in, 0, NULL);
	in[1] = scale;
	zero = add_map_text(b, "(a, b) -> u8(rne(-min(a, 0) / b))", DT_U8, 2, in, 0, NULL);
	return add_dequantize(b, add_quantize(b, x, scale, zero), scale, zero);
}

bool quantize_int8_dynamic(struct quantizing *q)
{
	int room = q->c->graph->value_count;
	struct value **done = ARENA_ARRAY(q->c->scratch, struct value *, room);

	if (*q->option)
		return quantize_bad_option(q, "no option of int8-dynamic");
	for (int i = 0; i < q->layers.count; i++) {
		struct layer *l = &q->layers.at[i];
		struct value *in = value_now(l->node->in[0]), *x = layer_origin(in, false), *made;
		struct builder after = build_after(q, x), b = build_before(q->c, l->node);

		if (!layer_suits_bytes(l))
			continue;
		made = x->id < room ? done[x->id] : NULL;
		if (!made)
			made = quantize_dynamic(&after, x);
		if (x->id < room)
			done[x->id] = made;
		in = made ? move_again(&b, in, x, made) : NULL;
		if (!in || !layer_replace(q, l, in, quantize_weight(&b, l)))
			return false;
	}
	return quantize_tables(q);
}

/* ---- ranges from calibration ---- */

static bool read_rule(const struct quantizing *q, struct range_rule *rule)
{
	const char *name = "percentile=";
	char *end;

	*rule = (struct range_rule){.percentile = 100};
	if (!*q->option || !strcmp(q->option, "minmax"))
		return true;
	if (strncmp(q->option, name, strlen(name)))
		return quantize_bad_option(q, "minmax, or percentile=P with 50 < P <= 100");
	rule->percentile = strtod(q->option + strlen(name), &end);
	return (!*end && rule->percentile > 50 && rule->percentile <= 100) ||
	       quantize_bad_option(q, "percentile=P with 50 < P <= 100");
}

bool quantize_int8(struct quantizing *q)
{
	struct static_plan p;
	struct range_rule rule;
	bool *all = ARENA_ARRAY(q->c->scratch, bool, q->layers.count + 1);
	double error, *errors = ARENA_ARRAY(q->c->scratch, double, q->layers.count + 1);

	if (!read_rule(q, &rule))
		return false;
	if (!static_open(&p, q, rule))
		return false;
	for (int i = 0; i < q->layers.count; i++)
		all[i] = p.activation[i] >= 0;
	if (!p.activations.count)
		return true;
	if (!static_errors(&p, 1, &all, ERROR_SAMPLES, &error) ||
	    (q->c->report && !static_layer_errors(&p, LAYER_SAMPLES, errors)))
		return false;
	quantize_report(&p, all, "layer_error", errors, error);
	return static_commit(&p, all) && quantize_tables(q);
}
