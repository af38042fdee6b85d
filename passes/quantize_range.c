/* quantize_range.c: ranges of activations on calibration inputs. The extremes are what a first run of all samples
 * sees; for percentiles a second run counts values in bins between them. */
#include "passes/quantize.h"

#include <math.h>

enum { BINS = 2048 };

struct seen {
	struct range range;
	int64_t count, *bins; /* of a second run */
};

static int64_t tensor_count(const hone_tensor *t)
{
	int64_t count = 1;

	for (int i = 0; i < t->rank; i++)
		count *= t->dims[i];
	return count;
}

static void see_extremes(void *self, int sample, int probe, const hone_tensor *value)
{
	struct range *r = &((struct seen *)self)[probe].range;
	const float *x = value->data;
	float low = r->low, high = r->high;

	(void)sample;
	for (int64_t i = 0, n = tensor_count(value); i < n; i++) {
		low = x[i] < low ? x[i] : low;
		high = x[i] > high ? x[i] : high;
	}
	*r = (struct range){low, high};
}

static void see_bins(void *self, int sample, int probe, const hone_tensor *value)
{
	struct seen *s = &((struct seen *)self)[probe];
	const float *x = value->data;
	float low = s->range.low, by = (float)BINS / (s->range.high - low);
	int64_t n = tensor_count(value);

	(void)sample;
	s->count += n;
	for (int64_t i = 0; i < n; i++) {
		float at = (x[i] - low) * by;

		s->bins[at >= 0 && at < BINS ? (int)at : at >= BINS ? BINS - 1 : 0]++;
	}
}

/* Cuts the tails, each with half of what may lie outside. */
static struct range cut_tails(const struct seen *s, double percentile)
{
	double outside = (double)s->count * (100 - percentile) / 200;
	float step = (s->range.high - s->range.low) / BINS;
	int first = 0, last = BINS;
	struct range r;

	for (double sum = 0; first < BINS && (sum += (double)s->bins[first]) <= outside;)
		first++;
	for (double sum = 0; last > first + 1 && (sum += (double)s->bins[last - 1]) <= outside;)
		last--;
	r.low = s->range.low + step * (float)first;
	r.high = s->range.low + step * (float)last;
	r.low = r.low < 0 ? r.low : 0;
	r.high = r.high > 0 ? r.high : 0;
	return r;
}

static bool check_finite(const struct quantizing *q, int count, struct value *const *values,
			 const struct range *ranges)
{
	for (int i = 0; i < count; i++)
		if (!isfinite(ranges[i].high - ranges[i].low))
			return diag_add(q->c->diag, DIAG_USAGE,
					values[i]->def ? values[i]->def->loc : (struct loc){0},
					"--quantize: its results are not finite on the "
					"calibration inputs");
	return true;
}

struct range *quantize_ranges(struct quantizing *q, int count, struct value *const *values,
			      struct range_rule rule)
{
	struct seen *seen = ARENA_ARRAY(q->c->scratch, struct seen, count + 1);
	struct range *out = ARENA_ARRAY(q->c->scratch, struct range, count + 1);

	if (!count)
		return out;
	if (!calibration_run(q->c, count, values, see_extremes, seen))
		return NULL;
	for (int i = 0; i < count; i++)
		out[i] = seen[i].range;
	if (!check_finite(q, count, values, out))
		return NULL;
	if (rule.percentile >= 100)
		return out;
	for (int i = 0; i < count; i++) {
		seen[i].bins = ARENA_ARRAY(q->c->scratch, int64_t, BINS);
		if (!(seen[i].range.high > seen[i].range.low))
			seen[i].range.high = seen[i].range.low + 1;
	}
	if (!calibration_run(q->c, count, values, see_bins, seen))
		return NULL;
	for (int i = 0; i < count; i++)
		out[i] = cut_tails(&seen[i], rule.percentile);
	return out;
}
