/* measure.c: size, work, latency and error of what the passes made, against the model as it was. */
#include "cli/measure.h"

#include "cli/calibrate.h"
#include "ir/macs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 3 };                  /* of a sample; the least time counts */
static const double MOST_SECONDS = 20; /* of measuring latency */

bool measure_read(struct session *s)
{
	struct diag d = {0};
	bool ok = calibrate_read(s->graph, &s->held_out, (uint64_t)s->memory_limit << 20, &s->arena,
				 &s->held, &d);

	for (int i = 0; i < d.count; i++) /* they say --calibrate */
		diag_add(&s->diag, d.messages[i].kind, (struct loc){.file = "--held-out"}, "%s",
			 d.messages[i].text);
	diag_reset(&d);
	return ok;
}

/* After passes that leave no dead nodes; what leaves early is told by its own pass, and from layout on products are
 * arranged for kernels, and Winograd's are not the model's. */
void measure_observe(struct session *s, const char *pass)
{
	static const char *const clean[] = {"import", "dead_code", "prune", "quantize"};
	const struct calibration *k = s->held.count ? &s->held : &s->calibration;
	bool counts = false;

	s->macs_fixed = s->macs_fixed || !strcmp(pass, "layout") || !strcmp(pass, "early_exit");
	for (size_t i = 0; i < sizeof(clean) / sizeof(*clean); i++)
		counts = counts || !strcmp(pass, clean[i]);
	if (s->macs_fixed || !counts)
		return;
	s->macs_after = graph_macs(s->graph, k->count ? calibration_symbols(k, s->graph, &s->arena)
						      : graph_least_symbols(s->graph, &s->arena));
	if (!strcmp(pass, "import"))
		s->macs_before = s->macs_after;
}

/* ---- running both ---- */

struct side {
	struct engine_program *program;
	hone_tensor *out;
	double ms;
};

