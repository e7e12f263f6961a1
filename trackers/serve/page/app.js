// The page: one source at a time, its targets, its figures.

import { ask, watch } from "./stream.js";
import { colorOf, drawPicture, drawTargets, drawTimeline, placement } from "./draw.js";
import { listen } from "./pointer.js";

const SPAN_MS = 60000, TRAIL = 60, STATUS_MS = 1000, KEEP_REPORTS = 90;
const at = (id) => document.getElementById(id);
const state = { source: null, status: null, picture: null, held: false, report: null, reports: new Map(), selected: null,
                trails: new Map(), showTrails: true, seen: new Map(), history: new Map(), draft: null, linked: false, stop: null };

// ---- what comes in

function choose(source) {
  if (state.source === source) return;
  state.stop?.();
  Object.assign(state, { source, picture: null, held: false, report: null, reports: new Map(), selected: null,
                         trails: new Map(), seen: new Map(), history: new Map(), draft: null });
  for (const canvas of [at("picture"), at("overlay")]) canvas.width = canvas.height = 0;  // never another source's picture
  delete at("stage").dataset.frame;
  for (const figure of ["fps", "delay", "update", "dropped"]) at(figure).textContent = "–";
  location.replace(`#${encodeURIComponent(source)}`);
  state.stop = watch(source, { onPicture, onReport, onLink: (linked) => { state.linked = linked; showLink(); } });
  showSources();
  showTargets();
}

function onReport(report) {
  state.report = report;
  state.reports.set(report.frame_index, report);
  if (state.reports.size > KEEP_REPORTS) state.reports.delete(state.reports.keys().next().value);
  remember(report);
  if (!state.held && state.picture?.frame === report.frame_index) repaint = true;
}

function onPicture(picture) {
  if (state.held) { picture.bitmap.close(); return; }
  state.picture?.bitmap.close();
  state.picture = picture;
  at("stage").dataset.frame = picture.frame;
  at("stage").style.setProperty("--aspect", `${picture.width} / ${picture.height}`);
  repaint = true;
}

function remember(report) {
  const now = Date.now(), ids = new Set(report.targets.map((t) => t.id));
  for (const target of report.targets) {
    const points = state.history.get(target.id) || state.history.set(target.id, []).get(target.id);
    points.push({ t: now, score: target.score, lost: target.state === "lost" });
    const trail = state.trails.get(target.id) || state.trails.set(target.id, []).get(target.id);
    trail.push(target.box ? [target.box[0] + target.box[2] / 2, target.box[1] + target.box[3] / 2] : null);
    if (trail.length > TRAIL) trail.shift();
    if (target.box) state.seen.set(target.id, target.box);
  }
  for (const map of [state.trails, state.seen]) for (const id of map.keys()) if (!ids.has(id)) map.delete(id);
  for (const [id, points] of state.history) {
    while (points.length && now - points[0].t > SPAN_MS) points.shift();
    if (!points.length) state.history.delete(id);
  }
  if (state.selected !== null && !ids.has(state.selected)) state.selected = null;
}

async function poll() {
  try {
    state.status = await ask("GET", "/api/status");
    const wanted = decodeURIComponent(location.hash.slice(1)), ids = state.status.sources.map((s) => s.id);
    if (!ids.includes(state.source)) choose(ids.includes(wanted) ? wanted : ids[0]);
    showStatus();
  } catch (error) {
    state.linked = false;
  }
  showLink();
  setTimeout(poll, STATUS_MS);
}

// ---- what is shown

let repaint = false;
const size = () => state.picture && { width: state.picture.width, height: state.picture.height };
const place = () => placement(at("overlay"), state.picture.width, state.picture.height);
// the boxes of the frame that is shown, or the newest ones where that frame's have not come yet
const shown = () => state.reports.get(state.picture?.frame) || state.report;

function frame() {
  if (repaint && state.picture) {
    repaint = false;
    drawPicture(at("picture"), state.picture);
    paintOverlay();
  }
  requestAnimationFrame(frame);
}

