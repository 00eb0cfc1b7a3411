// The state of the page, and what changes it.

const {reports} = JSON.parse(document.getElementById("data").textContent);
const state = {order: 0, backward: false, output: -2};

// Positions of the slider: each leaf forward, then each leaf backward as backward went.
const walk = (() => {
  const {passes, leaves} = reports[0];
  const back = leaves.filter(order => passes[order].back !== null).sort((a, b) => passes[a].back - passes[b].back);
  return [...leaves.map(order => [order, false]), ...back.map(order => [order, true])];
})();

function select(order, i = 0, backward = state.backward) {
  if (i > 0) {
    const {name, call} = reports[i].passes[order];
    order = reports[0].passes.find(pass => pass.name === name && pass.call === call)?.order ?? state.order;
  }
  Object.assign(state, {order, backward});
  const leaf = nearestLeaf(reports[0], order), at = walk.findIndex(([each, back]) => each === leaf && back === backward);
  if (at >= 0) document.getElementById("slider").value = at;
  show();
}

function follow(output) {
  state.output = output;
  if (output >= 0) state.backward = true;
  show();
}

function show() {
  const pass = reports[0].passes[state.order], slider = document.getElementById("slider");
  document.body.classList.toggle("backward", state.backward);
  const text = `${pass.name} · ${pass.kind}`;
  document.getElementById("where").replaceChildren(element("b", {}, state.backward ? "← backward" : "forward →"), ` ${Number(slider.value) + 1} of ${walk.length} · ${text}`);
  slider.setAttribute("aria-valuetext", `${state.backward ? "backward" : "forward"}, ${text}`);
  document.querySelectorAll("#tree button").forEach(button => {
    const current = Number(button.dataset.order) === state.order;
    button.setAttribute("aria-current", String(current));
    if (current) {
      const tree = document.getElementById("tree"), item = button.parentElement;
      if (item.offsetTop < tree.scrollTop + tree.offsetTop || item.offsetTop > tree.scrollTop + tree.offsetTop + tree.clientHeight - 30) tree.scrollTop = item.offsetTop - tree.offsetTop - tree.clientHeight / 2;
    }
  });
  showFollowed();
  showLayer();
  reports.forEach((report, i) => { const own = passIn(report, i); if (own) showStrip(report, i, own.order); });
}

function start() {
  if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.dataset.theme = "dark";
  document.body.classList.toggle("two", reports.length > 1);
  const slider = document.getElementById("slider"), play = document.getElementById("play");
  slider.max = walk.length - 1;
  const step = to => { slider.value = to; const [order, backward] = walk[Number(slider.value)]; select(order, 0, backward); };
  slider.addEventListener("input", () => step(Number(slider.value)));
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", "false"); play.textContent = "▶"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === walk.length - 1) step(0);
    Object.assign(play, {textContent: "❚❚"}).setAttribute("aria-pressed", "true");
    timer = setInterval(() => Number(slider.value) < walk.length - 1 ? step(Number(slider.value) + 1) : stop(), 350);
  });
  head();
  strips();
  list();
  inputs();
  extras();
  const foot = reports.slice(0, 1).map(report => element("p", {}, `${report.command} · ${report.date} · Python ${report.versions.python}, NumPy ${report.versions.numpy}`));
  document.getElementById("foot").append(...foot);
  addEventListener("resize", () => { strips(); show(); });
  step(0);
}

start();
