// Six experiments: each sets everything, starts, and says what to look for. What they claim was measured on these
// digits, for seeds 0 and 1.

const experiments = [];

function setUpExperiments() {
  for (const { name, look, run } of experiments) {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => {
      f("look").textContent = look;
      plays = true;
      run();
    });
    f("experiments").append(button);
  }
}
