/* A shared library needs a source of its own; everything else in it comes from base/, cdc/ and replay/. */
extern const char dp_core_version[];
const char dp_core_version[] = DPONE_VERSION;
