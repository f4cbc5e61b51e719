// Six experiments: each sets everything, starts, and says what to look for (in find.html). What they say was measured on
// these digits, with seeds 0 and 1.

let coming = []; // the keeps of a sweep that are still to come
const experiments = {
  sweep: { keep: 0.99 },
  narrow: { widths: [16, 16] },
  signed: { keep: 0.9, signed: true, rate: recipes.scores.signedRate },
  cut: { keep: 0.05, scope: "global" },
  one: { keep: 0.1, law: lawNamed("UnsignedConstant") },
};

// Takes the next `keep` of a sweep when it is due.
function sweep({ time, settings: its }) {
  if (coming.length && plays && time >= 7 && its.keep === settings.keep) change({ keep: coming.shift() });
}

function setUpExperiments() {
  for (const button of f("experiments").children) {
    button.addEventListener("click", () => {
      const given = experiments[button.value];
      f("look").textContent = button.dataset.look;
      coming = button.value === "sweep" ? [0.9, 0.5, 0.1, 0.03] : [];
      plays = given !== undefined;
      if (given) change({ ...firstSettings, ...given }, { anew: true, masks: null });
      else tell("scramble");
      showControls();
    });
  }
}
