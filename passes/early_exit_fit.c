/* early_exit_fit.c: heads and thresholds from calibration inputs; no labels, for what is imitated is the model itself.
 * The samples are dealt to three parts: the first fits heads by ridge regression toward the model's logits; the second
 * chooses exits and makes an order of ever bolder thresholds; the third tests that order from the most cautious
 * setting on and keeps the last before one whose agreement is not shown at 95 % confidence.
 * Source of the test: Angelopoulos et al. 2021, "Learn then Test", fixed-sequence testing; the p-values are those of
 * the interval of Clopper and Pearson, so the agreement holds for new inputs of the same kind. */
#include "passes/early_exit.h"
#include "passes/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double CONFIDENCE = 0.95,
		    EXIT_WORK = 0.01; /* work of one exit itself, of the model's */

enum part { FIT, TUNE, VERIFY };
enum { LEVELS_MAX = 64, CAUTIOUS = 8 };

/* Half verifies, for that decides how much can be shown. Dealt by turns: sorted samples do no harm. */
static enum part part_of(int sample)
{
	static const enum part parts[10] = {FIT,    VERIFY, TUNE,   VERIFY, FIT,
					    VERIFY, TUNE,   VERIFY, FIT,    VERIFY};

	return parts[sample % 10];
}

static int part_size(const struct exits *x, enum part part)
{
	int count = 0;

	for (int i = 0; i < x->samples; i++)
		count += part_of(i) == part;
	return count;
}

/* ---- probes ---- */

static void receive(void *self, int sample, int probe, const hone_tensor *value)
{
	struct exits *x = self;
	bool feature = probe < x->cut_count;
	int rows = x->fixed ? x->fixed : 1;
	int64_t count = (feature ? x->cuts[probe].feature_count : x->classes) * (int64_t)rows;
	float *to = feature ? x->cuts[probe].features : x->targets;

	memcpy(to + sample * count, value->data, (size_t)count * sizeof(*to));
}

/* Adds the features to the graph, as values that nobody reads, and runs it. */
static bool measure(struct exits *x)
{
	struct pass_context *c = x->c;
	struct builder b = {.graph = c->graph, .region = c->graph->body, .diag = c->diag};
	struct value *probes[CUTS_MAX + 1];
	int kept = 0;

	for (int i = 0; i < x->cut_count; i++) {
		struct value **map = ARENA_ARRAY(c->scratch, struct value *, x->value_count + 1);
		struct cut *cut = &x->cuts[i];
		struct value *v = cut->head ? cut->head->logits : NULL;

		b.loc = cut->value->def->loc;
		if (!v)
			v = exits_feature(x, &b, cut, cut->value, x->batch, map);
		if (!v && cut->last) {
			cut->last = NULL;
			v = exits_feature(x, &b, cut, cut->value, x->batch, map);
		}
		if (!v)
			return false;
		if (v->type.rank != 2 || !dim_is_const(v->type.dims[1]))
			continue;
		cut->feature = v;
		cut->feature_count = (int)v->type.dims[1]->value;
		cut->features =
			ARENA_ARRAY(c->scratch, float, (int64_t)x->samples * cut->feature_count);
		x->cuts[kept++] = *cut;
	}
	x->cut_count = kept;
	for (int i = 0; i < kept; i++)
		probes[i] = x->cuts[i].feature;
	probes[kept] = x->logits;
	x->targets = ARENA_ARRAY(c->scratch, float, (int64_t)x->samples * x->classes);
	return calibration_run(c, kept + 1, probes, receive, x);
}

/* ---- heads ---- */

