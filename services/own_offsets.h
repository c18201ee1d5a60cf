/* Offsets in a state database of the pipeline's own, for endpoints that answer with receipts but keep no
 * offsets. */
#ifndef DPONE_SERVICES_OWN_OFFSETS_H
#define DPONE_SERVICES_OWN_OFFSETS_H

#include "services/batch_sink.h"

/* Opens (and, where it is new, creates) the database and puts itself before `sink`: batches still go to the
 * sink, offsets are loaded from and saved to the database. `pipeline` is borrowed. Closing the sink closes
 * both. On an error the sink is as it was. */
dp_status dp_own_offsets_use(const char *state_dsn, const char *pipeline, dp_batch_sink *sink,
                             dp_error *error);

#endif
