/* The list of commands, in the order in which help shows them: one a line, so that two branches can each add
 * one. */
#include "cli/commands.h"

/* clang-format off */
const dp_command *const dp_commands[] = {
    &dp_command_cdc_decode,
    &dp_command_cdc_setup,
    &dp_command_cdc_run,
    &dp_command_cdc_doctor,
    &dp_command_cdc_status,
    &dp_command_cdc_plan,
    &dp_command_cdc_replay_plan,
    &dp_command_cdc_commit_gate,
    &dp_command_cdc_check_idempotency,
    &dp_command_cdc_export,
    &dp_command_cdc_verify,
    &dp_command_cdc_replay,
    &dp_command_cdc_follow,
    &dp_command_cdc_quarantine_list,
    &dp_command_cdc_quarantine_show,
    &dp_command_cdc_quarantine_export,
    &dp_command_cdc_quarantine_replay,
    &dp_command_cdc_quarantine_discard,
    &dp_command_cdc_audit,
    &dp_command_offsets_list,
    &dp_command_offsets_show,
    &dp_command_offsets_set,
    &dp_command_offsets_delete,
    &dp_command_state_copy,
    &dp_command_state_migrate,
    &dp_command_state_status,
    &dp_command_state_prune,
    &dp_command_serve,
    &dp_command_config_info,
    &dp_command_client_get,
    &dp_command_client_post,
    &dp_command_man,
    &dp_command_completion,
    NULL,
};
/* clang-format on */
