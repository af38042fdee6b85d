/* program.h: a graph laid out for execution: where every value lives, which kernels compute it, which words
 * setup() fills. Made by layout.c, emitted by setup_emit.c, run_emit.c and tables.c; nothing here is LLVM.
 *
 *   step    a number for every node in program order; a value lives from its step to its last use
 *   place   where a value's data is: in the weights, or behind values[slot]
 *   site    one use of a kernel function: its node, its words, its scratch
 *   word    an int64 that setup computes from the symbols */
#ifndef BACKEND_PROGRAM_H
#define BACKEND_PROGRAM_H

#include "backend/emit.h"
#include "backend/packing.h"
#include "runtime/program.h"

enum place_kind { PLACE_NONE, PLACE_CONST, PLACE_SLOT };

struct place {
	enum place_kind kind;
	int constant; /* PLACE_CONST: index in program.constants */
	int slot;     /* PLACE_SLOT */
	int level;    /* how many regions around the definition */
};

struct slot {
	int kind; /* enum hone_slot_kind */
	int io;
	dim bytes; /* largest size; NULL: none (dynamic without bound, or not placed) */
	int first, last;
	bool per_worker;
	int bytes_word; /* -1: none */
};

/* Data in the weights section: a constant as it is, or in the panels that a kernel's plan wants. */
struct constant {
	const struct tensor *tensor;
	struct type type;
	int64_t offset, bytes;  /* bytes: as it stands there */
	struct packing packing; /* buffer -1: as it is */
	bool used;              /* else it is left out: all readers have it packed */
};

/* The weights section: what is used of it, each constant at its offset, in order. */
struct constants {
	struct constant *at;
	int count, room;
	int64_t bytes; /* a multiple of 64 */
};

/* A kernel function: equal kernels share one. */
struct function {
	const struct kernel *kernel;
	struct kernel_abi abi;
	const char *name, *key;
};

struct site {
	const struct node *node;
	struct kernel *kernel;
	struct kernel_abi abi;
	int function, word_base;
	int scratch_slot, bound_slot; /* -1: none */
	struct {
		int buffer, constant;
	} packed[PACKINGS_MAX]; /* buffers that are read in panels */
	int packed_count;
	int origin; /* index in program.nodes */
	bool forks; /* enough work for several threads */
};

/* What the two buffers of a loop-carried value, or a stacked output, need. One for each result of a loop or scan. */
struct carry {
	const struct node *loop;
	int index;    /* which result */
	int slots[2]; /* buffers by parity; a stacked output has only the first */
};

struct program_output {
	bool direct;
	int stage;
};

struct program {
	struct arena *arena;
	struct graph *graph;
	const struct target *target;
	struct place *places; /* by value id */
	int value_count, step_count, stage_count;
	int *symbol_word; /* by symbol number: its word */
	bool *is_late;    /* by symbol number: a loop's trip count, known only after it */
	int input_symbol_count;
	struct {
		struct slot *at;
		int count, room;
	} slots;
	struct constants *constants; /* shared by the levels of one library */
	struct {
		struct function *at;
		int count, room;
	} functions;
	struct {
		struct site *at;
		int count, room;
	} sites;
	struct {
		dim *at;
		int count, room;
	} words;
	struct {
		const char **at;
		int count, room;
	} nodes; /* texts for messages */
	struct {
		const struct node **at;
		int count, room;
	} node_of; /* the node of each */
	struct {
		const struct node **at;
		int count, room;
	} params; /* distinct params, first of each name */
	struct {
		struct carry *at;
		int count, room;
	} carries;
	struct program_output *outputs;
	int output_count;
	struct value **results; /* the graph's outputs, then probes */
	const char **output_names;
	int *check_left, *check_right; /* words of each graph requirement */
};

/* Lays out g for t. extra: values that become outputs after the graph's own (probes). NULL: reported. */
struct program *program_layout(struct graph *g, const struct target *t, int extra_count,
			       struct value *const *extra, struct arena *a, struct diag *d);
/* Lays out g for each level, with one weights section that holds once what several of them read alike. */
bool programs_layout(struct graph *g, const struct targets *levels, struct arena *a,
		     struct program *out[TARGETS_MAX], struct diag *d);

/* The word that holds d (added if there is none); constants get one too. */
int program_word(struct program *p, dim d);
/* The site of a node; NULL if it has no kernel. */
const struct site *program_site(const struct program *p, const struct node *n);
const struct carry *program_carry(const struct program *p, const struct node *loop, int index);
/* Index of a node's text in program.nodes; -1 if it has none. Index of a parameter by name. */
int program_origin(const struct program *p, const struct node *n);
int program_param(const struct program *p, const char *name);
/* Bytes of a value's actual data as a dim. */
dim program_bytes(struct program *p, const struct type *t);

/* ---- emission; all functions are internal except hone_model_get and hone_model_NAME ---- */

struct emit_options {
	const char *name;   /* model name, a C identifier */
	const char *prefix; /* on every global symbol, or "" */
	const char *passes; /* for the table */
	const char *hash;
	const char *cpu; /* for the table: --cpu text of all levels; NULL: the program's own */
	const char
		*level; /* in the names of a level's functions where there are several; else "" */
	const char *next_level; /* that of the level to try after this one; NULL: none */
	bool is_next;    /* a level that another one names: it has no entry points of its own */
	bool executable; /* also emits main() */
	struct profile
		*profile; /* in-process: run() marks every kernel there (profile.h); or NULL */
};

/* run first: it may add words. */
LLVMValueRef emit_run(struct emitter *e, struct program *p, const struct emit_options *o,
		      struct diag *d);
LLVMValueRef emit_setup(struct emitter *e, struct program *p);
/* The constant tables; those of the first level with the model and its entry points. */
void emit_tables(struct emitter *e, struct program *p, const struct emit_options *o,
		 LLVMValueRef setup, LLVMValueRef run);
/* Name of kernel function i as a global symbol of this library. */
const char *function_symbol(struct program *p, const struct emit_options *o, int i);
/* The symbol of the weights: `<prefix>hone_weights_<name>`. */
const char *weights_symbol(struct arena *a, const struct emit_options *o);

/* The number of a constant in this form, which is added if there is none. */
int constant_keep(struct program *p, const struct constant *c);
/* The value's data, if it is a constant, is read as it stands in the model. */
void constant_want(struct program *p, const struct value *v);
/* Gives every constant that is used its offset, once all programs have asked for theirs. */
void constants_place(struct constants *all);
/* Writes all constants in order, each at its offset, to `write`; stops at false. */
bool program_write_weights(const struct program *p,
			   bool (*write)(void *self, const void *data, int64_t size), void *self);

#endif
