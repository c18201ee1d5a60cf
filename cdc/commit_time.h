/* Reads the timestamps that the text plugins print for a transaction's commit. Pure. */
#ifndef DPONE_CDC_COMMIT_TIME_H
#define DPONE_CDC_COMMIT_TIME_H

#include "base/slice.h"

/* "YYYY-MM-DD HH:MM:SS[.f{1,6}]+HH[:MM[:SS]]", as timestamptz_to_str() prints it under any time zone; years
 * of four digits or more, no BC. Gives microseconds since 1970-01-01T00:00:00Z. */
bool dp_commit_time_parse(dp_slice text, int64_t *microseconds);

#endif
