/* Shell completion made from the command tables. The scripts hold the lists themselves and call nothing. */
#include "cli/command.h"

static void append_choices(dp_buffer *out, const char *choices)
{
    for (const char *at = choices; *at != '\0'; at++) {
        dp_buffer_append_byte(out, *at == '|' ? ' ' : *at);
    }
}

/* One case a command: its options, those of them that take a value, and the words its argument may be. */
static void append_bash_word_case(dp_buffer *out, const dp_command *command)
{
    dp_buffer_append_format(out, "    \"%s\") options=\"--help", command->path);
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        dp_buffer_append_format(out, " --%s", option->name);
    }
    dp_buffer_append_text(out, "\"; valued=\"");
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        if (option->argument != NULL) dp_buffer_append_format(out, " --%s ", option->name);
    }
    dp_buffer_append_byte(out, '"');
    if (strchr(command->arguments, '|') != NULL && strpbrk(command->arguments, " [") == NULL) {
        dp_buffer_append_text(out, "; words=\"");
        append_choices(out, command->arguments);
        dp_buffer_append_byte(out, '"');
    }
    dp_buffer_append_text(out, " ;;\n");
}

static void append_bash_choices(dp_buffer *out, const dp_command *command)
{
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        if (option->choices == NULL) continue;
        dp_buffer_append_format(out, "    \"%s --%s\") values=\"", command->path, option->name);
        append_choices(out, option->choices);
        dp_buffer_append_text(out, "\" ;;\n");
    }
}

static void append_bash_paths(dp_buffer *out)
{
    dp_buffer_append_text(out, "  local paths=(");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        dp_buffer_append_format(out, " \"%s\"", (*command)->path);
    }
    dp_buffer_append_text(out, " )\n");
}

/* Readline splits --format=json at the '=': the value's option is then two words back. The path grows as long
 * as some command begins with it; what comes after are arguments. */
static const char bash_head[] =
    "# bash completion for dpone\n"
    "_dpone() {\n"
    "  local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
    "  local path=\"\" longer word index candidate options=\"\" valued=\"\" values=\"\" words=\"\"\n"
    "  if [ \"$current\" = \"=\" ]; then current=\"\"\n"
    "  elif [ \"$previous\" = \"=\" ]; then previous=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n";

static const char bash_path[] =
    "  for (( index = 1; index < COMP_CWORD; index++ )); do\n"
    "    longer=\"\"\n"
    "    for candidate in \"${paths[@]}\"; do\n"
    "      case \"$candidate \" in \"${path:+$path }${COMP_WORDS[index]} \"*) longer=yes; break ;; esac\n"
    "    done\n"
    "    [ -n \"$longer\" ] || break\n"
    "    path=\"${path:+$path }${COMP_WORDS[index]}\"\n"
    "  done\n";

static const char bash_tail[] =
    "    *)\n"
    "      for candidate in \"${paths[@]}\"; do\n"
    "        case \"$candidate\" in \"${path:+$path }\"*)\n"
    "          word=\"${candidate#\"${path:+$path }\"}\"; word=\"${word%% *}\"\n"
    "          case \" $words \" in *\" $word \"*) ;; *) words=\"$words $word\" ;; esac ;;\n"
    "        esac\n"
    "      done\n"
    "      options=\"--help\"; [ -n \"$path\" ] || options=\"--help --version\" ;;\n"
    "  esac\n"
    "  if [ -n \"$values\" ]; then COMPREPLY=( $(compgen -W \"$values\" -- \"$current\") ); return; fi\n"
    "  case \"$valued\" in *\" $previous \"*) COMPREPLY=(); return ;; esac\n"
    "  case \"$current\" in -*) words=\"\" ;; esac\n"
    "  COMPREPLY=( $(compgen -W \"$words $options\" -- \"$current\") )\n"
    "}\n"
    "complete -o default -F _dpone dpone\n";

static void append_bash(dp_buffer *out)
{
    dp_buffer_append_text(out, bash_head);
    append_bash_paths(out);
    dp_buffer_append_text(out, bash_path);
    dp_buffer_append_text(out, "  case \"$path $previous\" in\n");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        append_bash_choices(out, *command);
    }
    dp_buffer_append_text(out, "  esac\n  case \"$path\" in\n");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        append_bash_word_case(out, *command);
    }
    dp_buffer_append_text(out, bash_tail);
}

static void append_shell_quoted(dp_buffer *out, const char *text)
{
    dp_buffer_append_byte(out, '\'');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\'') {
            dp_buffer_append_text(out, "'\\''");
        } else {
            dp_buffer_append_byte(out, *at);
        }
    }
    dp_buffer_append_byte(out, '\'');
}

static void append_zsh(dp_buffer *out)
{
    dp_buffer_append_text(out, "#compdef dpone\n# zsh completion for dpone, through bash's\n"
                               "autoload -U +X bashcompinit && bashcompinit\n");
    append_bash(out);
}

/* __dpone_at: the words before the cursor are this path; __dpone_in: they begin with it. */
static const char fish_head[] = "# fish completion for dpone\n"
                                "function __dpone_path\n"
                                "  set -l path\n"
                                "  for word in (commandline -opc)[2..-1]\n"
                                "    string match -q -- '-*' $word; and break\n"
                                "    set -a path $word\n"
                                "  end\n"
                                "  string join ' ' -- $path\n"
                                "end\n"
                                "function __dpone_at\n"
                                "  test \"$(__dpone_path)\" = \"$argv\"\n"
                                "end\n"
                                "function __dpone_in\n"
                                "  string match -q -- \"$argv *\" \"$(__dpone_path) \"\n"
                                "end\n";

/* Each word of the path completes the words before it. */
static void append_fish_words(dp_buffer *out, const dp_command *command)
{
    dp_slice prefix = {command->path, 0};
    dp_slice word;
    dp_slice rest = dp_slice_of_text(command->path);
    for (bool more = true; more;) {
        more = dp_slice_split(rest, ' ', &word, &rest);
        dp_buffer_append_format(out, "complete -c dpone -f -n '__dpone_at %.*s' -a %.*s",
                                DP_SLICE_PRINT(prefix), DP_SLICE_PRINT(word));
        if (!more) {
            dp_buffer_append_text(out, " -d ");
            append_shell_quoted(out, command->summary);
        }
        dp_buffer_append_byte(out, '\n');
        prefix.length = (size_t)(word.data - command->path) + word.length;
    }
}

static void append_fish_command(dp_buffer *out, const dp_command *command)
{
    append_fish_words(out, command);
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        dp_buffer_append_format(out, "complete -c dpone -n '__dpone_in %s' -l %s%s", command->path,
                                option->name, option->argument == NULL ? "" : " -r");
        if (option->choices != NULL) {
            dp_buffer_append_text(out, " -f -a '");
            append_choices(out, option->choices);
            dp_buffer_append_byte(out, '\'');
        }
        dp_buffer_append_text(out, " -d ");
        append_shell_quoted(out, option->help);
        dp_buffer_append_byte(out, '\n');
    }
}

bool dp_completion_script(dp_slice shell, dp_buffer *out)
{
    if (dp_slice_equal_text(shell, "bash")) {
        append_bash(out);
    } else if (dp_slice_equal_text(shell, "zsh")) {
        append_zsh(out);
    } else if (dp_slice_equal_text(shell, "fish")) {
        dp_buffer_append_text(out, fish_head);
        for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
            append_fish_command(out, *command);
        }
    } else {
        return false;
    }
    return true;
}
