/* signals.h: signals wait while temporary files exist, so that Ctrl-C leaves none. */
#ifndef BACKEND_SIGNALS_H
#define BACKEND_SIGNALS_H

#include <signal.h>

/* Holds back those that end a program; *before is for signals_release, which lets what came meanwhile through, and for
 * children, which are to end at once. */
void signals_hold(sigset_t *before);
void signals_release(const sigset_t *before);

#endif
