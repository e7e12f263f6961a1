// Boxes, trails and handles over the picture.

// Told apart with the common colour blindnesses too; a target keeps its colour, its state is in the line.
const COLORS = ["#5fd98a", "#ffbe3d", "#7db7ff", "#ff8ad0", "#c9f24b", "#ff7f50", "#b79cff", "#4fe0d8"];
export const colorOf = (id) => COLORS[(id - 1) % COLORS.length];
export const HANDLE = 9;

// How the picture lies in its canvas: as large as fits, in the middle.
export function placement(canvas, width, height) {
  const scale = Math.min(canvas.clientWidth / width, canvas.clientHeight / height) || 1;
  return { scale, left: (canvas.clientWidth - width * scale) / 2, top: (canvas.clientHeight - height * scale) / 2 };
}

export const toScreen = (place, [x, y, w, h]) =>
  [place.left + x * place.scale, place.top + y * place.scale, w * place.scale, h * place.scale];

export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return pen;
}

export function drawPicture(canvas, picture) {
  const pen = fit(canvas);
  const place = placement(canvas, picture.width, picture.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture.bitmap, place.left, place.top, picture.width * place.scale, picture.height * place.scale);
}

export function drawTargets(canvas, place, targets, { trails, selected, seen, draft }) {
  const pen = fit(canvas);
  if (trails) for (const [id, points] of trails) trail(pen, place, points, colorOf(id));
  for (const target of targets) {
    const box = target.box || seen.get(target.id);
    if (box) outline(pen, toScreen(place, box), target, target.id === selected);
  }
  if (draft) draftBox(pen, toScreen(place, draft));
}

function trail(pen, place, points, color) {
  pen.lineWidth = 2;
  pen.strokeStyle = color;
  pen.lineCap = "round";
  for (let i = 1; i < points.length; i++) {
    if (!points[i - 1] || !points[i]) continue;
    pen.globalAlpha = 0.75 * i / points.length;
    pen.beginPath();
    pen.moveTo(place.left + points[i - 1][0] * place.scale, place.top + points[i - 1][1] * place.scale);
    pen.lineTo(place.left + points[i][0] * place.scale, place.top + points[i][1] * place.scale);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function outline(pen, [x, y, w, h], target, selected) {
  const color = colorOf(target.id), lost = target.state === "lost";
  pen.setLineDash(lost ? [2, 6] : target.state === "uncertain" ? [8, 5] : []);
  pen.globalAlpha = lost ? 0.7 : 1;
  pen.strokeStyle = "#000a";
  pen.lineWidth = selected ? 5 : 4;
  pen.strokeRect(x, y, w, h);
  pen.strokeStyle = color;
  pen.lineWidth = selected ? 3 : 2;
  pen.strokeRect(x, y, w, h);
  pen.setLineDash([]);
  pen.globalAlpha = 1;
  const mark = lost ? "LOST, last seen here" : target.state === "uncertain" ? `? ${target.score.toFixed(2)}` : target.score.toFixed(2);
  label(pen, `${target.id}  ${mark}`, x, y, h, color);
  if (selected && !lost) handles(pen, [x, y, w, h], color);
}

function label(pen, text, x, y, h, color) {
  pen.font = "600 12px system-ui, sans-serif";
  const width = pen.measureText(text).width + 10;
  const left = Math.max(0, Math.min(x - 1, pen.canvas.clientWidth - width));
  const top = y >= 22 ? y - 21 : Math.min(y + h + 3, pen.canvas.clientHeight - 19);
  pen.fillStyle = color;
  pen.beginPath();
  pen.roundRect(left, top, width, 18, 4);
  pen.fill();
  pen.fillStyle = "#0e1217";
  pen.fillText(text, left + 5, top + 13);
}

function handles(pen, [x, y, w, h], color) {
  for (const [cx, cy] of [[x, y], [x + w, y], [x, y + h], [x + w, y + h]]) {
    pen.fillStyle = "#0e1217";
    pen.strokeStyle = color;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(cx, cy, HANDLE / 2 + 1, 0, 7);
    pen.fill();
    pen.stroke();
  }
}

function draftBox(pen, [x, y, w, h]) {
  pen.fillStyle = "#ffffff22";
  pen.fillRect(x, y, w, h);
  pen.lineWidth = 3;
  pen.strokeStyle = "#000c";
  pen.strokeRect(x, y, w, h);
  pen.setLineDash([6, 4]);
  pen.lineWidth = 1.5;
  pen.strokeStyle = "#fff";
  pen.strokeRect(x, y, w, h);
  pen.setLineDash([]);
}

export function drawTimeline(canvas, history, spanMs, now) {
  const pen = fit(canvas), width = canvas.clientWidth, height = canvas.clientHeight, foot = 16;
  const x = (t) => width - (now - t) / spanMs * width, y = (score) => 4 + (1 - score) * (height - foot - 6);
  pen.strokeStyle = "#2a3440";
  pen.fillStyle = "#97a5b4";
  pen.font = "11px system-ui, sans-serif";
  pen.lineWidth = 1;
  for (const score of [0, 0.5, 1]) {
    pen.beginPath(); pen.moveTo(0, y(score)); pen.lineTo(width, y(score)); pen.stroke();
  }
  for (const s of [60, 45, 30, 15]) pen.fillText(`-${s} s`, Math.max(0, x(now - s * 1000) - 12), height - 3);
  for (const [id, points] of history) {
    let previous = null;
    for (const point of points) {
      if (point.lost) {
        pen.fillStyle = "#ff6b6133";
        const from = previous ? x(previous.t) : x(point.t);
        pen.fillRect(from, 2, Math.max(1, x(point.t) - from), height - foot - 2);
        if (!previous || !previous.lost) mark(pen, x(point.t), colorOf(id), height - foot);
      }
      previous = point;
    }
    pen.strokeStyle = colorOf(id);
    pen.lineWidth = 1.6;
    pen.beginPath();
    points.forEach((p, i) => (i && p.t - points[i - 1].t < 2000 ? pen.lineTo(x(p.t), y(p.score)) : pen.moveTo(x(p.t), y(p.score))));
    pen.stroke();
  }
}

function mark(pen, x, color, bottom) {
  pen.fillStyle = color;
  pen.beginPath();
  pen.moveTo(x - 5, bottom + 8); pen.lineTo(x + 5, bottom + 8); pen.lineTo(x, bottom); pen.fill();
}
