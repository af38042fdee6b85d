/* amx_emulator.h: executes AMX instructions in software where the processor has none, so that code for AMX levels is
 * tested on any x86-64 machine with AVX-512: a handler of SIGILL decodes the instruction, changes the thread's eight
 * tile registers or memory, and goes on after it. Some microseconds each. Linux on x86-64 only.
 * The runtime's questions for AMX (hone_cpu_detect, rt_cpu_allow_amx) are answered yes from then on: test programs
 * are linked with --wrap for both. */
#ifndef TESTS_SUPPORT_AMX_EMULATOR_H
#define TESTS_SUPPORT_AMX_EMULATOR_H

#include <stdbool.h>

enum amx { AMX_NONE, AMX_NATIVE, AMX_EMULATED };

/* Makes AMX usable in this process, by permission where the processor has it, else by the handler. AMX_NONE: neither
 * is possible, or the processor lacks AVX-512. Again where another handler of SIGILL has come between: cmocka sets its
 * own for each test. */
enum amx amx_start(void);
/* While it is set, the processor has AMX, but the system refuses the permission to use it. */
void amx_refuse_permission(bool refuse);
/* Instructions executed by the handler so far, of all threads. */
long amx_emulated_count(void);

#endif
