// Pictures and reports from the server. Pictures are Motion JPEG read part by part, because each part's header says
// which frame it is: boxes are then drawn on the very frame that they were found in.

const WAIT_MS = [300, 700, 1500, 3000];

export function watch(source, { onPicture, onReport, onLink }) {
  const stop = new AbortController();
  pictures(source, onPicture, stop.signal);
  reports(source, onReport, onLink, stop.signal);
  return () => stop.abort();
}

const pause = (tries) => new Promise((go) => setTimeout(go, WAIT_MS[Math.min(tries, WAIT_MS.length - 1)]));

async function pictures(source, onPicture, signal) {
  for (let tries = 0; !signal.aborted; tries++) {
    try {
      const answer = await fetch(`/stream.mjpg?source=${encodeURIComponent(source)}`, { signal, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      await readParts(answer.body.getReader(), newest(onPicture, signal), () => { tries = 0; });
    } catch (error) { /* tried again below */ }
    await pause(tries);
  }
}

// Decodes one picture after the other; those that come meanwhile replace each other.
function newest(onPicture, signal) {
  let waiting = null, busy = false;
  const work = async () => {
    busy = true;
    while (waiting && !signal.aborted) {
      const part = waiting;
      waiting = null;
      try {
        const bitmap = await createImageBitmap(new Blob([part.bytes], { type: "image/jpeg" }));
        if (signal.aborted) bitmap.close(); else onPicture({ ...part, bytes: null, bitmap });
      } catch (error) { /* a broken picture is left out */ }
    }
    busy = false;
  };
  return (part) => { waiting = part; if (!busy) work(); };
}

async function readParts(reader, onPart, onFirst) {
  const text = new TextDecoder("latin1");
  let held = new Uint8Array(1 << 16), size = 0, head = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (size + value.length > held.length) {
      const larger = new Uint8Array(Math.max(2 * held.length, size + value.length));
      larger.set(held.subarray(0, size));
      held = larger;
    }
    held.set(value, size);
    size += value.length;
    let at = 0;
    for (;;) {
      if (!head) {
        const end = findBlankLine(held, at, size);
        if (end < 0) break;
        head = parseHead(text.decode(held.subarray(at, end)));
        at = end + 4;
      }
      if (size - at < head.length + 2) break;
      onPart({ ...head, bytes: held.slice(at, at + head.length) });
      onFirst();
      at += head.length + 2;
      head = null;
    }
    held.copyWithin(0, at, size);
    size -= at;
    if (!head && size > 65536) throw new Error("not Motion JPEG");
  }
}

function findBlankLine(bytes, from, to) {
  for (let i = from; i + 3 < to; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}

function parseHead(text) {
  const field = (name) => (text.match(new RegExp(`^${name}: *(.+?)\\r?$`, "im")) || [])[1];
  const [width, height] = (field("X-Frame-Size") || "0x0").split("x").map(Number);
  return { length: Number(field("Content-Length")), frame: Number(field("X-Frame-Index")),
           timestamp: Number(field("X-Timestamp")), width, height };
}

async function reports(source, onReport, onLink, signal) {
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws?source=${encodeURIComponent(source)}`;
  for (let tries = 0; !signal.aborted; tries++) {
    await new Promise((ended) => {
      const socket = new WebSocket(address);
      const close = () => socket.close();
      signal.addEventListener("abort", close, { once: true });
      socket.onopen = () => { tries = 0; onLink(true); };
      socket.onmessage = (message) => { if (!signal.aborted) onReport(JSON.parse(message.data)); };
      socket.onclose = () => { signal.removeEventListener("abort", close); if (!signal.aborted) onLink(false); ended(); };
    });
    await pause(tries);
  }
}

export async function ask(method, path, body) {
  const options = { method, cache: "no-store" };
  if (body !== undefined) Object.assign(options, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  const answer = await fetch(path, options);
  if (answer.status === 401) location.reload();
  const values = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(values.error || answer.statusText);
  return values;
}
