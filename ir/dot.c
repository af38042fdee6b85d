/* dot.c: graphs as Graphviz text: a box for each node, a cluster for each region. */
#include "ir/print.h"

#include <stdint.h>

struct printer {
	const struct graph *g;
	FILE *out;
	struct arena scratch;
	const char **names;
	int clusters, indent, node_count;
	int *id; /* of a value: number of the box that makes it  */
};

static void line(struct printer *p) { fprintf(p->out, "%*s", p->indent * 2, ""); }

/* The box of a value: inputs and parameters have one of their own. */
static void put_source(struct printer *p, const struct value *v)
{
	if (v->def)
		fprintf(p->out, "n%d", p->id[v->id]);
	else
		fprintf(p->out, "v%d", v->id);
}

static void put_edge(struct printer *p, const struct value *v, const char *to, int number)
{
	if (!v)
		return;
	line(p);
	put_source(p, v);
	fprintf(p->out, " -> %s%d [label=", to, number);
	print_quoted(p->out, type_text(p->g, &p->scratch, &v->type));
	fputs("];\n", p->out);
}

static void put_params(struct printer *p, const struct region *r)
{
	for (int i = 0; i < r->param_count; i++) {
		line(p);
		fprintf(p->out, "v%d [shape=ellipse, label=", r->params[i]->id);
		print_quoted(p->out, arena_printf(&p->scratch, "%%%s", p->names[r->params[i]->id]));
		fputs("];\n", p->out);
	}
}

static void put_region(struct printer *p, const struct region *r, const char *title);

static void put_node(struct printer *p, const struct node *n)
{
	static const char *const branches[] = {"then", "else"};
	const char *name = op_table[n->op].name,
		   *first = n->out_count ? p->names[n->out[0]->id] : "";
	int id = p->node_count++;

	for (int i = 0; i < n->out_count; i++)
		p->id[n->out[i]->id] = id;
	for (int i = 0; i < n->region_count; i++) {
		const char *part = n->op == OP_if ? branches[i] : "";

		put_region(p, n->regions[i],
			   arena_printf(&p->scratch, "%s %%%s %s", name, first, part));
		for (int k = 0; k < n->regions[i]->result_count; k++)
			put_edge(p, n->regions[i]->results[k], "n", id);
	}
	line(p);
	fprintf(p->out, "n%d [label=", id);
	print_quoted(p->out, n->loc.node ? arena_printf(&p->scratch, "%s %%%s: %s", name, first,
							n->loc.node)
					 : arena_printf(&p->scratch, "%s %%%s", name, first));
	fputs("];\n", p->out);
	for (int i = 0; i < n->in_count; i++)
		put_edge(p, n->in[i], "n", id);
}

static void put_region(struct printer *p, const struct region *r, const char *title)
{
	line(p);
	fprintf(p->out, "subgraph cluster%d {\n", p->clusters++);
	p->indent++;
	line(p);
	fputs("label=", p->out);
	print_quoted(p->out, title);
	fputs(";\n", p->out);
	put_params(p, r);
	for (const struct node *n = r->first; n; n = n->next)
		put_node(p, n);
	p->indent--;
	line(p);
	fputs("}\n", p->out);
}

void graph_dot(const struct graph *g, FILE *out)
{
	struct printer p = {.g = g, .out = out, .indent = 1};
	const struct region *r = g->body;

	p.names = graph_value_names(g, &p.scratch);
	p.id = ARENA_ARRAY(&p.scratch, int, g->value_count + 1);
	fputs("digraph ", out);
	print_quoted(out, g->name);
	fputs(" {\n  node [shape=box];\n", out);
	put_params(&p, r);
	for (const struct node *n = r->first; n; n = n->next)
		put_node(&p, n);
	for (int i = 0; i < r->result_count; i++) {
		fprintf(out, "  o%d [shape=ellipse, label=", i);
		print_quoted(out, g->output_names[i]);
		fputs("];\n", out);
		put_edge(&p, r->results[i], "o", i);
	}
	fputs("}\n", out);
	arena_free(&p.scratch);
}
