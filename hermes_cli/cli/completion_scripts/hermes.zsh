#compdef hermes openhermes openhermes-cli
# Completes the commands, options and names of hermes. Made by 'hermes completion zsh'.

_hermes() {
    local value help line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    local -a values descriptions

    while IFS=$'\t' read -r value help; do
        values+=("$value")
        descriptions+=("$value${help:+  $help}")
    done < <(command hermes completion zsh --complete "$line" 2>/dev/null)

    if (( $#values )); then
        compadd -l -d descriptions -a values
    else
        _files
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _hermes "$@"  # this file is _hermes in a folder of $fpath
else
    compdef _hermes hermes openhermes openhermes-cli
fi
