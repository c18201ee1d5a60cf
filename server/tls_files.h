/* Reads the certificate chain and the private key of a TLS server from their PEM files and checks that they
 * can serve: both whole, the key without a passphrase, and of the chain's first certificate. Never asks
 * anybody for a passphrase, never judges validity or names. The caller owns the texts. Not for use by several
 * threads at once. */
#ifndef DPONE_SERVER_TLS_FILES_H
#define DPONE_SERVER_TLS_FILES_H

#include "base/buffer.h"
#include "base/error.h"

typedef struct dp_tls_files {
    dp_buffer certificate; /* PEM */
    dp_buffer key;         /* PEM */
} dp_tls_files;

/* USAGE names the flag, the file and what is wrong with it. */
dp_status dp_tls_files_read(const char *certificate_path, const char *key_path, dp_tls_files *files,
                            dp_error *error);
void dp_tls_files_release(dp_tls_files *files);

#endif
