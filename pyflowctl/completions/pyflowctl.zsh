#compdef pyflowctl
# Completion of pyflowctl for zsh. The candidates come from the program itself: one a line, a tab, a description.
_pyflowctl() {
    local line
    local -a candidates
    for line in "${(@f)$(pyflowctl __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#candidates )); then
        _describe -V 'pyflowctl' candidates
    else
        _files
    fi
}
compdef _pyflowctl pyflowctl
