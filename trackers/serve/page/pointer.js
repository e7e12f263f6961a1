// Drawing, moving and resizing boxes with the mouse, a pen or a finger.

import { HANDLE, toScreen } from "./draw.js";

const SMALLEST = 4;     // pixels of the picture: less is a tap
const TAP_PX = 6;

// view: place(), size(), targets(), selected(), hold(), release(), select(id), draft(box|null), add(box, frame), move(id, box, frame)
export function listen(canvas, view) {
  let drag = null;

  const point = (event) => {
    const frame = canvas.getBoundingClientRect(), place = view.place();
    return { sx: event.clientX - frame.left, sy: event.clientY - frame.top,
             x: (event.clientX - frame.left - place.left) / place.scale, y: (event.clientY - frame.top - place.top) / place.scale };
  };

  const corner = (box, p, reach) => {
    const [x, y, w, h] = toScreen(view.place(), box);
    const corners = [[x, y, 1, 1], [x + w, y, 0, 1], [x, y + h, 1, 0], [x + w, y + h, 0, 0]];
    return corners.find(([cx, cy]) => Math.hypot(cx - p.sx, cy - p.sy) <= reach);
  };

  const inside = ([x, y, w, h], p) => p.x >= x && p.y >= y && p.x <= x + w && p.y <= y + h;
  const area = (box) => box[2] * box[3];
  const under = (p) => view.targets().filter((t) => t.box && inside(t.box, p)).sort((a, b) => area(a.box) - area(b.box))[0];

  const begin = (p, reach) => {
    const chosen = view.targets().find((t) => t.id === view.selected() && t.box);
    if (chosen) {
      const hit = corner(chosen.box, p, reach);
      if (hit) {
        const [x, y, w, h] = chosen.box;
        const fixed = { x: hit[2] ? x + w : x, y: hit[3] ? y + h : y };
        return { kind: "resize", id: chosen.id, fixed };
      }
      if (inside(chosen.box, p)) return { kind: "move", id: chosen.id, box: chosen.box, from: p };
    }
    return { kind: "draw", fixed: p };
  };

  const clamp = (p) => {
    const { width, height } = view.size();
    return { x: Math.max(0, Math.min(width, p.x)), y: Math.max(0, Math.min(height, p.y)) };
  };

  const boxOf = (p) => {
    if (drag.kind === "move") {
      const [x, y, w, h] = drag.box;
      return [x + p.x - drag.from.x, y + p.y - drag.from.y, w, h];
    }
    const a = clamp(drag.fixed), b = clamp(p);
    return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)];
  };

  const finish = () => { drag = null; view.draft(null); view.release(); };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drag || !view.size()) return;
    const frame = view.hold();       // the picture stands still while it is drawn on
    if (frame === null) return;
    const p = point(event);
    canvas.setPointerCapture(event.pointerId);
    drag = { ...begin(p, event.pointerType === "mouse" ? HANDLE : 24), frame, start: p, pointer: event.pointerId, far: false };
    event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    const p = point(event);
    if (!drag) {
      if (!view.size()) return;
      const would = begin(p, HANDLE);
      canvas.style.cursor = would.kind === "move" ? "move" : would.kind === "resize" ? "nwse-resize" : under(p) ? "pointer" : "crosshair";
      return;
    }
    if (event.pointerId !== drag.pointer) return;
    drag.far ||= Math.hypot(p.sx - drag.start.sx, p.sy - drag.start.sy) > TAP_PX;
    if (drag.far) view.draft(boxOf(p));
  });

  canvas.addEventListener("pointerup", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const p = point(event), { kind, id, frame, far } = drag;
    const box = boxOf(p), tapped = under(drag.start);
    finish();
    if (!far) { view.select(tapped && tapped.id !== view.selected() ? tapped.id : null); return; }
    if (box[2] < SMALLEST || box[3] < SMALLEST) return;
    if (kind === "draw") view.add(box, frame); else view.move(id, box, frame);
  });

  canvas.addEventListener("pointercancel", () => drag && finish());
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  return { cancel: () => drag && finish() };
}