static int winner(const float *logits, int classes)
{
	int best = 0;

	for (int i = 1; i < classes; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

static void apply_head(const struct exits *x, struct cut *cut)
{
	for (int i = 0; i < x->samples; i++) {
		const float *z = cut->features + (int64_t)i * cut->feature_count;
		float *y = cut->logits + (int64_t)i * x->classes;

		memcpy(y, cut->bias, (size_t)x->classes * sizeof(*y));
		for (int f = 0; f < cut->feature_count; f++)
			for (int k = 0; k < x->classes; k++)
				y[k] += z[f] * cut->weights[(int64_t)f * x->classes + k];
	}
}

/* How often the head's class is the model's, in a part. */
static int agreements(const struct exits *x, const struct cut *cut, enum part part)
{
	int count = 0;

	for (int i = 0; i < x->samples; i++)
		count += part_of(i) == part &&
			 winner(cut->logits + (int64_t)i * x->classes, x->classes) ==
				 winner(x->targets + (int64_t)i * x->classes, x->classes);
	return count;
}

/* Means and deviations of the features, and means of the targets, over the part that fits. */
struct moments {
	double *mean, *scale, *target;
};

static struct moments find_moments(const struct exits *x, const struct cut *cut, int count)
{
	int features = cut->feature_count;
	struct moments m = {ARENA_ARRAY(x->c->scratch, double, features),
			    ARENA_ARRAY(x->c->scratch, double, features),
			    ARENA_ARRAY(x->c->scratch, double, x->classes)};

	for (int i = 0; i < x->samples; i++) {
		if (part_of(i) != FIT)
			continue;
		for (int f = 0; f < features; f++)
			m.mean[f] += cut->features[(int64_t)i * features + f] / (double)count;
		for (int k = 0; k < x->classes; k++)
			m.target[k] += x->targets[(int64_t)i * x->classes + k] / (double)count;
	}
	for (int i = 0; i < x->samples; i++)
		for (int f = 0; part_of(i) == FIT && f < features; f++) {
			double d = cut->features[(int64_t)i * features + f] - m.mean[f];

			m.scale[f] += d * d / count;
		}
	for (int f = 0; f < features; f++)
		m.scale[f] = m.scale[f] > 1e-24 ? 1 / sqrt(m.scale[f]) : 0;
	return m;
}

/* a = Z'Z and b = Z'Y of standardized features and centred targets. */
static void find_normal(const struct exits *x, const struct cut *cut, const struct moments *m,
			double *a, double *b)
{
	int features = cut->feature_count;
	double *z = ARENA_ARRAY(x->c->scratch, double, features);
	double *y = ARENA_ARRAY(x->c->scratch, double, x->classes);

	for (int i = 0; i < x->samples; i++) {
		if (part_of(i) != FIT)
			continue;
		for (int f = 0; f < features; f++)
			z[f] = (cut->features[(int64_t)i * features + f] - m->mean[f]) *
			       m->scale[f];
		for (int k = 0; k < x->classes; k++)
			y[k] = x->targets[(int64_t)i * x->classes + k] - m->target[k];
		normal_add(a, b, features, x->classes, z, y);
	}
}

/* The head on the features as they are: w = scale * solution, bias = target - mean . w */
static void set_head(const struct exits *x, struct cut *cut, const struct moments *m,
		     const double *solution)
{
	for (int k = 0; k < x->classes; k++) {
		double bias = m->target[k];

		for (int f = 0; f < cut->feature_count; f++) {
			int64_t at = (int64_t)f * x->classes + k;
			double w = solution[at] * m->scale[f];

			cut->weights[at] = (float)w;
			bias -= m->mean[f] * w;
		}
		cut->bias[k] = (float)bias;
	}
}

/* W = (Z'Z + lambda n I)^-1 Z'Y, the lambda with most agreement on the part that tunes. */
static bool fit_head(struct exits *x, struct cut *cut)
{
	static const double lambdas[] = {1e-4, 1e-3, 1e-2, 1e-1, 1};
	struct arena *s = x->c->scratch;
	int n = cut->feature_count, count = part_size(x, FIT), best = -1;
	int64_t square = (int64_t)n * n, wide = (int64_t)n * x->classes;
	double *a = ARENA_ARRAY(s, double, square), *b = ARENA_ARRAY(s, double, wide);
	double *l = ARENA_ARRAY(s, double, square), *w = ARENA_ARRAY(s, double, wide);
	struct moments m = find_moments(x, cut, count);
	struct cut try = *cut;

	find_normal(x, cut, &m, a, b);
	for (size_t i = 0; i < sizeof(lambdas) / sizeof(*lambdas); i++) {
		int right;

		memcpy(l, a, (size_t)square * sizeof(*l));
		memcpy(w, b, (size_t)wide * sizeof(*w));
		for (int f = 0; f < n; f++)
			l[(int64_t)f * n + f] += lambdas[i] * count;
		if (!cholesky_factor(l, n))
			continue;
		cholesky_solve(l, n, w, x->classes);
		try.weights = ARENA_ARRAY(s, float, wide);
		try.bias = ARENA_ARRAY(s, float, x->classes);
		try.logits = ARENA_ARRAY(s, float, (int64_t)x->samples * x->classes);
		set_head(x, &try, &m, w);
		apply_head(x, &try);
		right = agreements(x, &try, TUNE);
		if (right > best) {
			best = right;
			*cut = try;
		}
	}
	return best >= 0 || diag_add(x->c->diag, DIAG_UNSUPPORTED, (struct loc){0},
				     "--early-exit: the values at %%%s are not finite",
				     cut->value->name ? cut->value->name : "?");
}

/* ---- a set of exits on samples ---- */

static double rule_value(enum exit_rule rule, const float *logits, int classes)
{
	double top = logits[winner(logits, classes)], sum = 0, entropy = 0, second = 0;

	for (int k = 0; k < classes; k++)
		sum += exp(logits[k] - top);
	if (rule == RULE_CONFIDENCE)
		return 1 / sum;
	for (int k = 0; k < classes; k++) {
		double p = exp(logits[k] - top) / sum;

		entropy += p > 0 ? p * log(p) : 0;
		if (k != winner(logits, classes) && p > second)
			second = p;
	}
	return rule == RULE_MARGIN ? 1 / sum - second : fmax(1 + entropy / log(classes), 0);
}

/* Cuts in use (bit i), the threshold of each, and how they do. */
struct setting {
	unsigned set;
	double threshold[CUTS_MAX];
	int wrong, count; /* disagreements, samples */
	double work;      /* mean, of the model's */
	double ms;        /* mean, from the times of the parts; 0 where they were not measured */
};

struct table {
	struct exits *x;
	enum exit_rule rule;
	double *value[CUTS_MAX]; /* of the rule, by sample; patience has none */
	unsigned char *right[CUTS_MAX];
};

static void fill_table(struct table *t, struct exits *x, enum exit_rule rule)
{
	t->x = x;
	t->rule = rule;
	for (int i = 0; i < x->cut_count; i++) {
		t->value[i] = ARENA_ARRAY(x->c->scratch, double, x->samples);
		t->right[i] = ARENA_ARRAY(x->c->scratch, unsigned char, x->samples);
		for (int s = 0; s < x->samples; s++) {
			const float *logits = x->cuts[i].logits + (int64_t)s * x->classes;

			t->value[i][s] = rule_value(rule, logits, x->classes);
			t->right[i][s] = winner(logits, x->classes) ==
					 winner(x->targets + (int64_t)s * x->classes, x->classes);
		}
	}
}

/* Runs one sample through the exits. */
static void run_one(const struct table *t, struct setting *g, int sample)
{
	const struct exits *x = t->x;
	double before_ms = 0; /* of exits that were passed */
	int used = 0, streak = 0, last = -1, exits = __builtin_popcount(g->set);

	g->count++;
	for (int i = 0; i < x->cut_count; i++) {
		double value = t->value[i][sample];

		if (!(g->set >> i & 1))
			continue;
		used++;
		if (t->rule == RULE_PATIENCE) {
			int now = winner(x->cuts[i].logits + (int64_t)sample * x->classes,
					 x->classes);

			streak = now == last ? streak + 1 : 1;
			last = now;
			value = (double)streak / exits;
		}
		if (value >= g->threshold[i]) {
			g->work += x->cuts[i].work + used * EXIT_WORK;
			g->ms += x->cuts[i].ms + before_ms + x->cuts[i].answer_ms;
			g->wrong += !t->right[i][sample];
			return;
		}
		before_ms += x->cuts[i].answer_ms + x->cuts[i].keep_ms;
	}
	g->work += 1 + used * EXIT_WORK;
	g->ms += x->ms + before_ms + x->answer_ms;
}

static void run_part(const struct table *t, struct setting *g, enum part part)
{
	g->wrong = g->count = 0;
	g->work = g->ms = 0;
	for (int s = 0; s < t->x->samples; s++)
		if (part_of(s) == part)
			run_one(t, g, s);
	g->work /= g->count;
	g->ms /= g->count;
}

/* ---- thresholds ---- */

struct scored {
	double value;
	bool right;
	int sample;
};

static int by_value(const void *a, const void *b)
{
	const struct scored *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return (x->sample > y->sample) - (x->sample < y->sample);
}

/* The threshold of cut i at a level: from CAUTIOUS on, level - CAUTIOUS samples of the part that tunes may be wrong;
 * below it only a share of those that leave without any. `at`: the cut's samples by falling value. */
static double threshold_at(const struct scored *at, int count, int level)
{
	int wrong = 0, end = 0;

	while (end < count &&
	       (wrong += !at[end].right) <= (level > CAUTIOUS ? level - CAUTIOUS : 0))
		end++;
	if (level < CAUTIOUS)
		end = end * level / CAUTIOUS;
	if (end == 0)
		return 2;
	return end < count ? (at[end - 1].value + at[end].value) / 2 : at[end - 1].value * 0.999;
}

/* thresholds[level][cut] */
static int find_levels(const struct table *t, unsigned set, double thresholds[][CUTS_MAX])
{
	const struct exits *x = t->x;
	int count = part_size(x, TUNE), exits = __builtin_popcount(set);
	int levels = CAUTIOUS + 2 + (int)(3 * (1 - x->agree) * count);
	struct scored *at = ARENA_ARRAY(x->c->scratch, struct scored, count);

	levels = levels < LEVELS_MAX ? levels : LEVELS_MAX;
	if (t->rule == RULE_PATIENCE) {
		for (int level = 0; level < exits; level++)
			for (int i = 0; i < x->cut_count; i++)
				thresholds[level][i] = (exits - level - 0.5) / exits;
		return exits;
	}
	for (int i = 0; i < x->cut_count; i++) {
		int n = 0;

		for (int s = 0; s < x->samples; s++)
			if (part_of(s) == TUNE)
				at[n++] = (struct scored){t->value[i][s], t->right[i][s], s};
		qsort(at, (size_t)n, sizeof(*at), by_value);
		for (int level = 0; level < levels; level++)
			thresholds[level][i] = threshold_at(at, n, level + 1);
	}
	return levels;
}

/* The boldest level with the wanted agreement on the part that tunes: no promise, but good to compare sets by. */
static double work_of_set(const struct table *t, unsigned set)
{
	double thresholds[LEVELS_MAX][CUTS_MAX], best = 2;
	int levels = find_levels(t, set, thresholds);

	for (int i = 0; i < levels; i++) {
		struct setting g = {.set = set};

		memcpy(g.threshold, thresholds[i], sizeof(g.threshold));
		run_part(t, &g, TUNE);
		if (g.wrong > (1 - t->x->agree) * g.count)
			break;
		best = g.work < best ? g.work : best;
	}
	return best;
}

static unsigned choose_set(const struct table *t)
{
	const struct exits *x = t->x;
	unsigned best = 0;
	double least = 3;

	if (x->names)
		return (1u << x->cut_count) - 1;
	for (unsigned set = 1; set < 1u << x->cut_count; set++) {
		int exits = __builtin_popcount(set);
		double work;

		if (x->wanted ? exits != x->wanted : exits > 4)
			continue;
		work = work_of_set(t, set);
		if (work < least) {
			least = work;
			best = set;
		}
	}
	return best;
}

/* The test by fixed sequence; *curve: every level, for the report. Number of levels; *best: -1 if none passes. */
static int test_levels(const struct table *t, unsigned set, struct setting *curve, int *best)
{
	double thresholds[LEVELS_MAX][CUTS_MAX];
	int levels = find_levels(t, set, thresholds);
	bool passing = true;

	*best = -1;
	for (int i = 0; i < levels; i++) {
		struct setting *g = &curve[i];

		*g = (struct setting){.set = set};
		memcpy(g->threshold, thresholds[i], sizeof(g->threshold));
		run_part(t, g, VERIFY);
		passing = passing &&
			  binomial_upper(g->wrong, g->count, CONFIDENCE) <= 1 - t->x->agree;
		if (passing)
			*best = i;
	}
	return levels;
}

/* ---- the report ---- */

static void report_rule(struct report_table *out, const struct table *t,
			const struct setting *curve, int levels)
{
	for (int i = 0; i < levels; i++)
		report_row(out, (struct report_cell[]){
					{.text = exit_rules[t->rule]},
					{.number = curve[i].ms / t->x->ms},
					{.number = curve[i].work},
					{.number = 1 - binomial_upper(curve[i].wrong,
								      curve[i].count, CONFIDENCE)},
					{.number = 1 - (double)curve[i].wrong / curve[i].count}});
}

/* Lines of all rules, on the samples that verify. */
static void report_curves(struct exits *x)
{
	static const char *const columns[] = {"rule",     "latency",   "macs",
					      "at_least", "agreement", NULL};
	struct report_section *s = report_section(x->c->report, "early_exit", "early exit");
	struct setting curve[LEVELS_MAX];
	struct report_table *out;
	int best;

	report_number(s, "samples", x->samples);
	report_number(s, "verified_on", part_size(x, VERIFY));
	report_number(s, "wanted", x->agree);
	out = report_table(s, REPORT_CURVE, "curves", columns);
	for (int rule = 0; rule < RULE_COUNT; rule++) {
		struct table t;
		unsigned set;

		fill_table(&t, x, (enum exit_rule)rule);
		set = choose_set(&t);
		report_rule(out, &t, curve, test_levels(&t, set, curve, &best));
	}
}

/* ---- all of it ---- */

static void keep_full(struct exits *x, const char *why)
{
	diag_add(x->c->diag, DIAG_WARNING, (struct loc){0},
		 "--early-exit: %s; the full model is kept", why);
	x->cut_count = 0;
}

static bool has_enough(struct exits *x)
{
	int needed = binomial_trials(x->agree, CONFIDENCE);

	x->samples = x->c->calibration->count * (x->fixed ? x->fixed : 1);
	return part_size(x, VERIFY) >= needed ||
	       diag_add(x->c->diag, DIAG_USAGE, (struct loc){0},
			"--early-exit agree=%g at 95 %% confidence needs %d samples (%d to verify "
			"without one disagreement, as many to fit); --calibrate gives %d",
			x->agree, 2 * needed, needed, x->samples);
}

static void adopt(struct exits *x, const struct setting *g)
{
	int kept = 0;

	for (int i = 0; i < x->cut_count; i++) {
		if (!(g->set >> i & 1) || g->threshold[i] > 1) /* nobody leaves there */
			continue;
		x->cuts[kept] = x->cuts[i];
		x->cuts[kept++].threshold = g->threshold[i];
	}
	x->cut_count = kept;
	x->agreement = 1 - (double)g->wrong / g->count;
	x->bound = 1 - binomial_upper(g->wrong, g->count, CONFIDENCE);
	x->mean_work = g->work;
}

bool exits_fit(struct exits *x)
{
	struct setting curve[LEVELS_MAX];
	struct table t;
	int best;

	if (!has_enough(x) || !measure(x))
		return false;
	for (int i = 0; i < x->cut_count; i++) {
		struct cut *cut = &x->cuts[i];

		if (cut->head)
			cut->logits = cut->features;
		else if (!fit_head(x, cut))
			return false;
	}
	if (x->c->report) {
		if (x->cut_count && !exits_time(x))
			return false;
		report_curves(x);
	}
	fill_table(&t, x, x->rule);
	test_levels(&t, choose_set(&t), curve, &best);
	if (best < 0)
		keep_full(x, "no exit reaches the wanted agreement on the calibration inputs");
	else if (curve[best].work > 0.97)
		keep_full(x, "the model is too small, or its inputs too hard, for exits to gain");
	else
		adopt(x, &curve[best]);
	return true;
}