function paintOverlay() {
  if (!state.picture) return;
  drawTargets(at("overlay"), place(), shown()?.targets || [], {
    trails: state.showTrails && !state.held ? state.trails : null, selected: state.selected, seen: state.seen, draft: state.draft });
}

function every() {
  drawTimeline(at("timeline"), state.history, SPAN_MS, Date.now());
  showTargets();
  const report = state.report;
  if (report) {
    at("fps").textContent = (isLive() ? report.fps : 0).toFixed(1);
    at("update").textContent = report.targets.length ? `${Math.max(...report.targets.map((t) => t.latency_ms)).toFixed(0)} ms` : "–";
    at("dropped").textContent = report.dropped.toLocaleString("en");
  }
}

function showTargets() {
  const targets = state.report?.targets || [], list = at("targets");
  while (list.children.length > targets.length) list.lastChild.remove();
  while (list.children.length < targets.length) list.append(row());
  targets.forEach((target, i) => fill(list.children[i], target));
  at("none").hidden = targets.length > 0;
  at("clear").hidden = targets.length < 2;
  at("hint").hidden = targets.length > 0 || !state.picture || state.held;
}

function row() {
  const item = document.createElement("li");
  item.innerHTML = '<i></i><b></b><span class="state"></span><span class="meter"><b></b></span><span class="score"></span><button>✕</button>';
  item.addEventListener("click", () => select(item.target === state.selected ? null : item.target));
  item.lastChild.addEventListener("click", (event) => { event.stopPropagation(); remove(item.target); });
  return item;
}

function fill(item, target) {
  item.target = target.id;
  item.classList.toggle("selected", target.id === state.selected);
  const [chip, name, condition, meter, score, button] = item.children;
  chip.style.background = colorOf(target.id);
  name.textContent = target.id;
  condition.textContent = target.state;
  condition.className = `state ${target.state}`;
  meter.firstChild.style.width = `${Math.round(target.score * 100)}%`;
  meter.firstChild.style.background = colorOf(target.id);
  score.textContent = target.score.toFixed(2);
  button.title = button.ariaLabel = `Delete target ${target.id}`;
}

function current() { return state.status?.sources.find((s) => s.id === state.source); }

const isLive = () => state.linked && current()?.state === "live";

function showSources() {
  const nav = at("sources"), sources = state.status?.sources || [];
  while (nav.children.length > sources.length) nav.lastChild.remove();
  sources.forEach((source, i) => {
    const button = nav.children[i] || nav.appendChild(document.createElement("button"));
    button.onclick = () => choose(source.id);
    button.dataset.state = source.state;
    const text = /^\d+$/.test(source.id) ? source.label : source.id;
    button.innerHTML = "<span></span>";
    button.firstChild.textContent = text.replace(/\/+$/, "").split("/").slice(-2).join("/");
    button.title = `${source.label}: ${source.state}`;
    button.setAttribute("aria-current", source.id === state.source);
  });
}

function showStatus() {
  showSources();
  const source = current();
  if (!source) return;
  const { p50, p99 } = source.delay_ms;
  at("delay").textContent = p50 === null ? "–" : `${p50.toFixed(0)} / ${p99.toFixed(0)} ms`;
  at("record").setAttribute("aria-pressed", source.recording !== null);
  at("record").disabled = !state.status.records;
  at("record").title = state.status.records ? "Record (R)" : "Start the server with --record-dir to record";
  at("record").lastChild.textContent = source.recording ? "Stop" : "Record";
  at("files").hidden = !state.status.records;
  const list = at("notices");
  list.replaceChildren(...source.notices.slice(-30).reverse().map((notice) => {
    const item = document.createElement("li"), time = document.createElement("time"), text = document.createElement("span");
    time.textContent = new Date(notice.time_s * 1000).toLocaleTimeString("en-GB");
    text.textContent = notice.text;
    item.append(time, text);
    return item;
  }));
  if (!list.children.length) list.innerHTML = '<li class="dim">Nothing to tell.</li>';
}

