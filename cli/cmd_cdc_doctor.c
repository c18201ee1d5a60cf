/* dpone cdc doctor: what is wrong with source, slot, publication, server and offset, and what mends it. */
#include "base/json_writer.h"
#include "cdc/postgres_checks.h"
#include "cli/commands.h"
#include "cli/live_source.h"
#include "cli/stream_options.h"
#include "services/server_check.h"

static const dp_option options[] = {
    {.name = "source",
     .argument = "DSN",
     .help = "postgresql://USER@HOST:PORT/DATABASE",
     .environment = "DPONE_SOURCE"},
    DP_OPTION_SLOT,
    DP_OPTION_PUBLICATION,
    {.name = "plugin",
     .argument = "NAME",
     .help = "the output plugin that is meant to be used instead of the slot's own",
     .choices = "auto|pgoutput|test_decoding|wal2json-2",
     .default_text = "auto"},
    {.name = "table",
     .argument = "SCHEMA.TABLE",
     .help = "a table that must be published",
     .repeatable = true},
    {.name = "pipeline",
     .argument = "NAME",
     .help = "the pipeline whose stored offset is compared with the slot"},
    DP_OPTION_SERVER,
    DP_OPTION_TOKEN_FILE,
    DP_OPTION_CA_FILE,
    DP_OPTION_FORMAT,
    {.name = NULL},
};

typedef struct doctor {
    bool is_json;
    dp_buffer text;
    dp_json_writer json;
    size_t counts[DP_SEVERITY_ERROR + 1];
} doctor;

static dp_status on_finding(void *context, const dp_finding *finding, dp_error *error)
{
    (void)error;
    doctor *self = context;
    self->counts[finding->severity]++;
    if (!self->is_json) {
        dp_buffer_append_format(&self->text, "%-7s %s\n        ", dp_severity_text(finding->severity),
                                finding->code);
        dp_buffer_append_slice(&self->text, finding->message);
        if (finding->fix.length > 0) dp_buffer_append_text(&self->text, "\n        fix: ");
        dp_buffer_append_slice(&self->text, finding->fix);
        dp_buffer_append_byte(&self->text, '\n');
        return DP_STATUS_OK;
    }
    dp_json_begin_object(&self->json);
    dp_json_key(&self->json, "code");
    dp_json_text(&self->json, finding->code);
    dp_json_key(&self->json, "severity");
    dp_json_text(&self->json, dp_severity_text(finding->severity));
    dp_json_key(&self->json, "message");
    dp_json_string(&self->json, finding->message);
    dp_json_key(&self->json, "fix");
    dp_json_string(&self->json, finding->fix);
    dp_json_end_object(&self->json);
    return DP_STATUS_OK;
}

/* Somebody named the server, so one that does not answer is an error. */
static bool is_server_named(const dp_invocation *invocation)
{
    const char *url = dp_invocation_text(invocation, "server");
    return dp_invocation_given(invocation, "server") || dp_invocation_text(invocation, "pipeline") != NULL ||
           strcmp(url, DP_SERVER_DEFAULT) != 0;
}

static dp_status judge_server(const dp_server_look *look, const dp_finding_sink *sink, dp_error *error)
{
    const dp_slice no_fix = {"", 0};
    if (!look->is_ready) {
        return dp_finding_report(sink, "server.store_unavailable", dp_slice_of_text(look->detail), no_fix,
                                 error);
    }
    if (!look->has_store) {
        return dp_finding_report(sink, "server.store_missing",
                                 DP_SLICE_LITERAL("the server was started with --state none"), no_fix, error);
    }
    if (strcmp(look->version, DPONE_VERSION) == 0) return DP_STATUS_OK;
    char message[128];
    snprintf(message, sizeof message, "the server is version %s, this program %s",
             look->version[0] == '\0' ? "unknown" : look->version, DPONE_VERSION);
    return dp_finding_report(sink, "server.version_differs", dp_slice_of_text(message), no_fix, error);
}

static dp_status look_at_server(const dp_invocation *invocation, bool *has_store, const dp_finding_sink *sink,
                                dp_error *error)
{
    dp_server_look look;
    dp_error cause = DP_ERROR_INIT;
    dp_status status = dp_server_check(dp_invocation_text(invocation, "server"), &look, &cause);
    *has_store = status == DP_STATUS_OK && look.is_ready && look.has_store;
    if (status == DP_STATUS_OK) return judge_server(&look, sink, error);
    if (status == DP_STATUS_USAGE) {
        *error = cause;
        return status;
    }
    if (is_server_named(invocation)) return dp_finding_of_error("server.unreachable", &cause, sink, error);
    return dp_finding_report(sink, "server.unchecked",
                             DP_SLICE_LITERAL("no server answers at " DP_SERVER_DEFAULT), (dp_slice){"", 0},
                             error);
}

