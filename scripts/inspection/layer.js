// The layer that is looked at, and the input with the receptive field and the gradient of its pixels.

function showLayer() {
  const cards = reports.map((report, i) => {
    const pass = passIn(report, i);
    return pass ? card(report, pass, i) : element("div", {class: "card"}, "There is no such layer here.");
  });
  const open = [...document.querySelectorAll("#layer details")].some(each => each.open);
  document.getElementById("layer").replaceChildren(...cards);
  document.querySelectorAll("#layer details").forEach(each => { each.open = open; });
}

// The selected pass: in the second report the one of the same layer and call.
function passIn(report, i) {
  const own = reports[0].passes[state.order];
  return i === 0 ? own : report.passes.find(pass => pass.name === own.name && pass.call === own.call);
}

function card(report, pass, i) {
  const kind = report.kinds[pass.kind], made = element("article", {class: "card", "aria-label": `${pass.name}, ${pass.kind}`});
  const inputs = Object.entries(pass.inputs).map(([name, sizes]) => `${name} ${shapesOf(sizes)}`).join("  ");
  made.append(
    element("div", {class: "path"}, pass.name + (pass.call ? ` · call ${pass.call + 1} of this layer` : "") + tag(i)),
    element("div", {class: "signature"}, pass.kind, element("span", {}, `(${pass.arguments})`)),
    element("pre", {class: "formula"}, kind.formula),
    element("div", {class: "flow"}, element("span", {}, inputs), "→", element("b", {}, `y ${shapesOf(pass.outputs)}`)),
    ...pass.warnings.map(text => element("p", {class: "warning " + text.split(":")[0]}, text.split(": ")[1])));
  made.append(element("div", {class: "pair"}, activation(report, pass, i), gradient(report, pass, i)), numbers(pass), sources(kind));
  return made;
}

function activation(report, pass, i) {
  const picture = report.pictures[pass.y_picture];
  const figure = element("figure", {class: state.backward ? "" : "lit"},
    element("figcaption", {}, element("b", {}, "y, what it gives"), element("small", {}, picture ? caption(picture) : "nothing to draw")));
  if (picture) figure.append(drawn(picture, `output of ${pass.name}`, (cell, said) => pointed(report, pass, i, cell, said)));
  else field(i, null);
  if (picture && picture.kind !== "maps") field(i, pass.field === "all" ? "all" : null);
  const bars = histogram(pass.y, "var(--forward)", `histogram of the output of ${pass.name}`);
  if (bars) figure.append(bars);
  return figure;
}

function gradient(report, pass, i) {
  const output = report.outputs[state.output], picture = report.pictures[pass.dy_picture];
  const figure = element("figure", {class: state.backward ? "lit" : ""});
  const name = output ? `of “${output.label}” with respect to y` : "dy, the gradient of the loss that comes back";
  figure.append(element("figcaption", {}, element("b", {}, output ? "gradient " : "", name),
    element("small", {}, output ? "mean magnitude over the channels" : picture ? caption(picture) : "backward does not come here")));
  const k = report.leaves.indexOf(pass.order);
  if (output && k >= 0) figure.append(tileOf(report, output, k), element("p", {class: "hint"}, `norm ${short(output.norms[k])}`));
  else if (output) figure.append(element("p", {class: "hint"}, "Computed for layers without layers inside."));
  else if (picture) figure.append(drawn(picture, `gradient of the output of ${pass.name}`));
  const bars = output ? null : histogram(pass.dy, "var(--backward)", `histogram of the gradient of ${pass.name}`);
  if (bars) figure.append(bars);
  return figure;
}

// The tile of a leaf out of the strip of an output.
function tileOf(report, output, k) {
  const box = element("div", {class: "map", role: "img", "aria-label": `gradient of ${output.label}`});
  Object.assign(box.style, {width: "192px", height: "192px", imageRendering: "pixelated", cursor: "default",
    background: `url(${output.strip}) ${-192 * k}px 0 / ${192 * report.leaves.length}px 192px`});
  return box;
}

function caption(picture) {
  if (picture.kind === "bars") return `a vector of ${picture.of}`;
  if (picture.kind === "maps") {
    const some = picture.channels.length < picture.of ? `${picture.channels.length} of ${picture.of} channels, those that vary most` : `${picture.of} channels`;
    return `${some}, ${picture.cells.join(" x ")} cells each`;
  }
  const [rows, columns] = picture.cells;
  return picture.time ? `${rows} units (down) over ${columns} steps (across)` : picture.rows ? `${rows} rows of ${columns}` : `${rows} x ${columns}`;
}

function numbers(pass) {
  const row = (name, value, note = "") => element("tr", {}, element("th", {scope: "row"}, name), element("td", {}, value, note ? element("small", {class: "soft"}, " " + note) : null));
  const y = pass.y || {}, dy = pass.dy || {}, own = pass.parameters;
  const left = element("table", {}, row("mean, deviation of y", `${short(y.mean)}, ${short(y.std)}`), row("zeros in y", share(y.zeros)),
    row("units that are 0 everywhere", share(pass.dead)), row("norm of dy", short(dy.norm)), row("zeros in dy", share(dy.zeros)),
    row("norm of dx", short(pass.dx_norm)));
  const ratio = own.weight ? own.gradient / own.weight : null;
  const right = element("table", {}, row("parameters", short(own.count || 0)), row("norm of weights", short(own.weight)),
    row("norm of their gradient", short(own.gradient), ratio === null ? "" : `${short(ratio)} of the weights`), row("multiply-adds", short(pass.macs)),
    row("forward, backward", `${short(pass.ms)}, ${short(pass.back_ms)} ms`), row("cache for backward", bytes(pass.cache)));
  return element("div", {class: "numbers"}, left, right);
}

