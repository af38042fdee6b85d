/* plan.c: names as plans print them. */
#include "ir/plan.h"

#include <stddef.h>

const char *const driver_names[DRIVER_COUNT + 1] = {"none",      "loops", "contract",
						    "attention", "call",  NULL};
const char *const contract_mac_names[MAC_COUNT + 1] = {
	"i8_tile",  "bf16_tile", "i8_dot", "i8_madd", "i8_mul", "bf16_dot",
	"bf16_fma", "w8_f32",    "w4_f32", "f32",     NULL};
