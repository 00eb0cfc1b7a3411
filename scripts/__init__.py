"""Command lines: python -m scripts.train, scripts.evaluate, scripts.predict. Each has --help."""
