// What only some models have: boxes on the picture, gates over time, attention.

function extras() {
  for (const [i, report] of reports.entries()) {
    const place = document.getElementById("extras");
    for (const part of report.extras || []) {
      const made = {boxes: boxesOf, gates: gatesOf, attention: attentionOf}[part.kind](report, part);
      place.append(element("section", {class: "extra"}, element("h2", {}, part.title + tag(i)), element("p", {class: "hint"}, part.text), made));
    }
  }
}

// The picture with boxes of several kinds, each with a box to tick and how many there are.
function boxesOf(report, part) {
  const {uri, width, height, padded} = report.input, [h, w] = padded || [height, width];
  const stage = element("div", {class: "seen"}), said = element("p", {class: "hint", role: "status"});
  stage.style.aspectRatio = `${w} / ${h}`;
  const photo = element("img", {src: uri, class: "photo", alt: "the picture with boxes"});
  Object.assign(photo.style, {width: 100 * width / w + "%", height: 100 * height / h + "%"});
  const drawing = element("svg", {viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", role: "img", "aria-label": "boxes on the picture"});
  stage.append(photo, drawing);
  const choices = element("div", {role: "group", "aria-label": "kinds of boxes"});
  for (const layer of part.layers) {
    const group = element("g", {stroke: layer.colour, "stroke-width": layer.boxes.length > 40 ? 1 : 2, visibility: layer.shown ? "visible" : "hidden"});
    layer.boxes.forEach(([x1, y1, x2, y2], k) => {
      const box = element("rect", {x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1)});
      box.addEventListener("mouseenter", () => {
        said.textContent = `${layer.name}: ${short(x2 - x1)} x ${short(y2 - y1)} pixels at ${short(x1)}, ${short(y1)}` + (layer.scores ? `, score ${layer.scores[k]}` : "");
      });
      box.setAttribute("pointer-events", "stroke");
      group.append(box);
    });
    drawing.append(group);
    const tick = element("input", {type: "checkbox", on: {change: () => group.setAttribute("visibility", tick.checked ? "visible" : "hidden")}});
    tick.checked = layer.shown;
    const swatch = element("span", {class: "swatch"});
    Object.assign(swatch.style, {background: layer.colour, outline: "1px solid var(--line)"});
    const count = layer.count > layer.boxes.length ? `${layer.boxes.length} of ${layer.count}` : layer.count;
    choices.append(element("label", {}, tick, swatch, element("span", {}, layer.name, element("small", {class: "soft"}, ` ${count}`))));
  }
  return element("div", {class: "boxes"}, element("div", {}, stage, said), choices);
}

function gatesOf(report, part) {
  const figures = Object.entries(part.drawn).map(([name, picture]) =>
    element("figure", {}, element("figcaption", {}, element("b", {}, name)), drawn(picture, name)));
  if (part.norms.some(value => value)) {
    const bars = barsOf({values: part.norms, of: part.norms.length}, "norm of the gradient of h at each step");
    figures.push(element("figure", {}, element("figcaption", {}, element("b", {}, "norm of the gradient of h"), element("small", {}, "it comes back from the right")), bars));
  }
  const words = part.labels.length ? element("p", {class: "hint mono"}, "steps: " + part.labels.join(" · ")) : null;
  return element("div", {}, words, element("div", {class: "gates"}, ...figures));
}

function attentionOf(report, part) {
  if (part.matrix) return element("div", {}, element("p", {class: "hint mono"}, part.labels.join(" · ")), drawn(part.matrix, "attention, steps by words"));
  const {uri, width, height} = report.input;
  return element("div", {class: "tiles"}, ...part.tiles.map((tile, k) => {
    const box = element("div", {class: "seen dimmed"});
    box.style.aspectRatio = `${width} / ${height}`;
    const photo = element("img", {src: uri, class: "photo", alt: ""});
    Object.assign(photo.style, {width: "100%", height: "100%"});
    box.append(photo, element("img", {src: tile, class: "heat", alt: `attention at ${part.labels[k]}`}));
    return element("figure", {}, box, element("figcaption", {}, part.labels[k]));
  }));
}
