# Lines as a terminal would leave them, without what steers it, as UTF-8.
readable() {
    tr '\r' '\n' | sed 's/\x1b\[\([0-9;?]*\)[A-Za-z]//g; s/\x1b\][^\x07]*\x07//g' | tr -d '\000-\010\013-\037\177' |
        iconv -c -f UTF-8 -t UTF-8 2>/dev/null | sed '/^ *$/d' | cut -c1-400 | iconv -c -f UTF-8 -t UTF-8 2>/dev/null
}