struct contest {
	struct session *s;
	const struct calibration *inputs;
	int outputs; /* of the model as it was; exits add some */
	struct engine *engine;
	struct side before, after;
	/* of all outputs and samples */
	double error, expected;
	int64_t agreeing, rows;
	double before_ms, after_ms;
	int timed;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool run(struct contest *c, struct side *side, const hone_tensor *in, int outputs)
{
	double start;
	bool ok;

	for (int i = 0; i < outputs; i++)
		free(side->out[i].data);
	memset(side->out, 0, (size_t)outputs * sizeof(*side->out));
	start = now_ms();
	ok = c->engine->run(side->program, in, side->out, NULL, NULL, &c->s->diag);
	side->ms = fmin(side->ms, now_ms() - start);
	return ok;
}

static int64_t elements(const hone_tensor *t)
{
	int64_t count = 1;

	for (int i = 0; i < t->rank; i++)
		count *= t->dims[i];
	return count;
}

static double value_at(const hone_tensor *t, int64_t i)
{
	struct tensor source = {.kind = TENSOR_BYTES, .data = t->data};

	return tensor_element(&source, (enum dtype)t->dtype, i).f;
}

static int64_t winner(const hone_tensor *t, int64_t row, int64_t count)
{
	int64_t best = 0;

	for (int64_t i = 1; i < count; i++)
		if (value_at(t, row * count + i) > value_at(t, row * count + best))
			best = i;
	return best;
}

static void compare(struct contest *c, const hone_tensor *before, const hone_tensor *after,
		    bool first)
{
	int64_t count = elements(before), last = before->rank ? before->dims[before->rank - 1] : 1;

	if (!dtype_is_float((enum dtype)before->dtype) || elements(after) != count)
		return;
	for (int64_t i = 0; i < count; i++) {
		double x = value_at(before, i), y = value_at(after, i);

		c->error += (x - y) * (x - y);
		c->expected += x * x;
	}
	for (int64_t i = 0; first && last > 1 && i < count / last; i++) {
		c->agreeing += winner(before, i, last) == winner(after, i, last);
		c->rows++;
	}
}

static void slice_sample(const struct contest *c, int sample, hone_tensor *in)
{
	for (int i = 0; i < c->s->graph->body->param_count; i++) {
		in[i] = c->inputs->inputs[i];
		in[i].size /= c->inputs->count;
		in[i].dims[0] /= c->inputs->count;
		in[i].data = (char *)in[i].data + sample * in[i].size;
	}
}

static bool run_sample(struct contest *c, int sample, bool timed)
{
	int after = c->s->graph->body->result_count;
	hone_tensor *in = ARENA_ARRAY(&c->s->arena, hone_tensor, c->s->graph->body->param_count);

	slice_sample(c, sample, in);
	c->before.ms = c->after.ms = INFINITY;
	for (int i = 0; i < (timed ? REPEATS : 1); i++)
		if (!run(c, &c->before, in, c->outputs) || !run(c, &c->after, in, after))
			return false;
	for (int i = 0; i < c->outputs; i++)
		compare(c, &c->before.out[i], &c->after.out[i], i == 0);
	if (timed) {
		c->before_ms += c->before.ms;
		c->after_ms += c->after.ms;
		c->timed++;
	}
	return true;
}

static bool run_all(struct contest *c)
{
	double start = now_ms();
	bool ok = run_sample(c, 0, false); /* the first run of a shape takes longer */

	c->error = c->expected = 0;
	c->agreeing = c->rows = 0;
	for (int i = 0; ok && i < c->inputs->count; i++)
		ok = run_sample(c, i, now_ms() - start < MOST_SECONDS * 1e3);
	for (int i = 0; i < c->outputs; i++)
		free(c->before.out[i].data);
	for (int i = 0; i < c->s->graph->body->result_count; i++)
		free(c->after.out[i].data);
	return ok;
}

static void report_contest(const struct contest *c, struct report_section *r)
{
	report_text(r, "measured_on", c->s->held.count ? "held-out inputs" : "calibration inputs");
	report_number(r, "samples", c->inputs->count);
	report_number(r, "error", c->expected > 0 ? sqrt(c->error / c->expected) : NAN);
	if (c->rows)
		report_number(r, "agreement", (double)c->agreeing / (double)c->rows);
	report_change(r, "latency", c->before_ms / c->timed, c->after_ms / c->timed);
}

static bool contest(struct session *s, struct graph *plain, struct report_section *r)
{
	struct contest c = {.s = s,
			    .inputs = s->held.count ? &s->held : &s->calibration,
			    .outputs = plain->body->result_count};
	struct targets *here = ARENA_NEW(&s->arena, struct targets);
	bool ok;

	if (!c.inputs->count)
		return true;
	if (!targets_resolve("native", NULL, &s->arena, here, &s->diag))
		return false;
	c.engine = jit_engine(s->target.host ? &s->target : &here->at[0], NULL, &s->arena);
	c.before.out = ARENA_ARRAY(&s->arena, hone_tensor, c.outputs);
	c.after.out = ARENA_ARRAY(&s->arena, hone_tensor, s->graph->body->result_count);
	c.before.program = c.engine->compile(c.engine, plain, 0, NULL, &s->diag);
	c.after.program = c.engine->compile(c.engine, s->graph, 0, NULL, &s->diag);
	ok = c.before.program && c.after.program && run_all(&c);
	if (ok)
		report_contest(&c, r);
	if (c.before.program)
		c.engine->release(c.before.program);
	if (c.after.program)
		c.engine->release(c.after.program);
	return ok;
}

/* ---- the section ---- */

static bool report_sizes(struct session *s, struct graph *plain, struct report_section *r)
{
	struct graph_figures before, after;

	if (!graph_figures(plain, &s->target, &before, &s->diag) ||
	    !graph_figures(s->graph, &s->target, &after, &s->diag))
		return false;
	report_change(r, "size", (double)before.weight_bytes, (double)after.weight_bytes);
	report_change(r, "macs", s->macs_before, s->macs_after);
	report_change(r, "kernels", before.kernels, after.kernels);
	return true;
}

bool measure_model(struct session *s)
{
	struct report_section *r = report_section(&s->measured, "model", "the model");
	struct session plain = session_again(s);
	struct pipeline_options options = {
		.passes = s->passes,
		.arguments =
			s->winograd ? arena_printf(&s->arena, "winograd=%s", s->winograd) : NULL};
	bool ok = session_load(&plain) &&
		  pipeline_run(plain.graph, &options, &interpreter, &plain.diag);

	if (!ok)
		diag_add(&s->diag, plain.diag.worst ? plain.diag.worst : DIAG_INTERNAL,
			 (struct loc){0}, "the model as it was cannot be measured: %s",
			 plain.diag.count ? plain.diag.messages[0].text : "no reason given");
	ok = ok && report_sizes(s, plain.graph, r) && contest(s, plain.graph, r);
	plain.diag.count = plain.diag.errors = 0;
	session_end(&plain, 0);
	return ok;
}
