// JSON, read without trust. Integers become BigInts and floats numbers, so that 1 and 1.0 differ.

class TicketError extends Error {
  name = "TicketError";
}
const refuse = (why) => {
  throw Object.assign(new TicketError(`This ticket is damaged: ${why}`), { why });
};
const unsupported = (why) => {
  throw new TicketError(`This page cannot run this ticket: ${why}`);
};

const mostLevels = 1000;

const kindOf = (value) => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  return { bigint: "integer", number: "float" }[typeof value] ?? typeof value;
};
const shown = (value) => ({ object: "an object", list: "a list" })[kindOf(value)] ?? String(value).slice(0, 80);

const codePoints = (one, other) => {
  const [a, b] = [Array.from(one), Array.from(other)];
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i].codePointAt(0) - b[i].codePointAt(0);
  }
  return a.length - b.length;
};
const ascending = (object) => Object.keys(object).sort(codePoints);

function writtenText(text) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\x7f-\uffff]/g, escaped);
}

function writtenFloat(x) {
  const [digits, power] = x.toExponential().split("e");
  if (x !== 0 && (power < -4 || power >= 16)) return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  const text = Object.is(x, -0) ? "-0" : String(x);
  return text.includes(".") ? text : `${text}.0`;
}

// The one way to write a value in a ticket's header; integers are BigInts.
function writtenJson(value) {
  const member = (name) => `${writtenText(name)}:${writtenJson(value[name])}`;
  if (kindOf(value) === "list") return `[${value.map(writtenJson).join(",")}]`;
  if (kindOf(value) === "object") return `{${ascending(value).map(member).join(",")}}`;
  if (typeof value === "string") return writtenText(value);
  return typeof value === "number" ? writtenFloat(value) : String(value);
}

// Reads a text, and notes where the members of the outermost object lie. `canonical`: it is written in the one way
// that a ticket's header is.
function readJson(text, canonical) {
  let at = 0;
  let depth = 0;
  const spans = Object.create(null);
  const wrong = () => refuse(`its ${canonical ? "header is not canonical" : "index is not"} JSON, at character ${at}`);
  const space = () => {
    if (!canonical) while (" \t\n\r".includes(text[at])) at++;
  };
  const string = () => {
    let end = at + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
    const raw = text.slice(at, end + 1);
    let value;
    try {
      value = JSON.parse(raw);
    } catch {
      wrong();
    }
    // Half of a surrogate pair is no Unicode text; a header may have it, written as a number.
    if (typeof value !== "string" || (canonical ? writtenText(value) !== raw : /\p{Surrogate}/u.test(value))) wrong();
    at = end + 1;
    return value;
  };
  const items = (close, item) => {
    at++;
    if (++depth > mostLevels) wrong();
    space();
    if (text[at] !== close) item();
    while (text[at] === ",") {
      at++;
      item();
    }
    if (text[at++] !== close) wrong();
    depth--;
  };
  const list = () => {
    const read = [];
    items("]", () => read.push(value()));
    return read;
  };
  const object = () => {
    const members = Object.create(null); // no name is special
    let last = null;
    items("}", () => {
      space();
      const start = at;
      if (text[at] !== '"') wrong();
      const name = string();
      if (canonical ? last !== null && codePoints(last, name) >= 0 : name in members) wrong();
      last = name;
      space();
      if (text[at++] !== ":") wrong();
      members[name] = value();
      if (depth === 1) spans[name] = [start, at];
    });
    return members;
  };
  const word = () => {
    // Longer integers are refused by Python, too.
    const words = /true|false|null|(-?(?:0|[1-9][0-9]{0,4299}))(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    words.lastIndex = at;
    const [whole, digits, ...parts] = words.exec(text) ?? wrong();
    at += whole.length;
    if (digits === undefined) return JSON.parse(whole);
    if (digits === whole && digits !== "-0") return BigInt(digits);
    const read = Number(whole);
    const right = Number.isFinite(read) && (!canonical || (parts.some(Boolean) && writtenFloat(read) === whole));
    return right ? read : wrong();
  };
  const value = () => {
    space();
    const read = text[at] === '"' ? string() : text[at] === "[" ? list() : text[at] === "{" ? object() : word();
    space();
    return read;
  };
  const whole = value();
  if (at !== text.length) wrong();
  return { whole, spans };
}
