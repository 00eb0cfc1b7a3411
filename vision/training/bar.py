"""The progress bar of training: its width stays, whatever stands behind it."""

from collections.abc import Mapping

from tqdm import tqdm


class Bar(tqdm):
    """Samples done, their speed, the time left, and the losses: all of them, or only their sum, or neither, as the
    terminal's width allows. There is no bar without a terminal."""

    def __init__(self, *args, **options):
        self.variants = [""]
        super().__init__(*args, **{"disable": None, "dynamic_ncols": True, "smoothing": 0.05} | options)

    def show(self, losses: Mapping[str, float]):
        """The losses that stand behind the bar from its next refresh on."""
        named = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.variants = [named, f"loss {sum(losses.values()):.3f}", ""]

    def __str__(self):
        shown = self.format_dict
        columns = shown.pop("ncols") or 0
        lines = [self.format_meter(**shown | {"ncols": None, "postfix": text or None}) for text in self.variants]
        return next((line for line in lines if len(line) <= columns), lines[-1] if not columns else lines[-1][:columns])
