/* contract_plan.c: how a contraction is cut: the register tile, passes over k, tasks. An estimate of cycles
 * decides; it depends on kernel and level only. */
#include "backend/contract.h"

#include <math.h>
#include <string.h>

struct planner {
	const struct kernel *k;
	const struct target *t;
	struct loops_info *info;
	struct contract c;
	struct contract_plan plan;
	int64_t extent[CONTRACT_LOOPS_MAX]; /* of the loops; a guess where symbolic */
	double k_total;                     /* rows of B that a column meets */
	double adds;                        /* multiply-adds of vectors in a cycle */
	double density;                     /* rows of a sparse B that are kept */
	int64_t row_bytes;                  /* from a row of A to the next; 0 where not known */
};

enum { GUESS = 128, TILE_ROWS_MAX = 14, SPARSE_ROWS_MAX = 28, UNPACK_ROWS = 64 };

static int64_t extent_or(dim d, int64_t guess) { return dim_is_const(d) ? d->value : guess; }

static int registers(const struct target *t)
{
	return t->isa == ISA_X86_V4 || t->isa == ISA_NEON ? 32 : 16;
}

static bool is_row(const struct contract *c, int loop) { return loop > c->n && loop < c->count; }

/* ---- tiles ---- */

/* Rows a multiple of a page apart meet in the same few lines of L1 (64 sets of 64 bytes, 8 ways, of which B takes
 * some), and throw each other out before their line is used up. */
static bool rows_collide(const struct planner *p, int rows)
{
	int64_t distance = 4096, step = p->row_bytes;

	while (distance > 64 && step % distance)
		distance /= 2;
	return p->row_bytes && p->k_total > 64 && rows * distance > 6 * 4096;
}

/* What 32 bytes of B take in cycles, as a multiple of what they take from L2. From farther away fewer panels at a time
 * are read faster than eight, which are more streams than the prefetchers follow. */
static double distance(const struct planner *p, int vectors)
{
	double bytes = p->k_total / p->c.mac->k * (double)p->extent[p->c.n] * sizeof(float);

	return bytes > 8.0 * (double)p->t->l2 && vectors > 6 ? 1.4 : 1;
}

/* Cycles of one step of k in a tile: two operations (p->adds) and two loads a cycle, 4 cycles from an addition to the
 * next into the same sum, 32 bytes a cycle of B from L2. */
static double tile_cycles(const struct planner *p, int rows, int vectors)
{
	const struct mac *mac = p->c.mac;
	int sums = contract_height(&p->c, rows) * contract_width(&p->c, vectors);
	int split = mac->bits ? vectors : rows + vectors, loads = mac->bits ? mac->k * rows : rows;
	double add = (sums * mac->work + split * mac->split) / p->adds,
	       load = (loads + vectors) / 2.0, stream = (double)vectors * p->t->vector_bytes / 32,
	       most = 4;

	stream *= distance(p, vectors);
	most = add > most ? add : most;
	most = load > most ? load : most;
	most = stream > most ? stream : most;
	return most + 0.25 + (rows_collide(p, rows) ? rows * 0.5 : 0);
}

/* Cycles of one step, a row of each panel. Panels share no loads, and each takes two general registers; but the rows of
 * A, which come from L2 in full whatever is kept, stay in L1 from one panel to the next. */
static double sparse_cycles(const struct planner *p, int rows, int vectors)
{
	int panels = (vectors * p->plan.lanes + PANEL - 1) / PANEL;
	double add = rows * vectors / p->adds, load = (rows * panels + vectors + panels) / 2.0,
	       stream = panels * (double)STEP_BYTES / 32, sweep = rows * 4 / p->density / 32,
	       most = 4;

	most = add > most ? add : most;
	most = load > most ? load : most;
	most = stream > most ? stream : most;
	return most + 0.5 + sweep / 2 + (panels > 6 ? 2 * (panels - 6) : 0) +
	       (rows_collide(p, rows) ? rows * panels : 0);
}

/* The same in tile registers, for a step's share of a turn: a product of tiles takes a cycle for each row of A. */
static double amx_cycles(const struct planner *p, int rows, int vectors)
{
	double steps = (double)contract_turn(&p->c) / p->c.mac->k, add = rows * vectors / steps,
	       load = (rows + steps * vectors) / 2 / steps, stream = vectors * 64.0 / 48,
	       most = add;

	most = load > most ? load : most;
	most = stream > most ? stream : most;
	return most + 4 / steps;
}

