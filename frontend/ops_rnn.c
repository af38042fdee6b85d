/* ops_rnn.c: LSTM, GRU and RNN: the product of all inputs with W at once, then a scan whose step
 * multiplies the hidden state with R and applies maps. Directions are scans of their own; a reverse
 * one runs over reversed sequences. Source: ONNX operator specification, LSTM-14, GRU-14, RNN-14. */
#include "frontend/site.h"

#include <string.h>
#include <strings.h>

enum cell { CELL_RNN, CELL_GRU, CELL_LSTM };

struct activation {
	const char *text;
	double alpha, beta;
};

struct rnn {
	enum cell cell;
	int gates, functions; /* of one direction */
	dim steps, batch, hidden;
	bool reverse, reset_after; /* reset_after: linear_before_reset */
	double clip;
	struct activation act[3];
	struct value *x, *lens; /* [T,B,I]; [B] or NULL */
	struct value *w, *r, *bias_w, *bias_r, *peep, *h0,
		*c0; /* of this direction, without its axis */
};

/* ---- activations ---- */

static const struct {
	const char *name, *text;
	bool takes_alpha, takes_beta;
	double alpha, beta;
} functions[] = {
	{"Sigmoid", "1 / (1 + exp(-a))", false, false, 0, 0},
	{"Tanh", "tanh(a)", false, false, 0, 0},
	{"Relu", "max(a, 0)", false, false, 0, 0},
	{"LeakyRelu", "a < 0 ? alpha * a : a", true, false, 0.01, 0},
	{"ThresholdedRelu", "a > alpha ? a : 0", true, false, 1, 0},
	{"ScaledTanh", "alpha * tanh(beta * a)", true, true, 1, 1},
	{"HardSigmoid", "max(min(alpha * a + beta, 1), 0)", true, true, 0.2, 0.5},
	{"Elu", "a < 0 ? alpha * (exp(a) - 1) : a", true, false, 1, 0},
	{"Softsign", "a / (1 + abs(a))", false, false, 0, 0},
	{"Softplus", "max(a, 0) + log1p(exp(-abs(a)))", false, false, 0, 0},
	{"Affine", "alpha * a + beta", true, true, 1, 0},
};

static double float_at(const struct onnx_attr *a, int i, double initial)
{
	return a && a->kind == ONNX_ATTR_FLOATS && i < a->count ? (double)a->floats[i] : initial;
}

/* The functions of all directions; alpha and beta lists hold entries only for those that take one. */
static bool read_activations(struct site *s, const struct rnn *c, int directions,
			     struct activation *out)
{
	const struct onnx_attr *names = site_attr(s, "activations"),
			       *alpha = site_attr(s, "activation_alpha");
	const struct onnx_attr *beta = site_attr(s, "activation_beta");
	static const char *const initial[][3] = {
		{"Tanh"}, {"Sigmoid", "Tanh"}, {"Sigmoid", "Tanh", "Tanh"}};
	int count = directions * c->functions, alphas = 0, betas = 0;
	bool given = names && names->kind == ONNX_ATTR_STRINGS && names->count > 0;
	if (given && names->count != count)
		return site_invalid(s, "%d activations, %d are needed", names->count, count);
	for (int i = 0; i < count; i++) {
		const char *name =
			given ? names->strings[i].at : initial[c->cell][i % c->functions];
		size_t k = 0, n = sizeof(functions) / sizeof(*functions);
		while (k < n && strcasecmp(functions[k].name, name))
			k++;
		if (k == n)
			return site_unsupported(s, "activation \"%s\"", name);
		out[i] = (struct activation){functions[k].text, functions[k].alpha,
					     functions[k].beta};
		if (functions[k].takes_alpha)
			out[i].alpha = float_at(alpha, alphas++, out[i].alpha);
		if (functions[k].takes_beta)
			out[i].beta = float_at(beta, betas++, out[i].beta);
	}
	return true;
}

/* f of the sum of up to three operands, clipped first. */
static struct value *apply(struct site *s, const struct rnn *c, int function, const char *sum,
			   int count, struct value *const *in)
{
	const struct activation *f = &c->act[function];
	struct named_real k[] = {{"alpha", f->alpha}, {"beta", f->beta}, {"clip", c->clip}};
	struct value *x = map_n(s, sum, DT_NONE, count, in, 0, NULL);
	if (c->clip > 0)
		x = map_n(s, "min(max(a, -clip), clip)", DT_NONE, 1, &x, 3, k);
	return map_n(s, f->text, DT_NONE, 1, &x, 3, k);
}

