/* Any bytes as records of wal2json, in either format: changes or an error, never a fault. A record of format
 * 2 that is read as one like it was before comes to what the careful way makes of it, which a blank behind it
 * asks for. */
#include "tests/fuzz/decode_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if ((data[0] & 4) != 0) {
        decode_all(DP_PLUGIN_WAL2JSON_1, data, size);
        return 0;
    }
    dp_buffer plain = DP_BUFFER_INIT(64 << 20), careful = DP_BUFFER_INIT(64 << 20);
    dp_status status = decode_into(DP_PLUGIN_WAL2JSON_2, data, size, DP_SLICE_LITERAL(""), &plain);
    if (decode_into(DP_PLUGIN_WAL2JSON_2, data, size, DP_SLICE_LITERAL(" "), &careful) != status) abort();
    if (!dp_slice_equal(dp_buffer_slice(&plain), dp_buffer_slice(&careful))) abort();
    dp_buffer_release(&plain);
    dp_buffer_release(&careful);
    return 0;
}
