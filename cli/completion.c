/* Shell completion made from the command tables. The scripts hold the lists themselves and call nothing. */
#include "cli/command.h"

static void append_bash_word_case(dp_buffer *out, const dp_command *command)
{
    dp_buffer_append_format(out, "    \"%s\") words=\"--help", command->path);
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        dp_buffer_append_format(out, " --%s", option->name);
    }
    dp_buffer_append_text(out, "\" ;;\n");
}

static void append_choices(dp_buffer *out, const char *choices)
{
    for (const char *at = choices; *at != '\0'; at++) {
        dp_buffer_append_byte(out, *at == '|' ? ' ' : *at);
    }
}

static void append_bash_choices(dp_buffer *out, const dp_command *command)
{
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        if (option->choices == NULL) continue;
        dp_buffer_append_format(out, "    \"%s --%s\") words=\"", command->path, option->name);
        append_choices(out, option->choices);
        dp_buffer_append_text(out, "\" ;;\n");
    }
}

/* The next word of every command path that starts with what was typed so far. */
static void append_bash_paths(dp_buffer *out)
{
    dp_buffer_append_text(out, "  local paths=(");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        dp_buffer_append_format(out, " \"%s\"", (*command)->path);
    }
    dp_buffer_append_text(out, " )\n");
}

static void append_bash(dp_buffer *out)
{
    dp_buffer_append_text(
        out, "# bash completion for dpone\n"
             "_dpone() {\n"
             "  local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
             "  local path=\"\" word index words=\"\" candidate\n");
    append_bash_paths(out);
    dp_buffer_append_text(out, "  for (( index = 1; index < COMP_CWORD; index++ )); do\n"
                               "    word=\"${COMP_WORDS[index]}\"\n"
                               "    case \"$word\" in -*) break ;; esac\n"
                               "    path=\"${path:+$path }$word\"\n"
                               "  done\n"
                               "  case \"$path $previous\" in\n");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        append_bash_choices(out, *command);
    }
    dp_buffer_append_text(out, "  esac\n  if [ -z \"$words\" ]; then case \"$path\" in\n");
    for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
        append_bash_word_case(out, *command);
    }
    dp_buffer_append_text(out, "    *) for candidate in \"${paths[@]}\"; do\n"
                               "         case \"$candidate\" in\n"
                               "           ${path:+\"$path \"}*) candidate=\"${candidate#${path:+\"$path "
                               "\"}}\"; words=\"$words ${candidate%% *}\" ;;\n"
                               "         esac\n"
                               "       done; [ -n \"$path\" ] || words=\"$words --help --version\" ;;\n"
                               "  esac; fi\n"
                               "  case \"$current\" in\n"
                               "    -*) ;;\n"
                               "    *) case \"$previous\" in --*) [ -n \"$words\" ] && case \"$words\" in "
                               "--*) COMPREPLY=( $(compgen -f -- \"$current\") ); return ;; esac ;; esac ;;\n"
                               "  esac\n"
                               "  COMPREPLY=( $(compgen -W \"$words\" -- \"$current\") )\n"
                               "}\n"
                               "complete -o default -F _dpone dpone\n");
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

static void append_fish_command(dp_buffer *out, const dp_command *command)
{
    dp_slice head;
    dp_slice tail;
    bool grouped = dp_slice_split(dp_slice_of_text(command->path), ' ', &head, &tail);
    char condition[160];
    if (grouped) {
        dp_buffer_append_format(out, "complete -c dpone -f -n '__fish_use_subcommand' -a %.*s\n",
                                DP_SLICE_PRINT(head));
        dp_buffer_append_format(out,
                                "complete -c dpone -f -n '__fish_seen_subcommand_from %.*s; and not "
                                "__fish_seen_subcommand_from %.*s' -a '%.*s' -d ",
                                DP_SLICE_PRINT(head), DP_SLICE_PRINT(tail), DP_SLICE_PRINT(tail));
        snprintf(condition, sizeof condition,
                 "__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %.*s",
                 DP_SLICE_PRINT(head), DP_SLICE_PRINT(tail));
    } else {
        dp_buffer_append_format(out, "complete -c dpone -f -n '__fish_use_subcommand' -a %s -d ",
                                command->path);
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", command->path);
    }
    append_shell_quoted(out, command->summary);
    dp_buffer_append_byte(out, '\n');
    for (const dp_option *option = command->options; option->name != NULL; option++) {
        dp_buffer_append_format(out, "complete -c dpone -n '%s' -l %s%s", condition, option->name,
                                option->argument == NULL ? "" : " -r");
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
        dp_buffer_append_text(out, "# fish completion for dpone\n");
        for (const dp_command *const *command = dp_commands; *command != NULL; command++) {
            append_fish_command(out, *command);
        }
    } else {
        return false;
    }
    return true;
}
