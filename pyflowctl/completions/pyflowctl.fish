# Completion of pyflowctl for fish. The candidates come from the program itself: one a line, a tab, a description.
function __pyflowctl_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l candidates (pyflowctl __complete -- $words (commandline -ct) 2>/dev/null)
    if test (count $candidates) -gt 0
        printf '%s\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c pyflowctl -f -a '(__pyflowctl_complete)'
