// Small helpers, and the pictures of arrays: maps with a cell to point at, bars, histograms.

const element = (tag, attributes = {}, ...children) => {
  const svg = ["svg", "path", "rect", "line", "g", "text", "image"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, does] of Object.entries(value)) made.addEventListener(event, does);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter(each => each !== null && each !== undefined));
  return made;
};

const short = value => {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + " G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + " M";
  if (size >= 1e4) return (value / 1e3).toPrecision(3) + " k";
  if (size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
};
const bytes = value => value >= 1 << 20 ? short(value / (1 << 20)) + " MiB" : short(value / 1024) + " KiB";
const shape = sizes => "(" + sizes.join(", ") + (sizes.length === 1 ? ",)" : ")");
const shapesOf = list => list.map(shape).join(", ") || "–";
const share = value => value === null || value === undefined ? "–" : (100 * value).toFixed(value > 0 && value < 0.1 ? 1 : 0) + " %";

const FAMILIES = [
  [/Conv|Tap/, "#3b82c4"], [/Norm/, "#2a9d8f"], [/ReLU|Sigmoid|Tanh|ELU|SiLU|Softplus|Softmax/, "#e0873a"],
  [/Pool|Unpool|Upsample|RoI/, "#6a9f3c"], [/Linear|Bilinear/, "#8b5fbf"], [/LSTM|GRU|RNN|Embedding|Attention/, "#c9477d"],
  [/Dropout|DropPath|Pad|Flatten/, "#9aa0a8"],
];
const family = kind => (FAMILIES.find(([pattern]) => pattern.test(kind)) || [0, "#b9a46a"])[1];

// A picture of an array. chosen: called with {row, column, channel} where a cell of a map is pointed at.
function drawn(picture, label, chosen = null) {
  if (picture.kind === "bars") return barsOf(picture, label);
  const image = element("img", {src: picture.uri, alt: label, width: picture.width, height: picture.height, draggable: "false"});
  const box = element("div", {class: "map"}, image);
  const enlarge = picture.kind === "maps" ? Math.max(1, Math.min(6, Math.floor(72 / picture.tile[0]))) : 1;
  box.style.width = picture.kind === "maps" ? Math.max(picture.width * enlarge, 180) + "px" : "100%";
  if (picture.kind === "matrix") Object.assign(image.style, {minHeight: "48px", height: Math.min(300, Math.max(64, 4 * picture.height)) + "px"});
  if (chosen && picture.kind === "maps") pointable(box, picture, label, chosen);
  const low = picture.low < 0;
  const scale = element("div", {class: "scale"}, short(picture.low), element("i", {class: low ? "both" : "one"}), short(picture.high));
  return element("div", {}, box, scale);
}

// Clicks and arrow keys choose a cell of the maps; the mark shows it.
function pointable(box, picture, label, chosen) {
  const [rows, columns] = picture.tile, [cellRows, cellColumns] = picture.cells, mark = element("i");
  let at = {tile: 0, row: Math.floor(cellRows / 2), column: Math.floor(cellColumns / 2)};
  const show = say => {
    const left = at.tile % picture.across * (columns + 1) + at.column * columns / cellColumns;
    const top = Math.floor(at.tile / picture.across) * (rows + 1) + at.row * rows / cellRows;
    mark.style.left = 100 * left / picture.width + "%";
    mark.style.top = 100 * top / picture.height + "%";
    mark.style.width = `max(5px, ${100 * columns / cellColumns / picture.width}%)`;
    mark.style.height = `max(5px, ${100 * rows / cellRows / picture.height}%)`;
    chosen({row: at.row, column: at.column, channel: picture.channels[at.tile]}, say);
  };
  box.append(mark);
  Object.assign(box, {tabIndex: 0});
  box.setAttribute("role", "application");
  box.setAttribute("aria-label", label + ". Arrow keys move the cell, page up and down the channel.");
  box.addEventListener("click", event => {
    const frame = box.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width * picture.width, y = (event.clientY - frame.top) / frame.height * picture.height;
    const across = Math.min(picture.across - 1, Math.floor(x / (columns + 1))), down = Math.floor(y / (rows + 1));
    const tile = Math.min(picture.channels.length - 1, down * picture.across + across);
    const within = (value, size, cells) => Math.max(0, Math.min(cells - 1, Math.floor(value / size * cells)));
    at = {tile, row: within(y - down * (rows + 1), rows, cellRows), column: within(x - across * (columns + 1), columns, cellColumns)};
    show(true);
  });
  box.addEventListener("keydown", event => {
    const move = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
    const turn = {PageUp: -1, PageDown: 1}[event.key];
    if (!move && !turn) return;
    event.preventDefault();
    if (turn) at.tile = (at.tile + turn + picture.channels.length) % picture.channels.length;
    else {
      at.row = Math.max(0, Math.min(cellRows - 1, at.row + move[0]));
      at.column = Math.max(0, Math.min(cellColumns - 1, at.column + move[1]));
    }
    show(true);
  });
  show(false);
}

function barsOf(picture, label) {
  const values = picture.values.map(value => value === null ? 0 : value), n = values.length;
  const high = Math.max(0, ...values), low = Math.min(0, ...values), span = high - low || 1;
  const chart = element("svg", {class: "chart bars", viewBox: `0 0 ${n} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label});
  values.forEach((value, i) => {
    const top = 100 * (high - Math.max(0, value)) / span, tall = 100 * Math.abs(value) / span;
    chart.append(element("rect", {x: i + 0.08, y: top, width: 0.84, height: Math.max(tall, 0.4), fill: value < 0 ? "#4393c3" : "#d6604d"}));
  });
  const note = picture.of > n ? `${n} of ${picture.of} elements, of each stretch the largest` : `${n} elements`;
  return element("div", {}, chart, element("div", {class: "scale"}, `${short(low)} … ${short(high)}, ${note}`));
}

function histogram(statistics, colour, label) {
  const bins = statistics && statistics.histogram;
  if (!bins) return null;
  const n = bins.counts.length, most = Math.sqrt(Math.max(...bins.counts)) || 1;
  const chart = element("svg", {class: "chart", viewBox: `0 0 ${n} 100`, preserveAspectRatio: "none", role: "img", "aria-label": label});
  bins.counts.forEach((count, i) => {
    const tall = 100 * Math.sqrt(count) / most;
    chart.append(element("rect", {x: i + 0.06, y: 100 - tall, width: 0.88, height: tall, fill: colour}));
  });
  const ends = element("div", {class: "scale"}, `${short(bins.low)} … ${short(bins.high)}`, element("span", {}, "histogram, heights as square roots"));
  return element("div", {}, chart, ends);
}
