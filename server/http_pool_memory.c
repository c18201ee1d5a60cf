/* What libmicrohttpd calls instead of memset in its pools of connection memory; see cmake/microhttpd.cmake.
 *
 * The pools hand out memory as malloc gave it, so nothing in the library may count on zeros. What stays
 * behind is what the same connection sent before, until it is overwritten or freed.
 */
#include <stddef.h>

void *dp_http_pool_zero(void *memory, int value, size_t byte_count);

void *dp_http_pool_zero(void *memory, int value, size_t byte_count)
{
    (void)value;
    (void)byte_count;
    return memory;
}
