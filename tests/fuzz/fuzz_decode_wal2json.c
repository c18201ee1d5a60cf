/* Any bytes as records of wal2json, in either format: changes or an error, never a fault. */
#include "tests/fuzz/decode_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    decode_all((data[0] & 4) != 0 ? DP_PLUGIN_WAL2JSON_1 : DP_PLUGIN_WAL2JSON_2, data, size);
    return 0;
}
