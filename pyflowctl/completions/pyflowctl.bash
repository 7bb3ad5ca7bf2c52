# Completion of pyflowctl for bash. The candidates come from the program itself: one a line, a tab, a description.
_pyflowctl() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(pyflowctl __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # The value follows the sign at once.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
# No candidates: file names.
complete -o default -F _pyflowctl pyflowctl