static double step_cycles(const struct planner *p, int rows, int vectors)
{
	return p->plan.sparse    ? sparse_cycles(p, rows, vectors)
	       : p->c.mac->tiles ? amx_cycles(p, rows, vectors)
				 : tile_cycles(p, rows, vectors);
}

/* Cycles of the whole contraction with this tile, remainders included. */
static double cost(const struct planner *p, int outer, int inner, int vectors)
{
	const struct contract *c = &p->c;
	int last = c->count - 1, wide = vectors * p->plan.lanes;
	int64_t n = p->extent[c->n], full = n / wide, rest = n % wide, a, b;
	int rest_vectors = (int)((rest + p->plan.lanes - 1) / p->plan.lanes);
	double sum = 0, epilogue;

	a = is_row(c, last - 1) && outer > 1 ? p->extent[last - 1] : 1;
	b = is_row(c, last) ? p->extent[last] : 1;
	if (c->mac->tiles && is_row(c, last) &&
	    b % inner) /* registers are configured twice a row */
		sum += 2 * 300.0 * (double)(a / outer * ((n + wide - 1) / wide)) * c->mac->k /
		       p->k_total;
	for (int i = 0; i < 4; i++) { /* whole and partial in both directions */
		int64_t times =
			(i & 1 ? a % outer > 0 : a / outer) * (i & 2 ? b % inner > 0 : b / inner);
		int rows = (int)((i & 1 ? a % outer : outer) * (i & 2 ? b % inner : inner));

		epilogue = (20.0 + rows * vectors * 3) * p->c.mac->k / p->k_total;
		sum += (double)(times * full) * (step_cycles(p, rows, vectors) + epilogue);
		if (rest)
			sum += (double)times * (step_cycles(p, rows, rest_vectors) + epilogue);
	}
	for (int i = c->n + 1; i < c->count - (outer > 1 ? 2 : 1); i++)
		sum *= (double)p->extent[i];
	return sum;
}

/* Registers beside the sums: of a sparse panel one row at a time is there. */
static int spare_registers(const struct planner *p, int vectors)
{
	int parts = p->c.mac->parts;

	if (p->plan.sparse)
		return PANEL / p->plan.lanes + 1;
	return p->c.mac->bits ? vectors * (p->c.b.zero ? 2 : 1) + 3 : vectors * parts + parts;
}

static bool tile_fits(const struct planner *p, int outer, int inner, int vectors)
{
	int rows = outer * inner;
	int64_t wide = (int64_t)vectors * p->plan.lanes;
	bool panels = p->plan.packed < 0 || wide % PANEL == 0 || wide >= p->extent[p->c.n];
	int sums = contract_height(&p->c, rows) * contract_width(&p->c, vectors);

	if (p->c.mac->tiles) /* two tiles each way; lines of pixels are tiles of their own */
		return outer == 1 ? inner <= 2 * TILE_ROWS && vectors <= 2
				  : outer == 2 && inner <= TILE_ROWS && vectors <= 2;
	return panels && sums + spare_registers(p, vectors) <= registers(p->t) &&
	       sums <= COPIES_MAX;
}

/* Calls found(p, outer, inner, vectors) for every tile that fits the registers. */
static void each_tile(struct planner *p,
		      void (*found)(struct planner *p, int outer, int inner, int vectors,
				    void *self),
		      void *self)
{
	const struct contract *c = &p->c;
	int last = c->count - 1;
	int64_t inner_most = is_row(c, last) ? p->extent[last] : 1,
		most = p->plan.sparse  ? SPARSE_ROWS_MAX
		       : c->mac->tiles ? 2 * TILE_ROWS
				       : TILE_ROWS_MAX;
	bool known = is_row(c, last) && dim_is_const(contract_extent(p->k, c, last));

	int64_t columns = p->extent[c->n];

	if (p->plan.packed >= 0) /* a tile is whole panels */
		columns = (columns + PANEL - 1) / PANEL * PANEL;
	for (int v = 1; v <= 8; v++) {
		if (v > 1 && (int64_t)(v - 1) * p->plan.lanes >= columns)
			continue;
		for (int r = 1; r <= most && r <= inner_most; r++) {
			if (tile_fits(p, 1, r, v))
				found(p, 1, r, v, self);
			if (!known || r < inner_most || !is_row(c, last - 1))
				continue;
			for (int o = 2; o * r <= most && o <= p->extent[last - 1]; o++)
				if (tile_fits(p, o, r, v))
					found(p, o, r, v, self);
		}
	}
}

