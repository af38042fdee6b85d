/* report.c: what passes measured, kept until the command writes it. */
#include "passes/report.h"

#include <string.h>

struct report_section *report_section(struct report *r, const char *pass, const char *title)
{
	struct report_section *s;

	if (!r)
		return NULL;
	for (int i = 0; i < r->sections.count; i++)
		if (!strcmp(r->sections.at[i]->pass, pass))
			return r->sections.at[i];
	s = ARENA_NEW(r->arena, struct report_section);
	s->arena = r->arena;
	s->pass = arena_text(r->arena, pass);
	s->title = arena_text(r->arena, title);
	ARENA_PUSH(r->arena, &r->sections, s);
	return s;
}

static void add_fact(struct report_section *s, struct report_fact fact)
{
	if (!s)
		return;
	fact.name = arena_text(s->arena, fact.name);
	if (fact.text)
		fact.text = arena_text(s->arena, fact.text);
	ARENA_PUSH(s->arena, &s->facts, fact);
}

void report_text(struct report_section *s, const char *name, const char *text)
{
	add_fact(s, (struct report_fact){.kind = REPORT_TEXT, .name = name, .text = text});
}

void report_number(struct report_section *s, const char *name, double number)
{
	add_fact(s, (struct report_fact){.kind = REPORT_NUMBER, .name = name, .number = number});
}

void report_change(struct report_section *s, const char *name, double before, double after)
{
	add_fact(s,
		 (struct report_fact){
			 .kind = REPORT_CHANGE, .name = name, .before = before, .number = after});
}

struct report_table *report_table(struct report_section *s, enum report_form form, const char *name,
				  const char *const *columns)
{
	struct report_table *t;
	const char **copy;
	int count = 0;

	if (!s)
		return NULL;
	while (columns[count])
		count++;
	copy = ARENA_ARRAY(s->arena, const char *, count + 1);
	for (int i = 0; i < count; i++)
		copy[i] = arena_text(s->arena, columns[i]);
	t = ARENA_NEW(s->arena, struct report_table);
	*t = (struct report_table){.form = form,
				   .name = arena_text(s->arena, name),
				   .columns = copy,
				   .column_count = count,
				   .arena = s->arena};
	ARENA_PUSH(s->arena, &s->tables, t);
	return t;
}

void report_row(struct report_table *t, const struct report_cell *cells)
{
	struct report_cell *copy;

	if (!t)
		return;
	copy = ARENA_ARRAY(t->arena, struct report_cell, t->column_count);
	for (int i = 0; i < t->column_count; i++) {
		copy[i] = cells[i];
		if (cells[i].text)
			copy[i].text = arena_text(t->arena, cells[i].text);
	}
	ARENA_PUSH(t->arena, &t->rows, copy);
}
