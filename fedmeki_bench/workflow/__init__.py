"""What a user does, as functions: the command line draws around them, programs call them through the package itself.

Nothing here prints or exits. Progress goes to listeners (:mod:`fedmeki_bench.events`), which are silent by default;
what goes wrong is one of the errors in :mod:`fedmeki_bench.errors`.
"""
