// Tickets, links and QR codes of the network as it is at this moment.

const masksNow = () => last.effective.map((each) => Uint8Array.from(each, (w) => (w === 0 ? 0 : 1)));
const beside = (bytes) => {
  const whole = 4 * count(last);
  return `${thousands(bytes)} bytes; as 32-bit floats the network would take ${thousands(whole)}, ${Math.round(whole / bytes)} times as many.`;
};
const tellHome = (text) => (f("size").textContent = text);

function saveTicket(bytes) {
  saveFile("found.ticket", bytes);
  tellHome(`Saved as found.ticket: ${beside(bytes.length)} In Python: ut.load("found.ticket").`);
}

// Goes on from a network of a ticket or a link, which is paused at first.
function goOnFrom(network, masks, said) {
  plays = false;
  change(network, { anew: true, masks });
  tellHome(said);
}

async function openTicket(file) {
  try {
    const { network, masks } = await readTicketFile(file);
    const rate = rateOf(network.signed);
    goOnFrom({ ...network, rate }, masks, "This is the ticket's network. Play goes on from it.");
  } catch (error) {
    tellHome(error.message);
  }
}

function openLink(text) {
  if (text === written) return;
  try {
    const { settings: its, masks } = readLink(text);
    goOnFrom(its, masks, masks ? "This is the network of the link. Play goes on from it." : "These are the settings of the link.");
  } catch (error) {
    tellHome(error.message);
  }
}

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

// Draws it with the border that readers need, in black on white whatever the page's colours are.
function drawQr(canvas, rows, perModule = 4) {
  canvas.width = canvas.height = (rows.length + 8) * perModule;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#000";
  rows.forEach((row, y) => {
    row.forEach((dark, x) => dark && context.fillRect((x + 4) * perModule, (y + 4) * perModule, perModule, perModule));
  });
}

async function showQr() {
  const rows = await askOnce("qrCode", addressWith("d"), writeDigits(last.settings, masksNow()).slice(1));
  f("code").replaceChildren();
  if (!rows) return tellHome("This network is too large for a QR code, which holds about 23,000 weights. Try narrower layers.");
  const canvas = element("canvas", { role: "img", ariaLabel: "QR code of a link to this page that holds this network" });
  drawQr(canvas, rows);
  f("code").append(canvas);
  return tellHome("The whole network is in this square: seed, settings, and a bit for each edge.");
}

function setUpHome() {
  const meta = { labels: digits.labels, mean: [digits.mean], std: [digits.std] };
  f("save").addEventListener("click", () => tell("write", { meta }));
  watchFile("find", f("open"), openTicket);
  f("link").addEventListener("click", () => last && copyLink()); // nothing before the first frame
  f("qr").addEventListener("click", () => last && showQr());
  watchAddress("find", openLink);
}

setUpFind();
