// The head of the page, the film strip of all layers with bars, the list with its search.

function head() {
  const [first] = reports, {whole} = first;
  const losses = report => Object.entries(report.whole.losses).map(([name, value]) => `${name} ${short(value)}`).join(", ");
  const facts = [
    ["parameters", short(whole.parameters), whole.frozen ? `${short(whole.frozen)} frozen in training` : ""],
    ["multiply-adds", short(whole.macs), "forward"],
    ["time", `${short(whole.ms)} + ${short(whole.back_ms)} ms`, "forward + backward, with recording"],
    ["calls of layers", String(first.leaves.length), `${first.passes.length} with containers`],
    ...reports.map((report, i) => ["loss" + tag(i), losses(report), whole.stage === "train" ? "" : `stage ${report.whole.stage}`]),
  ];
  const terms = facts.map(([name, value, note]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value, " ", element("small", {}, note))));
  const theme = element("button", {type: "button", id: "theme", on: {click: turnTheme}}, "light or dark");
  const about = [first.task, first.paper].filter(Boolean).join(" · ");
  document.getElementById("head").append(
    element("div", {class: "head"},
      element("div", {}, element("h1", {}, reports.map(each => each.name).join(" and ")),
        element("p", {class: "soft"}, `one forward and one backward pass of ${first.model} · ${about}`)), theme),
    ...[...new Set(reports.map(report => report.words))].map(words => element("p", {}, "A loss needs a truth. Here it is ", element("b", {}, words), `. The layers do ${whole.mode}.`)),
    element("dl", {class: "facts"}, ...terms));
}

const tag = i => reports.length > 1 ? ` (${"AB"[i]})` : "";

function turnTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
}

// Rows of a strip: top and height as multiples of the column's width, and what they show.
const ROWS = [["output", 0.14, 1], ["spread", 1.2, 0.6], ["gradient", 1.9, 1], ["norm", 2.96, 0.6], ["time", 3.66, 0.7]];

function strips() {
  const place = document.getElementById("strips");
  place.replaceChildren(...reports.map((report, i) => strip(report, i)));
}

function strip(report, i) {
  const n = report.leaves.length, room = Math.max(240, document.getElementById("strips").clientWidth - 80);
  const side = Math.max(22, Math.min(52, room / n)), width = side * n, height = 4.5 * side;
  const film = element("div", {class: "film"});
  Object.assign(film.style, {width: width + "px", height: height + "px"});
  const image = (uri, row, name) => {
    const made = element("img", {src: uri, alt: name, class: name});
    Object.assign(made.style, {width: width + "px", height: side + "px", top: ROWS[row][1] * side + "px"});
    return made;
  };
  film.append(image(report.strips.y, 0, "outputs"), image(report.strips.dy, 2, "gradients"));
  film.append(bars(report, side, width, height));
  film.append(element("svg", {class: "cursor", width, height, "aria-hidden": "true"}, element("rect",
    {width: side, height: height - 1, y: 0.5, fill: "none", stroke: "currentColor", "stroke-width": 2, rx: 3})));
  film.addEventListener("click", event => {
    const k = Math.floor((event.clientX - film.getBoundingClientRect().left) / side);
    select(report.leaves[Math.max(0, Math.min(n - 1, k))], i);
  });
  const names = element("div", {class: "names", "aria-hidden": "true"}, ...ROWS.map(([name, top, tall]) => {
    const label = element("span", {}, name);
    label.style.top = (top + tall / 2) * side + "px";
    return label;
  }));
  if (reports.length > 1) names.append(element("b", {}, "AB"[i]));
  return element("div", {class: "strip"}, names, element("div", {class: "scroll"}, film));
}

