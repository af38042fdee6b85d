/* context.c: making, asking and freeing contexts; their memory is drawn in context.h. */
#include "runtime/context.h"
#include "runtime/table.h"

#include <string.h>

enum { MAX_THREADS = 1024, MAX_OPTIONS = 4096 };

_Static_assert(sizeof(hone_tensor) == 104 || sizeof(void *) != 8, "hone_tensor is part of the ABI");
_Static_assert(sizeof(hone_options) == 56 || sizeof(void *) != 8,
	       "hone_options is part of the ABI");
_Static_assert(sizeof(hone_model) == 200 || sizeof(void *) != 8, "hone_model is part of the ABI");
_Static_assert(sizeof(hone_io) == 40 || sizeof(void *) != 8, "hone_io is part of the ABI");

hone_status rt_error(struct context *c, hone_status status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	rt_format(c->text, sizeof(c->text), format, args);
	va_end(args);
	return status;
}

/* The same before there is a context. */
__attribute__((format(printf, 4, 5))) static hone_status
refuse(char *text, size_t size, hone_status status, const char *format, ...)
{
	va_list args;

	if (!text || !size)
		return status;
	va_start(args, format);
	rt_format(text, size, format, args);
	va_end(args);
	return status;
}

/* The next array of the header; NULL while its size is only measured. */
static void *take(unsigned char *base, int64_t *at, int64_t count, size_t size)
{
	void *p = base ? base + *at : NULL;

	*at = round_up_64(*at + count * (int64_t)size);
	return p;
}

/* Sets the array pointers of *c for a header at `base`; returns the header's bytes. */
static int64_t lay_out(struct context *c, unsigned char *base, const hone_model *m,
		       const struct hone_program *p, uint32_t pool_threads)
{
	int64_t at = 0, slots = p->slot_count;

	take(base, &at, 1, sizeof(*c));
	c->frame.words = take(base, &at, p->word_count, sizeof(int64_t));
	c->frame.values = take(base, &at, slots, sizeof(void *));
	c->params = take(base, &at, m->param_count, sizeof(double));
	c->seen = take(base, &at, m->input_count * HONE_MAX_RANK, sizeof(int64_t));
	c->input_bytes = take(base, &at, m->input_count, sizeof(int64_t));
	c->output_bytes = take(base, &at, m->output_count, sizeof(int64_t));
	c->io_slots = take(base, &at, slots, sizeof(int32_t));
	c->placement.offsets = take(base, &at, slots, sizeof(int64_t));
	c->placement.other = take(base, &at, slots, sizeof(int64_t));
	c->placement.order = take(base, &at, slots, sizeof(int64_t));
	c->placement.spare = take(base, &at, slots, sizeof(int64_t));
	c->placement.live = take(base, &at, slots, sizeof(int64_t));
	c->chunks = take(base, &at, slots, sizeof(struct chunk));
	if (pool_threads > 1)
		c->pool = take(base, &at, (int64_t)rt_pool_bytes(pool_threads), 1);
	return at;
}

/* Copies options of this or an older version; a newer caller's extra fields must be zero. */
static hone_status read_options(const hone_options *from, hone_options *to, char *text, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)from;

	*to = (hone_options){.size = sizeof(*to), .threads = 1};
	if (!from)
		return HONE_OK;
	if (from->size < 2 * sizeof(uint32_t) || from->size > MAX_OPTIONS)
		return refuse(text, size, HONE_ERROR_ARGUMENT, "options.size is %u, expected %zu",
			      from->size, sizeof(*to));
	for (uint32_t i = sizeof(*to); i < from->size; i++) {
		if (bytes[i])
			return refuse(text, size, HONE_ERROR_VERSION,
				      "options has fields that this library does not know");
	}
	memset(to, 0, sizeof(*to));
	memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	if (!to->threads)
		to->threads = 1;
	if (to->threads > MAX_THREADS)
		return refuse(text, size, HONE_ERROR_ARGUMENT,
			      "options.threads is %u, at most %d is allowed", to->threads,
			      MAX_THREADS);
	if ((uintptr_t)to->memory % 64)
		return refuse(text, size, HONE_ERROR_ARGUMENT,
			      "options.memory is not aligned to 64 bytes");
	return HONE_OK;
}

/* The features of `needed` that cannot be used here. */
static uint64_t missing_features(uint64_t needed)
{
	uint64_t missing = needed ? needed & ~hone_cpu_detect() : 0;

	if (!missing && needed & HONE_CPU_AMX && !rt_cpu_allow_amx())
		missing = HONE_CPU_AMX;
	return missing;
}

/* The first level, in the library's order, that this processor runs; NULL: none. */
static const struct hone_program *choose(const hone_model *m, char *text, size_t size)
{
	const struct hone_program *p = m->program;
	char list[160];
	uint64_t missing;

	for (;; p = p->next) {
		missing = missing_features(p->cpu);
		if (!missing)
			return p;
		if (!p->next)
			break;
	}
	rt_cpu_names(missing, list, sizeof(list));
	refuse(text, size, HONE_ERROR_CPU,
	       "this library was compiled for %s, which this processor or operating system lacks",
	       list);
	return NULL;
}