/* ---- one step ---- */

static struct value *gate(struct site *s, const struct rnn *c, struct value *x, int i)
{
	if (!x)
		return NULL;
	dim at = dim_mul(s->dims, c->hidden, dim_int(s, i));
	return slice_axis(s, x, rank_of(x) - 1, at, c->hidden);
}

static struct value *step_rnn(struct site *s, const struct rnn *c, struct value *xw,
			      struct value *hr)
{
	return apply(s, c, 0, "a + b", 2, (struct value *[]){xw, hr});
}

/* Gates z, r, h. */
static struct value *step_gru(struct site *s, const struct rnn *c, struct value *xw,
			      struct value *h)
{
	struct value *in[3], *hr = matmul(s, h, c->r);
	if (c->reset_after && c->bias_r)
		hr = map2(s, "a + b", DT_NONE, hr, c->bias_r);
	struct value *z = apply(s, c, 0, "a + b", 2,
				(struct value *[]){gate(s, c, xw, 0), gate(s, c, hr, 0)});
	struct value *r = apply(s, c, 0, "a + b", 2,
				(struct value *[]){gate(s, c, xw, 1), gate(s, c, hr, 1)});
	in[0] = gate(s, c, xw, 2);
	in[1] = r;
	in[2] = gate(s, c, hr, 2);
	struct value *n;
	if (c->reset_after) {
		n = apply(s, c, 1, "a + b * c", 3, in);
	} else {
		struct value *kept =
			matmul(s, map2(s, "a * b", DT_NONE, r, h), gate(s, c, c->r, 2));
		n = apply(s, c, 1, "a + b", 2, (struct value *[]){in[0], kept});
	}
	return map3(s, "(1 - a) * b + a * c", DT_NONE, z, n, h);
}

/* Gates i, o, f, c; *cell becomes the new cell state. */
static struct value *step_lstm(struct site *s, const struct rnn *c, struct value *xw,
			       struct value *hr, struct value **cell)
{
	struct value *gates[4];
	for (int i = 0; i < 4; i++)
		gates[i] = map2(s, "a + b", DT_NONE, gate(s, c, xw, i), gate(s, c, hr, i));
	const char *text = c->peep ? "a + b * c" : "a";
	int n = c->peep ? 3 : 1;
	struct value *i = apply(s, c, 0, text, n,
				(struct value *[]){gates[0], gate(s, c, c->peep, 0), *cell});
	struct value *f;
	if (attr_int(s, "input_forget", 0))
		f = map1(s, "1 - a", DT_NONE, i);
	else
		f = apply(s, c, 0, text, n,
			  (struct value *[]){gates[2], gate(s, c, c->peep, 2), *cell});
	struct value *fresh = apply(s, c, 1, "a", 1, &gates[3]);
	struct value *in[4] = {f, *cell, i, fresh};
	*cell = map_n(s, "a * b + c * d", DT_NONE, 4, in, 0, NULL);
	struct value *o = apply(s, c, 0, text, n,
				(struct value *[]){gates[1], gate(s, c, c->peep, 1), *cell});
	struct activation h = c->act[2];
	struct named_real k[] = {{"alpha", h.alpha}, {"beta", h.beta}};
	struct value *out = map_n(s, h.text, DT_NONE, 1, cell, 2, k);
	return map2(s, "a * b", DT_NONE, o, out);
}

/* ---- one direction ---- */

/* [T,B,..] with the first lens[b] (or all) steps reversed. */
static struct value *reversed(struct site *s, const struct rnn *c, struct value *x)
{
	if (!c->lens)
		return flip_axis(s, x, 0);
	x = swap_axes(s, x, 0, 1);
	if (!x)
		return NULL;
	struct value *t = iota_at(s, c->steps, 2, 1);
	struct value *at =
		map2(s, "a < i64(b) ? i64(b) - 1 - a : a", DT_I64, t, insert_axis(s, c->lens, 1));
	return swap_axes(s, gather(s, GATHER_ND, x, insert_axis(s, at, 2), 0, 1), 0, 1);
}

