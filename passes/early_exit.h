/* early_exit.h: between the files of the pass early_exit.
 *   early_exit.c        options, and the order of the steps
 *   early_exit_batch.c  a constant batch as a symbol
 *   early_exit_trunk.c  where the model can be cut, and the proof that it can
 *   early_exit_heads.c  exits that the model has: auxiliary outputs
 *   early_exit_feature.c  what a fitted head reads
 *   early_exit_fit.c    heads and thresholds, from calibration inputs
 *   early_exit_emit.c   the graph with exits
 *   early_exit_time.c   how long each part of it takes, for the report */
#ifndef PASSES_EARLY_EXIT_H
#define PASSES_EARLY_EXIT_H

#include "passes/patterns.h"

enum exit_rule { RULE_CONFIDENCE, RULE_ENTROPY, RULE_MARGIN, RULE_PATIENCE, RULE_COUNT };
extern const char *const exit_rules[RULE_COUNT];

enum { CUTS_MAX = 10 };

/* An auxiliary output of the model that answers what the model does. */
struct head {
	const char *name;
	int output;          /* its position among the model's outputs */
	struct value *value; /* f32[N,C] */
	struct value
		*logits; /* of which it is the softmax where the answer is one too; else itself */
	struct node **nodes; /* what it alone is made of, without constants, in order */
	int node_count;
};

/* A place between two blocks. */
struct cut {
	struct value *value;
	int position;       /* of the node that makes it, in the body */
	double work;        /* multiply-adds of one sample up to here, of all: 0..1 */
	struct value *last; /* the value after the last block that this one resembles, or NULL: then
			       the features are means over positions */
	const struct head *head; /* the model's own head; NULL: one is fitted */
	struct value *feature;   /* [N,F] */
	int feature_count;
	float *features; /* [samples,F] */
	float *weights;  /* [F,C], of the head */
	float *bias;     /* [C] */
	float *logits;   /* [samples,C], of the head */
	double threshold;
	/* measured times of a sample in ms, for the report: of the model up to here; of the head, its confidence and
	 * answer; and of compaction of what goes on */
	double ms, answer_ms, keep_ms;
};

struct exits {
	struct pass_context *c;
	/* asked for */
	double agree;
	enum exit_rule rule;
	int wanted;             /* number of exits; 0: as many as pay */
	const char *names;      /* of values, joined by +; or NULL */
	const char *head_names; /* of auxiliary outputs, joined by +; or NULL */
	/* the model */
	struct head heads[CUTS_MAX];
	int head_count;
	bool *is_aside;       /* by value id: only heads are made of it; NULL: nothing is */
	struct value *answer; /* [N,C], the output */
	const char *answer_name;
	struct value *logits; /* [N,C]: what heads imitate */
	bool softmax;         /* the output is the softmax of the logits */
	int classes;
	dim batch;             /* a symbol, or the constant 1 */
	int fixed;             /* where it is a symbol for a constant: that; else 0 */
	struct graph original; /* what was set aside then */
	struct {
		struct origin {
			struct value *copy, *value; /* of the original body */
		} *at;
		int count, room;
	} origins;
	struct node **nodes;         /* of the body, by position */
	int node_count, value_count; /* as they were before the pass added any */
	double work;                 /* multiply-adds of one sample */
	double ms,
		answer_ms; /* measured time of one, and of the confidence of the answer at its end, for the
				 report */
	struct cut cuts[CUTS_MAX];
	int cut_count;
	/* measured */
	int samples;
	float *targets; /* [samples,C] */
	double agreement, bound,
		mean_work; /* of the chosen thresholds, on samples not used to fit */
};

/* Where the batch is a constant above 1: puts a body in place of the graph's in which a symbol stands for it. False:
 * reported. */
bool exits_lift(struct exits *x);
/* Puts the original body back; map[value id] gets the original of each value of the other one. Nothing, where there is
 * no other. */
void exits_lower(struct exits *x, struct value **map);

/* d with `symbol` for the batch; d itself for a model of batch 1. */
dim exits_rows(const struct exits *x, dim d, dim symbol);
/* Whether v has a row for each sample. */
bool exits_is_batched(const struct exits *x, const struct value *v);

/* Finds output, trunk and cuts. False: reported, or (with a warning) there is nothing to gain: cut_count is 0. */
bool exits_find(struct exits *x);

/* A copy of n for the rows `symbol`, its operands by map[value id] where not NULL; sets the map of its results. */
struct node *exits_copy(const struct exits *x, struct builder *b, const struct node *n, dim symbol,
			struct value **map);
/* The features [rows,F] of a cut whose value is h; map as above, for what the model's own pooling reads. */
struct value *exits_feature(const struct exits *x, struct builder *b, const struct cut *cut,
			    struct value *h, dim symbol, struct value **map);

/* Whether n can run on some of the rows alone. */
bool exits_is_cuttable(const struct exits *x, const struct node *n);

/* Takes the outputs that are named as heads off the graph. False: reported. */
bool exits_take_heads(struct exits *x);
/* The first of all cuts behind `first` at which each head can answer, in order. False: reported. */
bool exits_place_heads(struct exits *x, const struct cut *all, int count, int first);
/* The logits of a head for the rows `symbol`; map as for exits_copy. NULL: reported. */
struct value *exits_copy_head(const struct exits *x, struct builder *b, const struct head *h,
			      dim symbol, struct value **map);

/* Fits heads, chooses exits and thresholds; cuts that are not used are dropped. False: reported; no cut left: a
 * warning says why. */
bool exits_fit(struct exits *x);

/* Where exits are added: to the end of the body of the graph. */
struct emission {
	struct value **map; /* by value id: what stands for it there; NULL: itself */
	dim rows;           /* the batch there */
	const char *const
		*stop_names; /* NULL, or to be timed: names of parameters that end a run where they
			       are 1: at each cut before the head, after the answer and (a symbolic batch) after
			       compaction, and before the answer of the model */
	int stop_count;      /* how many were used */
};
/* Sets the outputs. False: reported. */
bool exits_emit(struct exits *x, struct emission *to);

/* Measures the times of cuts and of the model. False: reported. */
bool exits_time(struct exits *x);

#endif
