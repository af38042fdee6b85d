/* info.c: hone info. */
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/session.h"

#include "ir/lower.h"
#include "ir/macs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- a compiled library ---- */

static void print_io(const char *kind, const hone_io *io)
{
	printf("%s %s: %s[", kind, io->name, dtype_name(io->dtype));
	for (int i = 0; i < io->rank; i++) {
		const hone_dim *d = &io->dims[i];

		printf("%s", i ? "," : "");
		if (d->min == d->max)
			printf("%" PRId64, d->min);
		else
			printf("%s", d->symbol ? d->symbol : "?");
	}
	printf("]\n");
}

/* The levels of a library, best first; the runtime takes the first that this processor has. A text that this hone
 * does not understand (a newer one's) shows none. */
static void print_levels(struct session *s, const char *cpu)
{
	struct diag quiet = {0};
	struct targets levels;
	const char *list = "", *chosen = NULL, *join = s->json ? "," : " ";

	if (!targets_resolve(cpu, NULL, &s->arena, &levels, &quiet))
		levels.count = 0;
	diag_reset(&quiet);
	for (int i = 0; i < levels.count; i++) {
		const char *name = target_level(&s->arena, &levels.at[i]);

		list = arena_printf(&s->arena, s->json ? "%s%s\"%s\"" : "%s%s%s", list,
				    i ? join : "", name);
		if (!chosen && levels.at[i].host)
			chosen = name;
	}
	if (s->json)
		printf(",\"levels\":[%s],\"level_here\":\"%s\"", list, chosen ? chosen : "");
	else
		printf("levels %s, here %s\n", list, chosen ? chosen : "none");
}

/* Memory of a context with one thread, free dims at their least, or 1; -1 if the model takes no such dims. */
static int64_t context_bytes(struct session *s)
{
	const hone_model *m = s->compiled;
	hone_tensor *inputs = ARENA_ARRAY(&s->arena, hone_tensor, m->input_count + 1);

	for (int i = 0; i < m->input_count; i++) {
		const hone_io *io = &m->inputs[i];

		inputs[i].rank = io->rank;
		for (int k = 0; k < io->rank; k++)
			inputs[i].dims[k] = io->dims[k].min > 1 ? io->dims[k].min : 1;
	}
	return hone_arena_bytes(m, inputs, 1);
}

static bool print_library(struct session *s)
{
	const hone_model *m = s->compiled;
	int64_t arena = context_bytes(s);
	struct library_sizes sizes;

	if (!library_measure(s->path, &sizes, &s->diag))
		return false;
	if (s->json) {
		printf("{\"name\":");
		json_text(m->name);
		printf(",\"abi\":%u,\"compiler\":\"%s\",\"cpu\":\"%s\",\"passes\":\"%s\",\"hash\":"
		       "\"%s\",\"weight_bytes\":%" PRId64 ",\"file_bytes\":%" PRId64
		       ",\"code_bytes\":%" PRId64 ",\"context_bytes\":%" PRId64 ",\"signature\":%s",
		       m->abi_version, m->compiler, m->cpu, m->passes, m->hash, m->weight_bytes,
		       sizes.file, sizes.code, arena, m->signature);
		print_levels(s, m->cpu);
		printf("}\n");
		return true;
	}
	printf("model %s, made by %s for %s (ABI %u, hash %s)\n", m->name, m->compiler, m->cpu,
	       m->abi_version, m->hash);
	print_levels(s, m->cpu);
	for (int i = 0; i < m->input_count; i++)
		print_io("input", &m->inputs[i]);
	for (int i = 0; i < m->output_count; i++)
		print_io("output", &m->outputs[i]);
	for (int i = 0; i < m->param_count; i++)
		printf("param %s (default %g)\n", m->params[i].name, m->params[i].initial);
	printf("file %" PRId64 " bytes: packed weights %" PRId64 ", code %" PRId64
	       ", tables and the rest %" PRId64 "\npasses %s\n",
	       sizes.file, m->weight_bytes, sizes.code, sizes.file - m->weight_bytes - sizes.code,
	       m->passes);
	if (arena >= 0)
		printf("memory of a context %" PRId64
		       " bytes (one thread, free dims at their least, or 1)\n",
		       arena);
	return true;
}

/* ---- a model ---- */

