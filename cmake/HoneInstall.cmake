# The installed tree: bin/hone finds ../lib/hone/libhone_runtime.a by its own place, so the tree
# may be moved as a whole.
