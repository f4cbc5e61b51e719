// The page around both tabs: facts, Workers and tabs.

const facts = JSON.parse(at("facts").textContent);
const digits = { ...facts.digits, packed: bytesOf(facts.digits.packed) };
let unpacked = null; // not before they are asked for: the page is there sooner
const testDigits = () => (unpacked ??= readDigits(digits)).test;

const largestTicket = 1e6; // bytes; 64-512-512-10 takes 40,000 of them
const patience = 10_000; // milliseconds for an answer

// A Worker with the scripts of the element `engine`; `starter` is the call that makes it listen.
function createWorker(starter) {
  const text = [at("engine").textContent, starter];
  const url = URL.createObjectURL(new Blob(text, { type: "text/javascript" }));
  const worker = new Worker(url);
  worker.addEventListener("message", () => URL.revokeObjectURL(url), { once: true });
  return worker;
}

// What the function of a Worker that answers finds; an error's message is a sentence for the reader.
function ask(worker, ...given) {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve, reject) => {
    worker.onerror = () => reject(new Error("This cannot be read."));
    port1.onmessage = ({ data }) => ("found" in data ? resolve(data.found) : reject(new Error(data.why)));
    worker.postMessage(given, [port2]);
  });
}

// What a function of the engine finds, in a Worker of its own.
async function askOnce(name, ...given) {
  const worker = createWorker(`answerBy(${name})`);
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error("This takes more time than a network of the playground.")), patience)
  );
  try {
    return await Promise.race([ask(worker, ...given), late]);
  } finally {
    worker.terminate();
  }
}

// {network, masks} of a ticket's file.
async function readTicketFile(file) {
  if (file.size > largestTicket) throw new Error("This file is too large for a ticket of the playground.");
  return askOnce("readFound", new Uint8Array(await file.arrayBuffer()));
}

// Calls `take` with each file that the reader chooses, or drops anywhere while this tab is shown.
function watchFile(tab, input, take) {
  addEventListener("drop", ({ dataTransfer: { files } }) => !at(tab).hidden && files.length && take(files[0]));
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // the same one may be chosen again
  });
}

// Gives the reader a file to keep.
function saveFile(name, contents, type = "application/octet-stream") {
  const link = element("a", { href: URL.createObjectURL(new Blob([contents], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

// ---------------------------------------------------------------- tabs
const tabs = Array.from(document.querySelectorAll("[role=tab]"));
const watchers = new Map(tabs.map((tab) => [nameOfTab(tab), []]));
let setUps = {}; // the functions that set up those tabs that were not shown yet

function nameOfTab(tab) {
  return tab.getAttribute("aria-controls");
}

// Calls `watch(true)` when the tab comes to be shown, and `watch(false)` when another takes its place.
function watchTab(name, watch) {
  watchers.get(name).push(watch);
  if (!at(name).hidden) watch(true);
}

function showTab(name) {
  for (const tab of tabs) {
    const [its, chosen] = [nameOfTab(tab), nameOfTab(tab) === name];
    const changed = at(its).hidden === chosen;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    at(its).hidden = !chosen;
    if (chosen && its in setUps) {
      const setUp = setUps[its];
      delete setUps[its];
      setUp();
    } else if (changed) for (const watch of watchers.get(its)) watch(chosen);
  }
}

function chooseTab(tab) {
  tab.focus();
  history.replaceState(null, "", `#${nameOfTab(tab)}`);
  showTab(nameOfTab(tab));
}

function setUpTabs(given) {
  setUps = given;
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => chooseTab(tab));
    tab.addEventListener("keydown", (event) => {
      const to = { Home: 0, End: tabs.length - 1 }[event.key] ?? i + (steps[event.key] ?? NaN);
      if (Number.isNaN(to)) return;
      event.preventDefault();
      chooseTab(tabs[(to + tabs.length) % tabs.length]);
    });
  });
  // The address after # begins with the name of a tab.
  const read = () => showTab(watchers.has(hashParts()[0]) ? hashParts()[0] : nameOfTab(tabs[0]));
  addEventListener("hashchange", read);
  read();
}

// What stands in the address after #: the name of a tab, and after a slash what the tab is given.
const hashParts = () => location.hash.slice(1).split("/", 2);

// Calls `take` with what the address gives a tab, now and when it changes.
function watchAddress(name, take) {
  const read = () => {
    const [tab, given] = hashParts();
    if (tab === name && given) take(given);
  };
  addEventListener("hashchange", read);
  read();
}

window.untrained = { readDigits: () => readDigits(digits), readTicketFile }; // for the console of the browser, and for tests
