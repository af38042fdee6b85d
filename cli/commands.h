/* commands.h: the subcommands; argv[0] is the subcommand's name. Each returns the exit status. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/options.h"

int command_compile(int argc, char **argv);
int command_compress(int argc, char **argv);
int command_run(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_check(int argc, char **argv);
int command_dump(int argc, char **argv);
int command_info(int argc, char **argv);
int command_ops(int argc, char **argv);
int command_passes(int argc, char **argv);

/* The row of a subcommand in `commands`. */
const struct command *command_row(const char *name);

#endif
