/* What a request's header may not be: characters, framing, Host. Pure; slices are borrowed.
 *
 * The shapes refused here are those that request smuggling is made of (RFC 9112, sections 3.2 and 6.3).
 */
#ifndef DPONE_SERVER_HEADER_RULES_H
#define DPONE_SERVER_HEADER_RULES_H

#include "base/slice.h"

/* The first fault found; status 0: none. */
typedef struct dp_header_fault {
    unsigned status;
    const char *detail;
} dp_header_fault;

/* What matters for framing, collected field by field. Zero it before the first. */
typedef struct dp_header_facts {
    unsigned hosts;
    unsigned lengths;
    unsigned codings;
    dp_slice length; /* the last Content-Length and Transfer-Encoding */
    dp_slice coding;
    dp_header_fault fault;
} dp_header_facts;

typedef struct dp_header_verdict {
    dp_header_fault fault;
    bool has_body;
    uint64_t announced_bytes; /* by Content-Length; 0 for a chunked body */
} dp_header_verdict;

void dp_header_add(dp_header_facts *facts, dp_slice name, dp_slice value);

/* All fields have been added; `version` is such as "HTTP/1.1". */
dp_header_verdict dp_header_judge(const dp_header_facts *facts, dp_slice method, dp_slice version);

/* Without the blanks and tabs at the end, which are no part of a value (RFC 9110, section 5.5). Framing is
 * judged on the value as received, because the library does not leave them out. */
dp_slice dp_header_trim_end(dp_slice value);

#endif