function sources(kind) {
  const blocks = kind.code.map(({name, file, line, text}) => [element("div", {class: "path"}, `${name} · ${file}:${line}`), coloured(text)]).flat();
  return element("details", {}, element("summary", {}, "its code: forward, backward, and what they call"),
    element("pre", {class: "formula"}, kind.doc), ...blocks);
}

const TOKENS = /("""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(#[^\n]*)|\b(def|return|for|in|if|else|elif|while|not|and|or|None|True|False|lambda|import|from|raise|with|yield|class|is)\b/g;

function coloured(text) {
  const block = element("pre", {class: "code", tabindex: 0});
  let last = 0;
  for (const match of text.matchAll(TOKENS)) {
    block.append(text.slice(last, match.index), element("span", {class: match[1] ? "s" : match[2] ? "c" : "k"}, match[0]));
    last = match.index + match[0].length;
  }
  block.append(text.slice(last));
  return block;
}

function inputs() {
  document.getElementById("inputs").replaceChildren(...reports.map((report, i) => inputOf(report, i)));
}

function inputOf(report, i) {
  const {input} = report, made = element("div", {class: "input"});
  if (reports.length > 1) made.append(element("h3", {}, `${"AB"[i]}: ${report.name}`));
  made.append(input.uri ? seenImage(report) : element("div", {class: "seen-text"}, input.text || "The model reads no picture."));
  made.append(element("p", {class: "hint said", role: "status"}));
  const chip = (label, value, index) => element("button", {type: "button", "aria-pressed": "false", "data-output": index, on: {click: () => follow(index)}},
    label, value === null ? null : element("small", {}, " " + short(value)));
  const chips = [chip(input.uri ? "the picture" : "the loss", null, -2)];
  if (input.uri && report.whole.pixels) chips.push(chip("gradient of the loss", null, -1));
  made.append(element("h3", {}, "Follow an output back"), element("div", {class: "chips", role: "group", "aria-label": "what is followed back"},
    ...chips, ...report.outputs.map((output, k) => chip(output.label, output.value, k))));
  made.append(element("p", {class: "hint"}, report.outputs.length
    ? `Its gradient at every layer${input.uri ? ", down to the pixels," : ""} was computed for these ${report.outputs.length} outputs when the page was written.`
    : "No output is followed in this model."));
  return made;
}

function seenImage(report) {
  const {uri, width, height, padded} = report.input, [h, w] = padded || [height, width];
  const box = element("div", {class: "seen"});
  box.style.aspectRatio = `${w} / ${h}`;
  const photo = element("img", {src: uri, class: "photo", alt: "the picture that the network sees"});
  Object.assign(photo.style, {width: 100 * width / w + "%", height: 100 * height / h + "%"});
  const frame = element("svg", {viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true"});
  for (const name of ["under", "field"]) frame.append(element("rect", {class: name, width: 0, height: 0, visibility: "hidden"}));
  box.append(photo, element("img", {class: "heat", alt: "", hidden: ""}), frame);
  return box;
}

// A cell was chosen: its receptive field is drawn, and said.
function pointed(report, pass, i, cell, said) {
  const where = `channel ${cell.channel}, cell ${cell.row}, ${cell.column}`;
  if (!pass.field || pass.field === "all") return field(i, pass.field, where);
  const [[top, tall, down], [left, wide, right]] = pass.field, [h, w] = report.input.padded || [1e9, 1e9];
  const x = left + cell.column * right, y = top + cell.row * down, inside = (low, size, most) => [Math.max(0, low), Math.min(most, low + size)];
  const [x1, x2] = inside(x, wide, w), [y1, y2] = inside(y, tall, h);
  field(i, {x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1)}, where, `sees ${short(wide)} x ${short(tall)} pixels`);
}

function field(i, box, where = "", size = box ? "sees the whole picture" : "what it sees is not known") {
  const place = document.querySelectorAll("#inputs .input")[i], {input} = reports[i];
  if (!place) return;
  const [h, w] = input.padded || [input.height, input.width];
  if (box === "all") box = {x: 0, y: 0, width: w, height: h};
  place.querySelectorAll("rect").forEach(rect => {
    rect.setAttribute("visibility", box && input.padded ? "visible" : "hidden");
    for (const [name, value] of Object.entries(box || {})) rect.setAttribute(name, value);
  });
  place.querySelector(".said").textContent = where ? `${where}: ${size}.` : box ? "It sees the whole picture." : "";
}

function showFollowed() {
  document.querySelectorAll("#inputs .input").forEach((place, i) => {
    const report = reports[i], heat = place.querySelector(".heat"), output = report.outputs[state.output];
    place.querySelectorAll("[data-output]").forEach(chip => chip.setAttribute("aria-pressed", String(Number(chip.dataset.output) === state.output)));
    if (!heat) return;
    const uri = output ? output.pixels : state.output === -1 ? report.whole.pixels : null;
    heat.hidden = !uri;
    if (uri) heat.src = uri;
    place.querySelector(".seen").classList.toggle("dimmed", Boolean(uri));
  });
}