struct counts {
	int ops[OP_COUNT], nodes;
	int64_t parameters, weight_bytes;
	double macs; /* with symbols at their minimum (at least 1) */
};

static bool count_node(struct node *n, void *self)
{
	struct counts *c = self;

	c->nodes++;
	c->ops[n->op]++;
	return true;
}

static void print_interface(struct session *s)
{
	const struct region *r = s->graph->body;

	for (int i = 0; i < r->param_count; i++)
		printf("input %s: %s\n", s->graph->input_names[i],
		       type_text(s->graph, &s->arena, &r->params[i]->type));
	for (int i = 0; i < r->result_count; i++)
		printf("output %s: %s\n", s->graph->output_names[i],
		       type_text(s->graph, &s->arena, &r->results[i]->type));
}

static void print_json(struct session *s, const struct counts *c, const struct graph_figures *f)
{
	const char *join = "";

	printf("{\"parameters\":%" PRId64 ",\"macs\":%.0f,\"nodes\":%d,\"kernels\":%d,"
	       "\"functions\":%d,\"weight_bytes\":%" PRId64 ",\"onnx_weight_bytes\":%" PRId64
	       ",\"live_bytes\":%" PRId64 ",\"arena_bytes\":%" PRId64
	       ",\"dynamic\":%s,\"cpu\":\"%s\",\"ops\":{",
	       c->parameters, c->macs, c->nodes, f->kernels, f->functions, f->weight_bytes,
	       c->weight_bytes, f->live_bytes, f->arena_bytes, f->dynamic ? "true" : "false",
	       s->target.spec);
	for (int i = 0; i < OP_COUNT; i++)
		if (c->ops[i]) {
			printf("%s\"%s\":%d", join, op_table[i].name, c->ops[i]);
			join = ",";
		}
	printf("}}\n");
}

static bool print_model(struct session *s)
{
	struct counts c = {0};
	struct graph_figures f;
	const char *join = "";

	if (!session_load(s))
		return false;
	graph_walk(s->graph, count_node, &c);
	c.macs = graph_macs(s->graph, graph_least_symbols(s->graph, &s->arena));
	c.weight_bytes = graph_weight_bytes(s->graph, &c.parameters);
	if (!pipeline_run(s->graph,
			  &(struct pipeline_options){.passes = s->passes,
						     .stop_after = s->stop_after,
						     .arguments = s->arguments},
			  &interpreter, &s->diag) ||
	    !graph_figures(s->graph, &s->target, &f, &s->diag))
		return false;
	if (s->json) {
		print_json(s, &c, &f);
		return true;
	}
	print_interface(s);
	printf("parameters %" PRId64 ", multiply-adds %.4g M%s\n", c.parameters, c.macs / 1e6,
	       s->graph->dims.symbol_count ? " (free dims at their least, or 1)" : "");
	printf("operators as imported:");
	for (int i = 0; i < OP_COUNT; i++)
		if (c.ops[i]) {
			printf("%s %s %d", join, op_table[i].name, c.ops[i]);
			join = ",";
		}
	printf("\nafter the passes: %d kernels, %d different, for %s\n", f.kernels, f.functions,
	       s->target.spec);
	printf("weights %" PRId64 " bytes, packed %" PRId64 " (%.2f times)\n", c.weight_bytes,
	       f.weight_bytes,
	       c.weight_bytes ? (double)f.weight_bytes / (double)c.weight_bytes : 1);
	printf("memory: largest live set %" PRId64 " bytes, planned arena %" PRId64 "%s\n",
	       f.live_bytes, f.arena_bytes,
	       f.dynamic ? ", and a dynamic arena (sizes computed from data)" : "");
	return true;
}

int command_info(int argc, char **argv)
{
	struct session s = {0};
	const struct option own[] = {{NULL, OPTION_FLAG, NULL, NULL, NULL}};
	enum parsed parsed = session_parse(&s, command_row("info"), argc, argv, own, NULL);
	bool ok = parsed == PARSED_OK;

	if (ok && is_library(s.path)) {
		ok = session_compile(&s);
		ok = ok && print_library(&s);
	} else if (ok) {
		ok = print_model(&s);
	}
	return session_end(&s, ok || parsed == PARSED_HELP ? 0 : 70);
}
