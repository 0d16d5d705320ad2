# Completion in bash: tasks and flags from invoke, values of flags from pgops.
# Made by `inv completion --shell=bash`; works for pgops, inv, invoke and ./inv.

# The python and the program behind a command word, in _pgops_argv; nothing where neither can be told.
# A project's own ./inv is not run: it would make its virtual environment on a TAB.
_pgops_argv() {
    local file=$1 directory first venv
    _pgops_argv=()
    case $file in
    \~/*) file=$HOME/${file#\~/} ;;
    */*) ;;
    *) file=$(type -P -- "$file") || return ;;
    esac
    file=$(readlink -f -- "$file" 2>/dev/null) || return
    directory=${file%/*}
    venv=${PGOPS_VENV:-$directory/.venv}
    IFS= read -r first <"$file" 2>/dev/null || return
    first=${first#"#!"}
    if [[ -x $venv/bin/python && -f $venv/bin/pgops && -f $directory/tasks.py ]]; then
        _pgops_argv=("$venv/bin/python" "$venv/bin/pgops" --search-root "$directory")
        _pgops_start=$directory
    elif [[ -x $directory/python ]]; then
        _pgops_argv=("$directory/python" "$file")
        _pgops_start=.
    elif [[ $first == */python* && -x $first ]]; then
        _pgops_argv=("$first" "$file")
        _pgops_start=.
    fi
}

_pgops_inv() {
    local _pgops_argv _pgops_start candidate candidates flag='' part head='' line rest
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    _pgops_argv "${COMP_WORDS[0]}"
    [[ ${#_pgops_argv[@]} -gt 0 ]] || return

    # `--env=pr` is one word or three, as COMP_WORDBREAKS has it.
    part=$current
    if [[ $current == '=' ]]; then
        flag=$before part=''
    elif [[ $before == '=' && $COMP_CWORD -ge 2 ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]}
    elif [[ $current == --*=* ]]; then
        flag=${current%%=*} part=${current#*=} head=$flag=
    elif [[ $current != -* ]]; then
        flag=$before
    fi
    case $flag in
    --env | -e | --from | --on | --confirm | --backup | --to | --since | --sizes-of | --fail-on | --base-revision | --accept-hazard | --table | --schema | --database | --recovery | --shell | --server)
        candidates=$("${_pgops_argv[0]}" -P -m pgops.completion.values "$flag" "$_pgops_start" \
            "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)
        ;;
    esac
    if [[ -n ${candidates-} ]]; then
        compopt +o default 2>/dev/null
    elif [[ -z $head && $current != '=' && $before != '=' ]]; then
        line=${COMP_LINE:0:COMP_POINT}
        rest=${line#*"${COMP_WORDS[0]}"}
        candidates=$("${_pgops_argv[@]}" --complete -- "${_pgops_argv[1]##*/} $rest" 2>/dev/null)
    fi
    while IFS= read -r candidate; do
        [[ -n $candidate && $candidate == "$part"* ]] && COMPREPLY+=("$head$candidate")
    done <<<"${candidates-}"
}

complete -o default -F _pgops_inv inv invoke pgops