static void fill(struct context *c, const hone_model *m, const struct hone_program *p,
		 const hone_options *options, int64_t header_bytes)
{
	c->head.model = m;
	c->program = p;
	c->options = *options;
	c->header_bytes = header_bytes;
	c->frame.weights = p->weights;
	c->frame.params = c->params;
	for (int32_t i = 0; i < m->param_count; i++)
		c->params[i] = m->params[i].initial;
	for (int32_t i = 0; i < p->slot_count; i++) {
		if (p->slots[i].kind == HONE_SLOT_INPUT || p->slots[i].kind == HONE_SLOT_OUTPUT)
			c->io_slots[c->io_slot_count++] = i;
	}
}

/* create without the checks of version and processor; pool_threads says whether to start
 * threads. */
static hone_status make(const hone_model *m, const struct hone_program *p,
			const hone_options *options, uint32_t pool_threads, struct context **out,
			char *text, size_t size)
{
	struct context probe = {0}, *c;
	int64_t bytes = lay_out(&probe, NULL, m, p, pool_threads);

	if (options->memory && options->memory_size < bytes)
		return refuse(text, size, HONE_ERROR_MEMORY,
			      "options.memory has %lld bytes, a context needs %lld and room for "
			      "its values",
			      (long long)options->memory_size, (long long)bytes);
	c = options->memory ? options->memory : rt_allocate(bytes);
	if (!c)
		return refuse(text, size, HONE_ERROR_MEMORY,
			      "no memory for a context of %lld bytes; options.memory may give it",
			      (long long)bytes);
	memset(c, 0, (size_t)bytes);
	lay_out(c, (unsigned char *)c, m, p, pool_threads);
	fill(c, m, p, options, bytes);
	if (c->pool && !rt_pool_start(c->pool, pool_threads)) {
		if (!options->memory)
			rt_release(c);
		return refuse(text, size, HONE_ERROR_MEMORY, "the system gives no %u threads",
			      pool_threads);
	}
	*out = c;
	return HONE_OK;
}

hone_status hone_rt_context_create(const hone_model *m, const hone_options *options,
				   hone_context **out, char *text, size_t text_size)
{
	const struct hone_program *p;
	struct context *c = NULL;
	hone_options o;
	hone_status status;

	*out = NULL;
	if (m->abi_version != HONE_ABI_VERSION || m->size != sizeof(*m))
		return refuse(text, text_size, HONE_ERROR_VERSION,
			      "the library has ABI version %u, expected %u", m->abi_version,
			      HONE_ABI_VERSION);
	status = read_options(options, &o, text, text_size);
	if (status != HONE_OK)
		return status;
	p = choose(m, text, text_size);
	if (!p)
		return HONE_ERROR_CPU;
	status = make(m, p, &o, o.parallel_for ? 1 : o.threads, &c, text, text_size);
	*out = c ? &c->head : NULL;
	return status;
}

struct measure {
	const hone_model *model;
	const struct hone_program *program;
	const hone_tensor *inputs;
	int64_t header_bytes;
	uint32_t threads;
};

/* In memory for a context of one thread without values. */
static int64_t measure(void *memory, void *self)
{
	const struct measure *m = self;
	hone_options o = {.memory = memory, .memory_size = m->header_bytes, .threads = 1};
	struct context probe = {0}, *c;
	int64_t bytes, more;

	if (make(m->model, m->program, &o, 1, &c, NULL, 0) != HONE_OK ||
	    rt_bind(c, m->inputs) != HONE_OK)
		return -1;
	bytes = rt_place(m->program, c->frame.words, m->threads, &c->placement);
	more = rt_dynamic_bytes(c) + lay_out(&probe, NULL, m->model, m->program, m->threads);
	return bytes < 0 ? -1 : bytes + more;
}

int64_t hone_rt_arena_bytes(const hone_model *m, const hone_tensor *inputs, int threads)
{
	struct context probe = {0};
	struct measure self = {.model = m, .inputs = inputs};

	if (m->abi_version != HONE_ABI_VERSION || threads > MAX_THREADS)
		return -1;
	self.threads = threads > 1 ? (uint32_t)threads : 1;
	self.program = choose(m, NULL, 0);
	if (!self.program)
		return -1;
	self.header_bytes = lay_out(&probe, NULL, m, self.program, 1);
	return rt_with_memory(self.header_bytes, measure, &self);
}

hone_status hone_rt_set_param(hone_context *h, const char *name, double value)
{
	struct context *c = (struct context *)h;
	const hone_model *m = h->model;

	c->text[0] = 0;
	for (int32_t i = 0; name && i < m->param_count; i++) {
		const hone_param *p = &m->params[i];

		if (!rt_same_text(p->name, name))
			continue;
		if (!(value >= p->min && value <= p->max))
			return rt_error(c, HONE_ERROR_ARGUMENT,
					"parameter \"%s\" is %g, expected %g..%g", name, value,
					p->min, p->max);
		if (c->params[i] != value)
			c->bound = false; /* dims may depend on it */
		c->params[i] = value;
		return HONE_OK;
	}
	return rt_error(c, HONE_ERROR_ARGUMENT, "the model has no parameter \"%s\"",
			name ? name : "(null)");
}

const char *hone_rt_error(const hone_context *h) { return ((const struct context *)h)->text; }

void hone_rt_context_destroy(hone_context *h)
{
	struct context *c = (struct context *)h;

	if (c->pool)
		rt_pool_stop(c->pool);
	if (c->options.memory)
		return;
	rt_dynamic_drop(c);
	rt_release(c->arena);
	rt_release(c);
}
