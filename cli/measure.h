/* measure.h: the model as it was beside what the passes made of it, for --report. */
#ifndef CLI_MEASURE_H
#define CLI_MEASURE_H

#include "cli/session.h"

/* Reads the inputs of --held-out, which no pass sees. False: reported. */
bool measure_read(struct session *s);

/* Notes the model's multiply-adds after a pass, as session's observer. */
void measure_observe(struct session *s, const char *pass);

/* Appends the section "model" to the report: size, multiply-adds, and on held-out inputs (else those to calibrate with)
 * latency and error against the model without any pass that changes it. False: reported. */
bool measure_model(struct session *s);

#endif
