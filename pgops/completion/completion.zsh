#compdef inv invoke pgops
# Completion in zsh: tasks and flags from invoke, values of flags from pgops.
# Made by `inv completion --shell=zsh`; works for pgops, inv, invoke and ./inv.

_pgops_inv() {
    emulate -L zsh
    local file=${~words[1]} directory first venv start flag='' current=${words[CURRENT]} line
    local -a argv_ candidates

    # The python and the program behind the command. A project's own ./inv is not run: it would make its
    # virtual environment on a TAB.
    [[ $file == */* ]] || file=$(whence -p -- $file) || return 1
    file=${file:A}
    directory=${file:h}
    venv=${PGOPS_VENV:-$directory/.venv}
    IFS= read -r first <$file 2>/dev/null || return 1
    first=${first#\#!}
    start=.
    if [[ -x $venv/bin/python && -f $venv/bin/pgops && -f $directory/tasks.py ]]; then
        argv_=($venv/bin/python $venv/bin/pgops --search-root $directory)
        start=$directory
    elif [[ -x $directory/python ]]; then
        argv_=($directory/python $file)
    elif [[ $first == */python* && -x $first ]]; then
        argv_=($first $file)
    else
        return 1
    fi

    if [[ $current == --*=* ]]; then
        flag=${current%%=*}
    elif [[ $current != -* ]]; then
        flag=${words[CURRENT-1]}
    fi
    case $flag in
    --env | -e | --from | --on | --confirm | --backup | --to | --since | --sizes-of | --fail-on | --base-revision | --accept-hazard | --table | --schema | --database | --recovery | --shell | --server)
        candidates=(${(f)"$($argv_[1] -P -m pgops.completion.values $flag $start ${words[2,CURRENT-1]} 2>/dev/null)"})
        ;;
    esac
    if (( $#candidates )); then
        compset -P '--*='
        compadd -a candidates
        return
    fi
    if [[ $current != --*=* ]]; then
        line="${argv_[2]:t} ${(j: :)words[2,CURRENT]}"
        candidates=(${(f)"$($argv_ --complete -- $line 2>/dev/null)"})
        (( $#candidates )) && compadd -a candidates && return
    fi
    _files
}

if [[ $funcstack[1] == _pgops_inv || $funcstack[1] == _inv ]]; then
    _pgops_inv "$@"  # found by compinit on its fpath
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _pgops_inv inv invoke pgops
fi
