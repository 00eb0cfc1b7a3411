"""Command lines: python -m scripts.train, scripts.evaluate, scripts.predict. Each has --help."""

import sys


def _without_traceback(kind, error, trace):
    """Ctrl-C while a script's modules are imported is no error; scripts.command_line.command takes what comes later."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # python -m scripts.NAME imports this package before the script
    sys.excepthook = _without_traceback