static void keep_best(struct planner *p, int outer, int inner, int vectors, void *self)
{
	double *best = self, now = cost(p, outer, inner, vectors);

	if (now >= *best)
		return;
	*best = now;
	p->plan.rows[0] = outer;
	p->plan.rows[1] = inner;
	p->plan.vectors = vectors;
}

/* ---- passes over k ---- */

/* Elements of k that a pass takes a multiple of. */
static int64_t whole_step(const struct planner *p)
{
	return p->c.b.block      ? p->c.b.block
	       : p->c.mac->tiles ? contract_turn(&p->c)
				 : mac_table[p->plan.mac].k;
}

/* B's part for one tile of columns should stay in L2 while the rows go by. */
static void choose_k_step(struct planner *p)
{
	int64_t wide = (int64_t)p->plan.vectors * p->plan.lanes, rows = 1, inner = 1, step,
		element = 4 / p->c.mac->k, whole = whole_step(p);

	for (int i = p->c.n + 1; i < p->c.count; i++)
		rows *= p->extent[i];
	if (!p->c.k_count || rows <= (int64_t)p->plan.rows[0] * p->plan.rows[1] ||
	    (double)wide * element * p->k_total <= (double)p->t->l2 * 0.4)
		return;
	for (int i = 1; i < p->c.k_count; i++)
		inner *= extent_or(p->c.k[i].extent, GUESS);
	step = p->t->l2 / 4 / (wide * element * inner);
	if (p->c.k_count == 1)
		step -= step % whole;
	if (step < 1)
		step = p->c.k_count == 1 ? whole : 1;
	if (step < extent_or(p->c.k[0].extent, GUESS))
		p->plan.k_step = (int)step;
}

/* ---- tasks ---- */

static void add_task(struct planner *p, int loop, int64_t step)
{
	struct contract_plan *plan = &p->plan;

	if (plan->task_count == (int)(sizeof(plan->tasks) / sizeof(*plan->tasks)))
		return;
	plan->tasks[plan->task_count].axis = p->c.loops[loop].loop->axis;
	plan->tasks[plan->task_count++].step = step;
}

static int64_t tile_step(const struct planner *p, int loop)
{
	int last = p->c.count - 1;

	if (loop == p->c.n)
		return (int64_t)p->plan.vectors * p->plan.lanes;
	if (loop == last && is_row(&p->c, last))
		return p->plan.rows[1];
	return loop == last - 1 && is_row(&p->c, loop) ? p->plan.rows[0] : 1;
}

/* Cuts the row loops, from the outside in, until a task has about `want` rows: many, where each task unpacks B. */
static void cut_rows(struct planner *p, double want)
{
	if (p->plan.unpack && want < UNPACK_ROWS)
		want = UNPACK_ROWS;
	for (int i = p->c.n + 1; i < p->c.count; i++) {
		int64_t step = tile_step(p, i), n;
		double inside = 1;

		for (int j = i + 1; j < p->c.count; j++)
			inside *= (double)p->extent[j];
		n = (int64_t)(want / inside / (double)step);
		n = n < 1 ? 1 : n;
		if (n * step < p->extent[i] || !dim_is_const(contract_extent(p->k, &p->c, i)))
			add_task(p, i, n * step);
		if (n > 1 || inside <= want)
			return;
	}
}

/* A task is some 100 us of work: long beside the cost of a task, short beside the whole. Where B is small every task
 * reads all of it, for a part of the rows; else a task has its own columns, so that B is read once. */
