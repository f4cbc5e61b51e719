// Tickets of fully connected networks on the digits: a ticket is written, and one is read to go on from it.

// A network is {seed, widths, law, keep, scope, signed}: the seed a BigInt, the widths those of the hidden layers, the
// rest as in a ticket's header. Masks are a row of 0 and 1 for each layer, [to · inputs + from].
const pixelsOfDigit = 64;
const mostNeurons = 512; // of a hidden layer
const digitLayers = (widths) =>
  [...widths, 10].map((to, i) => ({ name: `fc${i + 1}.weight`, shape: [to, i ? widths[i - 1] : pixelsOfDigit] }));

const edgePopup = ({ keep, scope, signed }) => ({ name: "EdgePopup", keep, scope, signed });

const concatenated = (parts) => Uint8Array.from(parts.flatMap((part) => Array.from(part)));
const varintOf = (number) =>
  number < 128 ? [number] : [(number % 128) + 128, ...varintOf(Math.floor(number / 128))];

function packedBits(mask) {
  const bytes = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((kept, i) => (bytes[i >> 3] |= kept << (i & 7)));
  return bytes;
}

// A mask as the codes of a tensor in format 2: the values, "as bits", and a bit for each.
function writtenCodes(mask) {
  const values = [0, 1].filter((value) => mask.includes(value));
  if (values.length < 2) return Uint8Array.of(values.length, ...values);
  return concatenated([Uint8Array.of(2, 0, 1, 255), packedBits(mask)]);
}

// Integers as BigInts, by the rules for the fields of a law or a method: JSON tells 1 from 1.0.
function withIntegers(given, table) {
  const { fields } = table[given.name];
  const typed = ([field, value]) => [field, Number.isInteger(value) && fields[field](BigInt(value)) ? BigInt(value) : value];
  return Object.fromEntries(Object.entries(given).map(typed));
}

function headerOf(network, meta) {
  const { seed, widths, law } = network;
  const sizes = (shape) => shape.map(BigInt);
  const entry = ({ name, shape }) => [name, { shape: sizes(shape), dtype: "float32", method: 0n }];
  return {
    seed,
    weights: withIntegers(law, laws),
    methods: [withIntegers(edgePopup(network), methods)],
    tensors: Object.fromEntries(digitLayers(widths).map(entry)),
    network: { name: "fc", arguments: { widths: sizes(widths), shape: sizes([1, 8, 8]), classes: 10n } },
    meta: { ...meta, task: "classification", data: "digits", shape: sizes([1, 8, 8]) },
    producer: "untrained playground",
  };
}

// The bytes of a ticket, in format 2 of docs/format.md. `meta`: labels, mean and std, and perhaps accuracies.
function writeTicket(network, masks, meta) {
  const { seed, widths, law, keep } = network;
  const tensors = {};
  digitLayers(widths).forEach(({ name, shape }, i) => {
    tensors[name] = effectiveOf(edgePopup(network), drawnOf(law, seed, name, shape, keep), masks[i], shape);
  });
  const hashes = hashesOf(tensors, Object.keys(tensors)).map((hash) => hash.digest());
  const text = utf8(writtenJson(headerOf(network, meta)));
  // One block of deflate, without compression.
  const length = [text.length & 255, text.length >> 8];
  const packed = concatenated([Uint8Array.of(1, ...length, ...length.map((byte) => 255 - byte)), text]);
  const parts = [packed, ...masks.map(writtenCodes)].flatMap((part) => [varintOf(part.length), part]);
  const rest = concatenated([...hashes, ...parts]);
  return concatenated([utf8(magic), new Sha256().add(rest).digest().subarray(0, 8), rest]);
}

// {network, masks} of the bytes of a ticket, wherever that was made; an error's message is a sentence for the reader.
function readFound(bytes) {
  const { head, tensors } = readTicket(bytes);
  const names = ["fc1.weight", "fc2.weight", "fc3.weight"];
  const shapes = names.map((name) => head.tensors[name]?.shape ?? []);
  const widths = shapes.slice(0, 2).map(([to]) => to);
  const fits = digitLayers(widths).every(({ shape }, i) => String(shape) === String(shapes[i]));
  const { name, arguments: its = {} } = head.network ?? {};
  const plain = name === "fc" && (its.activation ?? "relu") === "relu" && String(its.shape) === "1,8,8";
  const used = names.map((each) => head.tensors[each]?.method ?? {});
  const [{ keep, scope, signed, structure }] = used;
  const one = "its network is not one for the digits with two hidden layers, without biases and norms.";
  const faults = [
    [!plain || !fits || Object.keys(tensors).length !== 3, one],
    [Math.max(...widths) > mostNeurons, `its hidden layers have more than ${mostNeurons} neurons.`],
    [used.some((each) => each.name !== "EdgePopup"), "its mask was not found by edge-popup."],
    [used.some((each) => each !== used[0]), "its layers have different settings."],
    [structure || scope === "normalised", "it was found with another kind of choice."],
  ];
  const [, why] = faults.find(([wrong]) => wrong) ?? [];
  if (why) throw new TicketError(`The playground cannot go on from this ticket: ${why}`);
  // No weight that is drawn is 0, so that a 0 is one that was dropped.
  const masks = names.map((name) => Uint8Array.from(tensors[name], (weight) => (weight === 0 ? 0 : 1)));
  return { network: { seed: head.seed, widths, law: head.weights, keep, scope, signed }, masks };
}
