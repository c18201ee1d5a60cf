#include "server/tls_files.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/file.h"

enum { MAX_PEM_BYTES = 1 << 20 };

static dp_status read_pem(const char *flag, const char *path, dp_buffer *out, dp_error *error)
{
    dp_error cause = DP_ERROR_INIT;
    if (dp_file_read(path, MAX_PEM_BYTES, out, &cause) != DP_STATUS_OK)
        return dp_error_set(error, DP_STATUS_USAGE, "%s: %s", flag, cause.message);
    return dp_buffer_text(out) == NULL ? dp_error_no_memory(error, flag) : DP_STATUS_OK;
}

static BIO *open_text(const dp_buffer *text)
{
    return text->length == 0 ? NULL : BIO_new_mem_buf(text->data, (int)text->length);
}

/* The first certificate of the chain; NULL when there is none, or when one of them is damaged. */
static X509 *parse_chain(const dp_buffer *text)
{
    BIO *bio = open_text(text);
    X509 *first = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    X509 *next = first;
    while (next != NULL) {
        next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        X509_free(next);
    }
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    if (ended || first == NULL) return first;
    X509_free(first);
    return NULL;
}

/* Instead of OpenSSL's own, which would ask the terminal. */
static int refuse_passphrase(char *out, int capacity, int is_writing, void *was_asked)
{
    (void)out;
    (void)capacity;
    (void)is_writing;
    *(bool *)was_asked = true;
    return -1;
}

static EVP_PKEY *parse_key(const dp_buffer *text, bool *is_protected)
{
    BIO *bio = open_text(text);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, is_protected);
    BIO_free(bio);
    return key;
}

static dp_status check(const char *certificate_path, const char *key_path, const dp_tls_files *files,
                       dp_error *error)
{
    bool is_protected = false;
    dp_status status = DP_STATUS_OK;
    ERR_clear_error();
    X509 *certificate = parse_chain(&files->certificate);
    EVP_PKEY *key = parse_key(&files->key, &is_protected);
    if (certificate == NULL) {
        status = dp_error_set(error, DP_STATUS_USAGE,
                              "--tls-cert: '%s' is not a PEM file with whole certificates", certificate_path);
    } else if (is_protected) {
        status = dp_error_set(error, DP_STATUS_USAGE,
                              "--tls-key: '%s' needs a passphrase; expected a key without one", key_path);
    } else if (key == NULL) {
        status = dp_error_set(error, DP_STATUS_USAGE, "--tls-key: '%s' is not a PEM file with a private key",
                              key_path);
    } else if (X509_check_private_key(certificate, key) != 1) {
        status = dp_error_set(error, DP_STATUS_USAGE,
                              "--tls-key: '%s' is not the key of the first certificate in '%s'", key_path,
                              certificate_path);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return status;
}

dp_status dp_tls_files_read(const char *certificate_path, const char *key_path, dp_tls_files *files,
                            dp_error *error)
{
    dp_tls_files result = {DP_BUFFER_INIT(2 * MAX_PEM_BYTES), DP_BUFFER_INIT(2 * MAX_PEM_BYTES)};
    dp_status status = read_pem("--tls-cert", certificate_path, &result.certificate, error);
    if (status == DP_STATUS_OK) status = read_pem("--tls-key", key_path, &result.key, error);
    if (status == DP_STATUS_OK) status = check(certificate_path, key_path, &result, error);
    if (status == DP_STATUS_OK) {
        *files = result;
    } else {
        dp_tls_files_release(&result);
    }
    return status;
}

void dp_tls_files_release(dp_tls_files *files)
{
    if (files->key.data != NULL) OPENSSL_cleanse(files->key.data, files->key.length);
    dp_buffer_release(&files->certificate);
    dp_buffer_release(&files->key);
}
