"""Show how gradients vanish and explode: the norm of dL/dh_t over t in a vanilla RNN, an LSTM and a GRU.

example:
  python -m scripts.gradient_flow --out gradient_flow.png

The loss depends only on the state after the last step; its gradient goes back step by step, through the cells' own
backward passes, with random weights. The RNN has no biases, and its weight_hh is an orthogonal matrix times the
spectral radius. LSTM and GRU have their initial weights, and once more with the bias of the forget or update gate at
--gate-bias. The inputs are small, so that tanh stays in its linear range. On the right the gradient is clipped at each
step.
"""

import math
import sys
from pathlib import Path

import numpy as np

from nn import GRUCell, LSTMCell, RNNCell
from scripts.command_line import Parser, command, count, count_or_none, not_negative, positive
from vision.figures import save_png
from vision.sequence.gradient_flow import Flow, gradient_flow, rate_per_step, set_spectral_radius


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    flows = measure(args)
    print(table(flows, args.clip))
    draw(flows, args.clip, args.out)
    print(f"the picture is {args.out}")


def build_parser() -> Parser:
    parser = Parser("scripts.gradient_flow", __doc__)
    out = Path("gradient_flow.png")
    parser.add_argument("--out", metavar="FILE", type=Path, default=out, help=f"picture to write (default: {out})")
    parser.add_argument("--steps", metavar="T", type=count, default=60, help="time steps (default: 60)")
    parser.add_argument("--hidden", metavar="H", type=count, default=64, help="size of a state (default: 64)")
    text = "spectral radii of the RNN (default: 0.9 1 1.1)"
    parser.add_argument("--radius", metavar="X", type=positive, nargs="+", default=[0.9, 1.0, 1.1], help=text)
    text = "bias of the forget gate, and of the update gate, in the second LSTM and GRU (default: 4)"
    parser.add_argument("--gate-bias", metavar="X", type=float, default=4.0, help=text)
    text = "standard deviation of the inputs (default: 0.001)"
    parser.add_argument("--input", metavar="X", type=not_negative, default=1e-3, help=text)
    text = "norm to which the gradient is clipped at each step, on the right; it starts with 1 (default: 5)"
    parser.add_argument("--clip", metavar="X", type=positive, default=5.0, help=text)
    parser.add_argument("--seed", metavar="N", type=count_or_none, default=0, help="of weights and inputs (default: 0)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def cells(args) -> dict[str, RNNCell | LSTMCell | GRUCell]:
    """The cells by name, in float64."""
    size = 8, args.hidden
    made = {}
    for radius in args.radius:
        cell = RNNCell(*size, bias=False, rng=np.random.default_rng(args.seed)).astype(np.float64)
        made[f"RNN, radius {radius:g}"] = set_spectral_radius(cell, radius, np.random.default_rng(args.seed + 1))
    bias, open_gru = args.gate_bias, GRUCell(*size, rng=np.random.default_rng(args.seed))
    open_gru.bias_ih.value[args.hidden : 2 * args.hidden] = bias  # rows r, z, n
    made["LSTM"] = LSTMCell(*size, rng=np.random.default_rng(args.seed))
    made[f"LSTM, forget bias {bias:g}"] = LSTMCell(*size, forget_bias=bias, rng=np.random.default_rng(args.seed))
    made["GRU"] = GRUCell(*size, rng=np.random.default_rng(args.seed))
    made[f"GRU, update bias {bias:g}"] = open_gru
    return {name: cell.astype(np.float64) for name, cell in made.items()}


def measure(args) -> dict[str, tuple[Flow, Flow]]:
    """For each cell its flow without and with clipping."""
    rng = np.random.default_rng(args.seed + 2)
    x = args.input * rng.standard_normal((args.steps, 1, 8))
    dh = rng.standard_normal((1, args.hidden))
    dh /= math.sqrt((dh * dh).sum())
    limits = math.inf, args.clip
    return {name: tuple(gradient_flow(cell, x, dh, limit) for limit in limits) for name, cell in cells(args).items()}


def table(flows: dict[str, tuple[Flow, Flow]], clip: float) -> str:
    """A line per cell: the rate per step back, and norms at t = 0 and of weight_hh, without and with clipping."""
    rows = [f"{'':22}{'rate per':>10}{'norm of the gradient of':>32}{f'clipped at {clip:g}':>32}"]
    rows.append(f"{'':22}{'step back':>10}" + 2 * f"{'h, c at t = 0':>18}{'weight_hh':>14}")
    for name, (free, clipped) in flows.items():
        norms = "".join(f"{flow.state[0]:18.3g}{flow.weight:14.3g}" for flow in (free, clipped))
        rows.append(f"{name:22}{rate_per_step(free.state):10.4f}{norms}")
    return "\n".join(rows)


def draw(flows: dict[str, tuple[Flow, Flow]], clip: float, path: Path):
    """Write the picture: the norm of the gradient of the state (h; of LSTMs h and c) over t; on the right clipped."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, k, title in zip(figure.subplots(1, 2, sharey=True), (0, 1), ("not clipped", f"clipped at {clip:g}")):
        for name, both in flows.items():
            style = {"RNN": "-", "LST": "--", "GRU": ":"}[name[:3]]
            axes.plot(np.maximum(both[k].state, 1e-16), style, label=name)
        axes.set(yscale="log", xlabel="t", title=f"gradient of the loss of the last step, {title}")
        axes.grid(alpha=0.3)
    figure.axes[0].set(ylabel="norm of dL/dh_t (of LSTMs: of dL/dh_t and dL/dc_t)")
    figure.axes[0].legend(fontsize="small")
    save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