/* The scan's body: parameters h, (c,) x W of the step, (its number); results h, (c,) y. */
static struct region *step_region(struct site *outer, const struct rnn *c, struct value *xw)
{
	struct graph *g = outer->g;
	struct region *region = region_new(g);
	struct builder b = {
		.graph = g, .region = region, .loc = outer->b->loc, .diag = outer->b->diag};
	struct site in = *outer, *s = &in;
	s->b = &b;
	struct type step = type_make(type_of(xw), 2, xw->type.dims + 1),
		    number = type_make(DT_I64, 0, NULL);
	bool lstm = c->cell == CELL_LSTM;
	struct value *h = region_param(g, region, NULL, &c->h0->type), *old = h, *old_cell = NULL,
		     *cell = NULL, *y;
	if (lstm)
		cell = old_cell = region_param(g, region, NULL, &c->c0->type);
	struct value *x = region_param(g, region, NULL, &step);
	struct value *t = c->lens ? region_param(g, region, NULL, &number) : NULL;
	if (c->cell == CELL_GRU)
		h = step_gru(s, c, x, h);
	else if (lstm)
		h = step_lstm(s, c, x, matmul(s, h, c->r), &cell);
	else
		h = step_rnn(s, c, x, matmul(s, h, c->r));
	y = h;
	if (c->lens) {
		/* sequences that have ended keep their state and give zeros */
		struct value *on = insert_axis(s, map2(s, "i64(a) > b", DT_NONE, c->lens, t), 1);
		y = map2(s, "a ? b : 0", DT_NONE, on, h);
		h = map3(s, "a ? b : c", DT_NONE, on, h, old);
		cell = lstm ? map3(s, "a ? b : c", DT_NONE, on, cell, old_cell) : NULL;
	}
	if (!y || !h || (lstm && !cell))
		return NULL;
	if (lstm)
		region_set_results(g, region, 3, (struct value *[]){h, cell, y});
	else
		region_set_results(g, region, 2, (struct value *[]){h, y});
	return region;
}

/* ys [T,B,H], last h and c [B,H]. */
static bool run_direction(struct site *s, struct rnn *c, struct value **ys, struct value **h,
			  struct value **cell)
{
	struct value *x = c->reverse ? reversed(s, c, c->x) : c->x;
	struct value *xw = matmul(s, x, c->w), *in[4];
	if (c->bias_w)
		xw = map2(s, "a + b", DT_NONE, xw, c->bias_w);
	/* the hidden state's bias joins here, except where the reset gate multiplies it */
	if (c->bias_r && !c->reset_after)
		xw = map2(s, "a + b", DT_NONE, xw, c->bias_r);
	if (!xw)
		return false;
	struct region *region = step_region(s, c, xw);
	if (!region)
		return false;
	bool lstm = c->cell == CELL_LSTM;
	int n = 0;
	in[n++] = c->h0;
	if (lstm)
		in[n++] = c->c0;
	in[n++] = xw;
	if (c->lens)
		in[n++] = iota(s, 1, &c->steps, 0, DT_I64);
	struct attrs_scan a = {.carried = lstm ? 2 : 1, .length = c->steps};
	struct node_spec spec = {.op = OP_scan,
				 .in_count = n,
				 .in = in,
				 .attrs = &a,
				 .region_count = 1,
				 .regions = &region,
				 .out_count = lstm ? 3 : 2};
	struct node *node = graph_add(s->b, &spec);
	if (!node)
		return false;
	*h = node->out[0];
	*cell = lstm ? node->out[1] : NULL;
	*ys = node->out[lstm ? 2 : 1];
	if (c->reverse)
		*ys = reversed(s, c, *ys);
	return *ys != NULL;
}

/* Slice d of the first axis, without it. */
static struct value *part(struct site *s, struct value *v, int d)
{
	return v ? drop_axis(s, slice_axis(s, v, 0, dim_int(s, d), dim_int(s, 1)), 0) : NULL;
}

static struct value *initial_state(struct site *s, const struct rnn *c, struct value *given, int d)
{
	if (given)
		return part(s, given, d);
	dim dims[2] = {c->batch, c->hidden};
	return splat(s, type_of(c->x), 0, 2, dims);
}

