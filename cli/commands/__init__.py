"""One module per noun: parse, call, print."""
