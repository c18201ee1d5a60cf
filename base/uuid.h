/* Random UUIDs (RFC 9562 version 4) from the kernel's generator, fetched in blocks so that one costs no
 * system call. */
#ifndef DPONE_BASE_UUID_H
#define DPONE_BASE_UUID_H

#define DP_UUID_TEXT_BYTES 37

/* Writes 36 characters in lower case and a NUL. Safe from any thread, and after a fork. */
void dp_uuid_v4(char out[DP_UUID_TEXT_BYTES]);

#endif
