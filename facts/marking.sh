# own MOST: mark lines as made with an agent's rights; after so many bytes the rest is left out, which is said.
own() {
    head -c "$(($1 + 1))" | awk -v most="$1" '{ n += length($0) + 1; if (n > most) { print "cut"; exit } print "own " $0 }'
}
