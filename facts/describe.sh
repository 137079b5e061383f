# describe KEY PATH ...: a line "path KEY|KIND|MODE|OWNER|GROUP|SIZE|DETAIL" for each path that is there. DETAIL is a file's
# SHA256, a link's target, or "-". A pipe or device is never opened, and no state.db or log: it can be large, and it changes
# all the time. What is larger than 8 MiB is nothing that we wrote, and is not read to its end either. One stat(1) and one
# sha256sum(1) for all paths: no path may hold a line end. stat(1) tells the target of a link as a shell would want it
# quoted: taken when that is the text itself.
describe() {
    asked='' left=$# line_end='
'
    while [ "$left" -gt 0 ]; do
        if [ -e "$2" ] || [ -L "$2" ]; then
            asked="$asked$1 $2$line_end"
            set -- "$@" "$2"
        fi
        shift 2
        left=$((left - 2))
    done
    [ $# -gt 0 ] || return 0
    states=$line_end$(stat -c '%n|%F|%a|%U|%G|%s|%N' -- "$@" 2>/dev/null)$line_end
    left=$#
    while [ "$left" -gt 0 ]; do
        state=${states#*"$line_end$1|"}
        state=${state%%"$line_end"*}
        case $state in
            'regular file|'* | 'regular empty file|'*)
                size=${state#*|*|*|*|}
                case ${1##*/} in
                    state.db | agent.log) ;;
                    *) [ "${size%%|*}" -gt 8388608 ] || set -- "$@" "$1" ;;
                esac
                ;;
        esac
        shift
        left=$((left - 1))
    done
    sums=
    [ $# = 0 ] || sums=$line_end$(sha256sum -- "$@" 2>/dev/null)$line_end
    while read -r key path; do
        state=${states#*"$line_end$path|"}
        [ "$state" != "$states" ] || continue
        state=${state%%"$line_end"*}
        link=${state#*|*|*|*|*|}
        state=${state%"|$link"} detail=-
        case $state in
            'regular file|'* | 'regular empty file|'*)
                detail=${sums%%"  $path$line_end"*}
                [ "$detail" != "$sums" ] || detail=
                detail=${detail##*"$line_end"}
                ;;
            'symbolic link|'*)
                detail=${link#"'$path' -> '"}
                case $detail in
                    "$link" | *[\'\"\\]*[\'\"\\]*) detail=$(readlink -- "$path") ;;
                    *) detail=${detail%\'} ;;
                esac
                ;;
        esac
        printf 'path %s|%s|%s\n' "$key" "$state" "${detail:--}"
    done <<ASKED
${asked%"$line_end"}
ASKED
}
