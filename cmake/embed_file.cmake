# cmake -DINPUT=... -DNAME=dp_asset_docs -DOUTPUT=... -DVERSION=... -P embed_file.cmake
# Writes a C file that holds the input's bytes as the slice NAME; @VERSION@ is replaced.
cmake_minimum_required(VERSION 3.25)
file(READ ${INPUT} text)
string(REPLACE "@VERSION@" "${VERSION}" text "${text}")
file(WRITE ${OUTPUT}.text "${text}")
file(READ ${OUTPUT}.text hex HEX)
file(REMOVE ${OUTPUT}.text)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)" "\\1\n    " bytes "${bytes}")
get_filename_component(file ${INPUT} NAME)
file(WRITE ${OUTPUT} "/* Made from ${file} by cmake/embed_file.cmake. */
#include \"server/assets.h\"

static const unsigned char content[] = {
    ${bytes}
};

dp_slice ${NAME}(void)
{
    return dp_slice_make((const char *)content, sizeof content);
}
")
