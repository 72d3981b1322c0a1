// Keys, zoom, marking, time and preloading for the readers' pages. All of them work without it, by plain forms.
"use strict";

document.documentElement.classList.add("scripted");

const IDLE_SECONDS = 120; // nobody looks at one picture for longer without moving anything
const LARGEST_ZOOM = 8;
const MARK_STEP = 0.02;
const VIEW_STEP = 0.1;
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("answers");
  const keys = switchForKeys();
  onKey("Enter", () => document.querySelector(".words .primary")?.click());
  // Not `autofocus`: it scrolls the words out of a small window before anybody has read them.
  document.querySelector(".words .primary")?.focus({ preventScroll: true });
  pressByKey(keys);
  sendOnce();
  if (!form) return;
  const images = [...document.querySelectorAll(".stage img")];
  const clock = startClock(form);
  const ready = Promise.all(images.map((image) => image.decode())).then(
    () => { clock.start(); document.body.classList.add("ready"); preload(); },
    () => complain(form));
  document.body.dataset.settled = "no";
  ready.then(() => { document.body.dataset.settled = "yes"; });
  const zoom = zoomed([...document.querySelectorAll(".frame")]);
  const markable = document.getElementById("markable");
  if (markable) mark(form, markable, zoom);
  onKey("Enter", () => form.querySelector(":scope > button.primary")?.click());
});

// Buttons keep their keys in data-key; where keys are switched off, only those of zoom, undo and break go.
function pressByKey(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.target.matches("select")) return;
    const name = event.key.toLowerCase() === "=" ? "+" : event.key.toLowerCase();
    const found = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === name);
    if (!found || found.disabled || !keys()) return;
    const waits = found.closest("#answers") && !document.body.classList.contains("ready");
    event.preventDefault();
    if (waits) return; // an answer to a picture that is not there yet is a slip
    found.click();
    if (found.matches("input")) found.focus();
  });
}

// Enter confirms, unless a button or a link has the focus: then it presses that.
function onKey(name, work) {
  addEventListener("keydown", (event) => {
    const own = event.target.matches("a, button:not(#answers > .primary), select");
    if (event.key !== name || event.repeat || event.ctrlKey || event.altKey || event.metaKey || own) return;
    event.preventDefault();
    work();
  });
}

function switchForKeys() {
  const stored = () => { try { return localStorage.getItem("keys") !== "off"; } catch { return true; } };
  const box = document.getElementById("keys-switch");
  if (box) {
    box.closest("label").hidden = false;
    box.checked = stored();
    box.addEventListener("change", () => {
      try { localStorage.setItem("keys", box.checked ? "on" : "off"); } catch { box.checked = true; }
    });
  }
  return stored;
}

function sendOnce() {
  for (const form of document.forms) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  }
  addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
}

// Seconds in which the picture was in front of the reader: page visible, something moved not long ago.
function startClock(form) {
  let counted = 0, since = null, moved = performance.now();
  const add = () => {
    if (since === null) return;
    counted += Math.max(0, Math.min(performance.now(), moved + IDLE_SECONDS * 1000) - since) / 1000;
    since = performance.now();
  };
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "touchmove"]) {
    addEventListener(kind, () => { add(); moved = performance.now(); }, { passive: true });
  }
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    add();
    since = null;
    form.elements.seconds.value = counted.toFixed(3);
  });
  const leave = () => {
    if (since === null) return;
    add();
    since = null;
    const told = new URLSearchParams({ screen: form.elements.screen.value, seconds: counted.toFixed(3) });
    navigator.sendBeacon("left", told);
    counted = 0;
  };
  const start = () => { if (since === null && !document.hidden) { since = moved = performance.now(); } };
  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else start(); });
  addEventListener("pagehide", leave);
  return { start };
}

function complain(form) {
  form.querySelector(".complaint").textContent = document.getElementById("following").dataset.notLoaded;
}

function preload() {
  const names = document.getElementById("following").dataset.pictures.split(" ").filter(Boolean);
  window.following = names.map((name) => { const image = new Image(); image.src = name; return image; });
}