/* The offset the server stores, or a finding that says why it is not known. */
static dp_status look_at_offset(const dp_invocation *invocation, dp_check_request *request,
                                const dp_finding_sink *sink, dp_error *error)
{
    if (dp_invocation_text(invocation, "pipeline") == NULL) return DP_STATUS_OK;
    dp_error cause = DP_ERROR_INIT;
    dp_live_stored stored;
    dp_status status = dp_live_stored_load(invocation, (dp_slice){NULL, 0}, &stored, &cause);
    request->has_stored = stored.has_offset;
    request->stored = stored.offset;
    if (status == DP_STATUS_USAGE) {
        *error = cause;
        return status;
    }
    if (status != DP_STATUS_OK) return dp_finding_of_error("server.unreachable", &cause, sink, error);
    if (request->has_stored) return DP_STATUS_OK;
    return dp_finding_report(sink, "source.offset_missing",
                             DP_SLICE_LITERAL("no offset is stored for the pipeline"), (dp_slice){"", 0},
                             error);
}

static void finish_text(doctor *self)
{
    dp_buffer_append_format(&self->text, "%zu errors, %zu warnings, %zu notes\n",
                            self->counts[DP_SEVERITY_ERROR], self->counts[DP_SEVERITY_WARNING],
                            self->counts[DP_SEVERITY_INFO]);
}

static void finish_json(doctor *self)
{
    dp_json_end_array(&self->json);
    dp_json_key(&self->json, "errors");
    dp_json_u64(&self->json, self->counts[DP_SEVERITY_ERROR]);
    dp_json_key(&self->json, "warnings");
    dp_json_u64(&self->json, self->counts[DP_SEVERITY_WARNING]);
    dp_json_end_object(&self->json);
    dp_buffer_append_byte(&self->text, '\n');
}

static dp_status examine(const dp_invocation *invocation, doctor *self, dp_error *error)
{
    dp_finding_sink sink = {self, on_finding};
    dp_buffer tables = DP_BUFFER_INIT(1 << 20);
    const char *table;
    for (size_t i = 0; (table = dp_invocation_nth(invocation, "table", i)) != NULL; i++) {
        dp_buffer_append_format(&tables, "%s\n", table);
    }
    const char *plugin = dp_invocation_text(invocation, "plugin");
    dp_check_request request = {
        .slot = dp_invocation_text(invocation, "slot"),
        .publication = dp_invocation_text(invocation, "publication"),
        .tables = dp_buffer_slice(&tables),
    };
    if (strcmp(plugin, "wal2json-2") == 0) plugin = "wal2json";
    request.has_plugin = dp_postgres_plugin_of(plugin, &request.plugin);
    bool has_store = false;
    dp_status status = look_at_server(invocation, &has_store, &sink, error);
    if (status == DP_STATUS_OK && has_store) status = look_at_offset(invocation, &request, &sink, error);
    if (status == DP_STATUS_OK)
        status = dp_postgres_check(dp_invocation_text(invocation, "source"), &request, &sink, error);
    dp_buffer_release(&tables);
    return status;
}

static dp_status run(dp_invocation *invocation, int *exit_code, dp_error *error)
{
    doctor self = {.text = DP_BUFFER_INIT(64u << 20)};
    self.is_json = dp_wants_json(invocation);
    self.json = dp_json_writer_pretty(&self.text);
    dp_status status = dp_live_source_require(invocation, error);
    if (status != DP_STATUS_OK) return status;
    if (self.is_json) {
        dp_json_begin_object(&self.json);
        dp_json_key(&self.json, "findings");
        dp_json_begin_array(&self.json);
    }
    status = examine(invocation, &self, error);
    if (status != DP_STATUS_OK) {
        dp_buffer_release(&self.text);
        return status;
    }
    if (self.is_json) {
        finish_json(&self);
    } else {
        finish_text(&self);
    }
    *exit_code = self.counts[DP_SEVERITY_ERROR] > 0 ? 1 : 0;
    return dp_print_and_release(&self.text, error);
}

const dp_command dp_command_cdc_doctor = {
    .path = "cdc doctor",
    .summary = "say what is wrong with a source, its slot and its publication, and what mends it",
    .arguments = "",
    .description = "Checks the source's settings, the role's rights, publication, replica identities, keys, "
                   "the slot and "
                   "its health, the output plugin, the dpone server, its store and its version, and, with "
                   "--pipeline, the "
                   "stored offset against the slot. Changes nothing. Each finding has a stable code, a "
                   "severity, and the SQL or command that mends it.",
    .examples = "  dpone cdc doctor --source postgresql://dpone@db.example/shop --slot orders \\\n"
                "      --publication orders --pipeline orders\n"
                "      before the first run, or when a run has stopped\n",
    .options = options,
    .exit_codes = "0 no errors (warnings and notes may be listed), 1 errors were found, 2 usage, 3 a check "
                  "could not be run",
    .run = run,
};
