"use strict";

// Files are sent to this service, and shown with what it answers. Names and texts are set as text, never as HTML.

const at = (selector, within = document) => within.querySelector(selector);
const drop = at("#drop"), input = at("#files"), state = at("#state"), site = at("#site"), cells = at("#cells");
const TRIES = 20;
const VERDICTS = {
  pass: "Guard: passes; the morphology is kept",
  warn: "Guard: warns; check it by eye",
  refuse: "Guard: refuses what the model made",
};
let addresses = [];
let round = 0;

function show(blob) {
  const address = URL.createObjectURL(blob);
  addresses.push(address);
  return address;
}

async function ask(path, files) {
  const form = new FormData();
  for (const file of files) form.append("images", file, file.name);
  const headers = at("#token") ? { authorization: `Bearer ${at("#token").value.trim()}` } : {};
  for (let tried = 1; ; tried += 1) {
    const response = await fetch(path, { method: "POST", body: form, headers });
    const told = await response.json();
    if (response.ok) return told;
    if (response.status !== 429 || tried >= TRIES) throw new Error(told.error);
    state.textContent = "Other requests are worked on; waiting ...";
    await new Promise((resume) => setTimeout(resume, 1000 * Number(response.headers.get("retry-after") || 1)));
  }
}

function card(file) {
  const own = at("#cell").content.firstElementChild.cloneNode(true);
  at("h2", own).textContent = file.name;
  const image = at(".before img", own);
  image.onerror = () => { image.parentNode.textContent = "this browser cannot show the file"; };
  image.src = show(file);
  at(".after", own).hidden = document.body.dataset.restains !== "True";
  cells.append(own);
  return own;
}

function restained(own, told) {
  const frame = at(".after .frame", own), line = at(".verdict", own);
  if (told.status === "failed") {
    frame.textContent = "none";
    at(".remark", own).textContent = told.reason;
    at(".remark", own).classList.add("failed");
    return;
  }
  const bytes = Uint8Array.from(atob(told.image), (sign) => sign.charCodeAt(0));
  at("img", frame).src = show(new Blob([bytes], { type: told.media_type }));
  line.dataset.verdict = told.verdict;
  const safer = told.restained_by === "fallback" ? "; the fallback re-stained it" : "";
  const why = told.verdict_reasons ? ` (${told.verdict_reasons})` : "";
  line.textContent = told.verdict ? VERDICTS[told.verdict] + why + safer : "Guard: this model has none";
  at(".remark", own).textContent = told.remark;
}

function classified(own, told) {
  const line = at(".class", own);
  if (told.predicted_class === null) {
    line.textContent = `No class: ${told.reason}`;
  } else {
    line.textContent = `${told.predicted_class}, ${Math.round(100 * Math.max(...told.probabilities))} %`;
  }
}

function showCautions(told) {
  const own = at("#cautions");
  own.hidden = !told.cautions.length;
  own.textContent = told.cautions.join(" ");
}

function judgeSite(told) {
  if (told.site === null || !site.hidden) return;
  site.hidden = false;
  site.dataset.answer = told.site.answer;
  site.textContent = told.site.text;
}

function fill(body, rows) {
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    for (const value of row) line.insertCell().textContent = value === null ? "" : value;
    return line;
  }));
}

function showCount(told) {
  const percent = (value) => value.toFixed(1);
  at("#count").hidden = false;
  at("#distrust").hidden = told.trusted;
  const used = told.fields.filter((field) => field.status === "searched").length;
  at("#counted").textContent = `${told.counted} leukocytes counted in ${used} of ${told.fields.length} fields.`;
  fill(at("#classes"), told.classes.map((row) => [
    row.class_name, row.cells, percent(row.percent), `${percent(row.low)} to ${percent(row.high)}`, percent(row.counted_percent),
  ]));
  at("#confusion").textContent = told.confusion_from
    ? `Corrected by the classifier's confusion on ${told.confusion_from}.`
    : "The intervals cover counting error only: the model states no confusion matrix.";
  fill(at("#fields"), told.fields.map((field) => [
    field.name, field.leukocytes, field.red_cells, field.platelets,
    field.status === "searched" ? field.remark || "counted" : `${field.status}: ${field.reason}`,
  ]));
}

async function countFields(files, isLatest) {
  const told = await ask("/v1/differential", files);
  if (!isLatest()) return;
  judgeSite(told);
  showCautions(told);
  showCount(told);
}

async function showCells(files, isLatest) {
  const cards = files.map(card);
  const work = [
    ["classifies", "/v1/classify", classified],
    ["restains", "/v1/standardize?format=png", restained],
  ];
  for (const [able, path, show] of work) {
    if (document.body.dataset[able] !== "True") continue;
    const told = await ask(path, files);
    if (!isLatest()) return;
    judgeSite(told);
    if (told.cautions) showCautions(told); // of the classes; a re-staining has none
    told.images.forEach((image, place) => show(cards[place], image));
  }
}

async function send(files) {
  if (!files.length) return;
  round += 1;
  const own = round;
  const isLatest = () => own === round; // else other files were dropped in the meantime
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
  cells.replaceChildren();
  site.hidden = true;
  at("#cautions").hidden = true;
  if (at("#count")) at("#count").hidden = true;
  state.textContent = `Working on ${files.length} images ...`;
  try {
    await (at("#whole")?.checked ? countFields : showCells)(files, isLatest);
    if (!isLatest()) return;
    state.textContent = `${files.length} ${files.length === 1 ? "image" : "images"} done.`;
  } catch (error) {
    if (isLatest()) state.textContent = `No answer: ${error.message}`;
  }
}

input.addEventListener("change", () => send([...input.files]));
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); send([...event.dataTransfer.files]); });
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault()); // a file dropped beside does not replace the page
}
