/* Any bytes as records of test_decoding: changes or an error, never a fault. */
#include "tests/fuzz/decode_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_all(DP_PLUGIN_TEST_DECODING, data, size);
    return 0;
}
