/* calibrate.h: --calibrate: samples from files, or random ones. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "cli/options.h"
#include "passes/calibration.h"

/* Reads what the words name into k->inputs (in `a`) and checks it against the graph: NAME=FILE.npy, FILE.npy (the
 * inputs in order), FILE.npz (arrays by input name), a folder of such files, or random:N. limit: as for npz_read.
 * False: reported. */
bool calibrate_read(const struct graph *g, const struct list *words, uint64_t limit,
		    struct arena *a, struct calibration *k, struct diag *d);

#endif
