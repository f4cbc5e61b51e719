// An answer: probabilities as bars.

const mostBars = 10;

// Bars of the `ranked` classes; `best` is marked.
function showBars(labels, probabilities, best, ranked) {
  const long = labels.length > mostBars || labels.some((label) => label.length > 8);
  at("bars").className = long ? "long" : "";
  const rows = ranked.map((label) => {
    const fill = element("div", { className: "fill" });
    fill.style.width = `${100 * probabilities[label]}%`;
    return element(
      "li",
      { className: label === best ? "best" : "" },
      element("span", { className: "name", textContent: labels[label], title: labels[label] }),
      element("span", { className: "track" }, fill),
      element("span", { className: "number", textContent: percent(probabilities[label]) })
    );
  });
  at("bars").replaceChildren(...rows);
}