static void choose_tasks(struct planner *p)
{
	const struct contract *c = &p->c;
	double rows = 1, batch = 1, columns = (double)p->extent[c->n], b_bytes, want, total, work,
	       least;
	int64_t wide = tile_step(p, c->n), n;
	bool shared;

	for (int i = c->n + 1; i < c->count; i++)
		rows *= (double)p->extent[i];
	shared = rows >= 4.0 * p->plan.rows[0] * p->plan.rows[1];
	for (int i = 0; i < c->n; i++)
		batch *= (double)p->extent[i];
	b_bytes = columns * p->k_total * 4 / c->mac->k;
	/* one row waits for B: reading a weight takes as long as two multiply-adds */
	work = (rows < 2 ? 2 : rows) * p->k_total;
	total = batch * work * columns;
	/* panels of all batches: each is read once in a run, as far away as if they were one matrix. Where tiles of
	 * rows share it (contract_prefetch.c) asking costs little: other weights of the model have taken the place */
	p->plan.prefetch = p->plan.packed >= 0 && !c->mac->tiles &&
			   batch * b_bytes > (double)(shared ? p->t->l1 : p->t->l2 / 2);
	want = total / 32;
	least = total / 2 < 3e5 ? total / 2 : 3e5;
	want = want < least ? least : want > 3e6 ? 3e6 : want; /* multiply-adds in a task */
	for (int i = 0; i < c->n; i++)
		if (!dim_is(contract_extent(p->k, c, i), 1))
			add_task(p, i, 1);
	if (b_bytes <= (double)p->t->l2 / 2 && shared) {
		cut_rows(p, want / (columns * p->k_total));
		return;
	}
	n = (int64_t)(want / (work * (double)wide));
	n = n < 1 ? 1 : n;
	if (n * wide < p->extent[c->n] || !dim_is_const(contract_extent(p->k, c, c->n)))
		add_task(p, c->n, n * wide);
	if (rows * p->k_total * (double)wide > 2 * want)
		cut_rows(p, 2 * want / (p->k_total * (double)wide));
}

/* ---- the choice ---- */

static int epilogue_weight(struct loops_info *info, const struct contract *c)
{
	return note_of(info, c->store->value)->weight - note_of(info, c->sum)->weight;
}

static int64_t row_bytes(struct loops_info *info, const struct contract *c)
{
	bool used;
	dim coef = is_row(c, c->count - 1)
			   ? access_coef(info, c->a.at, c->loops[c->count - 1].loop->axis, &used)
			   : NULL;

	return coef && dim_is_const(coef) ? coef->value * dtype_bits(c->a.at->type) / 8 : 0;
}

/* Rows of the result that lie on pages of their own, written a part at a time by tiles with little work: each part waits
 * for its lines and translations (1x1 192->1152@7 took up to four times as long), unless they were asked for. */
static bool results_are_far(struct loops_info *info, const struct contract *c, double k_total)
{
	struct access *out = store_access(info, c->store);
	bool used;
	dim coef = is_row(c, c->count - 1)
			   ? access_coef(info, out, c->loops[c->count - 1].loop->axis, &used)
			   : NULL;

	return coef && dim_is_const(coef) && coef->value * dtype_bits(out->type) / 8 >= 4096 &&
	       k_total >= 64 && k_total <= 256;
}

/* Few columns do not fill the widest vectors: groups of 8 channels, 24 where wide vectors are no faster. */
static int choose_lanes(const struct planner *p)
{
	int lanes = p->t->vector_bytes / 4;
	int64_t n = p->extent[p->c.n];

	if ((p->c.mac->k > 1 && !p->c.mac->bits) ||
	    !dim_is_const(contract_extent(p->k, &p->c, p->c.n)))
		return lanes; /* dot products exist in the widest form only */
	while (lanes > 4 && n <= lanes / 2)
		lanes /= 2;
	if (lanes == PANEL && p->t->half_wide && n % PANEL && n % PANEL <= 8 && n <= 40)
		lanes = 8;
	return lanes;
}

static double row_count(const struct planner *p)
{
	double rows = 1;

	for (int i = p->c.n + 1; i < p->c.count; i++)
		rows *= (double)p->extent[i];
	return rows;
}

/* Weights of few bits are unpacked in registers when that happens once, in the only tile of rows. */
static bool unpacks(const struct planner *p)
{
	return p->c.mac->bits && row_count(p) > TILE_ROWS_MAX;
}

/* Once unpacked, they are f32: what is planned is what the tiles do. */
static void plan_unpacked(struct planner *p)
{
	p->plan.unpack = true;
	p->c.mac = &mac_table[MAC_F32];
}

