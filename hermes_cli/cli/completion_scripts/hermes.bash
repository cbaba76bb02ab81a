# Completes the commands, options and names of hermes. Made by 'hermes completion bash'.

_hermes() {
    local line=${COMP_LINE:0:COMP_POINT}
    local current=${line##*[[:space:]]} breaks="" before="" value help

    # bash replaces only the part of the word behind the last colon or equals sign.
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ $breaks ]] && before=${current%"${current##*["$breaks"]}"}

    COMPREPLY=()
    while IFS=$'\t' read -r value help; do
        value=${value#"$before"}
        # 63 means that bash only lists the completions. Otherwise it would insert the description.
        [[ $COMP_TYPE == 63 && $help ]] && value="$value  ($help)"
        COMPREPLY+=("$value")
    done < <(command hermes completion bash --complete "$line" 2>/dev/null)
}

# Without a completion from hermes, bash completes file names.
complete -o bashdefault -o default -F _hermes hermes openhermes openhermes-cli
