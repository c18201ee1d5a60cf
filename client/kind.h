/* The function status that belongs to an error kind; everything else about kinds is in client.h. */
#ifndef DPONE_CLIENT_KIND_H
#define DPONE_CLIENT_KIND_H

#include "client/client.h"

dp_status dp_client_kind_status(dp_client_kind kind, bool retryable);

#endif
