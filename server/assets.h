/* Documents that are part of the program, made from server/assets/ by the build. */
#ifndef DPONE_SERVER_ASSETS_H
#define DPONE_SERVER_ASSETS_H

#include "base/slice.h"

dp_slice dp_asset_openapi(void); /* openapi.json */
dp_slice dp_asset_docs(void);    /* docs.html */

#endif