function showLink() {
  const source = current(), name = !state.linked ? "offline" : source?.state || "connecting", pill = at("link"), banner = at("banner");
  pill.textContent = name;
  pill.className = `pill ${name}`;
  const text = {
    offline: "No connection to the server. Trying again …",
    connecting: "Waiting for the source …",
    stalled: "No new pictures. Waiting for the source …",
    failed: `${source?.problem || "The source failed"} Trying again …`,
    ended: "The video has ended",
  }[name];
  at("stage").classList.toggle("stale", Boolean(text) && name !== "ended");
  banner.hidden = !text;
  banner.textContent = text || "";
  banner.className = name === "ended" || name === "connecting" ? "calm" : "";
}

let toastTimer = 0;
function toast(text, bad = false) {
  at("toast").textContent = text;
  at("toast").className = bad ? "bad" : "";
  at("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { at("toast").hidden = true; }, bad ? 6000 : 3000);
}

// ---- what people do

const attempt = (work) => async (...given) => { try { return await work(...given); } catch (error) { toast(error.message, true); } };

function select(id) { state.selected = id; repaint = true; showTargets(); }

const add = attempt(async (box, onFrame) => {
  const target = await ask("POST", "/api/targets", { box, frame_index: onFrame, source: state.source });
  toast(`Target ${target.id} is followed`);
});
const move = attempt((id, box, onFrame) => ask("PUT", `/api/targets/${id}`, { box, frame_index: onFrame }));
const remove = attempt(async (id) => { await ask("DELETE", `/api/targets/${id}`); if (state.selected === id) select(null); });
const clear = attempt(() => Promise.all((state.report?.targets || []).map((t) => ask("DELETE", `/api/targets/${t.id}`))));

const record = attempt(async () => {
  if (current()?.recording) {
    const { name } = await ask("DELETE", `/api/recordings/current?source=${encodeURIComponent(state.source)}`);
    toast(`Recorded ${name}`);
  } else if (state.status?.records) {
    await ask("POST", "/api/recordings", { source: state.source });
  }
  state.status = await ask("GET", "/api/status");
  showStatus();
});

function snapshot() {
  const link = document.createElement("a");
  link.href = `/api/snapshot.jpg?source=${encodeURIComponent(state.source)}`;
  link.download = `${state.source}-${state.report?.frame_index ?? 0}.jpg`;
  link.click();
}

const listRecordings = attempt(async () => {
  const { recordings } = await ask("GET", "/api/recordings");
  at("recording-list").replaceChildren(...recordings.map((r) => {
    const item = document.createElement("li"), link = document.createElement("a"), size = document.createElement("span");
    link.href = `/api/recordings/${encodeURIComponent(r.name)}`;
    link.textContent = r.name;
    size.textContent = `${(r.size_bytes / 1e6).toFixed(1)} MB`;
    size.className = "dim";
    item.append(link, size);
    return item;
  }));
  if (!recordings.length) at("recording-list").innerHTML = '<li class="dim">None yet.</li>';
  at("recordings").showModal();
});

function toggleTrails() {
  state.showTrails = !state.showTrails;
  at("trails").setAttribute("aria-pressed", state.showTrails);
  repaint = true;
}

const pointer = listen(at("overlay"), {
  place, size,
  targets: () => shown()?.targets || [],
  selected: () => state.selected,
  hold: () => { if (!state.picture) return null; state.held = true; at("hint").hidden = true; return state.picture.frame; },
  release: () => { state.held = false; repaint = true; },
  draft: (box) => { state.draft = box; paintOverlay(); },
  select, add, move,
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("recordings").open) return;
  const key = event.key.toLowerCase();
  if (key === "escape") { pointer.cancel(); select(null); }
  else if ((key === "delete" || key === "backspace") && state.selected !== null) remove(state.selected);
  else if (key === "r") record();
  else if (key === "s") snapshot();
  else if (key === "t") toggleTrails();
  else return;
  event.preventDefault();
});

at("record").addEventListener("click", record);
at("snapshot").addEventListener("click", snapshot);
at("trails").addEventListener("click", toggleTrails);
at("files").addEventListener("click", listRecordings);
at("clear").addEventListener("click", clear);
new ResizeObserver(() => { repaint = true; }).observe(at("stage"));

poll();
requestAnimationFrame(frame);
setInterval(every, 200);
