// A found network in a link: settings, seed and mask as text for the address after #.

// Bytes: 4 of the sha256 of the rest, 1 for the version, the length of the settings (varint), the settings as canonical
// JSON, and a bit for each weight if the mask is in it. Text: "b" and base64url, or "d" and decimal digits, which a QR
// code holds best.
const linkVersion = 1;
const steepest = 1000; // the highest learning rate
const digitsOf = [0, 3, 5, 8, 10, 13, 15, 17]; // decimal digits for so many bytes

// The fields of a law beside its name, in one order.
const fieldsOf = (name) => Object.keys(laws[name].fields).sort();

// Settings are those of a network (see write_ticket.js) and its learning rate; masks may be null.
function settingsText({ seed, widths, law, keep, scope, signed, rate }) {
  const typed = withIntegers(law, laws);
  const ofLaw = [law.name, ...fieldsOf(law.name).map((field) => typed[field])];
  return writtenJson([seed, widths.map(BigInt), ofLaw, keep, scope, signed, rate]);
}

function linkBytes(settings, masks) {
  const text = utf8(settingsText(settings));
  const bits = masks ? packedBits(concatenated(masks)) : new Uint8Array(0);
  const rest = concatenated([Uint8Array.of(linkVersion), varintOf(text.length), text, bits]);
  return concatenated([new Sha256().add(rest).digest().subarray(0, 4), rest]);
}

function writeLink(settings, masks) {
  const letters = Array.from(linkBytes(settings, masks), (byte) => String.fromCharCode(byte)).join("");
  return `b${btoa(letters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "")}`;
}

// As `writeLink`, in decimal digits.
function writeDigits(settings, masks) {
  const bytes = linkBytes(settings, masks);
  let text = "d";
  for (let at = 0; at < bytes.length; at += 7) {
    const part = bytes.subarray(at, at + 7);
    const number = part.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
    text += String(number).padStart(digitsOf[part.length], "0");
  }
  return text;
}

function bytesOfDigits(text) {
  const bytes = [];
  for (let at = 0; at < text.length; at += 17) {
    const part = text.slice(at, at + 17);
    const count = digitsOf.indexOf(part.length);
    let number = BigInt(part);
    for (let i = 0; i < count; i++, number >>= 8n) bytes.push(Number(number & 255n));
    if (count < 0 || number) throw new RangeError("no bytes");
  }
  return Uint8Array.from(bytes);
}

function bytesOfLink(text) {
  if (/^d\d+$/.test(text)) return bytesOfDigits(text.slice(1));
  if (!/^b[\w-]+$/.test(text)) throw new RangeError("no link");
  const letters = atob(text.slice(1).replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
}

// {settings, masks} of a link; the masks may be null. An error's message is a sentence for the reader.
function readLink(text) {
  let later = false;
  try {
    const bytes = bytesOfLink(text.slice(0, 1e6));
    const [rest, sum] = [bytes.subarray(4), new Sha256().add(bytes.subarray(4)).digest()];
    if (!rest[0] || sum.subarray(0, 4).some((byte, i) => byte !== bytes[i])) refuse("its sum");
    later = rest[0] > linkVersion;
    if (!later) return settingsOf(rest.subarray(1));
  } catch {
    // What is wrong with it helps nobody.
  }
  const how = later ? "was made by a later version of the playground" : "is damaged: it was cut off or changed on its way";
  throw new Error(`This link ${how}.`);
}

function settingsOf(bytes) {
  const side = sideOf(bytes, refuse);
  const { whole } = readJson(new TextDecoder().decode(side.take(side.varint())), true);
  const [seed, widths, [lawName, ...ofLaw], keep, scope, signed, rate, ...more] = whole;
  const fields = fieldsOf(lawName);
  const law = known("law", { name: lawName, ...Object.fromEntries(fields.map((field, i) => [field, ofLaw[i]])) }, laws);
  known("method", edgePopup({ keep, scope, signed }), methods);
  const size = integer(1, mostNeurons);
  const right = headerRules.seed(seed) && float(0, steepest)(rate) && widths.length === 2 && widths.every(size);
  if (!right || more.length || ofLaw.length !== fields.length || scope === "normalised") refuse("its settings");
  const settings = { seed, widths: widths.map(Number), law, keep, scope, signed, rate };
  return { settings, masks: side.left() ? masksOf(side.rest(), settings.widths) : null };
}

function masksOf(bytes, widths) {
  const masks = digitLayers(widths).map(({ shape }) => new Uint8Array(product(shape)));
  const all = concatenated(masks);
  readBits(bytes, all.length, 1, (i, bit) => (all[i] = bit), refuse);
  let at = 0;
  return masks.map(({ length }) => all.slice(at, (at += length)));
}
