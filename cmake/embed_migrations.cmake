# cmake -DDRIVER=sqlite -DFOLDER=... -DOUTPUT=... -P embed_migrations.cmake
# Writes a C file that holds every NNNN_name.sql of the folder as the array dp_migrations_<driver>.
file(GLOB scripts ${FOLDER}/[0-9][0-9][0-9][0-9]_*.sql)
list(SORT scripts)
set(texts "")
set(rows "")
set(expected 1)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  string(SUBSTRING ${name} 0 4 number)
  string(REGEX REPLACE "^0+" "" version ${number})
  if(NOT version EQUAL expected)
    message(FATAL_ERROR "${script}: expected number ${expected}: migrations have no gaps")
  endif()
  math(EXPR expected "${expected} + 1")
  file(READ ${script} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n    " bytes "${bytes}")
  string(APPEND texts "static const char sql_${version}[] = {\n    ${bytes}0x00};\n\n")
  string(APPEND rows "    {${version}, \"${name}\", sql_${version}},\n")
endforeach()
file(WRITE ${OUTPUT} "/* Made from ${DRIVER}'s migrations by cmake/embed_migrations.cmake. */
#include \"state/migrations.h\"

${texts}const dp_migration dp_migrations_${DRIVER}[] = {
${rows}    {0, NULL, NULL},
};
")
