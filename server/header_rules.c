#include "server/header_rules.h"

static const bool token_characters[256] = {
    ['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

/* RFC 9110, section 5.6.2. */
static bool is_token(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (!token_characters[(unsigned char)text.data[i]]) return false;
    }
    return text.length > 0;
}

dp_slice dp_header_trim_end(dp_slice value)
{
    while (value.length > 0 &&
           (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t')) {
        value.length--;
    }
    return value;
}

static bool is_field_value(dp_slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F) return false;
    }
    return true;
}

static void refuse(dp_header_fault *fault, const char *detail)
{
    if (fault->status == 0) *fault = (dp_header_fault){400, detail};
}

static bool is_named(dp_slice name, dp_slice wanted)
{
    return name.length == wanted.length && dp_slice_equal_ignoring_case(name, wanted);
}

void dp_header_add(dp_header_facts *facts, dp_slice name, dp_slice value)
{
    if (!is_token(name)) refuse(&facts->fault, "A header name has a character that is not allowed");
    if (!is_field_value(value)) refuse(&facts->fault, "A header value has a control character");
    if (is_named(name, DP_SLICE_LITERAL("Host"))) {
        facts->hosts++;
    } else if (is_named(name, DP_SLICE_LITERAL("Content-Length"))) {
        facts->lengths++;
        facts->length = value;
    } else if (is_named(name, DP_SLICE_LITERAL("Transfer-Encoding"))) {
        facts->codings++;
        facts->coding = value;
    }
}

dp_header_verdict dp_header_judge(const dp_header_facts *facts, dp_slice method, dp_slice version)
{
    dp_header_verdict verdict = {.fault = facts->fault};
    dp_header_fault *fault = &verdict.fault;
    bool is_1_0 = dp_slice_equal_text(version, "HTTP/1.0");
    bool is_1_1 = dp_slice_equal_text(version, "HTTP/1.1");
    bool is_chunked = dp_slice_equal_ignoring_case(facts->coding, DP_SLICE_LITERAL("chunked"));
    if (!is_1_0 && !is_1_1) refuse(fault, "The protocol version is not HTTP/1.1 or HTTP/1.0");
    if (!is_token(method)) refuse(fault, "The method has a character that is not allowed");
    if (facts->lengths > 1) refuse(fault, "Content-Length is given more than once");
    if (facts->lengths > 0 && facts->codings > 0)
        refuse(fault, "Content-Length and Transfer-Encoding are both given");
    if (facts->codings > 1 || (facts->codings == 1 && !is_chunked))
        refuse(fault, "Transfer-Encoding is not 'chunked'");
    if (facts->codings > 0 && is_1_0) refuse(fault, "Transfer-Encoding in HTTP/1.0");
    if (facts->lengths == 1 && !dp_slice_to_u64(facts->length, INT64_MAX, &verdict.announced_bytes))
        refuse(fault, "Content-Length is not a number");
    if (facts->hosts > 1) refuse(fault, "Host is given more than once");
    if (facts->hosts == 0 && is_1_1) refuse(fault, "Host is missing");
    verdict.has_body = verdict.announced_bytes > 0 || facts->codings > 0;
    return verdict;
}
