// Tickets, links and QR codes of the network as it is at this moment.

const masksNow = () => last.effective.map((each) => Uint8Array.from(each, (w) => (w === 0 ? 0 : 1)));
const beside = (bytes) => {
  const whole = 4 * count(last);
  return `${thousands(bytes)} bytes; as 32-bit floats the network would take ${thousands(whole)}, ${Math.round(whole / bytes)} times as many.`;
};
const tellHome = (text) => (f("size").textContent = text);

async function saveTicket() {
  const meta = { labels: digits.labels, mean: [digits.mean], std: [digits.std] };
  const bytes = await tell("write", { meta });
  if (!bytes) return;
  saveFile("found.ticket", bytes);
  tellHome(`Saved as found.ticket: ${beside(bytes.length)} In Python: ut.load("found.ticket").`);
}

// Goes on from what is read of a ticket or a link, paused at first.
async function goOnFrom(read) {
  try {
    const { settings: its, masks } = await read();
    plays = false;
    change(its, { anew: true, masks });
    tellHome(masks ? "This is the network that was saved. Play goes on from it." : "These are the settings of the link.");
  } catch (error) {
    tellHome(error.message);
  }
}

const openLink = (text) => text !== written && goOnFrom(() => readLink(text));
const openTicket = (file) =>
  goOnFrom(async () => {
    const { network, masks } = await readTicketFile(file);
    return { settings: { ...network, rate: rateOf(network.signed) }, masks };
  });

let written = ""; // the link that this page itself has put into the address
const addressWith = (text) => `${location.href.split("#")[0]}#find/${text}`;
const mostInLink = 40_000; // weights

async function copyLink() {
  const whole = count(last) <= mostInLink;
  written = writeLink(last.settings, whole ? masksNow() : null);
  window.history.replaceState(null, "", `#find/${written}`);
  const what = whole ? "This network is in the link" : `A mask of more than ${thousands(mostInLink)} weights is too long for a link: the seed and the settings are in it`;
  let how = "copied";
  try {
    await navigator.clipboard.writeText(addressWith(written));
  } catch {
    how = "to copy from the address above";
  }
  tellHome(`${what}, ${how}: ${beside(written.length)}`);
}

// A QR code with the border that readers need, in black on white whatever the page's colours are.
function qrPicture(rows) {
  const size = rows.length + 8;
  const dark = rows.flatMap((row, y) => Array.from(row, (bit, x) => (bit ? `M${x} ${y}h1v1h-1z` : ""))).join("");
  const looks = { role: "img", "aria-label": "QR code of a link to this page that holds this network" };
  const square = { width: 4 * size, height: 4 * size, viewBox: `-4 -4 ${size} ${size}` };
  const paper = svg("rect", { x: -4, y: -4, width: size, height: size, fill: "#fff" });
  return svg("svg", { ...looks, ...square, "shape-rendering": "crispEdges" }, paper, svg("path", { d: dark, fill: "#000" }));
}

async function showQr() {
  const rows = await askOnce("qrCode", addressWith("d"), writeDigits(last.settings, masksNow()).slice(1));
  f("code").replaceChildren();
  if (!rows) return tellHome("This network is too large for a QR code, which holds about 23,000 weights. Try narrower layers.");
  f("code").append(qrPicture(rows));
  return tellHome("The whole network is in this square: seed, settings, and a bit for each edge.");
}

function setUpHome() {
  f("save").addEventListener("click", saveTicket);
  watchFile("find", f("open"), openTicket);
  f("link").addEventListener("click", () => last && copyLink()); // nothing before the first frame
  f("qr").addEventListener("click", () => last && showQr());
  watchAddress("find", openLink);
}

setUpFind();
