/* The pipeline: source -> decoder -> batch -> sink -> receipt -> commit gate -> offset -> source.
 *
 * The promise: what is confirmed to the source <= the stored offset <= what is durable in the journal. Every
 * step may be cut at any time and run again. Decisions are the pure modules' (decoder, batch writer, commit
 * gate, run_decisions.h); this only sequences them, in files that run_internal.h lists. One thread.
 *
 * Batches may be in flight side by side, each telling the sink which one it comes after. Their receipts are
 * taken strictly in order, so everything behind the oldest one is as if it had not been sent.
 */
#ifndef DPONE_SERVICES_CDC_RUN_H
#define DPONE_SERVICES_CDC_RUN_H

#include <signal.h>

#include "cdc/batch_writer.h"
#include "cdc/change_source.h"
#include "services/batch_sink.h"

typedef enum dp_on_poison { DP_ON_POISON_STOP, DP_ON_POISON_QUARANTINE } dp_on_poison;

typedef struct dp_cdc_run_summary {
    uint64_t transaction_count; /* complete ones, delivered */
    uint64_t event_count;       /* delivered, duplicates included */
    uint64_t accepted_count;
    uint64_t duplicate_count;
    uint64_t batch_count;
    uint64_t skipped_transaction_count; /* at or below the stored offset */
    uint64_t poison_count;              /* put into quarantine */
    uint64_t known_poison_count;        /* read again: in quarantine already */
    uint64_t doubtful_null_count; /* events of wal2json with a null that may have been NaN or Infinity */
    bool has_offset;
    dp_offset offset;    /* stored */
    const char *blocker; /* the first gate blocker that stopped the run, or NULL */
} dp_cdc_run_summary;

enum { DP_CDC_RUN_TROUBLE_BYTES = 512 };

/* What the run is doing at this moment, for whoever watches it. Times of "since" are monotonic, 0: not so. */
typedef struct dp_cdc_run_state {
    int64_t sink_since_us; /* the sink owes an answer: to a batch, or to a request about the offset */
    char sink_trouble[DP_CDC_RUN_TROUBLE_BYTES]; /* why, as last told; empty: nothing was told */
    int64_t source_since_us;                     /* the source is not being read */
    bool is_slot_held;                           /* because another connection reads the slot */
    char source_trouble[DP_CDC_RUN_TROUBLE_BYTES];
    int64_t open_since_us;   /* the transaction in transit began to arrive */
    uint64_t open_row_count; /* of it so far */
    uint64_t read_count;     /* moves with everything that is read */
    bool has_high_watermark; /* the newest position the source told */
    dp_lsn high_watermark;
    int64_t receipt_wall_us; /* of the last receipt, 0: none yet */
    char receipt_batch_id[DP_SHA256_HEX_LENGTH + 1];
} dp_cdc_run_state;

typedef struct dp_cdc_run_options {
    const dp_plugin *plugin;    /* read when the first record arrives: a capture shows its plugin only then */
    const dp_unique_keys *keys; /* may be NULL */
    dp_batch_source stream;
    dp_batch_limits limits;
    unsigned batch_wait_ms; /* a batch that is not full is sent after this long */
    /* 0: nothing is read while a batch is in flight; 1: the next one is prepared meanwhile; up to
     * DP_BATCH_LANES: so many are in flight, where the sink keeps order. */
    unsigned batches_in_flight;
    unsigned
        offset_interval_ms; /* offsets that passed the gate are saved at most this often, and at the end */
    uint64_t max_batches;   /* stop after so many; 0: no limit */
    dp_on_poison on_poison;
    bool trust_nulls;                  /* dp_decoder_set_trust_nulls */
    bool from_start;                   /* send transactions again that the stored offset has passed */
    const volatile sig_atomic_t *stop; /* set from outside to end in order; may be NULL */
    /* Called about once a second with the counts so far, and before every wait for a sink that is down; may
     * be NULL. */
    void (*report)(void *context, const dp_cdc_run_summary *summary, const dp_error *trouble);
    void *report_context;
    /* Called about once a second, and before a request that may keep the run from calling; may be NULL. */
    void (*publish)(void *context, const dp_cdc_run_summary *summary, const dp_cdc_run_state *state);
    void *publish_context;
} dp_cdc_run_options;

/* Runs until the source ends, max_batches, stop, or an error. OK when it ended in order. BLOCKED when the
 * gate said no, CONFLICT when the journal refused, POISON, DATA and the rest from where they arose. *summary
 * is filled in always. */
dp_status dp_cdc_run(const dp_cdc_run_options *options, const dp_change_source *source,
                     const dp_batch_sink *sink, dp_cdc_run_summary *summary, dp_error *error);

#endif