/* The planner for one kind of multiply-add. */
static bool open_planner(struct planner *p, const struct kernel *k, const struct target *t,
			 struct loops_info *info, enum contract_mac mac)
{
	*p = (struct planner){
		.k = k, .t = t, .info = info, .plan.mac = mac, .adds = 2, .density = 1};
	if (!mac_table[mac].offered(t) || !contract_match(k, info, mac, &p->c))
		return false;
	for (int i = 0; i < p->c.count; i++) {
		p->extent[i] = extent_or(contract_extent(k, &p->c, i), GUESS);
		if (!p->extent[i])
			return false; /* nothing to compute */
	}
	p->k_total = (double)extent_or(p->c.k_total, GUESS);
	p->row_bytes = row_bytes(info, &p->c);
	p->plan.lanes = choose_lanes(p);
	p->plan.packed = p->c.constant_b ? p->c.b.at->buffer : -1;
	p->plan.prefetch_results = !p->c.mac->tiles && results_are_far(info, &p->c, p->k_total);
	p->plan.tile_epilogue = p->c.mac->tiles || epilogue_weight(info, &p->c) > 8;
	return p->extent[p->c.n] >= 8 && p->k_total >= 2 && (!p->c.mac->tiles || row_count(p) >= 4);
}

/* The planner of the same contraction by sparse panels; false: it has none. */
static bool open_sparse(struct planner *p, double least)
{
	struct sparsity *s = &p->plan.sparsity;

	if (!contract_can_be_sparse(p->k, p->info, &p->c))
		return false;
	*s = contract_sparsity(p->k, p->info, &p->c, least);
	p->plan.sparse = true;
	p->density = s->kept ? (double)s->kept / (double)s->rows : 1e-3;
	p->k_total *= p->density;
	return s->rows > 0;
}

/* Takes sparse panels where they are faster, by a margin for what the estimate does not see. */
static void consider_sparse(struct planner *p)
{
	double best = INFINITY, dense, least = 0.1; /* zeros that are worth counting */
	struct planner sparse = *p;

	if (!open_sparse(&sparse, least))
		return;
	p->plan.sparsity = sparse.plan.sparsity;
	if (sparse.density > 1 - least)
		return;
	if (p->t->half_wide && p->plan.lanes == PANEL)
		p->adds = sparse.adds = 1;
	dense = cost(p, p->plan.rows[0], p->plan.rows[1], p->plan.vectors) * p->k_total;
	each_tile(&sparse, keep_best, &best);
	if (best * sparse.k_total < 0.95 * dense)
		*p = sparse;
}

bool contract_choose(struct kernel *k, const struct target *t)
{
	struct arena scratch = {0};
	struct loops_info info;
	struct planner p;
	double best = INFINITY;
	bool ok = false;

	if (loops_analyze(k, &scratch, &info))
		for (int mac = 0; mac < MAC_COUNT && !ok; mac++)
			ok = open_planner(&p, k, t, &info, (enum contract_mac)mac);
	if (ok && unpacks(&p))
		plan_unpacked(&p);
	if (ok)
		each_tile(&p, keep_best, &best);
	ok = ok && best < INFINITY;
	if (ok) {
		consider_sparse(&p);
		if (!p.plan.sparse)
			choose_k_step(&p);
		choose_tasks(&p);
		k->plan = (struct plan){.driver = DRIVER_CONTRACT, .contract = p.plan};
	}
	arena_free(&scratch);
	return ok;
}

/* ---- all plans, for tests ---- */

struct list {
	struct plan *out;
	int room, count;
};

static void keep_all(struct planner *p, int outer, int inner, int vectors, void *self)
{
	struct list *l = self;
	struct planner one = *p;
	int turns = p->c.mac->tiles ? 1 : 2,
	    k_step = p->c.k_count == 1 ? turns * (int)whole_step(p) : 2;

	one.plan.rows[0] = outer;
	one.plan.rows[1] = inner;
	one.plan.vectors = vectors;
	one.plan.tile_epilogue = p->c.mac->tiles || l->count % 2;
	if (l->count % 3 == 2 && p->c.k_count && !p->plan.sparse &&
	    extent_or(p->c.k[0].extent, GUESS) > (p->c.mac->tiles ? k_step : turns * whole_step(p)))
		one.plan.k_step = k_step;
	if (l->count % 2)
		choose_tasks(&one);
	else
		for (int i = 0; i < p->c.count; i++)
			add_task(&one, i, tile_step(&one, i));
	if (l->count < l->room)
		l->out[l->count++] = (struct plan){.driver = DRIVER_CONTRACT, .contract = one.plan};
}

/* All tiles, and those of the other forms in which B may stand. */
static void enumerate(struct planner *p, struct list *l)
{
	struct planner sparse = *p;

	each_tile(p, keep_all, l);
	if (open_sparse(&sparse, 0))
		each_tile(&sparse, keep_all, l);
	if (!p->c.mac->bits)
		return;
	plan_unpacked(p);
	each_tile(p, keep_all, l);
}

