/* signals.h: signals wait while temporary files exist, so that Ctrl-C leaves none. */
#ifndef BACKEND_SIGNALS_H
#define BACKEND_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* Holds back those that end this program; *before is for signals_release, which lets what came meanwhile
 * through, so that the program ends there. */
void signals_hold(sigset_t *before);
void signals_release(const sigset_t *before);

/* Whether one is being held back: long work stops then, as after an error, and writes no output. */
bool signals_waiting(void);

#endif
