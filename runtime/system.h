/* system.h: what contexts ask of the system besides memcpy, memset and memmove. A freestanding runtime
 * (HONE_FREESTANDING, `hone compile --runtime none`) has neither memory nor threads of its own: both come
 * from the caller, in hone_options. */
#ifndef RUNTIME_SYSTEM_H
#define RUNTIME_SYSTEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes aligned to 64, a multiple of 64; NULL if there are none (freestanding: always). */
void *rt_allocate(int64_t bytes);
void rt_release(void *memory);

/* use(memory, self) with so many 64-aligned bytes that live for the call only (freestanding: on the stack);
 * -1 if there are none. */
int64_t rt_with_memory(int64_t bytes, int64_t (*use)(void *memory, void *self), void *self);

/* vsnprintf for %s %d %u %lld %zu and %g (whose last digit may be another where rounding is a tie). text.c */
void rt_format(char *text, size_t size, const char *format, va_list args);

#endif
