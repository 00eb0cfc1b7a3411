"""The console command: `handwritten-vision train --model NAME` is `python -m scripts.train --model NAME`.

It takes the packages beside this file, whatever folders called scripts or datasets lie where the user stands.
"""

import sys

ROOT = __file__.replace("\\", "/").rpartition("/")[0] or "."
PACKAGES = ("nn", "vision", "datasets", "scripts")


def main(arguments: list[str] | None = None) -> int:
    """The exit status of the command of these arguments (default: those of the process)."""
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # while modules are imported: the commands catch their own
        print("interrupted", file=sys.stderr)
        return 130


def _run(arguments):
    from importlib import import_module

    known = commands()
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, known))
        lines = [f"  {name:{width}}  {text}" for name, text in known.items()]
        print("usage: handwritten-vision COMMAND [arguments]\n", *lines, sep="\n")
        print("\nhandwritten-vision COMMAND --help lists the arguments of a command.")
        return 0 if arguments else 2
    name = arguments[0].replace("_", "-")
    if name not in known:
        print(f"handwritten-vision: error: {_unknown(arguments[0], known)}", file=sys.stderr)
        return 2
    sys.path.insert(0, ROOT)
    try:
        for package in PACKAGES:
            import_module(package)
        script = import_module(f"scripts.{name.replace('-', '_')}")
    finally:
        sys.path.remove(ROOT)
    sys.modules["scripts.command_line"].started_as["console"] = True
    return script.main(arguments[1:])


def commands() -> dict[str, str]:
    """{command: the first line of its docstring} of the files in the folder scripts."""
    import ast
    from pathlib import Path

    found = {}
    for path in sorted(Path(ROOT, "scripts").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "\n@command\ndef main(" in source:
            found[path.stem.replace("_", "-")] = ast.get_docstring(ast.parse(source)).partition("\n")[0]
    return found


def _unknown(name, known):
    from difflib import get_close_matches

    near = get_close_matches(name.replace("_", "-"), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
    return f"there is no command {name!r}: {hint} (--help lists all)"


if __name__ == "__main__":
    sys.exit(main())
