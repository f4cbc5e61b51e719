// The module of one network, whose `facts` stand above.

const shapesOf = ({ tensors }, stored) => {
  const shapes = Object.fromEntries(Object.entries(tensors).map(([name, entry]) => [name, entry.shape.map(BigInt)]));
  for (const name of Object.keys(stored)) if (name.startsWith("extra/")) shapes[name.slice(6)] = stored[name].shape;
  return shapes;
};

function checkNetwork(head, stored) {
  const shapes = shapesOf(head, stored);
  for (const name of ascending({ ...shapes, ...facts.tensors })) {
    const [there, here] = [shapes, facts.tensors].map((of) => (Object.hasOwn(of, name) ? `[${of[name].join(", ")}]` : "missing"));
    if (there !== here) throw new TicketError(`This ticket is of another network: '${name}' is ${there} in it, and ${here} in this module`);
  }
  const { model } = head.meta;
  const told = writtenJson([head.network, kindOf(model) === "object" ? model : null]);
  if (told !== facts.network) throw new TicketError(`This ticket is of another network: ${told}, and this module is for ${facts.network}`);
}

// The network of a ticket, of whose bytes all hashes are checked.
export function load(bytes) {
  const { head, stored, tensors } = readTicket(new Uint8Array(bytes), facts.masks);
  checkNetwork(head, stored);
  const { labels = Array.from({ length: facts.classes }, (_, label) => `class ${label}`), mean, std } = head.meta;
  const [means, deviations] = [mean, std].map((values) => values?.map(Number));
  if (labels.length !== facts.classes) throw new TicketError(`This ticket has ${labels.length} labels, and ${facts.classes} classes`);
  const count = product(facts.program.shape);
  const check = (values) => {
    if (values.length !== count) throw new RangeError(`expected ${count} numbers, got ${values.length}`);
    if (!Array.prototype.every.call(values, Number.isFinite)) throw new RangeError("a number is not finite");
  };
  const network = {
    shape: facts.program.shape,
    labels,
    // One input, channel by channel, as the network takes it: bytes 0…255 or floats 0…1, less the mean, over std.
    normalise(pixels) {
      check(pixels);
      if (!means || !deviations) return Float32Array.from(pixels);
      const most = pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray ? 255 : 1;
      if (Array.prototype.some.call(pixels, (x) => x < 0 || x > most)) throw new RangeError(`a number is not in 0…${most}`);
      const channel = (i) => Math.floor((i * means.length) / count);
      return Float32Array.from(pixels, (x, i) => (x / most - means[channel(i)]) / deviations[channel(i)]);
    },
    // The logits of one normalised input.
    logits(input) {
      check(input);
      return runNetwork(facts.program, tensors, Float32Array.from(input)).pop();
    },
    // The classes of one input, the most probable first.
    predict(pixels) {
      const probabilities = probabilitiesOf(network.logits(network.normalise(pixels)));
      const answers = probabilities.map((probability, label) => ({ label: labels[label], probability }));
      return answers.sort((a, b) => b.probability - a.probability);
    },
  };
  return network;
}