// Bars of each leaf: the standard deviation of its output and the norm of its gradient on scales of powers of ten,
// its time forward (up) and backward (down).
function bars(report, side, width, height) {
  const drawing = element("svg", {width, height, role: "img", "aria-label": "spread, norm of the gradient and time of each layer"});
  const passes = report.leaves.map(order => report.passes[order]);
  passes.forEach((pass, k) => drawing.append(element("rect",
    {x: k * side + 1, y: 0, width: side - 2, height: 0.1 * side, rx: 1.5, fill: family(pass.kind)})));
  const logs = (values, row, colour) => {
    const known = values.filter(value => value > 0).map(Math.log10), low = Math.min(...known), span = Math.max(...known) - low || 1;
    const [, top, tall] = ROWS[row];
    values.forEach((value, k) => {
      const part = value > 0 ? 0.12 + 0.88 * (Math.log10(value) - low) / span : value === 0 ? 0.06 : 0;
      drawing.append(element("rect", {x: k * side + 0.12 * side, width: 0.76 * side, y: (top + tall * (1 - part)) * side,
        height: tall * part * side, fill: value === 0 ? "var(--red)" : colour}));
    });
  };
  logs(passes.map(pass => pass.y && pass.y.std), 1, "var(--forward)");
  logs(passes.map(pass => pass.dy && pass.dy.norm), 3, "var(--backward)");
  const most = Math.max(...passes.map(pass => Math.max(pass.ms, pass.back_ms))) || 1, [, top, tall] = ROWS[4];
  passes.forEach((pass, k) => [[pass.ms, "var(--forward)", 1], [pass.back_ms, "var(--backward)", 0]].forEach(([ms, fill, up]) => {
    const size = Math.max(0.5, ms / most * tall / 2 * side), middle = (top + tall / 2) * side;
    drawing.append(element("rect", {x: k * side + 0.12 * side, width: 0.76 * side, y: up ? middle - size : middle, height: size, fill}));
  }));
  return drawing;
}

function showStrip(report, i, order) {
  const film = document.querySelectorAll(".film")[i], k = report.leaves.indexOf(nearestLeaf(report, order));
  const side = film.clientWidth / report.leaves.length, cursor = film.querySelector(".cursor rect");
  cursor.setAttribute("x", k * side);
  cursor.style.color = state.backward ? "var(--backward)" : "var(--forward)";
  const scroll = film.parentElement, left = k * side;
  if (left < scroll.scrollLeft + side || left > scroll.scrollLeft + scroll.clientWidth - 2 * side) scroll.scrollLeft = left - scroll.clientWidth / 2;
  const output = report.outputs[state.output];
  film.querySelector(".gradients").src = output ? output.strip : report.strips.dy;
}

// The first leaf at or after a pass: the container's first layer.
const nearestLeaf = (report, order) => report.leaves.find(leaf => leaf >= order) ?? report.leaves[report.leaves.length - 1];

function list() {
  const [report] = reports, tree = document.getElementById("tree"), search = document.getElementById("search");
  for (const pass of report.passes) {
    const dot = element("span", {class: "dot"});
    dot.style.setProperty("--family", pass.leaf ? family(pass.kind) : "transparent");
    const marks = [...new Set(pass.warnings.map(text => text.split(":")[0]))].map(colour =>
      element("span", {class: "badge " + colour, title: pass.warnings.join("; ")}, colour === "red" ? "!!" : "!"));
    const above = pass.parent === null ? "" : report.passes[pass.parent].name + ".";
    const name = (pass.name.startsWith(above) ? pass.name.slice(above.length) : pass.name) + (pass.call ? ` #${pass.call + 1}` : "");
    const button = element("button", {type: "button", "data-order": pass.order, title: pass.name, on: {click: () => select(pass.order)}},
      dot, element("span", {class: "name"}, name), ...marks, element("span", {class: "kind"}, pass.kind));
    button.style.paddingLeft = 6 + 12 * pass.depth + "px";
    tree.append(element("li", {}, button));
  }
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    [...tree.children].forEach((item, k) => {
      const pass = report.passes[k], text = `${pass.name} ${pass.kind} ${pass.arguments} ${shapesOf(pass.outputs)} ${pass.warnings}`.toLowerCase();
      item.hidden = !words.every(word => text.includes(word));
      found += !item.hidden;
    });
    document.getElementById("found").textContent = words.length ? `${found} of ${report.passes.length}` : "";
  };
  search.addEventListener("input", filter);
  search.addEventListener("keydown", event => {
    const first = [...tree.children].find(item => !item.hidden);
    if (event.key === "Enter" && first) select(Number(first.firstChild.dataset.order));
  });
}
