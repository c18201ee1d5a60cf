/* The list of commands, in the order in which help shows them. */
#include "cli/commands.h"

const dp_command *const dp_commands[] = {
    &dp_command_man,
    &dp_command_completion,
    NULL,
};
