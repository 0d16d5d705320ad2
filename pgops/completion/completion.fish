# Completion in fish: tasks and flags from invoke, values of flags from pgops.
# Made by `inv completion --shell=fish`; works for pgops, inv, invoke and ./inv.

# The python, the program and its options behind a command word, a line each; nothing where they can't be told.
# A project's own ./inv is not run: it would make its virtual environment on a TAB.
function __pgops_program --argument-names word
    set -l file (string replace -r '^~/' "$HOME/" -- $word)
    if not string match -q '*/*' -- $file
        set file (command -s -- $file)
        or return 1
    end
    set file (realpath -- $file 2>/dev/null)
    or return 1
    set -l directory (string replace -r '/[^/]*$' '' -- $file)
    set -l venv $directory/.venv
    set -q PGOPS_VENV
    and set venv $PGOPS_VENV
    set -l first
    read -l first <$file 2>/dev/null
    or return 1
    set first (string replace -r '^#!' '' -- $first)
    if test -x $venv/bin/python -a -f $venv/bin/pgops -a -f $directory/tasks.py
        printf '%s\n' $venv/bin/python $venv/bin/pgops --search-root $directory
    else if test -x $directory/python
        printf '%s\n' $directory/python $file
    else if string match -q '*/python*' -- $first; and test -x "$first"
        printf '%s\n' $first $file
    else
        return 1
    end
end

function __pgops_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (__pgops_program $words[1])
    or return
    set -l start .
    test (count $program) -gt 2
    and set start $program[4]
    set -l flag
    set -l head
    if string match -q -- '--*=*' $current
        set flag (string split -m1 -- = $current)[1]
        set head $flag=
    else if not string match -q -- '-*' $current
        set flag $words[-1]
    end
    set -l candidates
    set -l files yes
    switch "$flag"
        case --env -e --from --on --confirm --backup --to --since --sizes-of --fail-on --base-revision --accept-hazard --table --schema --database --recovery --shell --server
            set files no
            set candidates ($program[1] -P -m pgops.completion.values $flag $start $words[2..-1] 2>/dev/null)
    end
    if test (count $candidates) -gt 0
        printf "$head%s\n" $candidates
    else if test -z "$head"
        $program --complete -- (string replace -r '.*/' '' -- $program[2])" $words[2..-1] $current" 2>/dev/null
        # What stands behind a flag without names of its own may be a file.
        test $files = yes
        and string match -q -- '--*' "$flag"
        and __fish_complete_path "$current"
    else if test $files = yes
        set -l value (string split -m1 -- = $current)[2]
        printf "$head%s\n" (__fish_complete_path "$value")
    end
end

for program in inv invoke pgops
    complete --command $program --erase
    complete --command $program --no-files --keep-order --arguments '(__pgops_complete)'
end
