/* Which headers are refused, and where a message ends in those that are not. */
#include "tests/unit/support/cmocka_includes.h"

#include "server/header_rules.h"

typedef struct row {
    const char *version;
    const char *fields; /* "Name:value|Name:value" */
    const char *fault;  /* part of the detail; NULL: none */
    bool has_body;
    uint64_t announced_bytes;
} row;

static dp_header_verdict judge(const row *of, const char *method)
{
    dp_header_facts facts = {0};
    dp_slice rest = dp_slice_of_text(of->fields);
    bool more = rest.length > 0;
    while (more) {
        dp_slice field;
        dp_slice name;
        dp_slice value;
        more = dp_slice_split(rest, '|', &field, &rest);
        dp_slice_split(field, ':', &name, &value);
        dp_header_add(&facts, name, value);
    }
    return dp_header_judge(&facts, dp_slice_of_text(method), dp_slice_of_text(of->version));
}

static void framing(void **state)
{
    (void)state;
    static const row rows[] = {
        {"HTTP/1.1", "Host:x", NULL, false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:0", NULL, false, 0},
        {"HTTP/1.1", "host:x|CONTENT-LENGTH:12", NULL, true, 12},
        {"HTTP/1.1", "Host:x|Transfer-Encoding:Chunked", NULL, true, 0},
        {"HTTP/1.0", "", NULL, false, 0},
        {"HTTP/1.1", "", "Host is missing", false, 0},
        {"HTTP/1.1", "Host:x|Host:x", "Host is given more than once", false, 0},
        {"HTTP/1.2", "Host:x", "protocol version", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:3|Content-Length:3", "more than once", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:+3", "not a number", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:", "not a number", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:9223372036854775808", "not a number", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length:3|Transfer-Encoding:chunked", "both given", true, 3},
        {"HTTP/1.1", "Host:x|Transfer-Encoding:gzip, chunked", "not 'chunked'", true, 0},
        {"HTTP/1.1", "Host:x|Transfer-Encoding:chunked|Transfer-Encoding:chunked", "not 'chunked'", true, 0},
        {"HTTP/1.0", "Transfer-Encoding:chunked", "in HTTP/1.0", true, 0},
        {"HTTP/1.1", "Host:x|X A:b", "header name", false, 0},
        {"HTTP/1.1", "Host:x|:b", "header name", false, 0},
        {"HTTP/1.1", "Host:x|Content-Length :3", "header name", false, 0},
        {"HTTP/1.1", "Host:x|X-A:a\rb", "control character", false, 0},
        {"HTTP/1.1", "Host:x|X-A:a\x7f", "control character", false, 0},
        {"HTTP/1.1", "Host:x|X-A:a\tb\xff", NULL, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dp_header_verdict verdict = judge(&rows[i], "GET");
        assert_int_equal(verdict.fault.status, rows[i].fault == NULL ? 0 : 400);
        if (rows[i].fault != NULL) {
            assert_non_null(strstr(verdict.fault.detail, rows[i].fault));
            continue;
        }
        assert_int_equal(verdict.has_body, rows[i].has_body);
        assert_int_equal(verdict.announced_bytes, rows[i].announced_bytes);
    }
}

static void methods_are_tokens(void **state)
{
    (void)state;
    const row plain = {"HTTP/1.1", "Host:x", NULL, false, 0};
    static const struct {
        const char *method;
        bool valid;
    } rows[] = {{"GET", true},  {"M-SEARCH", true}, {"get", true},
                {"G@T", false}, {"", false},        {"G T", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(judge(&plain, rows[i].method).fault.status, rows[i].valid ? 0 : 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing),
        cmocka_unit_test(methods_are_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