int contract_enumerate(const struct kernel *k, const struct target *t, struct plan *out, int room)
{
	struct arena scratch = {0};
	struct loops_info info;
	struct planner p;
	struct list l = {out, room, 0};

	if (loops_analyze(k, &scratch, &info))
		for (int mac = 0; mac < MAC_COUNT; mac++)
			if (open_planner(&p, k, t, &info, (enum contract_mac)mac))
				enumerate(&p, &l);
	arena_free(&scratch);
	return l.count;
}

/* ---- what the code needs ---- */

static const struct stmt *loop_of(const struct contract *c, int axis)
{
	for (int i = 0; i < c->count; i++)
		if (c->loops[i].loop->axis == axis)
			return c->loops[i].loop;
	BUG("a contraction's task runs over no loop");
}

static void add_word(struct loops_info *info, dim d)
{
	if (dim_is_const(d))
		return;
	for (int i = 0; i < info->words.count; i++)
		if (info->words.at[i] == d)
			return;
	ARENA_PUSH(info->arena, &info->words, d);
}

/* Rows of one task, for the sums that wait in scratch memory between passes over k. */
static dim task_rows(const struct kernel *k, const struct contract *c)
{
	struct dim_pool *d = k->exprs->dims;
	const struct contract_plan *plan = &k->plan.contract;
	dim rows = dim_const(d, 1);

	for (int i = c->n + 1; i < c->count; i++) {
		dim n = contract_extent(k, c, i);

		for (int j = 0; j < plan->task_count; j++)
			if (plan->tasks[j].axis == c->loops[i].loop->axis)
				n = dim_const(d, plan->tasks[j].step);
		rows = dim_mul(d, rows, n);
	}
	return rows;
}

bool contract_analyze(const struct kernel *k, struct arena *a, struct loops_info *info,
		      struct contract *c)
{
	struct dim_pool *d = k->exprs->dims;
	const struct contract_plan *plan = &k->plan.contract;
	int64_t row, tile_rows;
	dim sums = dim_const(d, 0);

	if (!loops_analyze(k, a, info) || !contract_match(k, info, plan->mac, c))
		return false;
	row = (int64_t)contract_width(c, plan->vectors) * plan->lanes * 4;
	tile_rows = contract_height(c, plan->rows[0] * plan->rows[1]);
	add_word(info, c->k_total);
	for (int i = 0; i < plan->task_count; i++) {
		struct task_axis *t = &info->tasks[info->task_count++];
		dim extent = k->exprs->axes[plan->tasks[i].axis].extent;

		*t = (struct task_axis){loop_of(c, plan->tasks[i].axis), plan->tasks[i].step,
					dim_ceildiv(d, extent, dim_const(d, plan->tasks[i].step))};
		add_word(info, t->count);
	}
	if (plan->k_step) /* tiles may have one row */
		sums = dim_mul(d, task_rows(k, c), dim_const(d, row * contract_height(c, 1)));
	else if (plan->tile_epilogue)
		sums = dim_const(d, row * tile_rows);
	if (!dim_is(sums, 0) || plan->unpack)
		info->scratch_bytes = dim_add(d, sums, dim_const(d, contract_sums_offset(c, plan)));
	return true;
}

int64_t contract_sums_offset(const struct contract *c, const struct contract_plan *plan)
{
	return contract_unpacked_bytes(c, plan) + (c->mac->tiles ? CONTRACT_TILE_SCRATCH : 0);
}

int contract_factors_group(const struct access *at) { return at->type == DT_BF16 ? 2 : 1; }

int64_t contract_blocks(const struct contract *c)
{
	return c->panel_steps * c->mac->k / c->b.block;
}

int64_t contract_unpacked_panel(const struct contract *c, const struct contract_plan *plan)
{
	int64_t elements = plan->k_step ? plan->k_step : c->k[0].extent->value;

	for (int i = 1; i < c->k_count; i++)
		elements *= c->k[i].extent->value;
	return elements * STEP_BYTES;
}

int64_t contract_unpacked_bytes(const struct contract *c, const struct contract_plan *plan)
{
	int64_t panels = ((int64_t)plan->vectors * plan->lanes + PANEL - 1) / PANEL;

	return plan->unpack ? panels * contract_unpacked_panel(c, plan) : 0;
}