// All pictures of a screen are zoomed and moved as one, so that the same places stay side by side.
function zoomed(frames) {
  const view = { scale: 1, x: 0, y: 0 }; // x and y: shift in shares of a frame's side
  const show = () => {
    const most = (view.scale - 1) / 2;
    view.x = Math.max(-most, Math.min(most, view.x));
    view.y = Math.max(-most, Math.min(most, view.y));
    for (const frame of frames) {
      const side = frame.clientWidth;
      frame.firstElementChild.style.transform = `translate(${view.x * side}px, ${view.y * side}px) scale(${view.scale})`;
      frame.classList.toggle("near", view.scale > 1);
    }
  };
  // What lies under (px, py), shares from the frame's middle, stays there.
  const by = (factor, px = 0, py = 0) => {
    const scale = Math.max(1, Math.min(LARGEST_ZOOM, view.scale * factor));
    view.x = px - (px - view.x) * scale / view.scale;
    view.y = py - (py - view.y) * scale / view.scale;
    view.scale = scale;
    show();
  };
  const share = (frame, event) => {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  };
  for (const frame of frames) {
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      by(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...share(frame, event));
    }, { passive: false });
    drag(frame, view, show);
  }
  // Arrow keys move the enlarged picture, as dragging does; a mark and radio buttons have precedence.
  addEventListener("keydown", (event) => {
    const way = WAYS[event.key], taken = event.target.matches("select, input") || document.querySelector(".mark:not([hidden])");
    if (!way || view.scale === 1 || taken) return;
    event.preventDefault();
    view.x -= way[0] * VIEW_STEP;
    view.y -= way[1] * VIEW_STEP;
    show();
  });
  const steps = { in: () => by(1.4), out: () => by(1 / 1.4), reset: () => by(0) };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", steps[button.dataset.zoom]);
  }
  return {
    // Shares of the picture, 0 to 1, of what lies under a pointer.
    place: (frame, event) => share(frame, event).map((value, axis) => (value - (axis ? view.y : view.x)) / view.scale + 0.5),
  };
}

function drag(frame, view, show) {
  let from = null;
  frame.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; frame.dataset.moved = ""; });
  frame.addEventListener("pointermove", (event) => {
    if (!from || !event.buttons) return;
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    if (Math.hypot(dx, dy) < 4 && !frame.dataset.moved) return;
    frame.dataset.moved = "yes"; // a drag is no click
    if (view.scale === 1) return;
    view.x += dx / frame.clientWidth;
    view.y += dy / frame.clientWidth;
    from = [event.clientX, event.clientY];
    show();
  });
  for (const kind of ["pointerup", "pointercancel", "pointerleave"]) frame.addEventListener(kind, () => { from = null; });
}

// The place of a change: a click puts the mark, "changed" puts it in the middle; arrow keys move it, Enter confirms.
function mark(form, frame, zoom) {
  const button = form.querySelector("[data-mark]"), label = button.querySelector("span");
  const x = form.elements.x, y = form.elements.y;
  const cross = frame.firstElementChild.appendChild(document.createElement("div"));
  cross.className = "mark";
  cross.hidden = true;
  const put = (across, down) => {
    x.value = Math.max(0, Math.min(1, across)).toFixed(4);
    y.value = Math.max(0, Math.min(1, down)).toFixed(4);
    cross.style.left = `${x.value * 100}%`;
    cross.style.top = `${y.value * 100}%`;
    cross.hidden = false;
    label.textContent = button.dataset.mark;
  };
  if (x.value) put(+x.value, +y.value);
  frame.addEventListener("click", (event) => { if (!frame.dataset.moved) put(...zoom.place(frame, event)); });
  button.addEventListener("click", (event) => {
    if (!cross.hidden) return; // marked: the button sends the form
    event.preventDefault();
    put(0.5, 0.5);
    frame.tabIndex = 0;
    frame.focus();
  });
  onKey("Enter", () => { if (!cross.hidden) button.click(); });
  addEventListener("keydown", (event) => {
    if (cross.hidden || !WAYS[event.key] || event.target.matches("select")) return;
    event.preventDefault();
    const step = MARK_STEP * (event.shiftKey ? 5 : 1);
    put(+x.value + WAYS[event.key][0] * step, +y.value + WAYS[event.key][1] * step);
  });
}
