# Completion of pyflowctl for bash. The candidates come from the program itself: one a line, a tab, a description.
_pyflowctl() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(pyflowctl __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
# No candidates: file names.
complete -o default -F _pyflowctl pyflowctl
