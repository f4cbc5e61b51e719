// Inputs that are numbers, typed in.

function setUpNumbers() {
  const count = product(program.shape);
  at("wanted").textContent = `${thousands(count)} numbers of a normalised input of shape ${program.shape.join(" × ")}, with spaces between`;
  const read = () => {
    const numbers = at("numbers").value.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (!numbers.length) return forget();
    if (numbers.length !== count) return fail(`${thousands(numbers.length)} numbers, expected ${thousands(count)}`);
    if (!numbers.every(Number.isFinite)) return fail("Something there is not a number.");
    return answer(Float32Array.from(numbers));
  };
  at("numbers").addEventListener("input", read);
  at("random").addEventListener("click", () => {
    at("numbers").value = Array.from({ length: count }, () => (2 * Math.random() - 1).toFixed(2)).join(" ");
    read();
  });
  at("clear").addEventListener("click", () => {
    at("numbers").value = "";
    forget();
  });
}
