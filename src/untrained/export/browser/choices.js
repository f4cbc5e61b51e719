// Other choices among the same weights: all of them, or as many as were found, at random.

const recodes = {
  all: () => (codes) => codes.fill(1),
  // The codes of each tensor in another order, which the seed gives.
  random: (seed) => (codes, name) => {
    const words = wordsOf(seed, `random/${name}`);
    for (let i = codes.length - 1; i > 0; i--) {
      const j = words(0, i) % (i + 1);
      [codes[i], codes[j]] = [codes[j], codes[i]];
    }
    return codes;
  },
};

// A function that gives the tensors of a choice, which are made once, when they are first asked for.
function chooserOf({ head, stored, tensors }) {
  const made = { own: tensors };
  return (choice) => {
    made[choice] ??= Object.assign(
      Object.create(tensors),
      Object.fromEntries(Object.keys(head.tensors).map((name) => [name, weightsOf(head, name, stored, recodes[choice](head.seed))]))
    );
    return made[choice];
  };
}
