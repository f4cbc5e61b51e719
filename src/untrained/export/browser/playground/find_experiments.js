// Six experiments: each sets everything, starts, and says what to look for. What they say was measured on these digits,
// with seeds 0 and 1.

let coming = []; // the keeps of a sweep that are still to come
const anew = (given) => () => change({ ...firstSettings, ...given }, { anew: true, masks: null });
const experiments = [
  ["Sweep keep", "First 99 % of the edges are kept: it learns nothing, for there is hardly a choice. Every seven epochs fewer stay: 90 %, 50 %, 10 %, 3 %. Most digits are told apart at a half; with few edges too little is left to compute with.", () => {
    coming = [0.9, 0.5, 0.1, 0.03];
    anew({ keep: 0.99 })();
  }],
  ["Narrow, then wide", "Only 16 neurons a layer: the trained twin comes to tell nearly all digits apart, the subnetwork clearly fewer. It can choose only from what is there. Now give each layer more neurons.", anew({ widths: [16, 16] })],
  ["By s instead of |s|", "90 % are kept, those of the highest s: after five epochs nearly all digits are told apart. Now rank by |s|: a score must pass 0 to be dropped, and come back on the other side. With as many edges clearly fewer are, until the rate falls.", anew({ keep: 0.9, signed: true, rate: recipes.scores.signedRate })],
  ["A random mask", "The scores were put in another order: as many edges, of the same weights, and no digit is told from another any more. What was found is which edges. Play: it finds others.", () => {
    plays = false;
    tell("scramble");
  }],
  ["Cut through", "5 % of all edges compete: the first layer's scores begin larger, so it takes them all. No edge is left after it, no signal passes, and no score can learn. Choose in each layer: as many edges, and seven of ten digits are told apart. Or choose over all layers again, set keep to 50 %, and lower it step by step to 5 % as it plays: no layer is cut through, and nine of ten are.", anew({ keep: 0.05, scope: "global" })],
  ["One weight for all", "Every weight is the same number, and one in ten is kept: which are kept is all it has, and about nine of ten digits are told apart. Then keep a half: sums of so many equal weights say less.", anew({ keep: 0.1, law: lawNamed("UnsignedConstant") })],
];

// Takes the next `keep` of a sweep when it is due.
function sweep({ time, settings: its }) {
  if (coming.length && plays && time >= 7 && its.keep === settings.keep) change({ keep: coming.shift() });
}

function setUpExperiments() {
  for (const [name, look, run] of experiments) {
    f("experiments").append(button(name, () => {
      [plays, coming] = [true, []];
      f("look").textContent = look;
      run();
      showControls();
    }));
  }
}
