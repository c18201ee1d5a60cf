/* One declaration per command; each is defined in cli/cmd_<name>.c. */
#ifndef DPONE_CLI_COMMANDS_H
#define DPONE_CLI_COMMANDS_H

#include "cli/command.h"

/* The value of `choices` wherever a backend is asked for. */
#define DP_BACKEND_CHOICES "postgres_logical|mssql_cdc|mssql_change_tracking"

extern const dp_command dp_command_cdc_decode;
extern const dp_command dp_command_cdc_run;
extern const dp_command dp_command_cdc_setup;
extern const dp_command dp_command_cdc_doctor;
extern const dp_command dp_command_cdc_status;
extern const dp_command dp_command_cdc_export;
extern const dp_command dp_command_cdc_verify;
extern const dp_command dp_command_cdc_replay;
extern const dp_command dp_command_cdc_follow;
extern const dp_command dp_command_cdc_quarantine_list;
extern const dp_command dp_command_cdc_quarantine_show;
extern const dp_command dp_command_cdc_quarantine_export;
extern const dp_command dp_command_cdc_quarantine_replay;
extern const dp_command dp_command_cdc_quarantine_discard;
extern const dp_command dp_command_cdc_audit;
extern const dp_command dp_command_cdc_plan;
extern const dp_command dp_command_cdc_replay_plan;
extern const dp_command dp_command_cdc_commit_gate;
extern const dp_command dp_command_cdc_check_idempotency;
extern const dp_command dp_command_offsets_list;
extern const dp_command dp_command_offsets_show;
extern const dp_command dp_command_offsets_set;
extern const dp_command dp_command_offsets_delete;
extern const dp_command dp_command_state_copy;
extern const dp_command dp_command_state_migrate;
extern const dp_command dp_command_state_status;
extern const dp_command dp_command_state_prune;
extern const dp_command dp_command_serve;
extern const dp_command dp_command_config_info;
extern const dp_command dp_command_client_get;
extern const dp_command dp_command_client_post;
extern const dp_command dp_command_man;
extern const dp_command dp_command_completion;

#endif
