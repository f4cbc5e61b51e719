// Six experiments, in find.html: each sets everything, starts, and says what to look for. What they say was measured on
// these digits, with seeds 0 and 1.

let coming = []; // the keeps of a sweep that are still to come

// Takes the next `keep` of a sweep when it is due.
function sweep({ time, settings: its }) {
  if (coming.length && plays && time >= 7 && its.keep === settings.keep) change({ keep: coming.shift() });
}

function setUpExperiments() {
  for (const button of f("experiments").children) {
    button.addEventListener("click", () => {
      f("look").textContent = button.dataset.look;
      coming = JSON.parse(button.dataset.coming ?? "[]");
      plays = button.value !== "";
      if (plays) change({ ...firstSettings, ...JSON.parse(button.value) }, { anew: true, masks: null });
      else tell("scramble");
      showControls();
    });
  }
}
