# describe KEY PATH ...: a line "path KEY|KIND|MODE|OWNER|GROUP|SIZE|DETAIL" for each path that is there. DETAIL is a file's
# SHA256, a link's target, or "-". A pipe or device is never opened, and no state.db: it can be large, and it changes all
# the time. One stat(1) and one sha256sum(1) for all paths: no path may hold a line end.
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
    states=$line_end$(stat -c '%n|%F|%a|%U|%G|%s' -- "$@" 2>/dev/null)$line_end
    left=$#
    while [ "$left" -gt 0 ]; do
        [ ! -f "$1" ] || [ -L "$1" ] || [ "${1##*/}" = state.db ] || set -- "$@" "$1"
        shift
        left=$((left - 1))
    done
    sums=
    [ $# = 0 ] || sums=$line_end$(timeout 5 sha256sum -- "$@" 2>/dev/null)$line_end
    while read -r key path; do
        state=${states#*"$line_end$path|"}
        [ "$state" != "$states" ] || continue
        state=${state%%"$line_end"*}
        detail=-
        case $state in
            'regular file|'* | 'regular empty file|'*)
                detail=${sums%%"  $path$line_end"*}
                [ "$detail" != "$sums" ] || detail=
                detail=${detail##*"$line_end"}
                ;;
            'symbolic link|'*) detail=$(readlink -- "$path") ;;
        esac
        printf 'path %s|%s|%s\n' "$key" "$state" "${detail:--}"
    done <<ASKED
${asked%"$line_end"}
ASKED
}
