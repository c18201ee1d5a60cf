/* One declaration per command; each is defined in cli/cmd_<name>.c. */
#ifndef DPONE_CLI_COMMANDS_H
#define DPONE_CLI_COMMANDS_H

#include "cli/command.h"

extern const dp_command dp_command_man;
extern const dp_command dp_command_completion;

#endif