static bool read_direction(struct site *s, struct rnn *c, int d, struct value *h0, struct value *c0)
{
	struct value *bias = part(s, site_in(s, 3), d);
	c->w = swap_axes(s, part(s, s->in[1], d), 0, 1);
	c->r = swap_axes(s, part(s, s->in[2], d), 0, 1);
	if (bias) {
		dim half = dim_mul(s->dims, c->hidden, dim_int(s, c->gates));
		c->bias_w = slice_axis(s, bias, 0, dim_int(s, 0), half);
		c->bias_r = slice_axis(s, bias, 0, half, half);
	}
	c->peep = c->cell == CELL_LSTM ? part(s, site_in(s, 7), d) : NULL;
	c->h0 = initial_state(s, c, h0, d);
	c->c0 = c->cell == CELL_LSTM ? initial_state(s, c, c0, d) : NULL;
	return c->w && c->r && c->h0 && (c->cell != CELL_LSTM || c->c0);
}

/* The directions' results joined on a new axis, and with layout = 1 the batch moved to the front. */
static bool join(struct site *s, int o, int directions, struct value **parts, int axis,
		 bool batch_first)
{
	for (int i = 0; i < directions; i++)
		if (!(parts[i] = insert_axis(s, parts[i], axis)))
			return false;
	struct value *y = directions == 1 ? parts[0] : add_concat(s->b, axis, directions, parts);
	if (y && batch_first)
		y = move_axis(s, y, axis + 1, 0);
	return site_out(s, o, y);
}

static bool import_rnn(struct site *s)
{
	struct rnn c = {.clip = attr_real(s, "clip", 0),
			.reset_after = attr_int(s, "linear_before_reset", 0)};
	c.cell = !strcmp(s->node->op, "LSTM")  ? CELL_LSTM
		 : !strcmp(s->node->op, "GRU") ? CELL_GRU
					       : CELL_RNN;
	c.gates = c.cell == CELL_LSTM ? 4 : c.cell == CELL_GRU ? 3 : 1;
	c.functions = c.cell == CELL_LSTM ? 3 : c.cell == CELL_GRU ? 2 : 1;
	const char *way = attr_text(s, "direction", "forward");
	int directions = !strcmp(way, "bidirectional") ? 2 : 1;
	if (directions == 1 && strcmp(way, "forward") && strcmp(way, "reverse"))
		return site_invalid(s, "unknown direction \"%s\"", way);
	bool batch_first = attr_int(s, "layout", 0);
	struct value *h0 = site_in(s, 5), *c0 = c.cell == CELL_LSTM ? site_in(s, 6) : NULL;
	struct activation act[6];
	struct value *ys[2], *h[2], *cell[2];
	if (rank_of(s->in[0]) != 3 || rank_of(s->in[1]) != 3 || rank_of(s->in[2]) != 3)
		return site_invalid(s, "X, W and R must have 3 axes");
	if (!read_activations(s, &c, directions, act))
		return false;
	c.x = batch_first ? swap_axes(s, s->in[0], 0, 1) : s->in[0];
	h0 = h0 && batch_first ? swap_axes(s, h0, 0, 1) : h0;
	c0 = c0 && batch_first ? swap_axes(s, c0, 0, 1) : c0;
	if (!c.x)
		return false;
	c.steps = c.x->type.dims[0];
	c.batch = c.x->type.dims[1];
	c.hidden = s->in[2]->type.dims[2];
	c.lens = site_in(s, 4);
	for (int d = 0; d < directions; d++) {
		memcpy(c.act, act + d * c.functions, sizeof(*act) * (size_t)c.functions);
		c.reverse = directions == 2 ? d == 1 : !strcmp(way, "reverse");
		if (!read_direction(s, &c, d, h0, c0) ||
		    !run_direction(s, &c, &ys[d], &h[d], &cell[d]))
			return false;
	}
	return (!site_wants(s, 0) || join(s, 0, directions, ys, 1, false)) &&
	       (!site_wants(s, 0) || !batch_first ||
		site_out(s, 0, move_axis(s, s->out[0], 2, 0))) &&
	       (!site_wants(s, 1) || join(s, 1, directions, h, 0, batch_first)) &&
	       (!site_wants(s, 2) || join(s, 2, directions, cell, 0, batch_first));
}

#define RNN                                                                               \
	"activation_alpha activation_beta activations clip direction hidden_size layout " \
	"output_sequence"
const struct import_row ops_rnn[] = {
	{"", "RNN", 7, 0, 3, 6, import_rnn, RNN, "recurrent network", NULL},
	{"", "GRU", 7, 0, 3, 6, import_rnn, RNN " linear_before_reset", "gated recurrent unit",
	 NULL},
	{"", "LSTM", 7, 0, 3, 8, import_rnn, RNN " input_forget", "long short-term memory", NULL},
	{0},
};
