# Completes the commands, options and names of hermes. Made by 'hermes completion fish'.

function __hermes_complete
    set -l line (commandline --cut-at-cursor --current-process | string collect)
    set -l found (command hermes completion fish --complete "$line" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline --cut-at-cursor --current-token)
    end
end

for name in hermes openhermes openhermes-cli
    complete --command $name --no-files --arguments '(__hermes_complete)'
end
