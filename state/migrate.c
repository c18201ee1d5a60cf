#include "state/migrate.h"

#include "base/hex.h"

/* What the rows of dpone_migration are compared with. */
typedef struct inspection {
    const dp_migration *migrations;
    dp_sha256 *hash;
    dp_schema_state state;
} inspection;

static bool checksum_of(dp_sha256 *hash, const char *sql, char out[DP_SHA256_HEX_LENGTH])
{
    uint8_t digest[DP_SHA256_BYTES];
    if (!dp_sha256_digest(hash, dp_slice_of_text(sql), digest)) return false;
    dp_hex_encode(digest, sizeof digest, out);
    return true;
}

static const dp_migration *find_version(const dp_migration *migrations, uint32_t version)
{
    for (; migrations->version != 0; migrations++) {
        if (migrations->version == version) return migrations;
    }
    return NULL;
}

static dp_status differs(dp_error *error, uint32_t version, const char *what)
{
    dp_error_set_code(error, DP_STATUS_USAGE, "schema_differs", "migration %u of the state database %s",
                      version, what);
    dp_error_hint(error, "this database was made by another build; use that one, or another database");
    return DP_STATUS_USAGE;
}

static dp_status compare_row(void *context, uint32_t version, dp_slice name, dp_slice checksum,
                             dp_error *error)
{
    inspection *self = context;
    const dp_migration *known = find_version(self->migrations, version);
    char expected[DP_SHA256_HEX_LENGTH];
    if (version != self->state.applied + 1) return differs(error, version, "follows a gap");
    self->state.applied = version;
    if (known == NULL) {
        dp_error_set_code(error, DP_STATUS_USAGE, "schema_newer",
                          "the state database has migration %u (%.*s), which this program does not know",
                          version, DP_SLICE_PRINT(name));
        dp_error_hint(error, "use the newer version of dpone that has changed this database");
        return DP_STATUS_USAGE;
    }
    if (!checksum_of(self->hash, known->sql, expected)) {
        return dp_error_set(error, DP_STATUS_INTERNAL, "unable to compute a SHA-256");
    }
    if (!dp_slice_equal_text(name, known->name) ||
        !dp_slice_equal(checksum, (dp_slice){expected, sizeof expected})) {
        return differs(error, version, "is not the one this program has");
    }
    return DP_STATUS_OK;
}

dp_status dp_schema_inspect(dp_store *store, dp_schema_state *state, dp_error *error)
{
    inspection self = {.migrations = store->driver->migrations, .hash = dp_sha256_new()};
    if (self.hash == NULL) return dp_error_no_memory(error, "a hash");
    for (const dp_migration *m = self.migrations; m->version != 0; m++) {
        self.state.known = m->version;
    }
    dp_row_visitor visitor = {.context = &self, .migration = compare_row};
    dp_status status = store->driver->migration_list(store, &visitor, error);
    dp_sha256_free(self.hash);
    if (status == DP_STATUS_OK) *state = self.state;
    return status;
}

dp_status dp_schema_require(dp_store *store, dp_error *error)
{
    dp_schema_state state;
    dp_status status = dp_schema_inspect(store, &state, error);
    if (status != DP_STATUS_OK || state.applied == state.known) return status;
    dp_error_set_code(error, DP_STATUS_USAGE, "schema_older",
                      "the state database has schema version %u; this program needs %u", state.applied,
                      state.known);
    dp_error_hint(error, "run: dpone state migrate");
    return DP_STATUS_USAGE;
}

static dp_status apply_missing(dp_store *store, int64_t now_us, uint32_t *applied_count, dp_error *error)
{
    dp_schema_state state;
    dp_status status = store->driver->migration_ensure(store, error);
    if (status == DP_STATUS_OK) status = dp_schema_inspect(store, &state, error);
    if (status != DP_STATUS_OK) return status;
    dp_sha256 *hash = dp_sha256_new();
    if (hash == NULL) return dp_error_no_memory(error, "a hash");
    uint32_t count = 0;
    for (const dp_migration *m = store->driver->migrations; m->version != 0 && status == DP_STATUS_OK; m++) {
        char checksum[DP_SHA256_HEX_LENGTH];
        if (m->version <= state.applied) continue;
        if (!checksum_of(hash, m->sql, checksum)) {
            status = dp_error_set(error, DP_STATUS_INTERNAL, "unable to compute a SHA-256");
            break;
        }
        status =
            store->driver->migration_apply(store, m, (dp_slice){checksum, sizeof checksum}, now_us, error);
        if (status != DP_STATUS_OK) dp_error_while(error, "applying migration %s", m->name);
        count++;
    }
    dp_sha256_free(hash);
    if (status == DP_STATUS_OK) *applied_count = count;
    return status;
}

dp_status dp_schema_migrate(dp_store *store, int64_t now_us, uint32_t *applied_count, dp_error *error)
{
    uint32_t count = 0;
    dp_status status = store->driver->begin(store, true, error);
    if (status == DP_STATUS_OK) status = apply_missing(store, now_us, &count, error);
    if (status == DP_STATUS_OK) {
        status = store->driver->commit(store, error);
    } else {
        store->driver->rollback(store);
    }
    if (status == DP_STATUS_OK && store->driver->migration_done != NULL) {
        status = store->driver->migration_done(store, error);
    }
    if (status == DP_STATUS_OK) *applied_count = count;
    return status;
}
