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
// A tab is a section that a link leads to. What stands in the address after # is its name, and after a slash what it is
// given.
const watchers = {};
let setUps = {}; // of each tab the function that sets it up, until it is first shown
const hashParts = () => location.hash.slice(1).split("/", 2);

// Calls `watch(true)` when the tab comes to be shown, and `watch(false)` when another takes its place.
function watchTab(name, watch) {
  watchers[name] = watch;
  watch(true);
}

function showTab() {
  const links = Array.from(document.querySelectorAll("nav a"));
  const shown = links.find(({ hash }) => hash === `#${hashParts()[0]}`) ?? links[0];
  for (const link of links) {
    const [name, was] = [link.hash.slice(1), !at(link.hash.slice(1)).hidden];
    link.setAttribute("aria-current", link === shown ? "page" : "false");
    at(name).hidden = link !== shown;
    if (was !== (link === shown)) watchers[name]?.(!was);
    if (link !== shown) continue;
    setUps[name]?.();
    delete setUps[name];
  }
}

function setUpTabs(given) {
  setUps = given;
  addEventListener("hashchange", showTab);
  showTab();
}

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
