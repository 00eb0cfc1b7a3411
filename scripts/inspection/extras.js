// What only some models have: regions on the picture, gates over time, attention.

function extras() {
  for (const [i, report] of reports.entries()) {
    const place = document.getElementById("extras");
    for (const part of report.extras || []) {
      const made = {boxes: boxesOf, gates: gatesOf, attention: attentionOf}[part.kind](report, part);
      place.append(element("section", {class: "extra"}, element("h2", {}, part.title + tag(i)), element("p", {class: "hint"}, part.text), made));
    }
  }
}
